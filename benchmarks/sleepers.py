"""Do jobs that wait cost more than jobs that do nothing?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import ours
from benchmarks.jobs import asleep, noop
from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from benchmarks.server import Bench

JOBS = 5_000


async def doing_nothing(bench: Bench) -> Sample:
    """Drain 5,000 no-ops."""
    return await ours.drain(bench, (noop(n) for n in range(JOBS)), JOBS)


async def sleeping(bench: Bench) -> Sample:
    """Drain 5,000 jobs that sleep 10 ms."""
    return await ours.drain(bench, (asleep(0.01) for _ in range(JOBS)), JOBS)


QUESTIONS = (
    Question(
        "sleepers",
        "5,000 jobs that sleep 10 ms, concurrency 1,000; against 5,000 no-ops.",
        sleeping,
        doing_nothing,
        "ours, no-ops",
        targets=(Target("jobs_per_s", at_least=0.8),),
    ),
)
