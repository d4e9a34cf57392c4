"""Does a snapshot held open (a report, a forgotten psql, pg_dump) slow the queue down?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from benchmarks import ours
from benchmarks.jobs import noop
from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.server import Bench

JOBS = 60_000
A_SECOND, SECONDS, EVERY = 2_000, 60, 0.01
PICKUP = """
select percentile_cont(0.5) within group (order by took), percentile_cont(0.99) within group (order by took)
from (select extract(epoch from started_at - enqueued_at)::float8 * 1000 as took from asyncjobs.finished) as pickups"""


@contextlib.asynccontextmanager
async def held_snapshot(bench: Bench) -> AsyncIterator[None]:
    """Nothing that dies meanwhile can be cleaned away."""
    async with bench.connection("snapshot") as connection:
        await connection.execute("begin isolation level repeatable read")
        await connection.execute("select txid_current()")
        yield


async def drain(bench: Bench) -> Sample:
    """Drain 60,000 jobs."""
    return await ours.drain(bench, (noop(n) for n in range(JOBS)), JOBS)


async def drain_held(bench: Bench) -> Sample:
    """The same, while a snapshot is held from before the first enqueue."""
    async with held_snapshot(bench):
        return await drain(bench)


async def trickle(bench: Bench) -> Sample:
    """Enqueue 20 jobs every 10 ms for a minute, to a worker that is at work."""
    total, chunk = A_SECOND * SECONDS, int(A_SECOND * EVERY)
    async with ours.client(bench) as jobs, ours.worker(bench, expected=total) as (_, ear):
        await ours.warm(ear)
        while await bench.control.fetchval("select exists(select from asyncjobs.job)"):
            await asyncio.sleep(0.01)  # the last of the warm-up has run, and its end is on its way
        await bench.control.execute("truncate asyncjobs.finished")
        started = time.monotonic()
        for n in range(total // chunk):
            await asyncio.sleep(max(0, started + n * EVERY - time.monotonic()))
            await jobs.enqueue_all([noop(i) for i in range(chunk)])
        await ear.hear(total, timeout=300)
        sample = await ours.rate(bench, total)
        p50, p99 = await bench.control.fetchrow(PICKUP)
    return {**sample, "p50_ms": p50, "p99_ms": p99}


async def trickle_held(bench: Bench) -> Sample:
    """The same, while a snapshot is held."""
    async with held_snapshot(bench):
        return await trickle(bench)


QUESTIONS = (
    Question(
        "snapshot: drain",
        "Draining 60,000 jobs at 500 a claim under a snapshot held open all along; against the same without.",
        drain_held,
        drain,
        "ours without",
        targets=(Target("jobs_per_s", at_least=0.9),),
    ),
    Question(
        "snapshot: trickle",
        "2,000 jobs/s for 60 s under a snapshot held open all along; against the same without. Pickup (p50, p99) is from "
        "the row's time to the claim's, by the database's clock.",
        trickle_held,
        trickle,
        "ours without",
        targets=(Target("jobs_per_s", at_least=0.9),),
        most_runs=3,
    ),
)
