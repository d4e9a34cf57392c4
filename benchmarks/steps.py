"""What does a step cost, and what a cursor? Both sides run in the same job, and their backends on the same core."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks import ours
from benchmarks.jobs import count_rows, isolated_steps, plain_steps
from benchmarks.question import Question, Sample, Target, spread

if TYPE_CHECKING:
    from asyncjobs import Job
    from benchmarks.server import Bench

STEPS = 1_000
ROWS = 100_000


async def steps(bench: Bench) -> tuple[Sample, Sample]:
    """Run 1,000 steps that do nothing, and 1,000 bare updates."""
    took, other = await _ran(bench, plain_steps(bench.url, STEPS))
    return spread(took), spread(other)


async def isolated(bench: Bench) -> tuple[Sample, Sample]:
    """Run 1,000 isolated steps with one update each, and 1,000 bare transactions of two."""
    took, other = await _ran(bench, isolated_steps(bench.url, STEPS))
    return spread(took), spread(other)


async def each(bench: Bench) -> tuple[Sample, Sample]:
    """Go through 100,000 rows of the database with `cursor.each`, and without."""
    took, other = await _ran(bench, count_rows(bench.url, ROWS))
    return _rate(took), _rate(other)


def _rate(took: list[int]) -> Sample:
    return {"rows_per_s": ROWS / (statistics.median(took) / 1e9)}


async def _ran(bench: Bench, job: Job[Any]) -> Any:
    """What a job returns that one idle worker runs."""
    with bench.on_a_core_of_its_own():
        async with ours.client(bench), ours.worker(bench) as (_, ear):
            await ours.warm(ear)
            return await (await job.enqueue()).result(timeout=300)


QUESTIONS = (
    Question(
        "steps",
        "1,000 steps of one job that do nothing, each recorded before the next; against a bare update and its commit, 50 of "
        "each in turn in the same job.",
        both=steps,
        targets=(Target("p50_ms", at_most=1.3),),
    ),
    Question(
        "steps: isolated",
        "1,000 isolated steps with one update each; against a bare transaction of two updates, 50 of each in turn in the "
        "same job.",
        both=isolated,
        targets=(Target("p50_ms", at_most=1.3),),
    ),
    Question(
        "steps: cursor.each",
        "100,000 rows of a server-side cursor through `cursor.each`; against the same loop without it, 20 times in turn in "
        "the same job.",
        both=each,
        targets=(Target("rows_per_s", at_least=0.7),),
    ),
)
