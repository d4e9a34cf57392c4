"""Statements on what jobs show while they run: progress, and the items of streams. Each is one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import sql


class Shown(NamedTuple):
    """The progress of a running job, to be written."""

    job: UUID
    fence: int
    done: float
    total: float | None
    note: str
    age: float
    """Seconds since it was shown."""


class ProgressRow(NamedTuple):
    """What a job has shown."""

    job: UUID
    done: float | None
    """None: it has shown no progress."""
    total: float | None
    note: str | None
    shown_at: datetime | None
    items: int
    """How many its stream has."""


class Sent(NamedTuple):
    """An item of a stream, to be written."""

    n: int
    age: float
    """Seconds since it was sent."""
    value: str


class ItemRow(NamedTuple):
    """A stored item of a stream."""

    n: int
    attempt: int
    sent_at: datetime
    value: str


async def show_progress(connection: Connection, shown: Sequence[Shown]) -> None:
    """Write the progress of running jobs, in the order of their ids; those whose lease is lost are left out."""
    await connection.execute(sql.read("show_progress"), *zip(*shown, strict=True))


async def begin_stream(connection: Connection, job_id: UUID, fence: int) -> int | None:
    """Return the number of the last item of a running job's stream, 0: it has none; None: the lease is lost."""
    last: int | None = await connection.fetchval(sql.read("begin_stream"), job_id, fence)
    return last


async def send_items(connection: Connection, sent: Sequence[tuple[UUID, int, Sequence[Sent]]]) -> set[UUID]:
    """Write items of streams of running jobs; return the ids of the jobs whose lease is still held.

    Args:
        connection: A connection with pinned plans.
        sent: Job's id, fence and items, at least one; each job once, in the order of the ids.
    """
    ids, fences = zip(*((job_id, fence) for job_id, fence, _ in sent), strict=True)
    items = [(job_id, *item) for job_id, _, items in sent for item in items]
    rows = await connection.fetch(sql.read("send_items"), ids, fences, *zip(*items, strict=True))
    return {row["id"] for row in rows}


async def read_progress(connection: Connection, ids: Sequence[UUID]) -> list[ProgressRow]:
    """Return what jobs have shown, in no order; jobs that have shown nothing are left out."""
    return [ProgressRow(*row) for row in await connection.fetch(sql.read("read_progress"), ids)]


async def read_stream(connection: Connection, job_id: UUID, after: int, most: int) -> list[ItemRow]:
    """Return the next items of a job's stream after number `after`, in their order; at most `most`, and about 8 MiB."""
    return [ItemRow(*row) for row in await connection.fetch(sql.read("read_stream"), job_id, after, most)]


async def forget(connection: Connection, limit: int) -> int:
    """Delete what dropped jobs have shown, at most `limit` items; return how many rows that was, 0: nothing is left."""
    found: int = await connection.fetchval(sql.read("forget_live"), limit)
    return found
