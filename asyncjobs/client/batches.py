"""The store of batches: a batch, its parts and all their jobs go into one transaction, in bounded memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from asyncpg import Connection

from asyncjobs.client.batch_transactions import CallersTransaction, OwnTransaction, Target
from asyncjobs.client.bulk import CHUNK, in_turns
from asyncjobs.client.enqueue_hooks import inside_hooks
from asyncjobs.client.enqueueing import RESEND_LIMIT
from asyncjobs.client.job_rows import check_job, mark_enqueued, mark_stored, row_of
from asyncjobs.client.queue_depths import Depths
from asyncjobs.db import batches
from asyncjobs.db.batches import NewBatch
from asyncjobs.db.role_access import Access
from asyncjobs.db.rows import NewJob
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import (
    AlreadyEnqueued,
    DatabaseError,
    DatabaseUnavailable,
    EnqueueOutcomeUnknown,
    InvalidOption,
    NotOpen,
)
from asyncjobs.jobs.batches import Batch, Draft
from asyncjobs.jobs.job import Job
from asyncjobs.performing.hook_calls import Layers


class BatchStore:
    """Stores batches.

    Args:
        sessions: The sessions of the client.
        access: The statements that this role may use.
        layers: The middleware.
        depths: The queues with a `max_depth`; None: there are none.
    """

    def __init__(self, sessions: Sessions, access: Access, layers: Layers, depths: Depths | None) -> None:
        self._sessions = sessions
        self._access = access
        self._layers = layers
        self._depths = depths

    async def store(self, batch: Batch, connection: Any) -> None:
        """Store a batch, unless it is stored already; see `Batch.enqueue`."""
        draft = batch._draft
        if draft.parent is not None:
            raise InvalidOption(
                f"batch {draft.id} is a part of batch {draft.parent.id}: enqueue that, which stores both"
            )
        if draft.is_stored:
            return
        tree = draft.tree()
        _check_callbacks(tree)
        again = draft.is_sent
        if again:
            _take_back(tree)  # else its jobs would be taken for stored ones
        for each in tree:
            each.is_sent = True
        try:
            if connection is not None:
                await _Storing(tree, self._layers, self._depths).run(CallersTransaction(connection, self._sessions.url))
                return  # not marked as stored: the caller may roll back, and enqueue again
            if not again or not await self._is_stored(draft.id):
                await self._store(tree)
        except (EnqueueOutcomeUnknown, asyncio.CancelledError):
            raise
        except BaseException:
            _take_back(tree)
            raise
        for each in tree:
            each.end()

    async def _store(self, tree: Sequence[Draft]) -> None:
        batch_id = tree[0].id
        if any(each.is_used_up for each in tree):
            raise InvalidOption(
                f"batch {batch_id}: an iterable of it was gone through by an enqueue() that stored nothing: make a new batch"
            )
        storing = _Storing(tree, self._layers, self._depths)
        try:
            await self._in_transaction(storing)
        except DatabaseUnavailable as error:
            if not storing.committing:
                raise
            if await self._is_stored(batch_id):
                return
            if any(each.is_used_up for each in tree):
                error.add_note("nothing of the batch was stored, and an iterable of it is used up: make a new batch")
                raise
            await self._in_transaction(storing)
        if storing.error is not None:
            raise storing.error

    async def _in_transaction(self, storing: _Storing) -> None:
        # The caller's code runs in the middle: it may wait for one of the client's connections, so this uses another.
        if not storing.runs_code:
            await self._sessions.run(partial(self._run, storing=storing, sessions=self._sessions, endless=False))
            return
        sessions = Sessions(self._sessions.url, size=1, name="asyncjobs batch", deadline=self._sessions.deadline)
        try:
            await sessions.run(partial(self._run, storing=storing, sessions=sessions, endless=True), endless=True)
        finally:
            sessions.close()

    async def _run(self, connection: Connection, storing: _Storing, sessions: Sessions, *, endless: bool) -> None:
        """Store a batch on a connection; an error of the caller's code is left in `storing.error`, and not raised here."""
        by_tables = await self._access.is_by_tables(connection)
        target = OwnTransaction(connection, sessions, by_tables=by_tables, endless=endless)
        transaction = connection.transaction()
        await transaction.start()
        try:
            if endless:
                await connection.execute("set local idle_in_transaction_session_timeout = 0")
            await storing.run(target)
            await target.end()
        except Exception as error:
            if target.error is not None:
                raise target.error from None
            with target.limited():
                await transaction.rollback()
            storing.error = error
            return
        storing.committing = True
        with target.limited():
            await transaction.commit()
        storing.committing = False

    async def _is_stored(self, batch_id: UUID) -> bool:
        """Return whether a batch was stored when the answer was lost; wait for its transaction if that is still under way.

        Raises:
            EnqueueOutcomeUnknown: This answer was lost, too.
        """

        async def look(connection: Connection) -> bool:
            transaction = connection.transaction()
            await transaction.start()
            try:
                return not await batches.begin(connection, [NewBatch(batch_id, None, "", None, None, None)])
            finally:
                await transaction.rollback()

        try:
            return await self._sessions.run(look, deadline=RESEND_LIMIT)
        except (DatabaseError, NotOpen) as error:
            raise EnqueueOutcomeUnknown(batch_id, "batch") from error


class _Storing:
    """One attempt to store a batch.

    Args:
        tree: The batch and its parts, each before its own parts.
        layers: The middleware.
        depths: The queues with a `max_depth`; None: there are none.
    """

    def __init__(self, tree: Sequence[Draft], layers: Layers, depths: Depths | None) -> None:
        self._tree = tree
        self._layers = layers
        self._depths = depths
        self._stored: Counter[str] = Counter()
        """Stored jobs that take places, by queue."""
        self._made: Counter[UUID] = Counter()
        """Rows made, by batch."""
        self._under_way: asyncio.Task[None] | None = None
        self._number = 0
        self._begun = False
        self.error: Exception | None = None
        """The error of the caller's code."""
        self.committing = False
        """Whether the commit was sent and not answered: the batch may be stored."""

    @property
    def runs_code(self) -> bool:
        """Whether the caller's code runs meanwhile: a hook, or an iterable other than a list."""
        jobs: list[Job[Any]] = []
        for batch in self._tree:
            if not all(isinstance(source, list | tuple) for source in batch.sources):
                return True
            jobs += batch.known_jobs()
        found = {job._definition for job in jobs if isinstance(job, Job)}
        return any(self._layers.around(definition).on_enqueue for definition in found)

    async def run(self, target: Target) -> None:
        """Store the batch, in a transaction that has begun."""
        if self._begun:  # a second time, since the first session was refused
            _take_back(self._tree)
        for batch in self._tree:
            batch.is_sent = True
        self._begun, self._number = True, 0
        self._stored.clear()
        self._made.clear()
        if not await target.begin([await self._row_of(batch) for batch in self._tree]):
            return
        try:
            for batch in self._tree:
                await self._insert_all(batch, target)
            await self._settle()
        finally:
            if self._under_way is not None:
                self._under_way.cancel()
                await asyncio.wait([self._under_way])
                self._under_way = None
        # Also where all of its jobs were duplicates, or have replaced others: no end of a job would settle it.
        for batch in reversed(self._tree):
            if not self._made[batch.id]:
                await target.settle(batch.id)

    async def _row_of(self, batch: Draft) -> NewBatch:
        kept: dict[str, str] = {}
        names = {job: name for name, job in batch.callbacks.items()}

        async def keep(jobs: Sequence[Job[Any]]) -> None:
            for job in jobs:
                check_job(job, f"Batch: {names[job]}=")
                row = row_of(job)
                kept[names[job]] = batches.given([row])
                job._sent = True
                mark_enqueued(job, row, made=True)

        await inside_hooks(self._layers, list(names), keep)
        parent = None if batch.parent is None else batch.parent.id
        on_discard, on_finish, on_success = (kept.get(name) for name in ("on_discard", "on_finish", "on_success"))
        return NewBatch(batch.id, parent, batch.description, on_discard, on_finish, on_success)

    async def _insert_all(self, batch: Draft, target: Target) -> None:
        chunk: list[Job[Any]] = []
        async for job in _jobs_of(batch):
            check_job(job, f"batch {batch.id}", self._number)
            self._number += 1
            if job._sent:
                if job._batch == batch.id:
                    continue  # one object is one job, however often it is given
                raise AlreadyEnqueued(
                    f"item {self._number - 1} of batch {batch.id}: {job.kind} {job.id} is enqueued already: make a new one"
                )
            job._sent, job._batch = True, batch.id
            chunk.append(job)
            if len(chunk) == CHUNK:
                await self._send(chunk, batch, target)
                chunk = []
        if chunk:
            await self._send(chunk, batch, target)

    async def _send(self, chunk: Sequence[Job[Any]], batch: Draft, target: Target) -> None:
        """Insert a chunk in the background, while the next is made; with hooks or on a caller's connection, wait for it."""
        if any(self._layers.around(job._definition).on_enqueue for job in chunk):
            await self._settle()
            await inside_hooks(
                self._layers, chunk, lambda jobs: self._insert(jobs, [*map(row_of, jobs)], batch, target)
            )
            return
        rows = [*map(row_of, chunk)]
        await self._settle()
        inserting = self._insert(chunk, rows, batch, target)
        if target.is_shared:  # the iterable may read rows from the same connection
            await inserting
        else:
            self._under_way = asyncio.ensure_future(inserting)

    async def _insert(self, jobs: Sequence[Job[Any]], rows: Sequence[NewJob], batch: Draft, target: Target) -> None:
        if self._depths is not None:
            await self._depths.check(rows, target, self._stored)
        made = await target.insert(rows, batch.id)
        if self._depths is not None:
            done = ["enqueued"] * len(rows) if made is None else [stored.disposition for stored in made]
            fresh = [
                row for row, what in zip(rows, done, strict=True) if what == "enqueued" and self._depths.counts(row)
            ]
            self._stored.update(row.queue for row in fresh)
        if made is None:
            self._made[batch.id] += len(rows)
            for job, row in zip(jobs, rows, strict=True):
                mark_enqueued(job, row, made=True)
            return
        for job, row, stored in zip(jobs, rows, made, strict=True):
            self._made[batch.id] += mark_stored(job, row, stored)

    async def _settle(self) -> None:
        if self._under_way is not None:
            await asyncio.shield(self._under_way)
            self._under_way = None


def _check_callbacks(tree: Sequence[Draft]) -> None:
    callbacks = [job for each in tree for job in each.callbacks.values()]
    if len(set(callbacks)) < len(callbacks) or any(job in each.jobs for each in tree for job in callbacks):
        raise InvalidOption("Batch: a callback is one of its jobs, too, or a callback twice: make a job for each")


async def _jobs_of(batch: Draft) -> AsyncIterator[Job[Any]]:
    for job in batch.jobs:
        yield job
    for source in batch.sources:
        if isinstance(source, AsyncIterable) or iter(source) is source:
            batch.is_used_up = True
        async for job in in_turns(source, "Batch.add_all()"):
            yield job


def _take_back(tree: Sequence[Draft]) -> None:
    for draft in tree:
        draft.take_back()
