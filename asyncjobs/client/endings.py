"""What is stored about a job, as the values and errors a caller sees."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from asyncjobs.db.rows import Finished, State, StatusRow
from asyncjobs.defining import codec
from asyncjobs.defining.base import Job
from asyncjobs.defining.child import Child
from asyncjobs.defining.status import ChildStatus, StateName, Status, StepStatus
from asyncjobs.defining.stored_errors import read_errors
from asyncjobs.exceptions import JobCancelled, JobDiscarded, JobFailed

MOST_LOOKED_AT = 1_000
"""Jobs that one job runs whose states are looked at."""


def outcome(job: Job[Any], ended: Finished) -> Any:
    """Return an ended job's result, in its annotated type.

    Raises:
        JobFailed, JobDiscarded, JobCancelled: It ended so.
    """
    return job._definition.result.load(stored_outcome(job, ended))


def stored_outcome(job: Job[Any], ended: Finished) -> str | None:
    """Return the JSON of an ended job's result.

    Raises:
        JobFailed, JobDiscarded, JobCancelled: It ended so.
    """
    state = State(ended.state)
    job._state = state.name
    if state is State.succeeded:
        return ended.result
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


def read_status(row: StatusRow, states: Mapping[UUID, tuple[str, str]] | None = None) -> Status:
    """Return a stored row as a `Status`; `states`: of the jobs that its steps run, as `read_states` has them."""
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
        steps=read_steps(row.steps, states),
    )


def read_steps(text: str | None, states: Mapping[UUID, tuple[str, str]] | None = None) -> list[StepStatus]:
    """Return the steps of a stored job, in their order; see `read_status`."""
    return [] if text is None else [_step(stored, states or {}) for stored in codec.loads(text)]


def unended(text: str | None) -> list[UUID]:
    """Return the jobs that steps of a stored job run and whose ends are not recorded; at most `MOST_LOOKED_AT`."""
    if text is None or '"children":"' not in text:
        return []
    children = [child for stored in codec.loads(text) for child in _children(stored)]
    return [child.id for child in children if child.state is None][:MOST_LOOKED_AT]


def _children(stored: dict[str, Any]) -> list[Child]:
    text = stored.get("children")
    return [] if text is None else [Child.read(one) for one in codec.loads(text)["jobs"]]


def _step(stored: dict[str, Any], states: Mapping[UUID, tuple[str, str]]) -> StepStatus:
    error = _object(stored["error"])
    children, runs_jobs = _children(stored), stored.get("children") is not None
    result = None if stored["result"] is None else _plain(stored["result"])
    if runs_jobs and stored["state"] == "succeeded":
        result = [child.result for child in children]
    return StepStatus(
        name=stored["name"],
        state=stored["state"],
        attempt=stored["attempt"],
        started_at=datetime.fromisoformat(stored["started_at"]),
        finished_at=_time(stored["finished_at"]),
        wakes_at=_time(stored["wakes_at"]),
        event=stored["event"],
        key=stored["key"] or None,
        result=result,
        cursor=None if stored["cursor"] is None else _plain(stored["cursor"]),
        error=": ".join(str(error[part]) for part in ("type", "message") if error.get(part)) or None,
        children=[_child(child, states) for child in children] if runs_jobs else None,
    )


def _child(child: Child, states: Mapping[UUID, tuple[str, str]]) -> ChildStatus:
    state = child.state or states.get(child.id, (None,))[0]
    return ChildStatus(child.id, child.kind, cast("StateName | None", state))


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
