"""Access of this role to jobs: by the tables if it may write them, else by functions that have the owner's rights.

Workers and owners use the tables, which is faster. An enqueuer has no rights on tables: its functions check their arguments,
and return nothing of a job whose id is not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import inserts, sql
from asyncjobs.db import jobs as statements
from asyncjobs.db.rows import Finished, NewJob


class Access:
    """The statements of one client, by tables or by functions; which of them is found out once."""

    def __init__(self) -> None:
        self._by_tables: bool | None = None

    async def is_by_tables(self, connection: Connection) -> bool:
        """Whether this role may write the tables."""
        if self._by_tables is None:
            self._by_tables = bool(await connection.fetchval(sql.read("read_access")))
        return self._by_tables

    async def enqueue_one(self, connection: Connection, job: NewJob, *, quietly: bool = False) -> None:
        """Insert one job that is due now and whose id is new; `quietly`: without a notice."""
        if not await self.is_by_tables(connection):
            await inserts.enqueue_row(connection, job, quietly=quietly)
        elif quietly:
            await inserts.enqueue_one_quietly(connection, job)
        else:
            await inserts.enqueue_one(connection, job)

    async def enqueue_many(self, connection: Connection, jobs: Sequence[NewJob]) -> None:
        """Insert jobs whose ids are new, due now or later, and notify."""
        if await self.is_by_tables(connection):
            await inserts.enqueue_many(connection, jobs)
        else:
            await inserts.enqueue_rows(connection, jobs)

    async def enqueue_copy(self, connection: Connection, jobs: Sequence[NewJob]) -> None:
        """Insert many jobs that are due now and whose ids are new, and notify."""
        if await self.is_by_tables(connection):
            await inserts.enqueue_copy(connection, jobs)
        else:
            await inserts.enqueue_rows(connection, jobs)

    async def await_jobs(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Set the flags that have notices sent when jobs become final; return the ids that are live."""
        way = "await_jobs" if await self.is_by_tables(connection) else "await_by_function"
        return await statements.await_jobs(connection, ids, way)

    async def read_live(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Return the ids that are live."""
        way = "read_live" if await self.is_by_tables(connection) else "read_live_by_function"
        return await statements.read_live(connection, ids, way)

    async def read_finished(self, connection: Connection, ids: Sequence[UUID]) -> list[Finished]:
        """Return the ends of the jobs that have ended, in no order."""
        way = "read_finished" if await self.is_by_tables(connection) else "read_finished_by_function"
        return await statements.read_finished(connection, ids, way)

    async def read_states(self, connection: Connection, ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
        """Return the states of jobs that have a row, and their reasons if they were discarded or cancelled."""
        way = "read_states" if await self.is_by_tables(connection) else "read_states_by_function"
        return await statements.read_states(connection, ids, way)
