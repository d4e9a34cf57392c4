"""Statements of actions on jobs by hand: to find jobs, some at a time, and to retry, discard and cancel them.

Workers (`asyncjobs_worker`) and the owner may run all of them, viewers those that find jobs, enqueuers the cancel by id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import sql
from asyncjobs.failing.failures import Failed, Failures, grouped
from asyncjobs.values import codec

BATCH = 500
"""Jobs that one statement changes, at most."""
LOOKED_AT = 8_000
"""Jobs that one statement reads, at most, to find those that match a filter."""
FAILED_LOOKED_AT = 2_000
"""Failed jobs, the newest, that are read to group them: 0.2 s, however long the history is."""
UNSUCCEEDED_A_FAILED = 10
"""Jobs that did not succeed that are read for each failed one, at most."""


class Picked(NamedTuple):
    """A job for an action."""

    id: UUID
    fence: int
    """The fence of its last claim, which tells whether it was claimed since."""
    state: int
    kind: str
    queue: str
    attempt: int
    at: datetime
    """When it ended; for a live job, when it was enqueued."""
    error: str | None
    """Its last error, one JSON line; None: it has none, or errors were not asked for."""


class Stretch(NamedTuple):
    """Jobs found among the next ones by id."""

    picked: list[Picked]
    """Jobs that may match, in the order of their ids."""
    last: UUID | None
    """The id to go on after; None: all jobs were read."""


class Done(NamedTuple):
    """The result of an action on one job."""

    id: UUID
    done: bool
    """Whether this call has done the action."""
    state: int
    """The job's state after the call."""
    taken_by: UUID | None = None
    """For a retry: the job that has the unique key, so that this one was not retried."""
    along: int = 0
    """For a cancel: other jobs that were cancelled with this one, and were not named."""


class Cancelled(NamedTuple):
    """The result of a cancel of one job."""

    id: UUID
    came_to: str | None
    """As `asyncjobs.db.jobs.cancel` returns it; "cancelled" also for one that another of the same call took along."""
    along: int
    """Other jobs that it took along: the rest of its chain, and jobs that its steps run."""


async def read_failures(connection: Connection, limit: int = FAILED_LOOKED_AT) -> Failures:
    """Group the newest failed jobs by kind, error and line."""
    rows = await connection.fetch(sql.read("read_failed"), limit + 1, UNSUCCEEDED_A_FAILED * (limit + 1))
    return Failures(grouped(Failed(*row) for row in rows[:limit]), min(len(rows), limit), len(rows) <= limit)


async def read_before(connection: Connection, seconds: float) -> datetime:
    """Return the time so many seconds ago, by the database's clock."""
    found: datetime = await connection.fetchval(sql.read("read_before"), seconds)
    return found


async def pick(
    connection: Connection,
    *,
    final: bool,
    after: UUID,
    states: Sequence[int],
    kinds: Sequence[str] | None,
    queue: str | None,
    before: datetime,
    error: str | None,
    labels: Sequence[str],
    look_at: int,
    limit: int,
) -> Stretch:
    """Find jobs that may match, among the next `look_at` by id.

    Args:
        connection: The connection.
        final: Whether to read jobs that failed, were discarded or cancelled; else live jobs.
        after: The id to go on after.
        states: The states to find.
        kinds: The kinds to find; None: any.
        queue: The queue to find; None: any.
        before: The latest time of the end, or for live jobs of the enqueueing.
        error: Text anywhere in a job's errors, escaped as in JSON; None: any job, and no errors are returned.
        labels: Labels that a job must have.
        look_at: The number of jobs to read; at most `LOOKED_AT`.
        limit: The number of jobs to find; at most `BATCH` count.
    """
    most = min(limit, BATCH)
    rows = await connection.fetch(
        sql.read("pick"), after, look_at, states, kinds, queue, before, error, most, labels or None, final
    )
    picked = [_picked(*row[2:]) for row in rows if row["id"] is not None]
    if len(picked) == most:
        return Stretch(picked, picked[-1].id)
    return Stretch(picked, rows[0]["last"] if rows[0]["looked_at"] == look_at else None)


async def having_arguments(
    connection: Connection, ids: Sequence[UUID], arguments: Mapping[str, Sequence[Any]]
) -> set[UUID]:
    """Return those of some jobs that have arguments: by name, of each one of its values."""
    return {row["id"] for row in await connection.fetch(sql.read("having_arguments"), ids, codec.dumps(arguments))}


async def pick_ids(connection: Connection, ids: Sequence[UUID]) -> list[Picked]:
    """Return the jobs that exist, in no order."""
    return [_picked(*row) for row in await connection.fetch(sql.read("pick_ids"), ids)]


def _picked(*row: Any) -> Picked:
    job = Picked(*row)
    return job._replace(error=job.error.rpartition("\n")[2]) if job.error else job


async def retry(
    connection: Connection,
    ids: Sequence[UUID],
    fences: Sequence[int] | None = None,
    *,
    forced: bool = False,
    from_step: str | None = None,
) -> list[Done]:
    """Make jobs ready again that failed, were discarded or cancelled, or wait for their retry; missing ones are left out.

    Args:
        connection: The connection.
        ids: The jobs, ascending.
        fences: The fence of each: a job that was claimed since is left alone. None: any fence.
        forced: Whether to retry jobs that succeeded, too, and jobs scheduled for their first run.
        from_step: The step from which on steps run again; each job must have it. None: steps that are not recorded run.
    """
    return [Done(*row) for row in await connection.fetch(sql.read("retry"), ids, fences, forced, from_step)]


async def failed_children(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return, for jobs whose last step runs failed jobs, the number of these; see `Job.run`."""
    return {row["job"]: row["failed"] for row in await connection.fetch(sql.read("failed_children"), ids)}


async def discard(
    connection: Connection, ids: Sequence[UUID], fences: Sequence[int] | None, reason: str, days: int
) -> list[Done]:
    """Discard jobs that are live and do not run, or have failed; missing ones are left out.

    Args:
        connection: The connection.
        ids: The jobs, ascending.
        fences: See `retry`.
        reason: Stored with each job.
        days: Days for which live ones are kept from now on.
    """
    return [Done(*row) for row in await connection.fetch(sql.read("discard"), ids, fences, reason, days)]


async def cancel(connection: Connection, ids: Sequence[UUID], reason: str, days: int) -> list[Cancelled]:
    """Cancel jobs; `ids` ascending."""
    return [Cancelled(*row) for row in await connection.fetch(sql.read("cancel_many"), ids, reason, days)]


async def count_along(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return, for jobs with which others would be cancelled, the number of these; `ids` ascending."""
    return {row["id"]: row["along"] for row in await connection.fetch(sql.read("count_along"), ids)}
