"""The batch of the running job, to which the job may add jobs."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any
from uuid import UUID

from asyncjobs.definitions.given_jobs import check_new, is_job
from asyncjobs.exceptions import InvalidOption
from asyncjobs.performing import open_clients
from asyncjobs.records.batch_status import BatchStatus


class RunningBatch:
    """The batch of the running job, to which the job may add jobs."""

    def __init__(self, batch_id: UUID, job: Any) -> None:
        self._id = batch_id
        self._job = job

    @property
    def id(self) -> UUID:
        """The batch's id."""
        return self._id

    async def enqueue(self, *jobs: Any, connection: Any = None) -> None:
        """Enqueue more jobs of this batch, all of them or none; the batch cannot be over before the running job is.

        An attempt that runs again enqueues them again: do it in a step, or give them unique keys.

        Args:
            jobs: Not enqueued yet.
            connection: Take part in the caller's transaction; see `Job.enqueue`.

        Raises:
            LeaseLost: Another worker has the running job by now, or its run is over: nothing was written.
            BatchOver: All jobs of the batch had succeeded before, and this one runs once more.
            AlreadyEnqueued, InvalidOption: As `Batch.add`.
            DatabaseError: See `Job.enqueue`.
        """
        for each in jobs:
            check_new(each, "batch.enqueue()")
        await open_clients.current().enqueue_within(self._job, self._id, jobs, connection=connection)

    async def enqueue_all(self, jobs: Iterable[Any] | AsyncIterable[Any]) -> int:
        """Enqueue many more jobs of this batch, a chunk a statement; return the number of rows made. See `enqueue`."""
        if not isinstance(jobs, Iterable | AsyncIterable) or is_job(jobs):
            raise InvalidOption(f"batch.enqueue_all() takes an iterable of jobs, not {type(jobs).__name__}")
        return await open_clients.current().enqueue_all_within(self._job, self._id, jobs)

    async def status(self) -> BatchStatus:
        """Read how far the batch is; see `Batch.status`."""
        return await open_clients.current().batch_status(self.id)

    def __repr__(self) -> str:
        return f"<batch {self.id} of {self._job!r}>"
