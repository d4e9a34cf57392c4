"""How soon is an item of a stream with a reader in another process, how many come through, and what do others pay?"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks import ours
from benchmarks.jobs import first_line, send_all, send_times
from benchmarks.question import Question, Sample, Target, spread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncjobs import StreamItem
    from benchmarks.server import Bench

ITEMS, PAUSE = 300, 0.03
FLOOD = 100_000
READERS = 1_000
OTHERS = 100


async def latency(bench: Bench) -> Sample:
    """From before `send` there to the item here."""
    async with ours.client(bench) as jobs, ours.worker(bench) as (_, ear):
        await ours.warm(ear)
        job = await send_times(ITEMS, PAUSE).enqueue()
        return spread([time.monotonic_ns() - item.value async for item in jobs.stream(job)])


async def flood(bench: Bench) -> Sample:
    """Items a second of one job to one reader, and the round trips of other jobs meanwhile."""
    async with ours.client(bench) as jobs, ours.worker(bench) as (_, ear):
        await ours.warm(ear)
        job = await send_all(FLOOD).enqueue()
        reading = asyncio.create_task(_count(jobs.stream(job)))
        began = time.monotonic()
        others = []
        for number in range(OTHERS):
            started = time.monotonic_ns()
            other = await first_line(number).enqueue()
            await other
            others.append(time.monotonic_ns() - started)
            if reading.done():
                break
        assert await reading == FLOOD
        return {"items_per_s": FLOOD / (time.monotonic() - began), "others_p50_ms": statistics.median(others) / 1e6}


async def crowd(bench: Bench) -> Sample:
    """Items a second to a thousand readers in one process."""
    async with ours.client(bench) as jobs, ours.worker(bench) as (_, ear):
        await ours.warm(ear)
        job = await send_times(ITEMS, 0.0).enqueue()
        began = time.monotonic()
        counts = await asyncio.gather(*(_count(jobs.stream(job)) for _ in range(READERS)))
        assert set(counts) == {ITEMS}
        return {"items_per_s": READERS * ITEMS / (time.monotonic() - began)}


async def _count(items: AsyncIterator[StreamItem | Any]) -> int:
    count = 0
    async for _ in items:
        count += 1
    return count


QUESTIONS = (
    Question(
        "live: an item when idle",
        f"From before `send` to the item in another process, {PAUSE * 1000:g} ms of idleness before each of {ITEMS}.",
        latency,
        targets=(Target("p50_ms", at_most=20, alone=True),),
    ),
    Question(
        "live: many items of one job",
        f"{FLOOD:,} items of one job to a reader in another process, and the round trip of other jobs meanwhile.",
        flood,
        targets=(Target("items_per_s", at_least=10_000, alone=True),),
    ),
    Question(
        "live: many readers of one stream",
        f"{ITEMS} items of one job to {READERS:,} readers in one process, counted for each reader.",
        crowd,
    ),
)
