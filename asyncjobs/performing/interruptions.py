"""Interruptions: runs that end unspent, since a worker stops or the database is lost, and how many of them there may be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from asyncjobs.checks.foreign_texts import brief, log, message_of
from asyncjobs.exceptions import JobInterrupted
from asyncjobs.failing.deciding import said_by
from asyncjobs.performing.job_value import JobValue
from asyncjobs.performing.outcomes import Outcome

logger = logging.getLogger("asyncjobs.worker")

INTERRUPTIONS = "interrupted without progress"
"""Counts how often in a row, among the counts of a job's declarations, which are called by their errors' names."""
LONGEST_BACKOFF = 60.0
"""Seconds."""
_STOPS = "its worker stopped"


def interrupted(
    job: JobValue, outcome: Outcome, error: BaseException | None, *, progressed: bool, counts: Mapping[str, int], most: int
) -> Outcome | JobInterrupted:  # fmt: skip
    """Return how a run ends that was interrupted: at once again, or after a wait that grows; or the error that ends the job.

    Args:
        job: That was run.
        outcome: Given back, as it would be at once.
        error: What has ended the run.
        progressed: Whether it has recorded something: then it begins to count anew.
        counts: Of the job's declarations.
        most: Interruptions without progress in a row after which the job goes on; one more, and it has failed.
    """
    before = counts.get(INTERRUPTIONS, 0)
    now = 0 if progressed else before + 1
    if now == 0:
        return outcome._replace(counts={**counts, INTERRUPTIONS: 0}) if before else outcome
    reason = _reason(error)
    times = "" if now == 1 else f", {now} times in a row"
    if now > most:
        return JobInterrupted(f"was interrupted without progress{times}: {reason}; max_interruptions is {most}")
    wait = min(2.0 ** (now - 1), LONGEST_BACKOFF) if now > 1 else 0.0
    outcome = outcome._replace(wait=wait, counts={**counts, INTERRUPTIONS: now})
    if now == 1 and reason.startswith(_STOPS):
        return outcome  # a deploy, of which nobody need be told job by job
    trace = JobInterrupted(f"was interrupted without progress{times}: {reason}")
    log(logger, logging.WARNING, "%s %s %s; again in %g s", job.kind, job.id, brief(str(trace)), wait)
    return outcome._replace(error=trace)


def _reason(error: BaseException | None) -> str:
    signal = said_by(error)
    if signal is not None:
        return signal.reason or type(signal).__name__
    if error is None or issubclass(type(error), asyncio.CancelledError):
        return _STOPS
    return f"{_STOPS}, and it raised {type(error).__name__}: {brief(message_of(error))}"
