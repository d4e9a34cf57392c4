"""A job as the row to send, and what is noted in it once it was sent."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from asyncjobs.db.rows import NewJob
from asyncjobs.defining.base import Job
from asyncjobs.defining.decorator import JobFunction
from asyncjobs.exceptions import AlreadyEnqueued, InvalidOption

if TYPE_CHECKING:
    from asyncjobs.defining.definition import Definition

logger = logging.getLogger("asyncjobs.client")

_warned_of: set[str] = set()


def check_job(job: Any, what: str = "enqueue", index: int | None = None) -> None:
    """Refuse what is no job, and say what it is; and a job that runs, whose row there is already."""
    if isinstance(job, Job) and job._attempt is None:
        job._made_at = None
        return
    if index is not None:
        what = f"item {index} of {what}"
    if isinstance(job, Job):
        raise AlreadyEnqueued(
            f"{what}: {job.kind} {job.id} is the job that runs here, and one job has one row: to run it once more, raise "
            "Snooze(…) or Retry(…); for a job after this one, make a new object and enqueue that"
        )
    if isinstance(job, JobFunction) or (isinstance(job, type) and issubclass(job, Job)):
        raise InvalidOption(f"{what}: {job!r} is a definition: call it with its arguments to make a job")
    raise InvalidOption(f"{what}: {type(job).__name__} is no job: call a @job function or a Job class")


def row_of(job: Job[Any]) -> NewJob:
    """Return the row that a job is stored as."""
    definition = job._definition
    if definition.source.origin.is_nameless:
        _warn_of_program(definition)
    said = job._set_options
    at, wait = (None, None) if said is None else (said.get("at"), said.get("wait"))
    return NewJob(
        job.id,
        definition.kind,
        job.queue,
        job.priority,
        job._stored_arguments(),
        at,
        wait,
        definition.options.expires_in,
    )


def _warn_of_program(definition: Definition) -> None:
    """Warn once of a kind that no worker can know but one of this process, when it has made none so far."""
    origin = definition.source.origin
    is_named_by_hand = not definition.name.startswith(f"{origin.name}.")  # as one that a worker elsewhere defines, too
    if is_named_by_hand or definition.kind in _warned_of or "asyncjobs.worker.worker" in sys.modules:
        return
    _warned_of.add(definition.kind)
    logger.warning("only a worker of this program can run %s, and it has none: %s", definition.kind, origin.remedy)


def mark_enqueued(job: Job[Any], row: NewJob, *, made: bool) -> None:
    """Note in a job that its row exists; `made`: by this call."""
    if made:
        job._queue = row.queue
        job._disposition = "enqueued"
        job._state = "ready" if row.delay is None and row.run_at is None else "scheduled"
    elif job._disposition is None:
        job._disposition = "duplicate"
