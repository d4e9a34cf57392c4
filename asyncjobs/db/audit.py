"""Statements on the audit: what was done by hand in the dashboard."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from asyncpg import Connection

from asyncjobs.checks.texts import cut
from asyncjobs.db import sql

MOST_TEXT = 500
"""Characters of a subject, a detail or a name."""


class Entry(NamedTuple):
    """One thing that was done."""

    id: int
    at: datetime
    ended_at: datetime | None
    """None: it is under way, or was cut short."""
    jobs: int
    """Jobs that it has changed so far."""
    who: str
    action: str
    scope: str
    """What it was done with: job, jobs, queue, kind, recurring, worker."""
    subject: str
    """An id, a name, or a filter in words."""
    detail: str
    """A reason, or what went wrong."""


async def begin(connection: Connection, *, who: str, action: str, scope: str, subject: str, detail: str = "") -> int:
    """Note an action that begins; return the id of its entry."""
    texts = [cut(text, MOST_TEXT) for text in (who, action, scope, subject, detail)]
    return int(await connection.fetchval(sql.read("begin_audit"), *texts))


async def add(connection: Connection, entry: int, *, jobs: int, over: bool, trouble: str | None = None) -> None:
    """Note that an action has changed `jobs` more, or is `over`; in the transaction that has changed them."""
    await connection.fetch(
        sql.read("add_audit"), entry, jobs, over, None if trouble is None else cut(trouble, MOST_TEXT)
    )


async def read(
    connection: Connection, *, scope: str | None = None, subject: str = "", before: int | None = None, limit: int = 50
) -> list[Entry]:
    """Read entries, the newest first; `scope` and `subject`: of one thing alone."""
    return [Entry(*row) for row in await connection.fetch(sql.read("read_audit"), scope, subject, before, limit)]


async def read_one(connection: Connection, entry: int) -> Entry | None:
    """Read one entry; None: there is none."""
    row = await connection.fetchrow(sql.read("read_one_audit"), entry)
    return None if row is None else Entry(*row)


async def forget(connection: Connection, limit: int) -> int:
    """Delete at most `limit` entries that are older than 90 days; return how many."""
    return int(await connection.fetchval(sql.read("forget_audit"), limit))
