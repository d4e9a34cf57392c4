"""Statements on limits and rates: to let jobs pass, and to read and set the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import sql
from asyncjobs.db.rows import RatePause
from asyncjobs.jobs.ordering import Rule

MOST_KEYS = 200
"""Keys in one statement: 200 take it some 10 ms, and jobs at other keys wait no longer than that."""


class Admitted(NamedTuple):
    """The result of one look at the limits."""

    passed: int
    """Jobs that were let pass."""
    again: bool
    """Whether there is more to do at once."""
    next_look: float | None
    """Seconds until the next start of a rate is due; None: no job waits for one."""
    has_rates: bool
    """Whether there are rates at all."""


async def admit(connection: Connection) -> Admitted:
    """Let jobs pass the limits at which they wait, if places have become free or a start is due."""
    row = await connection.fetchrow(sql.read("admit"), MOST_KEYS)
    return Admitted(int(row["passed"]), row["again"], row["next_look"], row["has_rates"])


class Said(NamedTuple):
    """A limit after a worker has written the numbers of its code and its configuration."""

    name: str
    was: int | None
    """Jobs that ran at once before; None: any number."""
    was_by: str | None
    """The source of that number: a key of `BY`; None: there was none yet."""
    most: int | None
    said_by: str
    here: int | None
    """The number of this worker."""
    here_by: str
    is_older: bool
    """Whether a worker that began later has another number."""

    @property
    def is_news(self) -> bool:
        """Whether the number in force is another one than before, or than this worker's."""
        if self.was_by is None:
            return self.said_by != "code"
        return (self.was, self.was_by) != (self.most, self.said_by) or self.most != self.here

    def __str__(self) -> str:
        if self.said_by == "hand" or self.is_older:
            ends = f"`jobs.set_limit({self.name!r}, None)` ends that"
            why = "a worker that began later says so" if self.is_older else ends
            here = _at_once(self.here, self.here_by)
            return f"{self.name} is {here} here, and stays {_at_once(self.most, self.said_by)}: {why}"
        was = "" if self.was_by is None else f", and was {_at_once(self.was, self.was_by)}"
        return f"{self.name} is {_at_once(self.most, self.said_by)}{was}"


BY = {"code": "by code", "config": "by config", "hand": "by hand"}
"""Sources of a limit's number, as messages name them."""


def _at_once(most: int | None, said_by: str | None) -> str:
    return f"{'any number' if most is None else most} at once {BY[said_by or 'code']}"


class LimitRow(NamedTuple):
    """The numbers of a limit or rate, or of one key of a limit."""

    name: str
    code: int | None
    """Jobs that may run at once, by code; None: any number, it is a rate."""
    config: int | None
    """The same by the configuration; None: it has no such limit."""
    by_hand: int | None
    spacing: float | None
    """Seconds between two starts; None: it is no rate."""
    burst: int | None
    is_said: bool
    """Whether a worker has written it; else jobs were enqueued under it."""

    @property
    def most(self) -> int | None:
        """Jobs that may run at once."""
        return next((most for most in (self.by_hand, self.config) if most is not None), self.code)

    @property
    def said_by(self) -> str:
        """The source of that number: a key of `BY`."""
        return "hand" if self.by_hand is not None else "config" if self.config is not None else "code"


async def say_limits(
    connection: Connection,
    rules: Sequence[Rule],
    config: Mapping[str, int] | None,
    *,
    scope: str,
    began: datetime | None = None,
) -> tuple[datetime, list[Said]]:
    """Write the limits and rates of a worker's code and configuration.

    Args:
        connection: A connection without an open transaction.
        rules: The limits and rates of the code.
        config: The numbers of the configuration, by stored names; None: there is no configuration.
        scope: The prefix of the worker's kinds.
        began: The time that an earlier call of this worker returned; None: this is its first.

    Returns:
        The time of the worker's first call; and the limits that have changed, or differ from the worker's.
    """
    if began is None:
        began = await connection.fetchval("select clock_timestamp()")
    columns = ([rule[name] for rule in rules] for name in ("name", "most", "spacing", "burst"))
    keys, numbers = (None, None) if config is None else (list(config), list(config.values()))
    rows = await connection.fetch(sql.read("say_limits"), *columns, keys, numbers, scope, began)
    return began, [Said(*row) for row in rows]


async def read_limits(connection: Connection) -> list[LimitRow]:
    """Return limits and rates, by name, and keys with a number that was set by hand."""
    return [LimitRow(*row) for row in await connection.fetch(sql.read("read_limits"))]


async def set_limit(connection: Connection, key: str, most: int | None) -> int:
    """Set by hand how many jobs run at once under a limit; return the number of limits and keys that it was set for."""
    return int(await connection.fetchval(sql.read("set_limit"), key, most))


async def take_token(connection: Connection, name: str, spacing: float, burst: int) -> float:
    """Take the next token of a rate; return the seconds until it is due, 0: it is due now."""
    return float(await connection.fetchval(sql.read("take_token"), name, spacing, burst))


async def pause_rates(connection: Connection, pauses: Sequence[RatePause]) -> None:
    """Pause rates: nothing starts under them for a time."""
    if pauses:
        await connection.fetch(sql.read("pause_rates"), *zip(*pauses, strict=True))


async def leave(connection: Connection, rows: Sequence[tuple[UUID, int]]) -> int:
    """Give back the places of running jobs, by ids and fences in the order of the ids; return how many."""
    return int(await connection.fetchval(sql.read("leave_limits"), *zip(*rows, strict=True)))


async def ask_again(connection: Connection, rows: Sequence[tuple[UUID, int]]) -> int:
    """Ask for the places of running jobs again, by ids and fences in the order of the ids; return how many."""
    return int(await connection.fetchval(sql.read("return_to_limits"), *zip(*rows, strict=True)))


async def read_returned(connection: Connection, rows: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Return the ids of jobs that have their places again, or are not running any more."""
    return {row["id"] for row in await connection.fetch(sql.read("read_returned"), *zip(*rows, strict=True))}


async def forget(connection: Connection, limit: int) -> int:
    """Delete limit keys without jobs, unique windows that are over, and passes of jobs that are gone.

    At most `limit` of each; the greatest of the three numbers is returned.
    """
    return int(await connection.fetchval(sql.read("forget_limits"), limit))
