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


def state_name(state: int) -> str:
    """Return a state's name; of one that this version does not know, its number."""
    return State(state).name if state in _STATES else f"state {state}"


_STATES = frozenset(State)


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
    expires_in: float | None = None
    """Seconds after it is due by which it is started or discarded. None: never."""
    order: str | None = None
    """JSON of what keeps it in order among others, as `asyncjobs.enqueue_ordered` takes it. None: nothing does."""

    @property
    def is_plain(self) -> bool:
        """Whether it is due at once and for ever, so that nothing need be computed by the database's clock."""
        return self.delay is None and self.run_at is None and self.expires_in is None and self.order is None


class Stored(NamedTuple):
    """What enqueueing a job came to."""

    id: UUID
    """Of the job that there is now: another one's, where that has the unique key."""
    disposition: str
    """enqueued, there (by an earlier call with this id), duplicate, replaced."""


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
    batch: UUID | None = None
    """Of which the job is one."""
    then: str | None = None
    """What is to be enqueued with its success, as `asyncjobs.enqueue_then` takes it."""
    pauses: tuple[RatePause, ...] = ()
    """Rates under which nothing is to start for a time, as its error says."""


class RatePause(NamedTuple):
    """That the other side of a rate wants to be left alone."""

    key: str
    """Of the rate."""
    seconds: float


class Reschedule(NamedTuple):
    """An attempt after which the job is to run again."""

    id: UUID
    fence: int
    delay: float = 0.0
    """Seconds."""
    error: str | None = None
    """One JSON line; None adds none."""
    counts: str | None = None
    """JSON; None leaves them."""
    spent: bool = False
    """Whether the attempt counts."""
    queue: str | None = None
    """None leaves it."""
    priority: int | None = None
    """None leaves it."""
    crashed: bool = False
    """Whether it ended with its process, and that is charged to it."""
    started: bool = False
    """Whether it is known to have been started in time: it expires no more."""
    waits: bool = False
    """Whether it waits for an event, at most `delay`, or for ever where that is 0."""
    together: int | None = None
    """At most so many suspects share a process with it from now on; None leaves it."""
    limits: str | None = None
    """JSON array of the limits that it is to pass from now on, as `NewJob.order` has them; None leaves them."""
    pauses: tuple[RatePause, ...] = ()
    """Rates under which nothing is to start for a time, as its error says."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing else is to be written with it."""
        return not self.pauses


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
    args: str | None
    """None: this role may not read them."""
    result: str | None
    errors: str | None
    reason: str | None
    enqueued_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: UUID | None
    cancel_reason: str | None
    counts: str | None
    """JSON."""
    expires_at: datetime | None
    progress: str | None
    """JSON of its attributes."""
    steps: str | None
    """JSON array of its rows of `asyncjobs.step`, in their order."""
    shows_result: bool = True
    """Whether this role may read what it returned, and its attributes."""


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
