"""What is stored about a job, as the values and errors a caller sees."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from asyncjobs.db.rows import Finished, State, StatusRow
from asyncjobs.defining import codec
from asyncjobs.defining.base import Job
from asyncjobs.defining.status import StateName, Status, StepStatus
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
        arguments={} if row.args is None else _plain(row.args),
        errors=read_errors(row.errors),
        result=None if row.result is None else _plain(row.result),
        reason=row.reason,
        cancel_reason=row.cancel_reason,
        counts=read_counts(row.counts),
        expires_at=row.expires_at,
        enqueued_at=row.enqueued_at,
        run_at=row.run_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        worker=row.worker,
        attributes=_object(row.progress),
        steps=read_steps(row.steps),
    )


def read_steps(text: str | None) -> list[StepStatus]:
    """Return the steps of a stored job, in their order."""
    return [] if text is None else [_step(stored) for stored in codec.loads(text)]


def _step(stored: dict[str, Any]) -> StepStatus:
    error = _object(stored["error"])
    return StepStatus(
        name=stored["name"],
        state=stored["state"],
        attempt=stored["attempt"],
        started_at=datetime.fromisoformat(stored["started_at"]),
        finished_at=_time(stored["finished_at"]),
        wakes_at=_time(stored["wakes_at"]),
        event=stored["event"],
        key=stored["key"] or None,
        result=None if stored["result"] is None else _plain(stored["result"]),
        cursor=None if stored["cursor"] is None else _plain(stored["cursor"]),
        error=": ".join(str(error[part]) for part in ("type", "message") if error.get(part)) or None,
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def read_counts(text: str | None) -> dict[str, int]:
    """Return what is counted of a stored job; what somebody wrote by hand counts for nothing."""
    return {key: count for key, count in _object(text).items() if type(count) is int}


def _object(text: str | None) -> dict[str, Any]:
    stored = None if text is None else _plain(text)
    return stored if isinstance(stored, dict) else {}


def _plain(text: str) -> Any:
    """Read stored JSON; what somebody else stored may be none, and is shown as it is."""
    try:
        return codec.loads(text)
    except ValueError:
        return text
