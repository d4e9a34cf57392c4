"""Statements for the command line: bounded reads, to be run under a short statement timeout."""

from __future__ import annotations

import asyncio
import secrets
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Connection

from asyncjobs.checks.id_beginnings import Ids
from asyncjobs.db import sql
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import translating
from asyncjobs.values.plain_json import shown_object

COUNTED = 20_000
NEWEST = 2_000
"""Jobs that are counted, at most: ready ones of each queue, running ones of all, scheduled and waiting ones of all."""
LOOKED_AT = 1_000
"""Ready jobs of each queue that are read to find unknown kinds."""


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
    """The numbers of connections that this login may have; None: no limit."""

    of_role: int | None
    of_database: int | None
    of_server: int


class QueueRow(NamedTuple):
    """The jobs of one queue; no count goes beyond the number that was asked for."""

    queue: str
    ready: int
    scheduled: int
    running: int
    waiting: int
    """Jobs that wait for an event, or for the end of a sleep."""
    oldest: float | None
    """The age of its oldest ready job in seconds."""
    exact: bool
    """Whether the counts are exact, and not at their bound."""


class WorkerRow(NamedTuple):
    """One worker."""

    id: UUID
    about: dict[str, Any]
    """Its host, pid, pools and kinds, as it registered them."""
    report: dict[str, Any]
    """Its report, as of its last beat."""
    age: float
    beat: float
    """Seconds since its last beat."""
    late: bool
    """Whether its lease is over, and it is not declared dead yet."""
    running: int
    quiet: bool = False
    """Whether it was told to claim nothing."""


class RunningJob(NamedTuple):
    """One job that runs."""

    id: UUID
    kind: str
    queue: str
    attempt: int
    worker: UUID | None
    seconds: float | None
    """Since this attempt began."""
    is_cancelled: bool
    """Whether it was asked to cancel, and has not ended yet."""
    done: float | None
    """Its progress; None: it has shown none."""
    total: float | None
    note: str | None


class FailedKind(NamedTuple):
    """The failed jobs of one kind within some time."""

    kind: str
    jobs: int
    ago: float
    """Seconds since the last one failed."""
    exact: bool
    """Whether all failed jobs were read, and not only those that were enqueued last."""


class Counters(NamedTuple):
    """Counts since the schema was made."""

    readied: int
    """How often a job has become ready."""
    claimed: int
    """How often a job was claimed."""
    at: float
    """When they were read, in seconds since 1970 by the server's clock."""


class HostWorker(NamedTuple):
    """A worker of one host."""

    id: UUID
    about: dict[str, Any]
    report: dict[str, Any]
    dead: bool
    """Whether it was declared dead."""
    beat: float
    """Seconds since its last beat."""
    ends_in: float
    """Seconds until its lease is over."""

    @property
    def lives(self) -> bool:
        """Whether it holds its lease."""
        return not self.dead and self.ends_in > 0


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
    """The error of its last failed attempt, one JSON line."""
    labels: list[str | None] | None
    """Its tags and meta as they are stored."""


class Definers(NamedTuple):
    """Functions of one owner that run with its rights, and give too many of these away."""

    owner: str
    everybodys: list[str]
    """Functions that every role with usage of the schema may execute, by name."""
    is_superuser: bool
    """Whether the owner is a superuser."""


class Rights(NamedTuple):
    """The rights of a role."""

    enqueue: bool
    work: bool
    look: bool
    own: bool


async def server(connection: Connection) -> Server:
    """Read facts about the server."""
    return Server(*await connection.fetchrow(sql.read("read_server")))


async def connection_limits(connection: Connection) -> Limits:
    """Read the numbers of connections that this login may have."""
    return Limits(*await connection.fetchrow(sql.read("read_connection_limits")))


async def queues(connection: Connection, counted: int | None = None) -> list[QueueRow]:
    """Read the queues, by name; `counted`: in place of `COUNTED`."""
    return [QueueRow(*row) for row in await connection.fetch(sql.read("read_queues"), counted or COUNTED)]


async def workers(connection: Connection) -> list[WorkerRow]:
    """Read the workers that are not declared dead."""
    rows = await connection.fetch(sql.read("read_workers"))
    return [WorkerRow(row["id"], shown_object(row["about"]), shown_object(row["report"]), *row[3:]) for row in rows]


async def running(connection: Connection, limit: int) -> list[RunningJob]:
    """Read the jobs that have run longest, among `COUNTED` of those that run."""
    return [RunningJob(*row) for row in await connection.fetch(sql.read("read_running"), limit, COUNTED)]


async def failed_kinds(connection: Connection, seconds: float, look_at: int) -> list[FailedKind]:
    """Count the jobs that failed within the last seconds, by kind, among the `look_at` unsuccessful ones enqueued last."""
    return [FailedKind(*row) for row in await connection.fetch(sql.read("read_failed_kinds"), seconds, look_at)]


async def counters(connection: Connection) -> Counters:
    """Read what only grows."""
    return Counters(*await connection.fetchrow(sql.read("read_counters")))


async def workers_of_host(connection: Connection, host: str) -> list[HostWorker]:
    """Read the workers of a host that hold their lease; when there are none, the one that was heard last."""
    rows = await connection.fetch(sql.read("read_alive"), host)
    return [HostWorker(row["id"], shown_object(row["about"]), shown_object(row["report"]), *row[3:]) for row in rows]


async def finished_counts(connection: Connection) -> dict[int, int]:
    """Count the jobs that ended within 24 hours, by state."""
    return {row["state"]: row["jobs"] for row in await connection.fetch(sql.read("read_finished_counts"))}


async def list_jobs(connection: Connection, wanted: str, limit: int) -> list[ListedJob]:
    """Read jobs that match, newest first; `wanted` is JSON, as `asyncjobs.condition` takes it."""
    return [ListedJob(*row) for row in await connection.fetch(sql.read("list_jobs"), wanted, limit)]


async def list_beginning(connection: Connection, ids: Ids, limit: int) -> list[ListedJob]:
    """Read jobs whose ids begin alike, newest first."""
    return [ListedJob(*row) for row in await connection.fetch(sql.read("list_beginning"), *ids, limit)]


async def count_jobs(connection: Connection, wanted: str, most: int) -> int:
    """Count jobs that match, `most` at most; `wanted` as for `list_jobs`."""
    return int(await connection.fetchval(sql.read("count_jobs"), wanted, most))


async def limit_time(connection: Connection, seconds: float) -> None:
    """Bound the time of each statement until the transaction ends."""
    await connection.fetch(sql.read("limit_time"), f"{round(seconds * 1000)}ms")


async def seen(connection: Connection, kind: str | None, queue: str | None) -> tuple[bool, bool]:
    """Return whether there are jobs of a kind, and whether there are jobs in a queue; True for None."""
    row = await connection.fetchrow(sql.read("read_seen"), kind, queue)
    return row["kind"], row["queue"]


async def newest_names(connection: Connection) -> list[tuple[str, str]]:
    """Return pairs of a kind and a queue, among the newest `NEWEST` live jobs and as many ended ones."""
    return [tuple(row) for row in await connection.fetch(sql.read("read_newest_names"), NEWEST)]


async def rights(connection: Connection) -> Rights:
    """Read the rights of this role; the schema must exist."""
    return Rights(*await connection.fetchrow(sql.read("read_rights")))


async def definers(connection: Connection) -> list[Definers]:
    """Read which functions give more rights away than they should."""
    return [Definers(*row) for row in await connection.fetch(sql.read("read_definers"))]


async def days_ahead(connection: Connection) -> int:
    """Return the number of days, today included, for which the history has partitions."""
    return int(await connection.fetchval(sql.read("read_days_ahead")))


async def ready_kinds(connection: Connection) -> list[tuple[str, str, int]]:
    """Return queues, kinds and numbers of ready jobs, among the first `LOOKED_AT` of each queue."""
    return [tuple(row) for row in await connection.fetch(sql.read("read_ready_kinds"), LOOKED_AT)]


async def hears(url: str, *, timeout: float) -> bool:
    """Return whether a notice sent on one connection arrives on another within `timeout` seconds."""
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
