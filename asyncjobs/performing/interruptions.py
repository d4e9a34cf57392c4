"""Interruptions: runs that ended because a worker stopped or the database was lost, and the limit on their number."""

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
"""The key of their number in a row, beside a job's counts of declarations, whose keys are names of errors."""
LONGEST_BACKOFF = 60.0
"""Seconds."""
_STOPS = "its worker stopped"


def interrupted(
    job: JobValue, outcome: Outcome, error: BaseException | None, *, progressed: bool, counts: Mapping[str, int], most: int
) -> Outcome | JobInterrupted:  # fmt: skip
    """Return the outcome of an interrupted run: ready at once, or after a wait that grows; or the error that ends the job.

    Args:
        outcome: The outcome without a wait.
        progressed: Whether the run has recorded something: then counting begins anew.
        most: Interruptions in a row without progress that are allowed; one more, and the job fails.
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
        return outcome  # usual during a deploy, and not worth a line for each job
    trace = JobInterrupted(f"was interrupted without progress{times}: {reason}")
    log(logger, logging.WARNING, "%s %s %s; it runs again in %g s", job.kind, job.id, brief(str(trace)), wait)
    return outcome._replace(error=trace)


def _reason(error: BaseException | None) -> str:
    signal = said_by(error)
    if signal is not None:
        return signal.reason or type(signal).__name__
    if error is None or issubclass(type(error), asyncio.CancelledError):
        return _STOPS
    return f"{_STOPS}, and it raised {type(error).__name__}: {brief(message_of(error))}"
