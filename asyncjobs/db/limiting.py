"""The statements on limits: letting jobs pass, and what each limit allows."""

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
"""In one statement: 200 keys take it some 10 ms, and others wait for theirs no longer than that."""


class Admitted(NamedTuple):
    """What one look at the limits came to."""

    passed: int
    """Jobs that were let pass."""
    again: bool
    """Whether there is more to do at once."""
    next_look: float | None
    """Seconds until the next start of a rate is due; None: nobody waits for one."""
    has_rates: bool
    """Whether there are rates at all."""


async def admit(connection: Connection) -> Admitted:
    """Let jobs pass the limits at which they wait, where something has changed or a start is due."""
    row = await connection.fetchrow(sql.read("admit"), MOST_KEYS)
    return Admitted(int(row["passed"]), row["again"], row["next_look"], row["has_rates"])


class Said(NamedTuple):
    """What holds of a limit after a worker has said what its code and its configuration have."""

    name: str
    was: int | None
    """Running at once; None: any number."""
    was_by: str | None
    """Who said so: a key of `BY`; None: nobody yet."""
    most: int | None
    said_by: str
    here: int | None
    """What the worker says."""
    here_by: str
    is_older: bool
    """Whether a worker that began later says otherwise."""

    @property
    def is_news(self) -> bool:
        """Whether how many run at once is another number than before, or than the worker says."""
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
"""Who says what a limit allows, in messages."""


def _at_once(most: int | None, said_by: str | None) -> str:
    return f"{'any number' if most is None else most} at once {BY[said_by or 'code']}"


class LimitRow(NamedTuple):
    """What is said of a limit or rate, or of one key of a limit."""

    name: str
    code: int | None
    """Running at once, by code; None: any number, it is a rate."""
    config: int | None
    """None: no configuration says anything."""
    by_hand: int | None
    spacing: float | None
    """Seconds between two starts; None: it is no rate."""
    burst: int | None
    is_said: bool
    """Whether a worker has said it; else it is what was enqueued under it."""

    @property
    def most(self) -> int | None:
        """How many run at once."""
        return next((most for most in (self.by_hand, self.config) if most is not None), self.code)

    @property
    def said_by(self) -> str:
        """Who says so: a key of `BY`."""
        return "hand" if self.by_hand is not None else "config" if self.config is not None else "code"


async def say_limits(
    connection: Connection,
    rules: Sequence[Rule],
    config: Mapping[str, int] | None,
    *,
    scope: str,
    began: datetime | None = None,
) -> tuple[datetime, list[Said]]:
    """Say what limits allow, as the code and the configuration of a worker have it.

    Args:
        connection: On which no transaction is open.
        rules: Of the code.
        config: How many run at once by name, as stored; None: there is no configuration.
        scope: The prefix of its kinds.
        began: What an earlier call of this worker returned.

    Returns:
        When the worker began, as far as this is concerned; and what has changed, or is otherwise.
    """
    if began is None:
        began = await connection.fetchval("select clock_timestamp()")
    columns = ([rule[name] for rule in rules] for name in ("name", "most", "spacing", "burst"))
    keys, numbers = (None, None) if config is None else (list(config), list(config.values()))
    rows = await connection.fetch(sql.read("say_limits"), *columns, keys, numbers, scope, began)
    return began, [Said(*row) for row in rows]


async def read_limits(connection: Connection) -> list[LimitRow]:
    """Return what limits and rates allow, by name, and the keys of which something is said by hand."""
    return [LimitRow(*row) for row in await connection.fetch(sql.read("read_limits"))]


async def set_limit(connection: Connection, key: str, most: int | None) -> int:
    """Say at run time how many jobs run at once under a limit; return how many limits and keys that was said of."""
    return int(await connection.fetchval(sql.read("set_limit"), key, most))


async def take_token(connection: Connection, name: str, spacing: float, burst: int) -> float:
    """Take the next token of a rate; return in how many seconds it is due, 0: by now."""
    return float(await connection.fetchval(sql.read("take_token"), name, spacing, burst))


async def pause_rates(connection: Connection, pauses: Sequence[RatePause]) -> None:
    """Have nothing start under rates for a time."""
    if pauses:
        await connection.fetch(sql.read("pause_rates"), *zip(*pauses, strict=True))


async def leave(connection: Connection, rows: Sequence[tuple[UUID, int]]) -> int:
    """Have running jobs, by ids and fences in the order of the ids, give back their places; return how many did."""
    return int(await connection.fetchval(sql.read("leave_limits"), *zip(*rows, strict=True)))


async def ask_again(connection: Connection, rows: Sequence[tuple[UUID, int]]) -> int:
    """Have running jobs, by ids and fences in the order of the ids, ask for their places again; return how many do."""
    return int(await connection.fetchval(sql.read("return_to_limits"), *zip(*rows, strict=True)))


async def read_returned(connection: Connection, rows: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Return the ids of those of `rows` that have their places again, or are not there any more."""
    return {row["id"] for row in await connection.fetch(sql.read("read_returned"), *zip(*rows, strict=True))}


async def forget(connection: Connection, limit: int) -> int:
    """Forget keys under which nothing is left, so many of a sort at most; return how many of one sort are gone."""
    return int(await connection.fetchval(sql.read("forget_limits"), limit))
