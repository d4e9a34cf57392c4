"""Access of this role to jobs: by the tables if it may write them, else by functions that have the owner's rights.

Workers and owners use the tables, which is faster. An enqueuer has no rights on tables: its functions check their arguments,
and return nothing of a job whose id is not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import jobs as statements
from asyncjobs.db import sql
from asyncjobs.db.rows import Finished


class Access:
    """The statements of one client, by tables or by functions; which of them is found out once."""

    def __init__(self) -> None:
        self.by_tables: bool | None = None
        """Whether this role may write the tables; None: not yet found out."""

    async def is_by_tables(self, connection: Connection) -> bool:
        """Whether this role may write the tables."""
        if self.by_tables is None:
            self.by_tables = bool(await connection.fetchval(sql.read("read_access")))
        return self.by_tables

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
