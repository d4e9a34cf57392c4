"""Locked rows: writing rows of running jobs while others hold some of them locked, which are passed over."""

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
    """Write rows of running jobs without waiting for locks; return the result of `write`, and the rows that were locked.

    It takes two statements in a transaction: one statement that also passes over locked rows would slow down every job.

    Args:
        connection: A connection with pinned plans.
        rows: Rows that begin with the job's id and its fence, in the order of the ids.
        write: Writes rows, none of which is locked.
        nothing: The result of `write` for no rows.
    """
    async with connection.transaction():
        ids, fences = zip(*((row[0], row[1]) for row in rows), strict=True)
        found = await connection.fetch(sql.read("lock_running"), ids, fences)
        free = {row["id"] for row in found if row["got"]}
        there = {row["id"] for row in found}
        wanted = [row for row in rows if row[0] in free]
        written = await write(connection, wanted) if wanted else nothing
    return written, [row for row in rows if row[0] in there and row[0] not in free]
