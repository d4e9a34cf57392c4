"""Statements on jobs, as functions from plain values to plain values. Each is one statement and one round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import sql
from asyncjobs.db.columns import unless_none, unless_same
from asyncjobs.db.rows import Finish, Finished, Reschedule, State, StatusRow, state_name

YEAR = 365
STATUS_WAYS: tuple[str, ...] = ("read_status", "read_status_without_arguments", "read_status_by_function")
"""Statements that return less and less: for workers, for viewers, and for enqueuers."""
_SUCCEEDED = State.succeeded  # to look it up takes 0.2 µs
MOST_SPARED = 10
"""Crashes of a job in a row that may not be charged to it; the next one is."""


async def finish(connection: Connection, finishes: Sequence[Finish]) -> int:
    """Move jobs that have ended to the history; return how many. `finishes` are in the order of their ids."""
    ids, fences, states, results, errors, reasons, days, *_ = zip(*finishes, strict=True)
    row = await connection.fetchrow(
        sql.read("finish"),
        ids,
        fences,
        () if states.count(_SUCCEEDED) == len(states) else states,
        unless_none(results),
        unless_none(errors),
        unless_none(reasons),
        unless_same(days),
        days[0],
    )
    return int(row["moved"])


async def finish_without_steps(connection: Connection, finishes: Sequence[Finish]) -> int:
    """Move one job that has ended to the history, without its steps, its attributes and its result."""
    [ended] = finishes
    async with connection.transaction():
        await connection.fetch(sql.read("forget_steps"), ended.id, ended.fence)
        return await finish(connection, [ended._replace(result=None)])


async def finished_with_fence(connection: Connection, finishes: Sequence[Finish]) -> set[UUID]:
    """Return the ids of jobs that are in the history with the given fence."""
    ids, fences = zip(*((f.id, f.fence) for f in finishes), strict=True)
    return {row["id"] for row in await connection.fetch(sql.read("finished_with_fence"), ids, fences)}


async def reschedule(connection: Connection, jobs: Sequence[Reschedule]) -> int:
    """Give running jobs back, to run again; return how many. `jobs` are in the order of their ids."""
    ids, fences, delays, errors, counts, spent, queues, priorities, crashed, started, waits, together, limits, _ = zip(
        *jobs, strict=True
    )
    row = await connection.fetchrow(
        sql.read("reschedule"),
        ids,
        fences,
        delays if any(delays) else (),
        unless_none(errors),
        unless_none(counts),
        spent if any(spent) else (),
        unless_none(queues),
        unless_none(priorities),
        crashed if any(crashed) else (),
        started if any(started) else (),
        waits if any(waits) else (),
        unless_none(together),
        unless_none(limits),
    )
    return int(row["given_back"])


async def rescheduled_with_fence(connection: Connection, jobs: Sequence[Reschedule]) -> set[UUID]:
    """Return the ids of jobs that were given back from the given attempt, and not claimed since."""
    ids, fences = zip(*((job.id, job.fence) for job in jobs), strict=True)
    return {row["id"] for row in await connection.fetch(sql.read("rescheduled_with_fence"), ids, fences)}


async def read_cancels(connection: Connection, worker: UUID) -> list[UUID]:
    """Return the running jobs of a worker that were asked to be cancelled."""
    return [row["id"] for row in await connection.fetch(sql.read("read_cancels"), worker)]


async def cancel(connection: Connection, job_id: UUID, reason: str, days: int) -> str | None:
    """Cancel a job; return "cancelled", "cancelling" (it runs), "final", or None: there is no such job."""
    found: str | None = await connection.fetchval(sql.read("cancel"), job_id, reason, days)
    return found


async def read_held(connection: Connection, worker: UUID, kinds: Mapping[str, int]) -> list[tuple[UUID, int, bool]]:
    """Return the jobs that run under a worker's lease: ids, fences, and whether the claim counted no attempt.

    Args:
        connection: A connection with pinned plans.
        worker: The worker that asks.
        kinds: The kinds that it knows, each with its `max_crashes`.
    """
    rows = await connection.fetch(sql.read("read_held"), worker, list(kinds), list(kinds.values()))
    return [(row["id"], row["fence"], row["refused"]) for row in rows]


async def promote(connection: Connection, limit: int) -> tuple[int, float | None]:
    """Make due jobs ready; return how many, and the seconds until the next is due (None: none is scheduled)."""
    row = await connection.fetchrow(sql.read("promote"), limit)
    return int(row["promoted"]), row["next_due"]


async def await_jobs(connection: Connection, ids: Sequence[UUID], way: str = "await_jobs") -> set[UUID]:
    """Set the flags that have notices sent when jobs become final; return the ids that are live."""
    return {row["id"] for row in await connection.fetch(sql.read(way), sorted(ids))}


async def read_finished(connection: Connection, ids: Sequence[UUID], way: str = "read_finished") -> list[Finished]:
    """Return the ends of the jobs that have ended, in no order."""
    return [Finished(*row) for row in await connection.fetch(sql.read(way), ids)]


async def read_live(connection: Connection, ids: Sequence[UUID], way: str = "read_live") -> set[UUID]:
    """Return the ids that are live."""
    return {row["id"] for row in await connection.fetch(sql.read(way), ids)}


async def read_states(
    connection: Connection, ids: Sequence[UUID], way: str = "read_states"
) -> dict[UUID, tuple[str, str]]:
    """Return the states of jobs that have a row, and their reasons if they were discarded or cancelled."""
    rows = await connection.fetch(sql.read(way), ids)
    return {row["id"]: (state_name(row["state"]), row["reason"] or "") for row in rows}


async def read_status(connection: Connection, job_id: UUID, way: str = STATUS_WAYS[0]) -> StatusRow | None:
    """Return the row of one job as one of `STATUS_WAYS` reads it, or None."""
    row = await connection.fetchrow(sql.read(way), job_id)
    return None if row is None else StatusRow(*row)._replace(shows_result=way != STATUS_WAYS[2])


async def rescue(connection: Connection, limit: int) -> int:
    """Make jobs of dead workers ready again; return how many."""
    row = await connection.fetchrow(sql.read("rescue"), limit, MOST_SPARED)
    return int(row["rescued"])


async def make_partitions(connection: Connection, days: int) -> int:
    """Make the history's partitions through `days` ahead, a year in one statement; return how many were made.

    Each statement is a transaction of its own: ten years in one could exceed the deadline, and would be tried for ever.
    """
    stretches = [*range(YEAR, days, YEAR), days]
    return sum([int(await connection.fetchval(sql.read("make_partitions"), stretch)) for stretch in stretches])


async def drop_expired(connection: Connection) -> int:
    """Drop the days of the history that are past their retention; return how many."""
    return int(await connection.fetchval(sql.read("drop_expired")))
