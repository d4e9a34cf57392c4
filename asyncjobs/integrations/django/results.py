"""Stored jobs as results of Django's tasks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from asyncjobs.integrations.django.api import InvalidTask, Task, TaskError, TaskResult, TaskResultStatus
from asyncjobs.records.status import AttemptError, Status

_STATUSES = {
    "scheduled": TaskResultStatus.READY,
    "ready": TaskResultStatus.READY,
    "running": TaskResultStatus.RUNNING,
    "waiting": TaskResultStatus.RUNNING,
    "succeeded": TaskResultStatus.SUCCESSFUL,
    "failed": TaskResultStatus.FAILED,
    "discarded": TaskResultStatus.FAILED,
    "cancelled": TaskResultStatus.FAILED,
}
_ENDED_BY = {"discarded": "JobDiscarded", "cancelled": "JobCancelled", "failed": "JobFailed"}


def result_of(task: Task, status: Status, *, backend: str) -> TaskResult:
    """Return the result of a job; `worker_ids` has an entry for each attempt, empty where its worker is not on record."""
    made = TaskResult(
        task=as_enqueued(
            task, queue=status.queue, priority=status.priority, run_at=_asked_time(status), backend=backend
        ),
        id=str(status.id),
        status=_STATUSES[status.state],
        enqueued_at=made_at(status.id) or as_django(status.enqueued_at),
        started_at=as_django(_first_start(status)),
        finished_at=as_django(status.finished_at),
        last_attempted_at=as_django(status.started_at),
        args=status.arguments.get("args", []),
        kwargs=status.arguments.get("kwargs", {}),
        backend=backend,
        errors=_errors(status),
        worker_ids=workers(status.attempt, status.worker),
    )
    set_value(made, status.result)
    return made


def set_value(result: TaskResult, value: Any) -> None:
    """Set the return value of a result, which is frozen."""
    object.__setattr__(result, "_return_value", value)


def workers(attempts: int, last: object) -> list[str]:
    """Return the worker of each attempt, of which the last alone is known, if any."""
    return ["" for _ in range(attempts - 1)] + ["" if last is None else str(last) for _ in range(min(attempts, 1))]


def as_enqueued(task: Task, *, queue: str, priority: int, backend: str, run_at: datetime | None = None) -> Task:
    """Return a task with what was asked for when it was enqueued, as far as the settings allow that still."""
    wanted: dict[str, Any] = {
        "queue_name": queue,
        "priority": -priority,
        "backend": backend,
        "run_after": as_django(run_at),
    }
    try:
        return replace(task, **wanted)
    except InvalidTask:
        return task


def as_django(moment: datetime | None) -> datetime | None:
    """Return a time as Django's settings have it: aware, or naive in the time zone of the settings."""
    if moment is None or settings.USE_TZ:
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone())


def as_aware(moment: datetime | None) -> datetime | None:
    """Return a time of Django's with its time zone."""
    return (
        timezone.make_aware(moment, timezone.get_default_timezone()) if moment and timezone.is_naive(moment) else moment
    )


def made_at(job_id: UUID) -> datetime | None:
    """Return when an id was made, to the millisecond, which is what the enqueueing process knows; None: it does not say."""
    return None if job_id.version != 7 else as_django(datetime.fromtimestamp((job_id.int >> 80) / 1000, UTC))


def _asked_time(status: Status) -> datetime | None:
    """Return when a job is to run that waits for its first attempt; every other has a time, too, that nobody asked for."""
    return status.run_at if status.state == "scheduled" and not status.attempt else None


def _first_start(status: Status) -> datetime | None:
    """Return the start of the first attempt, of which only the end may be on record."""
    first = status.errors[0].at if status.errors and status.attempt > 1 else None
    return min((moment for moment in (first, status.started_at) if moment is not None), default=None)


def _errors(status: Status) -> list[TaskError]:
    found = [TaskError(exception_class_path=error.type, traceback=_traceback(error)) for error in status.errors]
    if status.state in ("discarded", "cancelled") or (status.state == "failed" and not found):
        name = f"asyncjobs.exceptions.{_ENDED_BY[status.state]}"
        found.append(TaskError(exception_class_path=name, traceback=f"{name}: {status.reason or ''}\n"))
    return found


def _traceback(error: AttemptError) -> str:
    return error.traceback or f"{error.type}: {error.message}\n"
