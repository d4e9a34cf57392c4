"""How fast does one worker process run jobs that do nothing?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import floor, ours
from benchmarks.jobs import noop
from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from benchmarks.server import Bench


async def drain(bench: Bench) -> Sample:
    """Drain 20,000 jobs, with history and fences."""
    return await ours.drain(bench, (noop(n) for n in range(floor.JOBS)), floor.JOBS)


QUESTIONS = (
    Question(
        "drain",
        "20,000 no-op async jobs with one argument, history and fences on, one process; against claiming and moving 500 "
        "at a time in bare SQL, overlapped on two connections. From the first claim to the last finish, by the clock of "
        "the database.",
        drain,
        floor.drain,
        targets=(Target("jobs_per_s", at_least=0.6),),
    ),
)
