"""Statements that insert jobs, and those that a queue is looked at by before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import sql
from asyncjobs.db.columns import unless_none, unless_same
from asyncjobs.db.role_access import Access
from asyncjobs.db.rows import NewJob, Stored

_GREATEST_SEQ = 2**63 - 1
_COPY_COLUMNS = ("id", "kind", "queue", "priority", "args")
KEY_WAIT = 25.0
"""Seconds that an enqueue waits for a unique key that another transaction holds, where the session has no `lock_timeout`."""


class Inserts:
    """The inserts of one client, by the tables if its role may write them, else by functions with the owner's rights."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def enqueue_one(self, connection: Connection, job: NewJob, *, quietly: bool = False) -> None:
        """Insert one job that is due now and whose id is new; `quietly`: without a notice."""
        if not (self._access.by_tables or await self._access.is_by_tables(connection)):
            await enqueue_row(connection, job, quietly=quietly)
        elif quietly:
            await enqueue_one_quietly(connection, job)
        else:
            await enqueue_one(connection, job)

    async def enqueue_many(self, connection: Connection, jobs: Sequence[NewJob]) -> None:
        """Insert jobs whose ids are new, due now or later, and notify."""
        if self._access.by_tables or await self._access.is_by_tables(connection):
            await enqueue_many(connection, jobs)
        else:
            await enqueue_rows(connection, jobs)

    async def enqueue_copy(self, connection: Connection, jobs: Sequence[NewJob]) -> None:
        """Insert many jobs that are due now and whose ids are new, and notify."""
        if self._access.by_tables or await self._access.is_by_tables(connection):
            await enqueue_copy(connection, jobs)
        else:
            await enqueue_rows(connection, jobs)


async def enqueue_one(connection: Connection, job: NewJob) -> None:
    """Insert one job that is due now and whose id is new, and notify."""
    await connection.fetch(sql.read("enqueue_one"), job.id, job.kind, job.queue, job.priority, job.args)


async def enqueue_one_quietly(connection: Connection, job: NewJob) -> None:
    """Insert one job that is due now and whose id is new, without a notice."""
    await connection.fetch(sql.read("enqueue_one_quietly"), job.id, job.kind, job.queue, job.priority, job.args)


async def enqueue_many(connection: Connection, jobs: Sequence[NewJob]) -> int:
    """Insert jobs whose ids are new, due now or later, and notify; return how many were made."""
    row = await connection.fetchrow(sql.read("enqueue_many"), *_columns(jobs))
    return int(row["made"])


async def enqueue_row(connection: Connection, job: NewJob, *, quietly: bool) -> None:
    """Insert like `enqueue_one`, by the function with the owner's rights; `quietly`: without a notice."""
    await connection.fetch(sql.read("enqueue_row"), job.id, job.kind, job.queue, job.priority, job.args, quietly)


async def enqueue_rows(connection: Connection, jobs: Sequence[NewJob]) -> int:
    """Insert like `enqueue_many`, by the function with the owner's rights."""
    return int(await connection.fetchval(sql.read("enqueue_rows"), *_columns(jobs)))


async def enqueue_ordered(connection: Connection, jobs: Sequence[NewJob], key_wait: float = KEY_WAIT) -> list[Stored]:
    """Insert jobs with limits or unique keys, due now or later, and notify; return how each was stored, in their order.

    Args:
        connection: Any connection.
        jobs: Their rows; rows with their ids may exist already, if they were sent before.
        key_wait: Seconds to wait for a unique key that another transaction holds, where the session has no `lock_timeout`.
    """
    ids, kinds, queues, priorities, args, run_ats, delays, expiries, orders, *_ = zip(
        *[job.with_order() if job.is_labelled else job for job in jobs], strict=True
    )
    rows = await connection.fetch(
        sql.read("enqueue_ordered"),
        ids,
        kinds,
        queues,
        priorities,
        args,
        run_ats,
        delays,
        expiries,
        [order or "{}" for order in orders],
        f"{key_wait * 1000:.0f}ms",
    )
    return [Stored(row["id"], row["disposition"]) for row in sorted(rows, key=lambda row: int(row["n"]))]


def _columns(jobs: Sequence[NewJob]) -> list[Any]:
    ids, kinds, queues, priorities, args, run_ats, delays, expiries, _, labels, searchable = zip(*jobs, strict=True)
    return [
        ids,
        args,
        unless_same(kinds),
        unless_same(queues),
        unless_same(priorities),
        unless_none(run_ats),
        unless_none(delays),
        kinds[0],
        queues[0],
        priorities[0],
        unless_none(expiries),
        _as_arrays(labels),
        _as_arrays(searchable),
    ]


def _as_arrays(column: Sequence[Sequence[str] | None]) -> Sequence[str | None]:
    """Return arrays as PostgreSQL writes them, since `unnest` would take one array of arrays for one array of all."""
    return [None if each is None else _as_array(each) for each in unless_none(column)]


def _as_array(texts: Sequence[str]) -> str:
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


async def enqueue_copy(connection: Connection, jobs: Sequence[NewJob]) -> None:
    """Insert jobs that are due now and whose ids are new, by COPY, and notify once a queue, in one transaction.

    COPY is fastest (155,000 rows/s against 105,000 by unnest), but cannot compute times: delayed jobs are inserted by
    `enqueue_many`, and so are few jobs, since this takes three round trips.
    """
    async with connection.transaction():
        least = await connection.fetchval(sql.read("next_seq"))
        await connection.copy_records_to_table(
            "job", schema_name="asyncjobs", columns=_COPY_COLUMNS, records=(job[:5] for job in jobs)
        )
        await notify_ready(connection, {job.queue for job in jobs}, least)


async def has_lock_timeout(connection: Connection) -> bool:
    """Whether the role or the database has set a `lock_timeout` for sessions such as this one."""
    return bool(await connection.fetchval(sql.read("read_lock_timeout")) != "0")


async def enqueue_again(connection: Connection, job: NewJob) -> bool:
    """Insert one job whose id may exist already; return whether a row was made."""
    if job.is_labelled:
        [stored] = await enqueue_ordered(connection, [job])
        return stored.disposition == "enqueued"
    row = (job.id, job.kind, job.queue, job.priority, job.run_at, job.delay, job.args, job.expires_in)
    return bool(await connection.fetchval(sql.read("enqueue_again"), *row))


async def enqueue_by_name(
    connection: Connection,
    kind: str,
    args: str,
    *,
    queue: str,
    priority: int,
    run_at: datetime | None,
    delay: float | None,
    tags: Sequence[str],
    meta: str,
) -> UUID:
    """Insert one job of any kind by the SQL function; return its id. `args` and `meta` are JSON texts."""
    found: UUID = await connection.fetchval(
        sql.read("enqueue_by_name"), kind, args, queue, priority, run_at, delay, tags, meta
    )
    return found


async def read_depth(connection: Connection, queue: str, most: int) -> int:
    """Return the number of ready jobs in a queue; at most `most` are counted."""
    return int(await connection.fetchval(sql.read("read_depth"), queue, most))


async def read_placeless(connection: Connection, given: str) -> str:
    """Return the jobs with unique keys that would add no ready job; JSON in and out, as `asyncjobs.placeless` has it."""
    return str(await connection.fetchval(sql.read("placeless"), given))


async def notify_ready(connection: Connection, queues: Iterable[str], least: int = _GREATEST_SEQ) -> None:
    """Wake the workers that serve `queues`, to look from the seq `least` on.

    The default is for rows that are milliseconds old, which no position has passed.
    """
    await connection.fetch(sql.read("notify_ready"), list(queues), least)
