"""Writing rows of running jobs while somebody holds some of them locked: those are passed over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from asyncpg import Connection

from asyncjobs.db import sql

Row = TypeVar("Row", bound=tuple[Any, ...])
T = TypeVar("T")


async def passing_locked(
    connection: Connection, rows: Sequence[Row], write: Callable[[Connection, Sequence[Row]], Awaitable[T]], nothing: T
) -> tuple[T, list[Row]]:
    """Write rows of running jobs without waiting for anybody; return what was written, and the rows that were locked.

    Two statements, in a transaction: to lock first in the one that writes would cost every job what a few need.

    Args:
        connection: With pinned plans.
        rows: They begin with the job's id and its fence, and are in the order of the ids.
        write: Writes rows of which none is locked.
        nothing: What it would return for none.
    """
    async with connection.transaction():
        ids, fences = zip(*((row[0], row[1]) for row in rows), strict=True)
        found = await connection.fetch(sql.read("lock_running"), ids, fences)
        free = {row["id"] for row in found if row["got"]}
        there = {row["id"] for row in found}
        wanted = [row for row in rows if row[0] in free]
        written = await write(connection, wanted) if wanted else nothing
    return written, [row for row in rows if row[0] in there and row[0] not in free]
