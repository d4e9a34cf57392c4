"""Statements on steps and events, as functions from plain values to plain values. Each is one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import sql
from asyncjobs.db.rows import NewJob
from asyncjobs.records.step_records import Record, StepForm, Write


async def record(connection: Connection, writes: Sequence[tuple[UUID, int, Write]]) -> set[UUID]:
    """Record steps of running jobs; return the ids of the jobs whose lease is still held.

    Args:
        connection: A connection with pinned plans, or one in a transaction that is to contain the records.
        writes: Job's id, fence and record; at most one for each job, in the order of their ids.
    """
    job_id, fence, write = writes[0]
    if len(writes) > 1 or write.name is None or write.children is not None:
        rows = ((job_id, fence, *write) for job_id, fence, write in writes)
        found = await connection.fetch(sql.read("record_steps"), *zip(*rows, strict=True))
    elif write.attributes is not None:  # the statement for many would take a third longer
        found = await connection.fetch(sql.read("record_step_and_attributes"), job_id, fence, *write[:-1])
    else:
        found = await connection.fetch(sql.read("record_step"), job_id, fence, *write[:-2])
    return {row[0] for row in found}


async def record_isolated(connection: Connection, job_id: UUID, fence: int, write: Write) -> tuple[bool, bool]:
    """Record an isolated step at the end of its transaction.

    Returns:
        Whether the lease is held; and whether this is still the transaction that was begun for the step.
    """
    name = "record_step" if write.attributes is None else "record_step_and_attributes"
    values = write[:-2] if write.attributes is None else write[:-1]
    row = await connection.fetchrow(sql.read(name), job_id, fence, *values)
    return row is not None, row is not None and row["isolated"] == "on"


async def read(connection: Connection, job_id: UUID) -> list[Record]:
    """Return the records of a job's steps, in their order."""
    return [Record(*row) for row in await connection.fetch(sql.read("read_steps"), job_id)]


async def begin_wait(
    connection: Connection,
    job_id: UUID,
    fence: int,
    *,
    n: int,
    name: str,
    event: str | None,
    key: str,
    seconds: float | None,
    progress: str | None,
) -> Record | None:
    """Begin a wait, unless it has begun; return its record, or None when the lease is lost."""
    row = await connection.fetchrow(sql.read("begin_wait"), job_id, fence, n, name, event, key, seconds, progress)
    form: StepForm = "sleep" if event is None else "wait"
    return None if row is None else Record(n, name, row["state"], row["result"], remaining=row["remaining"], form=form)


async def emit(connection: Connection, name: str, key: str, payload: str | None) -> int:
    """Emit an event; return how many waiting jobs it wakes."""
    return int(await connection.fetchval(sql.read("emit"), name, key, payload))


async def adopt(connection: Connection, job: NewJob, progress: str | None, steps: str) -> None:
    """Insert a job that has begun elsewhere, with its attributes and its steps."""
    await connection.fetch(
        sql.read("adopt"),
        job.id,
        job.kind,
        job.queue,
        job.priority,
        job.args,
        progress,
        steps,
        job.labels,
        job.searchable,
    )


async def forget_events(connection: Connection, retention: float, limit: int) -> int:
    """Remove at most `limit` events that are older than `retention` seconds; return how many."""
    return int(await connection.fetchval(sql.read("forget_events"), retention, limit))
