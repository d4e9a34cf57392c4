"""Rows: the plain values that go into and come out of the functions of `db`. They know no job classes."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple
from uuid import UUID

from asyncjobs.values import codec


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
    """Return a state's name; for one that this version does not know, its number."""
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
    """Seconds until it is due, by the database's clock. None: it is due now."""
    expires_in: float | None = None
    """Seconds after it is due within which it must start, or it is discarded. None: no limit."""
    order: str | None = None
    """JSON of its limits, unique key, place in a chain and batch, as `asyncjobs.enqueue_ordered` takes it. None: none."""
    labels: tuple[str, ...] | None = None
    """Its tags and meta as they are stored. None: it has none, or they are in its `order`."""
    searchable: tuple[str, ...] | None = None
    """Its arguments by which it is found, as they are stored. None: as for `labels`."""

    @property
    def is_plain(self) -> bool:
        """Whether it is due now, never expires, and has neither `order` nor labels, so that COPY can insert it."""
        return self[5:] == _PLAIN

    @property
    def is_labelled(self) -> bool:
        """Whether it has labels or searchable arguments that are not in its `order`."""
        return self.labels is not None or self.searchable is not None

    def with_order(self, **more: Any) -> NewJob:
        """Return it with its labels, and what else is given, in its `order`."""
        parts = {"labels": self.labels, "searchable": self.searchable, **more}
        found = {} if self.order is None else codec.loads(self.order)
        found |= {name: part for name, part in parts.items() if part is not None}
        return self._replace(order=codec.dumps(found) if found else None, labels=None, searchable=None)


_PLAIN = (None,) * 6


class Stored(NamedTuple):
    """The result of enqueueing one job."""

    id: UUID
    """The id of the stored job: of another one if that has the unique key."""
    disposition: str
    """enqueued, there (by an earlier call with this id), duplicate, replaced, taken."""


class Finish(NamedTuple):
    """The end of an attempt after which the job is final."""

    id: UUID
    fence: int
    state: int
    result: str | None
    error: str | None
    """One JSON line; None adds none."""
    reason: str | None
    days: int
    """Days for which the job is kept."""
    batch: UUID | None = None
    """The batch of the job."""
    then: str | None = None
    """Jobs to enqueue with its success, as `asyncjobs.enqueue_then` takes them."""
    pauses: tuple[RatePause, ...] = ()
    """Rates under which nothing is to start for a time, as the error says."""


class RatePause(NamedTuple):
    """A time in which nothing is to start under a rate."""

    key: str
    """The key of the rate."""
    seconds: float


class Reschedule(NamedTuple):
    """The end of an attempt after which the job is to run again. None leaves a column as it is."""

    id: UUID
    fence: int
    delay: float = 0.0
    """Seconds until the job is due."""
    error: str | None = None
    """One JSON line; None adds none."""
    counts: str | None = None
    """JSON of its counters."""
    spent: bool = False
    """Whether the attempt counts."""
    queue: str | None = None
    priority: int | None = None
    crashed: bool = False
    """Whether the attempt ended with its process, and the crash is charged to the job."""
    started: bool = False
    """Whether the job is known to have started in time: then it does not expire any more."""
    waits: bool = False
    """Whether it waits for an event: for `delay` seconds at most, or without a limit if that is 0."""
    together: int | None = None
    """Suspects that share a process with it from now on, at most."""
    limits: str | None = None
    """JSON array of the limits that it is to pass from now on, as in `NewJob.order`."""
    pauses: tuple[RatePause, ...] = ()
    """Rates under which nothing is to start for a time, as the error says."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing else is to be written with it."""
        return not self.pauses


class Finished(NamedTuple):
    """The end of a job, as its waiter needs it."""

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
    """None if this role may not read them."""
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
    labels: list[str | None] | None
    """Its tags and meta as they are stored; None: none."""
    shows_result: bool = True
    """Whether this role may read the result and the attributes."""


class Range(NamedTuple):
    """A range of the claim index to look at, for one pool."""

    pool: int
    queue: str
    low: int
    """The least priority."""
    high: int
    """The greatest priority."""
    mark: int
    """The position: the least seq at the least priority."""


class Pulse(NamedTuple):
    """The answer to a beat."""

    alive: int
    """Live workers, this one included."""
    rank: int
    """Live workers that come before this one."""
    quiet: bool = False
    """Whether this one is told to claim nothing."""
