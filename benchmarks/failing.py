"""How fast do jobs fail and run again?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks import bare, floor, ours
from benchmarks.jobs import fails_twice
from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from benchmarks.server import Bench

ATTEMPTS = 3
FROM_FIRST_FAILURE_TO_LAST_FINISH = """
select extract(epoch from max(finished_at) - min((split_part(errors, E'\\n', 1)::json ->> 'at')::timestamptz))::float8
from asyncjobs.finished"""


async def failing(bench: Bench) -> Sample:
    """Drain 20,000 jobs that fail twice."""
    await ours.drain(bench, (fails_twice(n) for n in range(floor.JOBS)), floor.JOBS)
    return {"attempts_per_s": floor.JOBS * ATTEMPTS / await bench.control.fetchval(FROM_FIRST_FAILURE_TO_LAST_FINISH)}


async def bare_failing(bench: Bench) -> Sample:
    """Claim 500, give them back with an error, twice; then claim and move 500."""
    async with bench.connection() as claimer, bench.connection() as mover:
        await bare.drain(claimer, mover, 500)
        await bare.copy(claimer, [bare.row() for _ in range(floor.JOBS)])
        started = time.perf_counter()
        attempts = await bare.drain_failing(claimer, mover, 500)
        seconds = time.perf_counter() - started
    assert attempts == floor.JOBS * ATTEMPTS, f"{attempts} attempts"
    return {"attempts_per_s": attempts / seconds}


QUESTIONS = (
    Question(
        "failing",
        "20,000 jobs that fail twice, are given back with their error and no wait, and then succeed; against the same in "
        "bare SQL, 500 at a time.",
        failing,
        bare_failing,
        targets=(
            Target("attempts_per_s", at_least=5_000, alone=True),
            Target("attempts_per_s", at_least=0.2),
        ),
    ),
)
