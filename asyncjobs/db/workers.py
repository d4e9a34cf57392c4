"""Statements on workers: leases and deaths."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from asyncjobs.db import poolers, sql
from asyncjobs.db.errors import WORKER, lacks
from asyncjobs.db.migration_files import function_names
from asyncjobs.db.rows import Pulse
from asyncjobs.exceptions import PermissionDenied


async def register(
    connection: asyncpg.Connection, worker: UUID, *, lease: float, about: str, host: str = "", quiet: bool = False
) -> None:
    """Register a worker on the session that will renew it; `lease` in seconds, `about` JSON text.

    Raises:
        PermissionDenied: The login may not execute a function, so that it might run jobs whose ends it cannot store.
    """
    if refused := await connection.fetchval(sql.read("read_refused_function"), function_names()):
        raise PermissionDenied(lacks(f"permission denied for function {refused}", WORKER))
    await connection.fetchrow(
        sql.read("register_worker"), worker, lease, about, host, poolers.is_own(connection), quiet
    )


async def beat(connection: asyncpg.Connection, worker: UUID, *, report: str | None = None) -> Pulse | None:
    """Renew a lease; return None when the worker was declared dead and has lost every job.

    Args:
        connection: The connection of all beats of the worker: its session is the proof that it lives.
        worker: The worker.
        report: The worker's report, JSON text; None: unchanged.
    """
    row = await connection.fetchrow(sql.read("beat"), worker, report, poolers.is_own(connection))
    return None if row is None else Pulse(*row)


async def bury(connection: asyncpg.Connection, worker: UUID) -> dict[UUID, int]:
    """Bury workers whose lease is over, as `worker`; return their ids, and the number of jobs that each has left."""
    return {row["id"]: row["jobs"] for row in await connection.fetch(sql.read("bury"), worker)}


async def end(connection: asyncpg.Connection, worker: UUID, how: str | None = None) -> bool:
    """Declare one worker dead that is known to be; return whether it was alive until now.

    Args:
        connection: The connection.
        worker: The worker.
        how: How its process ended, such as ``"SIGKILL"`` or ``"code 1"``; None: not known.
    """
    return bool(await connection.fetch(sql.read("end_worker"), worker, how))


async def release(connection: asyncpg.Connection, worker: UUID, how: str | None = None) -> int:
    """Give back unspent the jobs of a worker that was told to stop, and declare it dead; return the number of jobs.

    Args:
        connection: The connection.
        worker: The worker, whose process has ended or ends at once.
        how: See `end`.
    """
    return int(await connection.fetchval(sql.read("release_worker"), worker, how))


async def spare(connection: asyncpg.Connection, worker: UUID) -> bool:
    """Have no crash charged to a worker's jobs when it dies, which may be at any time; return whether it is alive."""
    return bool(await connection.fetch(sql.read("spare_worker"), worker))


async def quiet(connection: asyncpg.Connection, worker: UUID, *, wanted: bool) -> str | None:
    """Tell a worker to claim nothing, or to claim again; return its host, None: it is not alive."""
    host: str | None = await connection.fetchval(sql.read("quiet_worker"), worker, wanted)
    return host


async def anything_left(connection: asyncpg.Connection, queues: Sequence[str], kinds: Sequence[str]) -> bool:
    """Whether jobs are left that no other worker will run: ready suspects, and jobs of workers that are or seem dead."""
    return bool(await connection.fetchval(sql.read("read_left"), queues, kinds))


async def forget(connection: asyncpg.Connection) -> int:
    """Remove the rows of workers that have been dead for over a day; return how many."""
    return len(await connection.fetch(sql.read("forget_workers")))
