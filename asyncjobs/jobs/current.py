"""The running attempt, for the code of a job: `current_attempt()` and `current_job()`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from asyncjobs.definitions.labels import meta_in, tags_in
from asyncjobs.exceptions import NotRunning
from asyncjobs.jobs.running_batch import RunningBatch
from asyncjobs.performing import running_job

if TYPE_CHECKING:
    from asyncjobs.jobs.job import Job
    from asyncjobs.performing.attempt import Attempt, CancelReason

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CurrentAttempt:
    """The running attempt. It is apart from `Job`, so that a job may have fields of any of these names."""

    __slots__ = ("_attempt", "_job")

    def __init__(self, job: Job[Any], attempt: Attempt) -> None:
        self._job = job
        self._attempt = attempt

    @property
    def job(self) -> Job[Any]:
        """The running job."""
        return self._job

    @property
    def number(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number

    @property
    def meta(self) -> dict[str, str]:
        """The job's meta, as `set(meta=…)` gave it."""
        return meta_in(self._attempt.claimed.labels)

    @property
    def tags(self) -> tuple[str, ...]:
        """The job's tags, as `set(tags=…)` gave them."""
        return tags_in(self._attempt.claimed.labels)

    @property
    def batch(self) -> RunningBatch | None:
        """The batch of the job, to which it may add jobs; None: it has no batch."""
        batch = self._attempt.claimed.batch
        return None if batch is None or self._attempt.row is None else RunningBatch(batch, self._job)

    @property
    def scheduled_for(self) -> datetime | None:
        """The time of the schedule that enqueued this job, in UTC; None: no schedule did.

        It is the same on every attempt, however late the job runs and whatever `jitter` added. For a recurring job that was
        run by hand it is the time of that call.
        """
        tick = self._attempt.claimed.tick
        return None if tick is None else _EPOCH + timedelta(microseconds=round(Decimal(tick) * 1_000_000))

    @property
    def stopping(self) -> bool:
        """Whether the job should come to an end: its worker is stopping, or the job was cancelled."""
        return self._attempt.stopping

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why the job was cancelled; None: it was not."""
        return self._attempt.seen_reason

    def __repr__(self) -> str:
        return f"<attempt {self.number} of {self._job.kind} {self._job.id}>"


def current_job() -> Job[Any]:
    """Return the running job, also in a task, a thread or a callback that it started.

    Raises:
        NotRunning: Outside any job.
    """
    job = running_job.running.get()
    if job is None:
        raise NotRunning("no job is running here: current_job() works inside a job's own code")
    return cast("Job[Any]", job)


def current_attempt() -> CurrentAttempt:
    """Return the running attempt, also in a task, a thread or a callback that the job started.

    Raises:
        NotRunning: Outside any job.
    """
    job = running_job.running.get()
    attempt = None if job is None else job._attempt
    if job is None or attempt is None:
        raise NotRunning("no job is running here: current_attempt() works inside a job's own code")
    return CurrentAttempt(cast("Job[Any]", job), attempt)
