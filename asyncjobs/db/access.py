"""How this role gets at jobs: at the tables where it may write them, else by functions that have the owner's rights.

Whoever works or owns takes the first way, which is the quicker one. An enqueuer has no right on a table: its functions check
what they are given, and tell of no job whose id it does not give.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import jobs as statements
from asyncjobs.db import sql
from asyncjobs.db.rows import Finished, NewJob


class Access:
    """The statements of one client, by the way that its role has; which one is asked once."""

    def __init__(self) -> None:
        self._by_tables: bool | None = None

    async def is_by_tables(self, connection: Connection) -> bool:
        """Whether this role may write the tables."""
        if self._by_tables is None:
            self._by_tables = bool(await connection.fetchval(sql.read("read_access")))
        return self._by_tables

    async def enqueue_one(self, connection: Connection, job: NewJob, *, quietly: bool = False) -> None:
        """Insert one job that is due now and whose id is new; `quietly`: the notice is left for later."""
        if not await self.is_by_tables(connection):
            await statements.enqueue_row(connection, job, quietly=quietly)
        elif quietly:
            await statements.enqueue_one_quietly(connection, job)
        else:
            await statements.enqueue_one(connection, job)

    async def enqueue_many(self, connection: Connection, jobs: Sequence[NewJob]) -> None:
        """Insert jobs whose ids are new, due now or later, and notify."""
        if await self.is_by_tables(connection):
            await statements.enqueue_many(connection, jobs)
        else:
            await statements.enqueue_rows(connection, jobs)

    async def enqueue_copy(self, connection: Connection, jobs: Sequence[NewJob]) -> None:
        """Insert many jobs that are due now and whose ids are new, and notify."""
        if await self.is_by_tables(connection):
            await statements.enqueue_copy(connection, jobs)
        else:
            await statements.enqueue_rows(connection, jobs)

    async def await_jobs(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Ask to be told when jobs become final; return the ids that are live."""
        way = "await_jobs" if await self.is_by_tables(connection) else "await_by_function"
        return await statements.await_jobs(connection, ids, way)

    async def read_live(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Return those of `ids` that are live."""
        way = "read_live" if await self.is_by_tables(connection) else "read_live_by_function"
        return await statements.read_live(connection, ids, way)

    async def read_finished(self, connection: Connection, ids: Sequence[UUID]) -> list[Finished]:
        """Return how those of `ids` ended that did, in no order."""
        way = "read_finished" if await self.is_by_tables(connection) else "read_finished_by_function"
        return await statements.read_finished(connection, ids, way)

    async def read_states(self, connection: Connection, ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
        """Return the states of those of `ids` that have a row, and why they were discarded or cancelled."""
        way = "read_states" if await self.is_by_tables(connection) else "read_states_by_function"
        return await statements.read_states(connection, ids, way)
