"""Does a long queue make a slow queue?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import ours
from benchmarks.jobs import noop
from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from benchmarks.server import Bench

QUEUES = ("first", "second", "third")
POOLS: ours.Pools = ((QUEUES, ours.CONCURRENCY),)
SHORT, LONG = 10_000, 1_000_000


async def _drain(bench: Bench, count: int) -> Sample:
    jobs = (noop(n).set(queue=QUEUES[n % 3]) for n in range(count))
    return await ours.drain(bench, jobs, count, pools=POOLS)


async def short(bench: Bench) -> Sample:
    """Drain 10,000 jobs in 3 queues."""
    return await _drain(bench, SHORT)


async def long(bench: Bench) -> Sample:
    """Drain 1,000,000 jobs in 3 queues."""
    return await _drain(bench, LONG)


QUESTIONS = (
    Question(
        "backlog",
        "Draining a backlog of 1,000,000 ready jobs in 3 queues; against one of 10,000.",
        long,
        short,
        "ours at 10,000",
        targets=(Target("jobs_per_s", at_least=0.9),),
        most_runs=3,
    ),
)
