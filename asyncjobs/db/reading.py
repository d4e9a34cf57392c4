"""What people look at: bounded readings for the command line, to be run under a short statement timeout."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import sql
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import translating
from asyncjobs.values.plain_json import shown_object

COUNTED = 20_000
"""Ready jobs counted in one queue, and of all queues those that run, and those that are scheduled or wait."""
LOOKED_AT = 1_000
"""Ready jobs of each queue that are looked at for kinds nobody knows."""


class Server(NamedTuple):
    """The server as this session sees it."""

    version: str
    major: int
    encoding: str
    database: str
    role: str
    standby: bool
    read_only: bool
    synchronous_commit: str
    address: str | None
    """None on a Unix socket."""
    tls: bool
    tls_version: str | None
    clock: float
    """Seconds since 1970 by the server's clock."""


class Limits(NamedTuple):
    """How many connections this login may have; None: no such limit."""

    of_role: int | None
    of_database: int | None
    of_server: int


class QueueRow(NamedTuple):
    """What one queue holds; no count goes beyond `COUNTED`."""

    queue: str
    ready: int
    scheduled: int
    running: int
    waiting: int
    """For an event, or for the end of a sleep."""
    oldest: float | None
    """Age of its oldest ready job in seconds."""
    exact: bool
    """Whether there are no more than were counted."""


class WorkerRow(NamedTuple):
    """One worker."""

    id: UUID
    about: dict[str, Any]
    """Host, pid, pools, kinds, as it said itself."""
    report: dict[str, Any]
    """What goes on there, as of its last beat."""
    age: float
    beat: float
    """Seconds since its last sign of life."""
    late: bool
    """Whether its lease is over and nobody has declared it dead yet."""
    running: int


class ListedJob(NamedTuple):
    """One job in a listing."""

    id: UUID
    state: int
    kind: str
    queue: str
    priority: int
    attempt: int
    crashes: int
    enqueued_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: UUID | None
    reason: str | None
    error: str | None
    """Of its last attempt that went wrong, one JSON line."""


class Definers(NamedTuple):
    """Functions that run with the rights of their owner, and should not as they are."""

    owner: str
    everybodys: list[str]
    """Those that everybody may execute who may look into the schema, by name."""
    is_superuser: bool
    """Whether the owner is one."""


class Rights(NamedTuple):
    """What a role may do."""

    enqueue: bool
    work: bool
    look: bool
    own: bool


async def server(connection: Connection) -> Server:
    """Read what the server is."""
    return Server(*await connection.fetchrow(sql.read("read_server")))


async def connection_limits(connection: Connection) -> Limits:
    """Read how many connections this login may have."""
    return Limits(*await connection.fetchrow(sql.read("read_connection_limits")))


async def queues(connection: Connection) -> list[QueueRow]:
    """Read what each queue holds, by name."""
    return [QueueRow(*row) for row in await connection.fetch(sql.read("read_queues"), COUNTED)]


async def workers(connection: Connection) -> list[WorkerRow]:
    """Read the workers that nobody has declared dead."""
    rows = await connection.fetch(sql.read("read_workers"))
    return [WorkerRow(row["id"], shown_object(row["about"]), shown_object(row["report"]), *row[3:]) for row in rows]


async def finished_counts(connection: Connection) -> dict[int, int]:
    """Count the jobs that ended within 24 hours, by state."""
    return {row["state"]: row["jobs"] for row in await connection.fetch(sql.read("read_finished_counts"))}


async def list_jobs(
    connection: Connection,
    *,
    states: Sequence[int] | None = None,
    kind: str | None = None,
    queue: str | None = None,
    before: UUID | None = None,
    limit: int = 50,
    error: str | None = None,
    older_than: float | None = None,
) -> list[ListedJob]:
    """Read jobs, newest first.

    Args:
        connection: Any.
        states: In one of these.
        kind: Of this one.
        queue: In this one.
        before: The last id of the page that came before.
        limit: At most so many.
        error: What is somewhere in their errors, as JSON has it.
        older_than: Seconds since they ended; of live ones, since they were enqueued.
    """
    rows = await connection.fetch(sql.read("list_jobs"), states, kind, queue, before, limit, error, older_than)
    return [ListedJob(*row) for row in rows]


async def seen(connection: Connection, kind: str | None, queue: str | None) -> tuple[bool, bool]:
    """Return whether there are jobs of a kind, and jobs in a queue; true for None."""
    row = await connection.fetchrow(sql.read("read_seen"), kind, queue)
    return row["kind"], row["queue"]


async def rights(connection: Connection) -> Rights:
    """Read what this role may do; the schema must be there."""
    return Rights(*await connection.fetchrow(sql.read("read_rights")))


async def definers(connection: Connection) -> list[Definers]:
    """Read which functions give more rights away than they should."""
    return [Definers(*row) for row in await connection.fetch(sql.read("read_definers"))]


async def days_ahead(connection: Connection) -> int:
    """Return how many days, today included, the history's partitions reach."""
    return int(await connection.fetchval(sql.read("read_days_ahead")))


async def ready_kinds(connection: Connection) -> list[tuple[str, str, int]]:
    """Return queue, kind and number of ready jobs, among the first `LOOKED_AT` of each queue."""
    return [tuple(row) for row in await connection.fetch(sql.read("read_ready_kinds"), LOOKED_AT)]


async def hears(url: str, *, timeout: float) -> bool:
    """Whether a notice sent over one connection comes in at another within `timeout` seconds."""
    channel = f"asyncjobs_doctor_{secrets.token_hex(8)}"
    heard = asyncio.Event()
    listening = await connect(url, name="asyncjobs doctor")
    try:
        sending = await connect(url, name="asyncjobs doctor")
        try:
            with translating():
                await listening.add_listener(channel, lambda *_: heard.set())
                await sending.fetch("select pg_notify($1, '')", channel)
            async with asyncio.timeout(timeout):
                await heard.wait()
        except TimeoutError:
            return False
        finally:
            sending.terminate()
    finally:
        listening.terminate()
    return True
