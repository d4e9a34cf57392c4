"""Transactions that store a batch: one of our own, or the one that a caller's connection is in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol
from uuid import UUID

from asyncpg import Connection

from asyncjobs.client.bulk import MANY
from asyncjobs.client.connections import begin_batch_on, enqueue_given_on, settle_batches_on
from asyncjobs.client.queue_depths import OnConnection
from asyncjobs.db import batches, inserts
from asyncjobs.db.batches import NewBatch
from asyncjobs.db.rows import NewJob, Stored
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.unique_key_holders import naming_holders

SMALL = 500
"""Jobs in one statement when COPY cannot be used."""


class Target(Protocol):
    """The transaction in which a batch is stored."""

    is_shared: bool
    """Whether the caller's code uses its connection, too: no statement may be under way while that runs."""

    async def begin(self, new: Sequence[NewBatch]) -> bool:
        """Store the rows of batches; return False when they exist already."""

    async def insert(self, rows: Sequence[NewJob], batch: UUID) -> list[Stored] | None:
        """Insert jobs of a batch; return how each was stored, None: all are new."""

    async def settle(self, batch: UUID) -> None:
        """End a batch if its jobs are over."""

    async def depth(self, queue: str, most: int) -> int:
        """See `Asks.depth`."""

    async def placeless(self, given: str) -> str:
        """See `Asks.placeless`."""


class OwnTransaction:
    """A transaction on a connection of our own.

    Args:
        connection: The connection, in the transaction.
        sessions: The sessions of the connection.
        by_tables: Whether this role may write the tables.
        endless: Whether the use of the connection has no deadline, so that each statement gets one.
    """

    is_shared = False

    def __init__(self, connection: Connection, sessions: Sessions, *, by_tables: bool, endless: bool) -> None:
        self._connection = connection
        self._sessions = sessions
        self._by_tables = by_tables
        self._endless = endless
        self._least: int | None = None
        self._queues: set[str] = set()
        self.error: Exception | None = None
        """The error of a statement."""

    @contextlib.contextmanager
    def limited(self) -> Iterator[None]:
        """Bound the time of a statement, and note its error as one that is not of the caller's code."""
        if self._endless:
            self._sessions.limit(self._connection)
        try:
            yield
        except Exception as error:
            self.error = error
            raise
        if self._endless:
            self._sessions.unlimit(self._connection)

    async def begin(self, new: Sequence[NewBatch]) -> bool:
        """See `Target.begin`."""
        with self.limited():
            return await batches.begin(self._connection, new)

    async def insert(self, rows: Sequence[NewJob], batch: UUID) -> list[Stored] | None:
        """See `Target.insert`."""
        with self.limited():
            async with naming_holders(self._sessions.url, rows):
                return await self._insert(rows, batch)

    async def _insert(self, rows: Sequence[NewJob], batch: UUID) -> list[Stored] | None:
        if not self._by_tables or len(rows) < MANY or not all(row.is_plain for row in rows):
            return [
                stored
                for start in range(0, len(rows), SMALL)
                for stored in await batches.enqueue_given(
                    self._connection, [_of_batch(row, batch) for row in rows[start : start + SMALL]]
                )
            ]
        if self._least is None:
            self._least = await batches.next_seq(self._connection)
        await batches.copy(self._connection, rows, batch)
        self._queues.update({row.queue for row in rows})
        return None

    async def settle(self, batch: UUID) -> None:
        """See `Target.settle`."""
        with self.limited():
            await batches.settle(self._connection, [batch])

    async def depth(self, queue: str, most: int) -> int:
        """See `Asks.depth`."""
        with self.limited():
            return await inserts.read_depth(self._connection, queue, most)

    async def placeless(self, given: str) -> str:
        """See `Asks.placeless`."""
        with self.limited():
            return await inserts.read_placeless(self._connection, given)

    async def end(self) -> None:
        """Notify the workers, in the last statement."""
        with self.limited():
            if self._least is not None:
                await batches.tell(self._connection, sorted(self._queues), self._least)


class CallersTransaction(OnConnection):
    """The transaction that a caller's connection is in."""

    is_shared = True

    def __init__(self, connection: Any, url: str) -> None:
        super().__init__(connection)
        self._url = url

    async def begin(self, new: Sequence[NewBatch]) -> bool:
        """See `Target.begin`."""
        return await begin_batch_on(self._connection, new)

    async def insert(self, rows: Sequence[NewJob], batch: UUID) -> list[Stored] | None:
        """See `Target.insert`."""
        async with naming_holders(self._url, rows):
            return [
                stored
                for start in range(0, len(rows), SMALL)
                for stored in await enqueue_given_on(
                    self._connection, [_of_batch(row, batch) for row in rows[start : start + SMALL]]
                )
            ]

    async def settle(self, batch: UUID) -> None:
        """See `Target.settle`."""
        await settle_batches_on(self._connection, [batch])


def _of_batch(row: NewJob, batch: UUID) -> NewJob:
    return row.with_order(batch=batch)
