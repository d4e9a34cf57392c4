"""The store of single jobs: each inside its hooks, in a queue with room, and once, even if the answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from asyncjobs.client import one_at_a_time
from asyncjobs.client.connections import enqueue_on, enqueue_ordered_on
from asyncjobs.client.enqueueing import Enqueuer
from asyncjobs.client.job_rows import check_job, mark_enqueued, mark_stored, row_of
from asyncjobs.client.queue_depths import Depths, OnConnection
from asyncjobs.client.steps import stored_steps
from asyncjobs.db import steps
from asyncjobs.db.rows import NewJob
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.unique_key_holders import naming_holders
from asyncjobs.definitions.hooks import Hooks
from asyncjobs.exceptions import EnqueueOutcomeUnknown
from asyncjobs.jobs.job import Job
from asyncjobs.performing import hook_calls
from asyncjobs.performing.hook_calls import Layers
from asyncjobs.performing.open_clients import OpenClient
from asyncjobs.records.step_records import Record


class JobStore:
    """Stores jobs one by one.

    Args:
        sessions: The sessions of the client.
        enqueuer: Sends rows of several callers together.
        layers: The middleware.
        depths: The queues with a `max_depth`; None: there are none.
        client: The client of the jobs, which they keep.
    """

    def __init__(
        self, sessions: Sessions, enqueuer: Enqueuer, layers: Layers, depths: Depths | None, *, client: OpenClient
    ) -> None:
        self._sessions = sessions
        self._enqueuer = enqueuer
        self._layers = layers
        self._depths = depths
        self._client = client

    def enqueue(self, job: Job[Any], connection: Any = None) -> Coroutine[Any, Any, bool]:
        """Insert a job's row inside its hooks and the middleware; return whether this call made it."""
        check_job(job)
        hooks = self._layers.around(job._definition)
        if not hooks.on_enqueue or job._sent:
            return self._insert(job, connection)
        return self._inside(hooks, job, connection)

    async def _inside(self, hooks: Hooks, job: Job[Any], connection: Any) -> bool:
        made = False

        async def insert() -> None:
            nonlocal made
            made = await self._insert(job, connection)

        await hook_calls.enqueue(hooks, job, insert)
        return made

    async def _insert(self, job: Job[Any], connection: Any = None) -> bool:
        """Insert a job's row; return whether this call made it."""
        row = row_of(job)
        first = not job._sent
        if self._depths is not None and first and self._depths.counts(row):
            return await self._insert_if_room(self._depths, job, row, connection)
        return await self._send(job, row, connection)

    async def _insert_if_room(self, depths: Depths, job: Job[Any], row: NewJob, connection: Any) -> bool:
        if connection is not None:
            await depths.check([row], OnConnection(connection))
            return await self._send(job, row, connection)
        taken = await depths.take_one(row)
        try:
            return await self._send(job, row, connection)
        finally:
            depths.give_back(row.queue, taken)

    async def _send(self, job: Job[Any], row: NewJob, connection: Any) -> bool:
        if job._sent:
            await one_at_a_time.earlier(job)
        first = not job._sent
        # From now on the row may exist, whatever happens to this call: the next call must look before it inserts.
        job._sent, job._client = True, self._client
        one_at_a_time.begin(job)
        made = True
        try:
            if row.order is not None or (connection is not None and row.is_labelled):
                return await self._send_ordered(job, row.with_order(), connection, again=not first)
            if connection is not None:
                made = await enqueue_on(connection, row, again=not first)
            elif first:
                await self._enqueuer.enqueue(row)
            else:
                made = await self._enqueuer.enqueue_again(row)
        except (EnqueueOutcomeUnknown, asyncio.CancelledError):
            raise
        except BaseException:
            job._sent = not first
            raise
        finally:
            one_at_a_time.end([job])
        mark_enqueued(job, row, made=made)
        return made

    async def _send_ordered(self, job: Job[Any], row: NewJob, connection: Any, *, again: bool) -> bool:
        async with naming_holders(self._sessions.url, [row]):
            if connection is not None:
                stored = await enqueue_ordered_on(connection, row, again=again)
            else:
                [stored] = await self._enqueuer.enqueue_ordered([row])
        return mark_stored(job, row, stored)

    async def adopt(self, job: Job[Any], attributes: str | None, records: Sequence[Record]) -> None:
        """Enqueue a job that has begun here, with its records, to go on in a worker."""
        row, text = row_of(job), stored_steps(records)
        job._sent = True
        await self._sessions.run(lambda connection: steps.adopt(connection, row, attributes, text))
        mark_enqueued(job, row, made=True)
