"""Stored batches: their statuses, and waits for their ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from uuid import UUID

from asyncjobs.client.awaiting import Waiters
from asyncjobs.db import batches
from asyncjobs.db.batches import SettledBatch
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import AwaitCycle, BatchNotFound
from asyncjobs.jobs.batches import Batch
from asyncjobs.performing import running_job
from asyncjobs.records.batch_status import BatchStatus


class BatchReader:
    """Reads batches, and waits for their ends."""

    def __init__(self, sessions: Sessions, waiters: Waiters[SettledBatch]) -> None:
        self._sessions = sessions
        self._waiters = waiters

    async def status(self, batch_id: UUID) -> BatchStatus:
        """Read the status of a batch; see `Batch.status`."""
        row = await self._sessions.run(partial(batches.read_status, batch_id=batch_id))
        if row is None:
            raise BatchNotFound(batch_id)
        return BatchStatus(
            id=row.id,
            description=row.description,
            by_state=Counter(row.by_state),
            over=row.settled,
            made_at=row.made_at,
            discarded_at=row.discarded_at,
            finished_at=row.finished_at,
            succeeded_at=row.succeeded_at,
            parent=row.parent,
        )

    async def get(self, batch_id: UUID) -> Batch:
        """Return a stored batch; see `AsyncJobs.get_batch`."""
        return Batch._of_row(await self.status(batch_id))

    async def result(self, batch_id: UUID, *, timeout: float | None) -> BatchStatus:
        """Wait until a batch is over; see `Batch.result`."""
        await self._refuse_own(batch_id)
        try:
            async with asyncio.timeout(timeout) as limit:
                await self._waiters.wait(batch_id)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(f"batch {batch_id} is not over after {timeout:g} s, and goes on") from None
        return await self.status(batch_id)

    async def _refuse_own(self, batch_id: UUID) -> None:
        """Refuse a job that awaits its own batch, or a batch that this one is a part of."""
        job = running_job.running.get()
        if job is None or job._attempt is None or (own := job._attempt.claimed.batch) is None:
            return
        if batch_id in await self._sessions.run(partial(batches.read_above, batch_id=own)):
            raise AwaitCycle([(job.id, job.kind)], f"batch {batch_id}, of which it is one,")
