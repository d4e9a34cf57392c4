"""Statements on waits of running jobs for others, as functions from plain values to plain values; each one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg
from asyncpg import Connection

from asyncjobs.db import sql


class Told(NamedTuple):
    """The jobs that one running job waits for."""

    id: UUID
    fence: int
    endless: list[UUID]
    """Jobs awaited without a timeout."""
    timed: list[UUID]
    """Jobs awaited with a timeout."""


class Waiter(NamedTuple):
    """A running job that awaits others without a timeout."""

    id: UUID
    kind: str
    awaits: list[UUID]
    """The awaited jobs that run and wait themselves."""


class Awaited(NamedTuple):
    """A job that another one waits for."""

    id: UUID
    kind: str
    state: int
    step: str | None
    """The step of the waiting job that runs it; None: it is awaited by code."""
    left: int
    """Live jobs that the waiting job waits for in the same way."""
    of: int
    """All jobs that it waits for in the same way, ended ones included."""


async def tell(connection: Connection, rows: Sequence[Told]) -> None:
    """Write the waits of running jobs; `rows` ascending. Jobs that have ended meanwhile are passed over."""
    ids, fences = [row.id for row in rows], [row.fence for row in rows]
    numbers = [number for number, row in enumerate(rows, 1) for _ in (*row.endless, *row.timed)]
    awaited = [job_id for row in rows for job_id in (*row.endless, *row.timed)]
    is_timed = [flag for row in rows for flag in (*[False] * len(row.endless), *[True] * len(row.timed))]
    await connection.fetch(sql.read("tell_waits"), ids, fences, numbers, awaited, is_timed)


async def read_waiters(connection: Connection, ids: Sequence[UUID]) -> list[Waiter]:
    """Return the jobs among `ids` that wait, and the waiting jobs that they wait for, directly or not; in no order."""
    return [Waiter(*row) for row in await connection.fetch(sql.read("read_waiters"), ids)]


async def read_awaited(connection: Connection, job_id: UUID, limit: int) -> list[Awaited]:
    """Return the first live jobs that a running one waits for: those that its step runs, else those its code awaits."""
    try:
        rows = await connection.fetch(sql.read("read_awaited"), job_id, limit)
    except asyncpg.DataError:  # the jobs of its step were written by hand, and cannot be read
        return []
    return [Awaited(*row) for row in rows]
