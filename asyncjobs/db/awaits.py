"""The statements on what running jobs wait for: plain values in, plain values out; each one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg
from asyncpg import Connection

from asyncjobs.db import sql


class Told(NamedTuple):
    """What one running job waits for."""

    id: UUID
    fence: int
    endless: list[UUID]
    """As long as it takes."""
    timed: list[UUID]
    """With a timeout."""


class Waiter(NamedTuple):
    """A running job that awaits others as long as it takes."""

    id: UUID
    kind: str
    awaits: list[UUID]
    """Of these, running jobs that wait themselves."""


class Awaited(NamedTuple):
    """What somebody waits for."""

    id: UUID
    kind: str
    state: int
    step: str | None
    """The waiter's, which runs it; None: it is awaited in memory."""
    left: int
    """How many live jobs its waiter waits for in the same way."""
    of: int
    """How many it was in all."""


async def tell(connection: Connection, rows: Sequence[Told]) -> None:
    """Write what running jobs wait for; `rows` ascending. Those that have ended meanwhile are passed over."""
    ids, fences = [row.id for row in rows], [row.fence for row in rows]
    numbers = [number for number, row in enumerate(rows, 1) for _ in (*row.endless, *row.timed)]
    awaited = [job_id for row in rows for job_id in (*row.endless, *row.timed)]
    is_timed = [flag for row in rows for flag in (*[False] * len(row.endless), *[True] * len(row.timed))]
    await connection.fetch(sql.read("tell_waits"), ids, fences, numbers, awaited, is_timed)


async def read_waiters(connection: Connection, ids: Sequence[UUID]) -> list[Waiter]:
    """Return those of `ids` that wait, and the waiting jobs to which they lead, in no order."""
    return [Waiter(*row) for row in await connection.fetch(sql.read("read_waiters"), ids)]


async def read_awaited(connection: Connection, job_id: UUID, limit: int) -> list[Awaited]:
    """Return the first live jobs that a running one waits for: those that its step runs, else those it awaits in memory."""
    try:
        rows = await connection.fetch(sql.read("read_awaited"), job_id, limit)
    except asyncpg.DataError:  # its step's jobs were written by hand
        return []
    return [Awaited(*row) for row in rows]
