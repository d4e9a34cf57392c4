"""The plain values that cross the wall between `db` and the rest: rows in, rows out. They know no job classes."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID


class State(IntEnum):
    """A job's state, as stored. The last four are final."""

    scheduled = 0
    ready = 1
    running = 2
    waiting = 3
    succeeded = 4
    failed = 5
    discarded = 6
    cancelled = 7

    @property
    def final(self) -> bool:
        """Whether a job in this state never changes again."""
        return self >= State.succeeded


class NewJob(NamedTuple):
    """One job to insert."""

    id: UUID
    kind: str
    queue: str
    priority: int
    args: str
    """JSON object text."""
    run_at: datetime | None = None
    """When it is due; aware. None: see `delay`."""
    delay: float | None = None
    """Due in so many seconds by the database's clock. None: now."""


class Claimed(NamedTuple):
    """One job as the claim hands it over, still undecoded."""

    pool: int
    range: int
    priority: int
    seq: int
    id: UUID
    fence: int
    attempt: int
    kind: str
    queue: str
    args: str


class Finish(NamedTuple):
    """How one attempt ended for good."""

    id: UUID
    fence: int
    state: int
    result: str | None
    error: str | None
    """One JSON line; None adds none."""
    reason: str | None
    days: int
    """How many days it is kept."""


class Finished(NamedTuple):
    """How a job ended, as its waiter needs it."""

    id: UUID
    state: int
    kind: str
    result: str | None
    errors: str | None
    reason: str | None


class StatusRow(NamedTuple):
    """Everything stored about one job."""

    id: UUID
    state: int
    kind: str
    queue: str
    priority: int
    attempt: int
    crashes: int
    args: str
    result: str | None
    errors: str | None
    reason: str | None
    enqueued_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: UUID | None


class Range(NamedTuple):
    """A stretch of the claim index to look at, for one pool."""

    pool: int
    queue: str
    low: int
    """Least priority."""
    high: int
    """Greatest priority."""
    mark: int
    """Least seq at the least priority."""


class Pulse(NamedTuple):
    """What a heartbeat learns."""

    alive: int
    """Workers alive, this one included."""
    rank: int
    """How many of them come before this one."""
