"""The batch of a job that runs: it may add to it, and is then not the last of it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any
from uuid import UUID

from asyncjobs.definitions.given_jobs import check_new, is_job
from asyncjobs.exceptions import InvalidOption
from asyncjobs.performing import open_clients
from asyncjobs.records.batch_status import BatchStatus


class RunningBatch:
    """The batch of the job that runs here: it may add to it.

    Args:
        batch_id: Its id.
        job: That runs here.
    """

    def __init__(self, batch_id: UUID, job: Any) -> None:
        self._id = batch_id
        self._job = job

    @property
    def id(self) -> UUID:
        """Its id."""
        return self._id

    async def enqueue(self, *jobs: Any, connection: Any = None) -> None:
        """Enqueue jobs as further ones of this batch, which is not over before this job is; all of them, or none.

        A job that is run once more enqueues them once more: do it in a step, or give them unique keys.

        Args:
            jobs: Not enqueued yet.
            connection: Take part in the caller's transaction; see `Job.enqueue`.

        Raises:
            LeaseLost: Another worker has this job by now, or its run is over: nothing was written.
            BatchOver: All had succeeded before, and this is a job of it that is run once more.
            AlreadyEnqueued, InvalidOption: As `Batch.add`.
            DatabaseError: See `Job.enqueue`.
        """
        for each in jobs:
            check_new(each, "batch.enqueue()")
        await open_clients.current().enqueue_within(self._job, self._id, jobs, connection=connection)

    async def enqueue_all(self, jobs: Iterable[Any] | AsyncIterable[Any]) -> int:
        """Enqueue many jobs so, a chunk a statement; return the number of rows made. See `enqueue`."""
        if not isinstance(jobs, Iterable | AsyncIterable) or is_job(jobs):
            raise InvalidOption(f"batch.enqueue_all() takes an iterable of jobs, not {type(jobs).__name__}")
        return await open_clients.current().enqueue_all_within(self._job, self._id, jobs)

    async def status(self) -> BatchStatus:
        """Read how far it is; see `Batch.status`."""
        return await open_clients.current().batch_status(self.id)

    def __repr__(self) -> str:
        return f"<batch {self.id} of {self._job!r}>"
