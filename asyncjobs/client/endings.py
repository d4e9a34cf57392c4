"""What is stored about a job, as the values and errors a caller sees."""

from __future__ import annotations

from typing import Any, cast

from asyncjobs.db.rows import Finished, State, StatusRow
from asyncjobs.defining import codec
from asyncjobs.defining.base import Job
from asyncjobs.defining.status import StateName, Status
from asyncjobs.defining.stored_errors import read_errors
from asyncjobs.exceptions import JobCancelled, JobDiscarded, JobFailed


def outcome(job: Job[Any], ended: Finished) -> Any:
    """Return an ended job's result, in its annotated type.

    Raises:
        JobFailed, JobDiscarded, JobCancelled: It ended so.
    """
    state = State(ended.state)
    job._state = state.name
    if state is State.succeeded:
        return job._definition.result.load(ended.result)
    reason = ended.reason or ""
    if state is State.discarded:
        raise JobDiscarded(job_id=ended.id, kind=ended.kind, reason=reason)
    if state is State.cancelled:
        raise JobCancelled(job_id=ended.id, kind=ended.kind, reason=reason)
    errors = read_errors(ended.errors)
    if not errors:
        raise JobFailed(job_id=ended.id, kind=ended.kind, error_message=reason)
    last = errors[-1]
    raise JobFailed(
        job_id=ended.id, kind=ended.kind, error_type=last.type, error_message=last.message, traceback=last.traceback
    )


def read_status(row: StatusRow) -> Status:
    """Return a stored row as a `Status`."""
    return Status(
        id=row.id,
        kind=row.kind,
        state=cast("StateName", State(row.state).name),
        queue=row.queue,
        priority=row.priority,
        attempt=row.attempt,
        crashes=row.crashes,
        arguments=_plain(row.args),
        errors=read_errors(row.errors),
        result=None if row.result is None else _plain(row.result),
        reason=row.reason,
        cancel_reason=row.cancel_reason,
        counts=_counts(row.counts),
        expires_at=row.expires_at,
        enqueued_at=row.enqueued_at,
        run_at=row.run_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        worker=row.worker,
    )


def _counts(text: str | None) -> dict[str, int]:
    stored = None if text is None else _plain(text)
    return {key: count for key, count in stored.items() if type(count) is int} if isinstance(stored, dict) else {}


def _plain(text: str) -> Any:
    """Read stored JSON; what somebody else stored may be none, and is shown as it is."""
    try:
        return codec.loads(text)
    except ValueError:
        return text
