"""The statements of what people do to jobs by hand: find them a stretch at a time, retry, discard and cancel them.

Which role may: one that works (`asyncjobs_worker`) and the owner. An enqueuer may cancel, by id and nothing else, and a
viewer may find.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import sql
from asyncjobs.failing.failures import Failed, Failures, grouped

BATCH = 500
"""Jobs that one statement changes at most."""
LOOKED_AT = 8_000
"""Jobs that one statement looks at, at most, to find those that a filter matches."""


FAILED_LOOKED_AT = 2_000
"""Failed jobs, the newest, that are looked at to group them: 0.2 s, whatever the history is."""
UNSUCCEEDED_A_FAILED = 10
"""Jobs that did not succeed among which a failed one is looked for."""


class Picked(NamedTuple):
    """A job that something may be done with."""

    id: UUID
    fence: int
    """Of its last claim: tells whether it was claimed since."""
    state: int
    kind: str
    queue: str
    attempt: int
    at: datetime
    """When it ended; of a live one, when it was enqueued."""
    error: str | None
    """Its last one, one JSON line; None: there is none, or it was not asked for."""


class Stretch(NamedTuple):
    """What was found among the next jobs."""

    picked: list[Picked]
    """Those that may match, in the order of their ids."""
    last: UUID | None
    """Look on after this one; None: all were looked at."""


class Done(NamedTuple):
    """What became of one job."""

    id: UUID
    done: bool
    """Whether this call did it."""
    state: int
    """By now."""
    taken_by: UUID | None = None
    """The job that has its unique key, for which it was left alone."""
    along: int = 0
    """Of a cancel: how many others were cancelled with it, that were not named."""


class Cancelled(NamedTuple):
    """What came of one that was to be cancelled."""

    id: UUID
    came_to: str | None
    """What `asyncjobs.db.jobs.cancel` returns; one that was taken along by another of the same call is cancelled, too."""
    along: int
    """How many others it has taken along: the rest of its chain, and what its steps ran."""


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
    look_at: int,
    limit: int,
) -> Stretch:
    """Find jobs that may match, among the next `look_at` by id.

    Args:
        connection: Any.
        final: Among those that have ended other than well, not among the live.
        after: Look on after this id.
        states: In one of these.
        kinds: Of one of these; None: of any.
        queue: None: in any.
        before: Ended, or if they are live enqueued, by then.
        error: What is somewhere in its errors, as JSON has it; None: whatever, and no error is returned.
        look_at: Not more than `LOOKED_AT`.
        limit: At most so many, and not more than `BATCH`.
    """
    most = min(limit, BATCH)
    rows = await connection.fetch(
        sql.read("pick_ended" if final else "pick_live"),
        after, look_at, states, kinds, queue, before, error, most,
    )  # fmt: skip
    picked = [_picked(*row[2:]) for row in rows if row["id"] is not None]
    if len(picked) == most:
        return Stretch(picked, picked[-1].id)
    return Stretch(picked, rows[0]["last"] if rows[0]["looked_at"] == look_at else None)


async def pick_ids(connection: Connection, ids: Sequence[UUID]) -> list[Picked]:
    """Return those of `ids` that are there, in no order."""
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
    """Make jobs ready again that ended other than well or wait for their retry; those not there are left out.

    Args:
        connection: Any.
        ids: Ascending.
        fences: Of each: leave it alone when it was claimed since it had this one. None: whichever.
        forced: Those that succeeded, too, and those scheduled for their first run.
        from_step: This step, which each has, and those after it are run again. None: those that are not recorded.
    """
    return [Done(*row) for row in await connection.fetch(sql.read("retry"), ids, fences, forced, from_step)]


async def failed_children(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return of each of these jobs, where there are any, how many failed jobs its last step runs: see `Job.run`."""
    return {row["job"]: row["failed"] for row in await connection.fetch(sql.read("failed_children"), ids)}


async def discard(
    connection: Connection, ids: Sequence[UUID], fences: Sequence[int] | None, reason: str, days: int
) -> list[Done]:
    """Discard jobs that are live and do not run, or have failed; those not there are left out.

    Args:
        connection: Any.
        ids: Ascending.
        fences: As in `retry`.
        reason: Stored with each.
        days: How long live ones are kept from now on.
    """
    return [Done(*row) for row in await connection.fetch(sql.read("discard"), ids, fences, reason, days)]


async def cancel(connection: Connection, ids: Sequence[UUID], reason: str, days: int) -> list[Cancelled]:
    """Cancel jobs; `ids` ascending."""
    return [Cancelled(*row) for row in await connection.fetch(sql.read("cancel_many"), ids, reason, days)]


async def count_along(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return of each of these jobs, where there are any, how many others would be cancelled with it; `ids` ascending."""
    return {row["id"]: row["along"] for row in await connection.fetch(sql.read("count_along"), ids)}
