"""The statements on workers: their leases and their deaths."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from asyncjobs.db import poolers, sql
from asyncjobs.db.rows import Pulse


async def register(connection: asyncpg.Connection, worker: UUID, *, lease: float, about: str, host: str = "") -> None:
    """Register a worker on the session that will renew it; `lease` in seconds, `about` JSON text."""
    await connection.fetchrow(sql.read("register_worker"), worker, lease, about, host, poolers.is_own(connection))


async def beat(connection: asyncpg.Connection, worker: UUID, *, report: str | None = None) -> Pulse | None:
    """Renew a lease; None when the worker was declared dead and has lost every job.

    Args:
        connection: The one that renews it each time.
        worker: Whose.
        report: What it tells of itself, JSON text; None: nothing new.
    """
    row = await connection.fetchrow(sql.read("beat"), worker, report, poolers.is_own(connection))
    return None if row is None else Pulse(*row)


async def bury(connection: asyncpg.Connection, worker: UUID) -> dict[UUID, int]:
    """Declare dead whose lease is over, as seen by `worker`; return their ids, and how many jobs run under each."""
    return {row["id"]: row["jobs"] for row in await connection.fetch(sql.read("bury"), worker)}


async def end(connection: asyncpg.Connection, worker: UUID, how: str | None = None) -> bool:
    """Declare one worker dead that is known to be; return whether it was alive until now.

    Args:
        connection: Any.
        worker: Its id.
        how: How its process ended, such as ``"SIGKILL"`` or ``"code 1"``; None: not known.
    """
    return bool(await connection.fetch(sql.read("end_worker"), worker, how))


async def release(connection: asyncpg.Connection, worker: UUID, how: str | None = None) -> int:
    """Give back unspent what a worker leaves that was told to stop, and declare it dead; return how many jobs that were.

    Args:
        connection: Any.
        worker: Its id; its process has ended, or does so at once.
        how: As for `end`.
    """
    return int(await connection.fetchval(sql.read("release_worker"), worker, how))


async def spare(connection: asyncpg.Connection, worker: UUID) -> bool:
    """Have the jobs of a worker not be charged with its death, which may come at any time; return whether it is alive."""
    return bool(await connection.fetch(sql.read("spare_worker"), worker))


async def anything_left(connection: asyncpg.Connection, queues: Sequence[str], kinds: Sequence[str]) -> bool:
    """Whether jobs are left that nobody else will run: ready suspects, and those of workers that are or look dead."""
    return bool(await connection.fetchval(sql.read("read_left"), queues, kinds))


async def forget(connection: asyncpg.Connection) -> int:
    """Remove the rows of workers dead for over a day; return how many."""
    return len(await connection.fetch(sql.read("forget_workers")))
