"""Statements on schedules: to declare, change and read them, and to enqueue the jobs of due ticks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from asyncjobs.db import sql
from asyncjobs.db.rows import Stored, state_name
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.declared_schedules import Change, Declaration, Kept, Version, What, decide
from asyncjobs.jobs.recurring import LeftOut, Recurrence, RecurringStatus
from asyncjobs.schedules import schedule
from asyncjobs.values import codec

MOST_DUE = 100
"""Due schedules in one look."""


class DueRow(NamedTuple):
    """A schedule with a due tick."""

    name: str
    revision: int
    seen_until: datetime
    schedule: str
    timezone: str
    catch_up: str
    jitter: float
    is_unique: bool
    """Whether its jobs have a unique key."""


class Look(NamedTuple):
    """The schedules that are due."""

    now: datetime
    """The time by the clock of the database."""
    wait: float | None
    """Seconds until the next tick; negative: some are due. None: there are no schedules."""
    due: list[DueRow]


class Tick(NamedTuple):
    """One tick of a schedule, and the job to enqueue for it."""

    tick: datetime
    id: UUID
    run_at: datetime | None
    """When the job is due; None: now."""


class Firing(NamedTuple):
    """The due ticks of one schedule that are to be enqueued."""

    name: str
    revision: int
    """The revision that was read."""
    until: datetime
    """The time until which ticks are done with after this."""
    next_at: datetime | None
    ticks: list[Tick]


class Fired(NamedTuple):
    """The result of one firing."""

    name: str
    enqueued: int
    left_out: int
    """Ticks without a job: the job before is not final, or another has the unique key."""
    trouble: str | None


async def look(connection: Connection, kinds: Sequence[str], left_out: Collection[LeftOut] = ()) -> Look:
    """Return due schedules that this worker may fire.

    Args:
        connection: A connection with pinned plans.
        kinds: The kinds that the worker knows.
        left_out: The schedules that it cannot read.
    """
    names, schedules, timezones, _ = zip(*left_out, strict=True) if left_out else ((), (), (), ())
    rows = await connection.fetch(sql.read("read_due_recurring"), kinds, MOST_DUE, names, schedules, timezones)
    return Look(rows[0]["now"], rows[0]["wait"], [DueRow(*row[2:]) for row in rows if row["name"] is not None])


async def fire(connection: Connection, firings: Sequence[Firing]) -> list[Fired]:
    """Enqueue the jobs of ticks, in one transaction; schedules that have changed since they were read are left out."""
    given = codec.dumps([{**each._asdict(), "ticks": [tick._asdict() for tick in each.ticks]} for each in firings])
    return [Fired(*row) for row in await connection.fetch(sql.read("fire"), given)]


async def declare(connection: Connection, declaration: Declaration, worker: UUID | None) -> list[Change | Kept]:
    """Store the declared schedules, except those of which newer code has another version; return changed and kept ones.

    Args:
        connection: A connection without an open transaction.
        declaration: All schedules that this worker declares.
        worker: The id of this worker, whose own row does not count among the versions at work.
    """
    async with connection.transaction():
        now = await connection.fetchval(sql.read("lock_recurring"))
        found = {
            row["version"]: Version(row["said_at"], row["is_live"])
            for row in await connection.fetch(sql.read("read_versions"), worker)
        }
        rows = [_as_declared(row) for row in await connection.fetch(sql.read("pick_recurring"), None, worker)]
        decided = decide(declaration, rows, found)
        await connection.fetch(sql.read("say_version"), declaration.version, decided.is_newest)
        for change in decided.changes:
            if change.to is None:
                await connection.fetch(sql.read("stop_recurring"), change.name, True, declaration.version)
            elif isinstance(change, Change):
                await _put(connection, change.to, change.before, now, declared=change.declared, by=declaration)
        if decided.affirmed:
            await connection.fetch(sql.read("affirm_recurring"), decided.affirmed, declaration.version)
        await connection.fetch(sql.read("forget_recurring"))
        return [*decided.changes, *decided.kept]


def _as_declared(row: Record) -> What:
    return What(**row)


async def _put(
    connection: Connection,
    said: Recurrence,
    before: What | None,
    now: datetime,
    *,
    declared: str | None = None,
    by: Declaration | None = None,
    scope: str = "",
) -> None:
    goes_on = before is not None and before.removed_at is None and before.enabled and before.times == said.when
    seen_until = before.seen_until if before is not None and goes_on else now
    if before is not None:
        seen_until = max(seen_until, before.seen_until)
    is_paused = before is not None and before.removed_at is None and before.paused_at is not None
    next_at = said.times.after(seen_until) if said.enabled and not is_paused else None
    await connection.fetch(
        sql.read("put_recurring"),
        said.name,
        said.kind,
        said.queue,
        said.priority,
        said.args,
        said.order,
        said.expires_in,
        said.schedule,
        said.timezone,
        said.catch_up,
        said.overlap,
        said.jitter,
        said.enabled,
        declared,
        scope if by is None else by.scope,
        said.digest,
        None if by is None else by.version,
        seen_until,
        next_at,
    )


async def add(connection: Connection, said: Recurrence, *, scope: str) -> None:
    """Store a schedule, in place of one that was added under its name before.

    Raises:
        InvalidOption: A schedule of this name is declared in code or in the configuration.
    """
    async with connection.transaction():
        now = await connection.fetchval(sql.read("lock_recurring"))
        rows = await connection.fetch(sql.read("pick_recurring"), [said.name], None)
        before = _as_declared(rows[0]) if rows else None
        if before is not None:
            _refuse_declared(before, "change it there, or add this under another name")
        await _put(connection, said, before, now, scope=scope)


async def remove(connection: Connection, name: str) -> bool:
    """Remove a schedule that was added at run time; return whether there was one.

    Raises:
        InvalidOption: It is declared in code or in the configuration.
    """
    async with connection.transaction():
        await connection.fetchval(sql.read("lock_recurring"))
        rows = await connection.fetch(sql.read("pick_recurring"), [name], None)
        if rows:
            _refuse_declared(_as_declared(rows[0]), "remove it there, or pause it")
        return bool(await connection.fetch(sql.read("remove_recurring"), name))


def _refuse_declared(what: What, remedy: str) -> None:
    if what.declared is not None and what.removed_at is None:
        where = "config.toml" if what.declared == "config" else f"the code of {what.kind}"
        raise InvalidOption(f"recurring {what.name} is declared in {where}: {remedy}")


async def pause(connection: Connection, name: str) -> bool:
    """Pause a schedule until it is resumed; return whether there is one of this name."""
    return bool(await connection.fetch(sql.read("stop_recurring"), name, False, None))


async def resume(connection: Connection, name: str) -> bool:
    """Resume a schedule, if it is paused, from now on; return whether there is one of this name."""
    async with connection.transaction():
        now = await connection.fetchval(sql.read("lock_recurring"))
        for row in await connection.fetch(sql.read("pick_recurring"), [name], None):
            what = _as_declared(row)
            if what.removed_at is None and what.paused_at is not None:
                next_at = schedule(what.schedule, what.timezone).after(max(now, what.seen_until))
                await connection.fetch(sql.read("resume_recurring"), name, now, next_at)
            return what.removed_at is None
    return False


async def run(connection: Connection, name: str, job_id: UUID) -> Stored | None:
    """Enqueue a job of a schedule now; return how it is stored; None: no such schedule."""
    async with connection.transaction():
        now = await connection.fetchval("select clock_timestamp()")
        row = await connection.fetchrow(sql.read("run_recurring"), name, job_id, now)
    return None if row is None else Stored(*row)


async def read(connection: Connection, names: Sequence[str] | None = None) -> tuple[list[RecurringStatus], datetime]:
    """Return schedules in the order of their names, and the time of the database; `names` None: all."""
    rows = await connection.fetch(sql.read("read_recurring"), names)
    found = [_status(row) for row in rows]
    return found, rows[0]["now"] if rows else await connection.fetchval("select clock_timestamp()")


def _status(row: Mapping[str, Any]) -> RecurringStatus:
    values = {name: row[name] for name in RecurringStatus.__dataclass_fields__}
    state = values["last_state"]
    return RecurringStatus(**{**values, "last_state": None if state is None else state_name(state)})


LATE = timedelta(seconds=60)
"""A tick that is overdue for so long is a sign of trouble."""
