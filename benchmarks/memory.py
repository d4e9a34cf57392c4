"""What does a job in memory cost, and does a full process still keep its lease?"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import ours
from benchmarks.jobs import asleep
from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from benchmarks.server import Bench

JOBS = 10_000
NAP = 60
WATCHED = 6.0
"""Seconds of looking at the heartbeat while all are asleep."""
BEAT_AGE = """
select extract(epoch from clock_timestamp() - max(beat_at))::float8 from asyncjobs.worker where dead_at is null"""


async def asleep_at_once(bench: Bench) -> Sample:
    """Resident memory a job above the idle worker, and the oldest heartbeat seen meanwhile."""
    async with ours.client(bench) as jobs, ours.worker(bench, pools=((("*",), JOBS),)) as (process, ear):
        await ours.warm(ear)
        await asyncio.sleep(1)
        idle = _resident_kib(process.pid)
        await jobs.enqueue_all(asleep(NAP) for _ in range(JOBS))
        oldest = await _watch(bench, until_running=JOBS)
        full = _resident_kib(process.pid)
        process.kill()  # nobody waits a minute for them to wake
        await process.exit_code()
    return {"kib_each": (full - idle) / JOBS, "idle_mib": idle / 1024, "oldest_beat_s": oldest}


async def _watch(bench: Bench, *, until_running: int) -> float:
    """Look at the heartbeat until all run, and for a while after; the oldest that was seen, in seconds."""
    oldest, full_since = 0.0, None
    async with asyncio.timeout(NAP - 5):
        while full_since is None or time.monotonic() - full_since < WATCHED:
            await asyncio.sleep(0.1)
            oldest = max(oldest, await bench.control.fetchval(BEAT_AGE))
            running = await bench.control.fetchval("select count(*) from asyncjobs.job where state = 2")
            if running == until_running and full_since is None:
                full_since = time.monotonic()
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
