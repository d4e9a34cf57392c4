"""What does it cost to be one of a batch, how fast is a chain, and does a fan-out of a million fit into memory?"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from asyncjobs import AsyncJobs, Batch, chain
from benchmarks import floor, ours
from benchmarks.jobs import linked, noop
from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from asyncjobs import Job
    from benchmarks.server import Bench

STORED = 100_000
LINKS = 1_000
MILLION = 1_000_000


async def in_a_batch(bench: Bench) -> Sample:
    """Seconds to store 100,000 jobs in a batch, made on the way."""
    async with ours.client(bench):
        await noop(0).enqueue()
        started = time.perf_counter()
        await Batch().add_all(noop(n) for n in range(STORED)).enqueue()
        return {"s": time.perf_counter() - started}


async def by_themselves(bench: Bench) -> Sample:
    """Seconds to store as many by `enqueue_all`."""
    async with ours.client(bench) as jobs:
        await noop(0).enqueue()
        started = time.perf_counter()
        await jobs.enqueue_all(noop(n) for n in range(STORED))
        return {"s": time.perf_counter() - started}


async def drained_in_a_batch(bench: Bench) -> Sample:
    """Drain 20,000 jobs of a batch; and the seconds from the last end to the moment in which it was noticed."""
    async with ours.client(bench):
        await Batch().add_all(noop(n) for n in range(floor.JOBS)).enqueue()
    async with ours.worker(bench, expected=floor.JOBS) as (_, ear):
        await ear.hear(floor.JOBS, timeout=500)
        rate = await ours.rate(bench, floor.JOBS)
        async with asyncio.timeout(30):
            while (noticed := await bench.control.fetchval(NOTICED)) is None:
                await asyncio.sleep(0.02)
        return {**rate, "noticed_s": noticed}


NOTICED = """
select extract(epoch from finished_at - (select max(finished_at) from asyncjobs.finished where batch is not null))::float8
from asyncjobs.batch order by made_at desc limit 1"""


async def drained(bench: Bench) -> Sample:
    """Drain as many of no batch."""
    return await ours.drain(bench, (noop(n) for n in range(floor.JOBS)), floor.JOBS)


async def links(bench: Bench) -> Sample:
    """Links a second of one chain of 1,000, each with the result of the one before, on one worker."""
    async with ours.client(bench), ours.worker(bench) as (_, ear):
        await ours.warm(ear)
        chained = chain(linked(0), *(linked(chain.previous) for _ in range(LINKS - 1)))
        started = time.perf_counter()
        await chained.enqueue()
        assert await chained.jobs[-1] == LINKS
        return {"links_per_s": LINKS / (time.perf_counter() - started)}


async def million(bench: Bench) -> Sample:
    """The most resident memory above the idle client's, of a process that stores a batch from an async iterator."""
    async with ours.client(bench):
        pass
    code = f"from benchmarks.batches import store_a_million; store_a_million({bench.url!r})"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    idle, most, seconds = map(float, said.split())
    return {"mib_above_idle": (most - idle) / 1024, "s": seconds}


def store_a_million(url: str) -> None:
    """Store a batch of a million; print the idle and the greatest resident KiB, and the seconds."""

    async def each() -> AsyncIterator[Job[None]]:
        for n in range(MILLION):
            yield noop(n)

    async def store() -> None:
        async with AsyncJobs(database_url=url):
            await noop(0).enqueue()
            await Batch().add_all([noop(1)]).enqueue()
            idle = _kib("VmRSS")
            started = time.perf_counter()
            await Batch().add_all(each()).enqueue()
            print(idle, _kib("VmHWM"), time.perf_counter() - started)

    uvloop.run(store())


def _kib(what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"no {what}"
    return int(found[1])


QUESTIONS = (
    Question(
        "batch: stored",
        "100,000 jobs in a batch, in one transaction, made on the way; against `enqueue_all` of as many.",
        in_a_batch,
        by_themselves,
        against_is="enqueue_all",
        targets=(Target("s", at_most=1.3),),
    ),
    Question(
        "batch: drained",
        "20,000 no-op jobs of one batch, one process; against as many of none. And the seconds from the last end until the "
        "batch is over.",
        drained_in_a_batch,
        drained,
        against_is="plain drain",
        targets=(Target("jobs_per_s", at_least=0.75), Target("noticed_s", at_most=2, alone=True)),
    ),
    Question(
        "chain",
        "1,000 links, each with the result of the one before, on one worker process, from the enqueueing on.",
        links,
        None,
        targets=(Target("links_per_s", at_least=300, alone=True),),
    ),
    Question(
        "batch: a million",
        "A batch of 1,000,000 from an async iterator: the most resident memory of its client above that of the idle one.",
        million,
        None,
        targets=(Target("mib_above_idle", at_most=60, alone=True),),
        most_runs=1,
    ),
)
