"""What does a job in memory cost, and does a full process still keep its lease?"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import ours
from benchmarks.jobs import nap
from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from benchmarks.server import Bench

JOBS = 10_000
POOLS: ours.Pools = ((("*",), JOBS),)
NAP = 60
WATCHED = 6.0
"""Seconds of looking at the heartbeat while all are asleep."""
BEAT_AGE = """
select extract(epoch from clock_timestamp() - max(beat_at))::float8 from asyncjobs.worker where dead_at is null"""


async def asleep_at_once(bench: Bench) -> Sample:
    """Resident memory a job above the idle worker, and the oldest heartbeat seen meanwhile."""
    async with ours.client(bench) as jobs, ours.worker(bench, pools=POOLS, expected=JOBS) as (process, ear):
        await ours.warm(ear)
        await asyncio.sleep(1)
        idle = _resident_kib(process.pid)
        await jobs.enqueue_all(nap(NAP) for _ in range(JOBS))
        async with asyncio.timeout(NAP - WATCHED - 5):
            oldest = await _watch(bench, asyncio.ensure_future(ear.hear(JOBS, timeout=NAP)))
        full = _resident_kib(process.pid)
        process.kill()  # nobody waits a minute for them to wake
        await process.exit_code()
    return {"kib_each": (full - idle) / JOBS, "idle_mib": idle / 1024, "oldest_beat_s": oldest}


async def _watch(bench: Bench, all_asleep: asyncio.Future[int]) -> float:
    """Look at the heartbeat until all are asleep, and for a while after; the oldest that was seen, in seconds."""
    oldest, asleep_since = 0.0, None
    while asleep_since is None or time.monotonic() - asleep_since < WATCHED:
        await asyncio.sleep(0.1)
        oldest = max(oldest, await bench.control.fetchval(BEAT_AGE))
        if all_asleep.done() and asleep_since is None:
            asleep_since = time.monotonic()
    running = await bench.control.fetchval("select count(*) from asyncjobs.job where state = 2")
    assert running == JOBS, f"{running} jobs run, not {JOBS}"
    return oldest


def _resident_kib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found, f"no VmRSS of {pid}"
    return int(found[1])


QUESTIONS = (
    Question(
        "memory",
        "10,000 jobs asleep at once in one process: resident memory of each above the idle worker's, and the oldest "
        "heartbeat seen in the meantime (one is due every 2 s at the latest).",
        asleep_at_once,
        None,
        targets=(Target("kib_each", at_most=12, alone=True), Target("oldest_beat_s", at_most=3, alone=True)),
    ),
)
