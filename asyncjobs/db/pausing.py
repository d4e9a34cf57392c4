"""Statements on pauses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from asyncpg import Connection

from asyncjobs.db import sql
from asyncjobs.jobs.pauses import Pause


class PausedNames(NamedTuple):
    """The paused queues and kinds, as a worker needs them."""

    queues: frozenset[str]
    kinds: frozenset[str]
    ends_in: float | None
    """Seconds until the first pause ends by itself; 0: one has ended and is not deleted yet. None: none ends by itself."""


async def pause(
    connection: Connection,
    scope: str,
    names: Sequence[str],
    *,
    until: datetime | None,
    seconds: float | None,
    reason: str,
    by: str,
) -> bool:
    """Pause a queue or a kind; return False, and do nothing, when its end is in the past."""
    return bool(await connection.fetchval(sql.read("pause"), scope, names, until, seconds, reason, by))


async def resume(connection: Connection, scope: str | None = None, names: Sequence[str] = ()) -> int:
    """Resume a queue or a kind, and delete pauses that are over; return how many were ended before their time."""
    return int(await connection.fetchval(sql.read("resume"), scope, names))


async def read_pauses(connection: Connection) -> list[Pause]:
    """Read the pauses: of queues, then of kinds, by name."""
    return [
        Pause(
            row["name"] if row["scope"] == "queue" else None,
            None if row["scope"] == "queue" else row["name"],
            row["since"],
            row["until"],
            row["reason"],
            row["paused_by"],
        )
        for row in await connection.fetch(sql.read("read_pauses"))
    ]


async def read_paused(connection: Connection) -> PausedNames:
    """Read the names of paused queues and kinds."""
    queues, kinds, ends_in = await connection.fetchrow(sql.read("read_paused"))
    return PausedNames(frozenset(queues), frozenset(kinds), ends_in)


async def last_seq(connection: Connection) -> tuple[int, PausedNames]:
    """Return the last number of the ready sequence, and the paused queues and kinds."""
    seq, queues, kinds, ends_in = await connection.fetchrow(sql.read("last_seq"))
    return int(seq), PausedNames(frozenset(queues), frozenset(kinds), ends_in)
