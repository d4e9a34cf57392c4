"""What do a unique key, a limit and a rate cost, and how punctual are the starts of a rate and the times of a schedule?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks import ours
from benchmarks.jobs import SPACING, limited, noop, paced, spaced, unique
from benchmarks.question import Question, Sample, Side, Target, spread

if TYPE_CHECKING:
    from benchmarks.server import Bench

JOBS = 10_000
KEYS = 1_000
STARTS = 100
TICKS = 20
LATE_STARTS = """
select 1e9 * extract(epoch from started_at - lag(started_at) over (order by started_at)) - 1e9 * $1::float8
from asyncjobs.finished where kind = 'benchmarks.jobs.spaced' order by started_at offset 1"""
"""A token is due so long after the start before it."""
LATE_TICKS = "select 1e9 * extract(epoch from enqueued_at - tick) from asyncjobs.finished where tick is not null"


def _drain(make: Callable[[int], Any]) -> Side:
    async def drain(bench: Bench) -> Sample:
        return await ours.drain(bench, (make(n) for n in range(JOBS)), JOBS)

    return drain


_plain = _drain(noop)


async def _starts(bench: Bench) -> Sample:
    """From when a token is due to the start that takes it, as the claim writes it."""
    async with ours.client(bench) as jobs, ours.worker(bench) as (_, ear):
        await ours.warm(ear)
        made = [spaced(n) for n in range(STARTS)]
        await jobs.enqueue_all(made)
        async with asyncio.timeout(60):
            for each in made:
                await each
        return spread([int(row[0]) for row in await bench.control.fetch(LATE_STARTS, SPACING)])


async def _ticks(bench: Bench) -> Sample:
    """From a time of a schedule until its job is stored."""
    async with ours.client(bench) as jobs, ours.worker(bench) as (_, ear):
        await ours.warm(ear)
        await jobs.recurring.add("each second", noop(0), schedule="* * * * * *")
        async with asyncio.timeout(3 * TICKS):
            while len(found := await bench.control.fetch(LATE_TICKS)) < TICKS:
                await asyncio.sleep(0.5)
        await jobs.recurring.remove("each second")
        return spread([int(row[0]) for row in found])


def _against_plain(name: str, asks: str, make: Callable[[int], Any], at_least: float) -> Question:
    return Question(
        name,
        f"{JOBS:,} no-op jobs {asks}, one process; against the same without.",
        _drain(make),
        _plain,
        against_is="plain",
        targets=(Target("jobs_per_s", at_least=at_least),),
    )


QUESTIONS = (
    _against_plain("unique", "each with a unique key", unique, 0.7),
    _against_plain("limited", f"with a limit of 1 over {KEYS:,} keys", lambda n: limited(n % KEYS), 0.45),
    _against_plain("paced", "with a rate that never binds", paced, 0.6),
    Question(
        "a rate's starts",
        f"{STARTS} jobs, of which one may start every {SPACING * 1000:.0f} ms, on an idle worker: how long after its "
        "token is due each starts.",
        _starts,
        targets=(Target("p99_ms", at_most=50, alone=True),),
    ),
    Question(
        "a schedule's times",
        f"A job every second, {TICKS} of them, on an idle worker: how long after its time each is stored.",
        _ticks,
        targets=(Target("p99_ms", at_most=100, alone=True),),
    ),
)
