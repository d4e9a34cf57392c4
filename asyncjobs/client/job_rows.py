"""Rows of jobs to enqueue, and the state noted in a job object once its row is stored."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asyncjobs.db.rows import NewJob, Stored
from asyncjobs.exceptions import AlreadyEnqueued, InvalidOption, NotUnique
from asyncjobs.jobs.batches import Batch
from asyncjobs.jobs.chains import Chain
from asyncjobs.jobs.functions import JobFunction
from asyncjobs.jobs.job import Job
from asyncjobs.jobs.labelling import stored_labels, stored_searchable
from asyncjobs.jobs.ordering import limit_keys_of, unique_key_of
from asyncjobs.performing import tracing
from asyncjobs.values import codec
from asyncjobs.values.previous import Pending, check_known

if TYPE_CHECKING:
    from asyncjobs.definitions.definition import Definition

logger = logging.getLogger("asyncjobs.client")

on_enqueued: Callable[[str, str], object] | None = None
"""Called with kind and queue of each job whose row was made; None: nobody asks."""

_warned_of: set[str] = set()
_ORDERING = {"unique", "concurrency", "rate_limit"}


def check_job(job: Any, what: str = "enqueue", index: int | None = None) -> None:
    """Refuse a value that is no job, and the job that runs here, which has a row already.

    Args:
        job: The value to check.
        what: The call, for the message.
        index: The place of the value in an iterable; None: it was given alone.
    """
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
    is_of_jobs = isinstance(job, Batch | Chain)
    remedy = "call its own enqueue()" if is_of_jobs else "call a @job function or a Job class"
    raise InvalidOption(f"{what}: {type(job).__name__} is no job: {remedy}")


def row_of(job: Job[Any], *, after: UUID | None = None, batch: UUID | None = None) -> NewJob:
    """Return the row that a job is stored as.

    Args:
        job: The job.
        after: The job that comes before it in a chain.
        batch: The batch of the job.

    Raises:
        InvalidOption: Its arguments have `chain.previous`, and no job comes before it.
    """
    definition = job._definition
    if after is None and isinstance(job._values, Pending):
        check_known(job)
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
        _order_of(job, definition, after, batch),
        None if said is None and tracing.active is None else stored_labels(job),
        stored_searchable(job) if definition.options.searchable else None,
    )


def _order_of(job: Job[Any], definition: Definition, after: UUID | None, batch: UUID | None) -> str | None:
    said = job._set_options
    order: dict[str, Any] = {}
    if definition.is_ordered or (said is not None and not _ORDERING.isdisjoint(said)):
        order = {"unique": unique_key_of(job), "limits": limit_keys_of(job)}
    if after is not None:
        values = job._values
        order["after"] = {"job": str(after), "previous": values.mark if isinstance(values, Pending) else None}
    if batch is not None:
        order["batch"] = str(batch)
    return codec.dumps({name: value for name, value in order.items() if value}) if order else None


def _warn_of_program(definition: Definition) -> None:
    """Warn once of a kind that only a worker in this process can know, if no worker was started here."""
    origin = definition.source.origin
    is_named_by_hand = not definition.name.startswith(
        f"{origin.name}."
    )  # another program may define it under this name
    if is_named_by_hand or definition.kind in _warned_of or "asyncjobs.worker.worker" in sys.modules:
        return
    _warned_of.add(definition.kind)
    logger.warning("only a worker of this program can run %s, and it has none: %s", definition.kind, origin.remedy)


def mark_enqueued(job: Job[Any], row: NewJob, *, made: bool) -> None:
    """Note in a job that its row exists; `made`: this call has made it."""
    if made:
        job._queue = row.queue
        job._disposition = "enqueued"
        if on_enqueued is not None:
            on_enqueued(row.kind, row.queue)
        job._state = "ready" if row.delay is None and row.run_at is None else "scheduled"
    elif job._disposition is None:
        job._disposition = "duplicate"


def mark_stored(job: Job[Any], row: NewJob, stored: Stored) -> bool:
    """Note in a job with limits or a unique key how it was stored; return whether this call made its row.

    Raises:
        NotUnique: Another job has its unique key, and its definition asks for the error.
    """
    if stored.disposition in ("enqueued", "there"):
        mark_enqueued(job, row, made=stored.disposition == "enqueued")
        return stored.disposition == "enqueued"
    if stored.disposition == "taken":
        raise NotUnique(job.kind, stored.id)
    job._id = stored.id
    job._disposition = "replaced" if stored.disposition == "replaced" else "duplicate"
    return False
