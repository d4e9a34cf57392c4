"""Is a critical job picked up at once while ordinary ones saturate the loop?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks import ours
from benchmarks.jobs import first_line, noop
from benchmarks.question import Question, Sample, Target, spread

if TYPE_CHECKING:
    from benchmarks.server import Bench

POOLS: ours.Pools = ((("critical",), 3), (("default",), ours.CONCURRENCY))
BACKLOG, CRITICAL, PAUSE = 500_000, 200, 0.025


async def critical(bench: Bench) -> Sample:
    """From before enqueue() of a critical job to its first line, while 500,000 no-ops are being drained."""
    took = []
    async with ours.client(bench) as jobs:
        await jobs.enqueue_all(noop(n) for n in range(BACKLOG))
        async with ours.worker(bench, pools=POOLS) as (process, ear):
            await ours.warm(ear, "critical")
            for number in range(CRITICAL):
                await asyncio.sleep(PAUSE)
                started = time.monotonic_ns()
                await first_line(number).set(queue="critical").enqueue()
                took.append(await ear.hear(number) - started)
            ready = await bench.control.fetchval(
                "select exists(select from asyncjobs.job where queue = 'default' and state = 1)"
            )
            assert ready, "the backlog was drained before the end: nothing saturated the loop"
            process.kill()
            await process.exit_code()
    return spread(took)


QUESTIONS = (
    Question(
        "priorities",
        "From before `enqueue()` of a critical job to its first line, 200 times, while the same process drains 500,000 "
        "no-ops of a later pool.",
        critical,
        None,
        targets=(Target("p99_ms", at_most=25, alone=True),),
    ),
)
