"""Statements of the test kit: they read all jobs, move their times, and empty the database."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import NamedTuple
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import migrating, sql
from asyncjobs.db.connecting import connect
from asyncjobs.exceptions import DatabaseError
from asyncjobs.records.claimed import Claimed

OURS = "made by the test kit of asyncjobs; removed after the run"
"""The comment on each database of the test kit: it drops no other."""


class Seen(NamedTuple):
    """One job, live or final."""

    id: UUID
    kind: str
    queue: str
    priority: int
    state: int
    attempt: int
    args: str
    result: str | None
    errors: str | None
    reason: str | None
    run_at: datetime | None
    """When it is due; None once it is final."""
    enqueued_at: datetime
    labels: list[str | None] | None
    """Its tags and meta, as they are stored."""


class Next(NamedTuple):
    """A ready job, still unclaimed."""

    id: UUID
    kind: str
    crashes: int


async def read_jobs(connection: Connection) -> list[Seen]:
    """Return all jobs, in the order in which they were enqueued."""
    return [Seen(*row) for row in await connection.fetch(sql.read("test_jobs"))]


async def read_next(
    connection: Connection,
    kinds: Collection[str],
    *,
    queues: Collection[str] | None,
    job_id: UUID | None,
    held: Collection[UUID],
) -> Next | None:
    """Return the ready job that is to run next, and is not in `held`; `queues` and `job_id` None: any."""
    row = await connection.fetchrow(sql.read("test_next"), kinds, queues, job_id, [str(each) for each in held])
    return None if row is None else Next(*row)


@cache
def claim_text() -> str:
    """Return a claim of one job by its id, with the update of the worker's own claim, so that both do the same."""
    rule = sql.read("claim")
    rule = rule[rule.index("update asyncjobs.job\n") :]
    rule = re.sub(r"\$(8|9|10)\b", lambda found: f"${int(found[1]) - 6}", rule)
    return f"{sql.read('test_claim')}\n{rule}"


async def claim(connection: Connection, job: Next, *, max_crashes: int | None, worker: UUID) -> list[Claimed]:
    """Claim a ready job for a worker; return it, or nothing when it is not ready any more or its row is locked.

    Args:
        connection: The connection of the test kit.
        job: The job, as `read_next` returned it.
        max_crashes: The `max_crashes` of its kind; None: crashes do not count.
        worker: The worker under whose lease it runs.
    """
    once = [job.kind] if max_crashes is not None and job.crashes >= max_crashes else []
    return [Claimed(*row) for row in await connection.fetch(claim_text(), job.id, worker, [], once)]


async def travel(connection: Connection, seconds: float) -> int:
    """Move the due times of jobs closer by so many seconds; return how many jobs were moved."""
    return int(await connection.fetchval(sql.read("test_travel"), seconds, False, None))


async def hurry(connection: Connection, job_id: UUID | None = None) -> int:
    """Make jobs due now that wait for a time: one, or with None all; return how many."""
    return int(await connection.fetchval(sql.read("test_travel"), 0.0, True, job_id))


async def empty(connection: Connection, *, workers: bool = True) -> None:
    """Remove all rows of our tables, except the list of migrations. Locks of other sessions are waited for, 5 s at most.

    Args:
        connection: The connection, which keeps a `lock_timeout` of 5 s.
        workers: Whether to remove rows of workers, too: of the test kit's, and of those whose session is gone. False for an
            application that is open for many tests: its worker would claim nothing for a second.
    """
    tables = await connection.fetch(
        "select c.oid::regclass::text as name from pg_class c where c.relnamespace = 'asyncjobs'::regnamespace "
        "and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> all($1::text[]) order by 1",
        ["migration", "worker"],
    )
    deletes = [f"delete from {row['name']}" for row in tables]  # noqa: S608 - names of ours, quoted by the server
    if workers:
        deletes.append(sql.read("test_forget_workers"))
    await connection.execute("; ".join(["set lock_timeout = '5s'", *deletes]))


async def make_database(connection: Connection, name: str) -> bool:
    """Make a database, in place of one of the test kit's that a killed run has left.

    Args:
        connection: A connection that stays open for as long as the database is used: it holds the lock that says so.
        name: The name, not quoted.

    Returns:
        Whether it was made; False when another run uses it.

    Raises:
        DatabaseError: There is a database of that name that is not the test kit's.
    """
    quoted = '"' + name.replace('"', '""') + '"'
    if not await connection.fetchval("select pg_try_advisory_lock(hashtextextended('asyncjobs.test ' || $1, 0))", name):
        return False
    row = await connection.fetchrow(
        "select shobj_description(oid, 'pg_database') as about from pg_database where datname = $1", name
    )
    if row is not None and row["about"] != OURS:
        raise DatabaseError(
            f"there is a database {name} that was not made for these tests: it is left alone; give another name in "
            "ASYNCJOBS_TEST_DATABASE_URL"
        )
    if row is not None:
        await connection.execute(f"drop database {quoted} with (force)")
    await connection.execute(f"create database {quoted} template template0 encoding 'UTF8'")
    await connection.execute(f"comment on database {quoted} is '{OURS}'")
    return True


async def drop_database(connection: Connection, name: str) -> None:
    """Drop a database that `make_database` made."""
    quoted = '"' + name.replace('"', '""') + '"'
    await connection.execute(f"drop database if exists {quoted} with (force)")


async def open_migrated(url: str) -> Connection:
    """Open a connection to a database and bring its schema up to date."""
    connection = await connect(url, name="asyncjobs tests")
    try:
        await migrating.migrate(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection
