"""Statements for the dashboard: reads whose work is bounded, however many jobs there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
from asyncpg import Connection

from asyncjobs.checks.id_beginnings import Ids
from asyncjobs.db import sql
from asyncjobs.db.batches import BatchRow, batch_of
from asyncjobs.db.errors import translating
from asyncjobs.db.reading import ListedJob
from asyncjobs.db.rows import State, StatusRow
from asyncjobs.exceptions import PermissionDenied
from asyncjobs.values import codec

COUNTED = 10_000
"""Jobs of one state that are counted, at most."""
COUNTED_FEW = 3_000
"""Jobs that are counted, at most, where each takes longer: with a filter, and those that did not succeed."""
FEW = 5_000
"""Jobs of one live state that are all read, and sorted, to find those that match."""
LOOKS = (200, 10_000)
"""Jobs that a page looks at, in its first statement and in its second; `COUNTED_FEW` at most of those without success."""
MOST_IN_HISTORY_MS = 45
"""Milliseconds to count what ended in a span of time; if they do not suffice, a shorter one is taken."""
LONG_VALUE, LONG_TEXT = 100_000, 1_000_000
"""Octets of a job's arguments, result or attributes, and of its errors or steps, from which on a page leaves them out."""


class Wanted(NamedTuple):
    """A filter of jobs."""

    state: State | None = None
    kind: str | None = None
    queue: str | None = None
    error: str | None = None
    """Text anywhere in their errors, as it is: it is escaped here."""
    tag: str | None = None
    """A tag."""
    arg: str | None = None
    """The value of an argument, as NAME=VALUE."""

    @property
    def by_index(self) -> bool:
        """Whether it is searched for in an index, by `asyncjobs.find`, and not by a look at each job."""
        return (self.tag, self.arg) != (None, None)

    @property
    def narrows(self) -> bool:
        """Whether it filters by more than the state."""
        return (self.kind, self.queue, self.error) != (None, None, None)

    @property
    def texts(self) -> tuple[str | None, str | None, str | None]:
        """Kind, queue and error as statements take them."""
        return self.kind, self.queue, None if self.error is None else codec.dumps(self.error)[1:-1]


class Look(NamedTuple):
    """The jobs found in one look."""

    jobs: list[ListedJob]
    looked_at: int
    last: UUID | None
    """The last one that was looked at, to go on after; None: there are no more."""


async def look(connection: Connection, wanted: Wanted, *, before: UUID | None, look_at: int, limit: int) -> Look:
    """Look for at most `limit` jobs that match, newest first, among the next `look_at` below the id `before`."""
    state = wanted.state
    if state is not None and not state.final:
        rows = await connection.fetch(sql.read("look_at_live"), state, *wanted.texts, before, look_at, limit, FEW)
    else:
        if state not in (None, State.succeeded):
            look_at = min(look_at, COUNTED_FEW)
        rows = await connection.fetch(sql.read("look_at_jobs"), state, *wanted.texts, before, look_at, limit)
    found = [ListedJob(*row[2:]) for row in rows if row["id"] is not None]
    if len(found) == limit:
        return Look(found, rows[0]["looked_at"], found[-1].id)
    return Look(found, rows[0]["looked_at"], rows[0]["last"] if rows[0]["looked_at"] == look_at else None)


class Counted(NamedTuple):
    """The number of jobs in one state."""

    state: State
    jobs: int
    cut: bool
    """Whether there are more than were looked at."""


async def count_states(connection: Connection, wanted: Wanted) -> list[Counted]:
    """Count the jobs in each state that match the rest of a filter, among the first of it."""
    if wanted.narrows:
        rows = await connection.fetch(sql.read("count_states"), *wanted.texts, COUNTED_FEW)
    else:
        rows = await connection.fetch(sql.read("count_all_states"), COUNTED, COUNTED_FEW)
    return [Counted(State(row["state"]), row["jobs"], row["cut"]) for row in rows]


class Span(NamedTuple):
    """A time up to now, in stretches."""

    width: float
    """Seconds of each stretch."""
    stretches: int


SPANS = (Span(1800.0, 48), Span(60.0, 60), Span(10.0, 60), Span(1.0, 60))
"""The longest first."""


class Throughput(NamedTuple):
    """Jobs that ended lately."""

    span: Span
    by_state: dict[int, dict[State, int]]
    """By stretch, 0 the last one."""


async def read_throughput(connection: Connection, asked: Span) -> Throughput:
    """Count the jobs that ended in a span, or where that takes too long, in the longest shorter one where it does not."""
    for span in SPANS[SPANS.index(asked) :]:
        try:
            async with connection.transaction():
                await connection.execute(
                    "set local enable_bitmapscan = on"
                )  # of finished_by_time, which is for nothing else
                if span != SPANS[-1]:
                    await connection.execute(f"set local statement_timeout = {MOST_IN_HISTORY_MS}")
                rows = await connection.fetch(sql.read("read_throughput"), *span)
        except asyncpg.QueryCanceledError:
            if span == SPANS[-1]:
                raise
            continue
        by_state: dict[int, dict[State, int]] = {}
        for row in rows:
            if 0 <= row["ago"] < span.stretches and row["state"] in State._value2member_map_:
                by_state.setdefault(row["ago"], {})[State(row["state"])] = row["jobs"]
        return Throughput(span, by_state)
    raise AssertionError


class Shown(NamedTuple):
    """One job for a page."""

    row: StatusRow
    may_read_arguments: bool
    sizes: dict[str, int]
    """Octets of arguments, result, steps and attributes, as far as there are some."""

    def is_long(self, what: str) -> bool:
        """Whether a value was left out, or in part, because it is long."""
        return self.sizes.get(what, 0) > (LONG_TEXT if what == "steps" else LONG_VALUE)


async def read_shown(connection: Connection, job_id: UUID) -> Shown | None:
    """Read one job, without long values, and without arguments where this role may not read them; None: there is none."""
    may_read = True
    try:
        with translating():
            row = await connection.fetchrow(sql.read("read_shown"), job_id, LONG_VALUE, LONG_TEXT)
    except PermissionDenied:
        may_read = False
        row = await connection.fetchrow(sql.read("read_shown_without_arguments"), job_id, LONG_VALUE, LONG_TEXT)
    if row is None:
        return None
    names = ("arguments", "result", "steps", "attributes")
    sizes = {name: size for name, size in zip(names, row[22:], strict=True) if size is not None}
    return Shown(StatusRow(*row[:22]), may_read, sizes)


class Belonging(NamedTuple):
    """What a job is a part of."""

    batch: UUID | None
    tick: datetime | None
    unique_key: str | None
    limit_keys: list[str] | None


async def read_belonging(connection: Connection, job_id: UUID) -> Belonging | None:
    """Read the batch, schedule, unique key and limits of a job; None: there is no such job."""
    row = await connection.fetchrow(sql.read("read_belonging"), job_id)
    return None if row is None else Belonging(*row)


async def list_batches(
    connection: Connection,
    *,
    before: UUID | None = None,
    limit: int = 50,
    counted: int = 1_000,
    only: UUID | None = None,
    parts_of: UUID | None = None,
) -> list[BatchRow]:
    """Read batches, newest first: all, only one, or the parts of one. `counted`: jobs to count in each, at most."""
    rows = await connection.fetch(sql.read("list_batches"), before, limit, counted, only, parts_of)
    return list(map(batch_of, rows))


async def list_batches_beginning(connection: Connection, ids: Ids, limit: int) -> list[UUID]:
    """Read the ids of batches that begin alike, newest first."""
    return [row["id"] for row in await connection.fetch(sql.read("list_batches_beginning"), *ids, limit)]


class BatchJob(NamedTuple):
    """One job of a batch."""

    id: UUID
    state: int
    kind: str


async def list_batch_jobs(connection: Connection, batch: UUID, limit: int) -> list[BatchJob]:
    """Read at most `limit` jobs of a batch: those that ended without success, live ones, then the others."""
    return [BatchJob(*row) for row in await connection.fetch(sql.read("list_batch_jobs"), batch, limit)]


class Table(NamedTuple):
    """A table, as the server's statistics show it."""

    name: str
    parts: int
    size: int
    """Bytes, without indexes."""
    index_size: int
    rows: int
    """Estimated."""
    dead: int
    """Dead rows."""
    vacuumed_at: datetime | None


async def read_tables(connection: Connection) -> list[Table]:
    """Read the tables of the schema, the largest first."""
    return [Table(*row) for row in await connection.fetch(sql.read("read_tables"))]


class Day(NamedTuple):
    """A partition of the history."""

    name: str
    may_go_on: str | None
    """The day from which on it may be dropped."""
    size: int
    rows: int
    """Estimated."""


async def read_days(connection: Connection) -> list[Day]:
    """Read the partitions of the history."""
    return [Day(*row) for row in await connection.fetch(sql.read("read_days"))]


class Applied(NamedTuple):
    """A migration that was applied."""

    number: int
    name: str
    release: str
    at: datetime


async def read_applied(connection: Connection) -> Sequence[Applied]:
    """Read the migrations that were applied."""
    return [Applied(*row) for row in await connection.fetch(sql.read("read_applied"))]
