"""Stored jobs as values and errors for callers: results, statuses, steps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from asyncjobs.db.live import ProgressRow
from asyncjobs.db.rows import Finished, State, StatusRow, state_name
from asyncjobs.definitions.labels import meta_in, tags_in
from asyncjobs.exceptions import JobCancelled, JobDiscarded, JobFailed
from asyncjobs.failing.stored_errors import last_error, read_errors
from asyncjobs.jobs.job import Job
from asyncjobs.performing.child_job import ChildJob
from asyncjobs.records.live import Progress
from asyncjobs.records.status import ChildStatus, StateName, Status, StepStatus
from asyncjobs.values import codec
from asyncjobs.values.plain_json import shown, shown_object

_FIRST = datetime(1, 1, 2, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)
LARGEST_WHOLE = 2**53
"""Up to there a float holds every whole number."""
MOST_LOOKED_AT = 1_000
"""Jobs run by the steps of one job whose states are read, at most."""


def outcome(job: Job[Any], ended: Finished) -> Any:
    """Return the result of a job that has ended, in its annotated type.

    Raises:
        JobFailed, JobDiscarded, JobCancelled: The job did not succeed.
    """
    return job._definition.result.load(stored_outcome(job, ended))


def stored_outcome(job: Job[Any], ended: Finished) -> str | None:
    """Return the result of a job that has ended, as JSON.

    Raises:
        JobFailed, JobDiscarded, JobCancelled: The job did not succeed.
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
    last = last_error(ended.errors)
    if last is None:
        raise JobFailed(job_id=ended.id, kind=ended.kind, error_message=reason)
    raise JobFailed(
        job_id=ended.id, kind=ended.kind, error_type=last.type, error_message=last.message, traceback=last.traceback
    )


def read_status(
    row: StatusRow, states: Mapping[UUID, tuple[str, str]] | None = None, live: ProgressRow | None = None
) -> Status:
    """Return a stored row as a `Status`.

    Args:
        row: The row.
        states: The states of the jobs that its steps run, as from `read_states`.
        live: What it has shown; None: nothing.
    """
    return Status(
        id=row.id,
        kind=row.kind,
        state=cast("StateName", state_name(row.state)),
        queue=row.queue,
        priority=row.priority,
        attempt=row.attempt,
        crashes=row.crashes,
        arguments={} if row.args is None else shown(row.args),
        errors=read_errors(row.errors),
        result=None if row.result is None else shown(row.result),
        reason=row.reason,
        cancel_reason=row.cancel_reason,
        counts=read_counts(row.counts),
        expires_at=row.expires_at,
        enqueued_at=row.enqueued_at,
        run_at=row.run_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        worker=row.worker,
        attributes=shown_object(row.progress),
        progress=None if live is None else progress_of(live),
        items=0 if live is None else live.items,
        steps=read_steps(row.steps, states),
        meta=meta_in(row.labels),
        tags=tags_in(row.labels),
    )


def read_steps(text: str | None, states: Mapping[UUID, tuple[str, str]] | None = None) -> list[StepStatus]:
    """Return the steps of a stored job, in their order; see `read_status`."""
    return [_step(stored, states or {}) for stored in _stored_steps(text)]


def unended(text: str | None) -> list[UUID]:
    """Return the jobs run by the steps of a stored job whose ends are not recorded; at most `MOST_LOOKED_AT`."""
    if text is None or '"children":"' not in text:
        return []
    children = [child for stored in _stored_steps(text) for child in _children(stored)]
    return [child.id for child in children if child.state is None][:MOST_LOOKED_AT]


def _stored_steps(text: str | None) -> list[dict[str, Any]]:
    stored = [] if text is None else shown(text)
    return [step for step in stored if isinstance(step, dict)] if isinstance(stored, list) else []


def _children(stored: dict[str, Any]) -> list[ChildJob]:
    """Return the jobs that a step runs; none when the stored value, perhaps written by hand, is no list of jobs."""
    try:
        return [ChildJob.read(one) for one in codec.loads(stored["children"])["jobs"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _step(stored: dict[str, Any], states: Mapping[UUID, tuple[str, str]]) -> StepStatus:
    error = shown_object(_text(stored.get("error")))
    children, runs_jobs = _children(stored), stored.get("children") is not None
    result = _value(stored.get("result"))
    if runs_jobs and stored.get("state") == "succeeded":
        result = [child.result for child in children]
    return StepStatus(
        name=_text(stored.get("name")) or "",
        state=_text(stored.get("state")) or "",
        attempt=attempt if isinstance(attempt := stored.get("attempt"), int) else 0,
        started_at=_time(stored.get("started_at")) or _FIRST,
        finished_at=_time(stored.get("finished_at")),
        wakes_at=_time(stored.get("wakes_at")),
        event=_text(stored.get("event")),
        key=_text(stored.get("key")) or None,
        result=result,
        cursor=_value(stored.get("cursor")),
        error=": ".join(str(error[part]) for part in ("type", "message") if error.get(part)) or None,
        children=[_child(child, states) for child in children] if runs_jobs else None,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str | None) else str(value)


def _value(stored: Any) -> Any:
    return shown(stored) if isinstance(stored, str) else stored


def _child(child: ChildJob, states: Mapping[UUID, tuple[str, str]]) -> ChildStatus:
    state = child.state or states.get(child.id, (None,))[0]
    return ChildStatus(child.id, child.kind, cast("StateName | None", state))


def _time(text: Any) -> datetime | None:
    """Return a stored time; for one beyond Python's range, the nearest within it."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return _FIRST if text.startswith("-") or "BC" in text else _LAST


def read_counts(text: str | None) -> dict[str, int]:
    """Return the counters of a stored job, without values that are no numbers, perhaps written by hand."""
    return {key: count for key, count in shown_object(text).items() if type(count) is int}


def progress_of(row: ProgressRow) -> Progress | None:
    """Return stored progress as a value; None: the job has only sent items."""
    if row.done is None or row.shown_at is None:
        return None
    return Progress(_number(row.done), None if row.total is None else _number(row.total), row.note or "", row.shown_at)


def _number(value: float) -> float:
    """Return a whole number as an int, unless it is so large that JSON cannot hold that."""
    return int(value) if value.is_integer() and abs(value) <= LARGEST_WHOLE else value
