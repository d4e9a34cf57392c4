"""How fast are others at the same, each set up as its own documentation calls fastest?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import ours
from benchmarks.jobs import limited, noop, unique
from benchmarks.peers.environments import PEERS, Peer
from benchmarks.program import program
from benchmarks.question import Question, Sample, Side, Unavailable

if TYPE_CHECKING:
    import asyncpg

    from benchmarks.clock import Ear
    from benchmarks.server import Bench
    from tests.support.workers import Worker

JOBS = 10_000
KEYS = 1_000
LONGEST = 60.0
"""Seconds that a side has to store its jobs, and again to run them: one that has not ended counts with what it has done."""
OURS = """
select count(*), extract(epoch from clock_timestamp() - min(started_at))::float8 from asyncjobs.finished where state = 4"""


def _ours(make: Callable[[int], Any]) -> Side:
    async def drain(bench: Bench) -> Sample:
        async with ours.client(bench) as jobs:
            assert await jobs.enqueue_all(make(n) for n in range(JOBS)) == JOBS
        async with ours.worker(bench, expected=JOBS) as (working, ear):
            return await _rate(bench.control, OURS, working, ear)

    return drain


def _theirs(peer: Peer, feature: str) -> Side:
    async def drain(bench: Bench) -> Sample:
        interpreter = await peer.interpreter(bench.directory)
        file = str(Path(__file__).parent / peer.program)
        async with bench.database("peer") as (url, control):

            def command(what: str) -> list[str]:
                return [interpreter, file, what, url, feature, str(JOBS), str(KEYS)]

            async with program(bench, command("store")) as (storing, _):
                try:
                    code = await storing.exit_code(LONGEST)
                except TimeoutError:
                    raise Unavailable(f"it has not stored its jobs within {LONGEST:.0f} s") from None
                if code:
                    raise Unavailable(f"it cannot store its jobs: {_last_line(storing.log)}")
            await control.execute("analyze")
            await control.execute("checkpoint")
            async with program(bench, command("work"), expected=JOBS) as (working, ear):
                sample = await _rate(control, peer.progress, working, ear)
                if not working.running:
                    raise Unavailable(f"its worker ended: {_last_line(working.log)}")
                if not sample["jobs_per_s"]:
                    raise Unavailable(f"it has not finished a job within {LONGEST:.0f} s")
                return sample

    return drain


async def _rate(control: asyncpg.Connection, progress: str, working: Worker, ear: Ear) -> Sample:
    """Jobs a second until they are seen to be finished.

    Nobody looks before the last job has run: looking takes a core from who works.
    """
    until = time.monotonic() + LONGEST
    heard = 0
    while not heard and working.running and time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            heard = await ear.hear(JOBS, timeout=0.5)
    while True:
        finished, seconds = await control.fetchrow(progress)
        if finished == JOBS or not working.running or time.monotonic() > until:
            return {"jobs_per_s": finished / seconds if finished else 0.0}
        await asyncio.sleep(0.002)


def _last_line(log: str) -> str:
    return (log.strip().splitlines() or ["it said nothing"])[-1]


def _beside(feature: str, asks: str, make: Callable[[int], Any], note: str = "") -> Question:
    return Question(
        f"peers: {feature}",
        f"{JOBS:,} no-op jobs{asks}, one worker process. Set-up, clock and what each has: under *peers: plain*.",
        _ours(make),
        beside=tuple((peer.name, _theirs(peer, feature)) for peer in PEERS if feature in peer.features),
        note=note,
    )


QUESTIONS = (
    _beside("plain", "", noop, Path(__file__).with_name("notes.md").read_text()),
    _beside("unique", ", each with a unique key", unique),
    _beside("limited", f" with a limit of 1 over {KEYS:,} keys", lambda n: limited(n % KEYS)),
)
