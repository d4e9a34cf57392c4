"""How soon is a job picked up, and how soon is its result here, when nothing else is going on?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks import floor, ours
from benchmarks.jobs import first_line
from benchmarks.question import Question, Sample, Target, spread

if TYPE_CHECKING:
    from benchmarks.server import Bench


async def pickup(bench: Bench) -> Sample:
    """From before enqueue() here to the job's first line there."""
    took = []
    async with ours.client(bench), ours.worker(bench) as (_, ear):
        await ours.warm(ear)
        for number in range(floor.PICKUPS):
            await asyncio.sleep(floor.PAUSE)
            started = time.monotonic_ns()
            await first_line(number).enqueue()
            took.append(await ear.hear(number) - started)
    return spread(took)


async def round_trip(bench: Bench) -> Sample:
    """From before enqueue() to the result of the awaited job."""
    took = []
    async with ours.client(bench), ours.worker(bench) as (_, ear):
        await ours.warm(ear)
        for number in range(floor.PICKUPS):
            await asyncio.sleep(floor.PAUSE)
            started = time.monotonic_ns()
            job = first_line(number)
            await job.enqueue()
            await job
            took.append(time.monotonic_ns() - started)
    return spread(took)


QUESTIONS = (
    Question(
        "latency: pickup when idle",
        "From before `enqueue()` to the job's first line in another process, 30 ms of idleness before each of 300; against "
        "insert + notify, listen and claim in bare SQL between two processes.",
        pickup,
        floor.pickup,
        targets=(Target("p50_ms", at_most=1.5), Target("p99_ms", at_most=3)),
    ),
    Question(
        "latency: await round trip when idle",
        "From before `enqueue()` to the result of `await job`; against insert + notify, claim, move + notify and read in "
        "bare SQL between two processes.",
        round_trip,
        floor.round_trip,
        targets=(Target("p50_ms", at_most=2),),
    ),
)
