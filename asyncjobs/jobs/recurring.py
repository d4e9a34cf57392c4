"""Schedules as they are stored, and the times at which they enqueue."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from uuid import UUID

from asyncjobs.checks import limits
from asyncjobs.definitions.recurring_options import CatchUp, Overlap, checked_catch_up, checked_jitter, checked_overlap
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.labelling import set_labels, stored_searchable
from asyncjobs.jobs.ordering import limit_keys_of, unique_key_of
from asyncjobs.schedules import Schedule, schedule
from asyncjobs.values import codec

if TYPE_CHECKING:
    from asyncjobs.jobs.job import Job

LATE: Final = timedelta(seconds=10)
"""A time that is over for no longer than this is on time, whatever `catch_up` says."""
MOST_CAUGHT_UP: Final = 1_000
"""The most times that `catch_up="all"` makes up for at once: the latest. Earlier ones are skipped, and logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """A schedule and the job that it enqueues, as stored."""

    name: str
    kind: str
    queue: str
    priority: int
    args: str
    """JSON object text."""
    order: str | None
    """JSON of the keys that keep its jobs in order among others, and of their labels; None: none."""
    expires_in: float | None
    """Seconds."""
    schedule: str
    timezone: str
    catch_up: CatchUp
    overlap: Overlap
    jitter: float
    """Seconds."""
    enabled: bool

    @property
    def times(self) -> Schedule:
        """The parsed schedule."""
        return schedule(self.schedule, self.timezone)

    @property
    def when(self) -> tuple[str, str]:
        """The schedule and its time zone, as text."""
        return self.schedule, self.timezone

    @property
    def digest(self) -> str:
        """A digest that differs where any value differs."""
        said = codec.dumps([getattr(self, each) for each in self.__slots__])
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def recurrence_of(
    name: str,
    job: Job[Any],
    *,
    schedule: Any,
    timezone: Any = "UTC",
    catch_up: Any = "latest",
    overlap: Any = "allow",
    jitter: Any = 0.0,
    enabled: Any = True,
) -> Recurrence:
    """Return the stored form of a schedule that enqueues jobs like `job`, with its arguments, queue and priority.

    Raises:
        InvalidOption: An option is wrong, the job was set to be due at a time of its own, or it was enqueued.
        InvalidArguments: Its arguments cannot be stored.
    """
    from_job = job._set_options or {}
    if "wait" in from_job or "at" in from_job:
        raise InvalidOption(f"recurring {name}: its job has wait= or at=: leave that out, its schedule says when")
    if job._sent:
        raise InvalidOption(f"recurring {name}: {job.kind} {job.id} was enqueued already: make another job for it")
    definition = job._definition
    times = Schedule(schedule, timezone)
    return Recurrence(
        name=name,
        kind=definition.kind,
        queue=job.queue,
        priority=job.priority,
        args=job._stored_arguments(),
        order=_order_of(job),
        expires_in=definition.options.expires_in,
        schedule=times.text,
        timezone=times.timezone,
        catch_up=checked_catch_up(catch_up, "catch_up"),
        overlap=checked_overlap(overlap, "overlap"),
        jitter=checked_jitter(jitter, "jitter"),
        enabled=limits.flag(enabled, "enabled"),
    )


def _order_of(job: Job[Any]) -> str | None:
    order = {
        "unique": unique_key_of(job),
        "limits": limit_keys_of(job),
        "labels": set_labels(job, {}),
        "searchable": stored_searchable(job),
    }
    return codec.dumps({name: value for name, value in order.items() if value}) if any(order.values()) else None


class Due(NamedTuple):
    """The decision about the times that are over."""

    times: list[datetime]
    """Times to enqueue a job for, the earliest first."""
    passed_over: bool
    """Whether there were other times, which get no job."""


def due(times: Schedule, since: datetime, now: datetime, catch_up: str) -> Due:
    """Decide about the times later than `since` and not later than `now`.

    Times that are over for at most `LATE` are on time, and each gets a job. The others were missed because no worker was
    there; `catch_up` says which of them get one.
    """
    if catch_up == "all":
        found = times.last_of(since, now, MOST_CAUGHT_UP)
        return Due(found.times, found.has_more)
    on_time = max(since, now - LATE)
    found = times.last_of(on_time, now, MOST_CAUGHT_UP)
    missed = times.last_of(since, on_time, 1)
    if catch_up == "latest" and not found.times:
        return Due(missed.times, missed.has_more)
    return Due(found.times, bool(missed.times))


def lateness(name: str, tick: datetime, jitter: float) -> timedelta:
    """Return the delay of one time of one schedule: less than `jitter` seconds, and always the same."""
    if not jitter:
        return timedelta()
    digest = hashlib.sha256(f"{name}\0{tick.timestamp():.6f}".encode()).digest()
    return timedelta(seconds=jitter * int.from_bytes(digest[:6]) / 2**48)


class LeftOut(NamedTuple):
    """A schedule that one worker leaves to the others, because it cannot read it or its time zone."""

    name: str
    schedule: str
    timezone: str
    why: str

    def is_of(self, row: RecurringStatus) -> bool:
        """Whether the row still has the schedule that could not be read."""
        return (self.name, self.schedule, self.timezone) == (row.name, row.schedule, row.timezone)


@dataclass(frozen=True, slots=True)
class RecurringStatus:
    """A recurring job and its schedule, at one moment."""

    name: str
    kind: str
    schedule: str
    timezone: str
    queue: str
    priority: int
    catch_up: CatchUp
    overlap: Overlap
    jitter: float
    """Seconds."""
    enabled: bool
    declared: Literal["config", "code"] | None
    """Where it is declared; None: added at run time."""
    paused_at: datetime | None
    """When it was paused by hand; None: it is not paused."""
    next_at: datetime | None
    """None: it is paused, or not enabled."""
    last_at: datetime | None
    """The last time that got a job; None: none has yet."""
    last_job: UUID | None
    last_state: str | None
    """The state of that job; None: it is past its retention."""
    last_ended_at: datetime | None
    skipped_at: datetime | None
    """The last time after `last_at` that got no job: the job before was not final, or its unique key was taken."""
    trouble: str | None
    """Why a job could not be enqueued; None: there is no trouble."""

    @property
    def paused(self) -> bool:
        """Whether it was paused by hand."""
        return self.paused_at is not None

    @property
    def in_words(self) -> str:
        """The schedule in English."""
        return schedule(self.schedule, self.timezone).in_words

    def next_times(self, count: int, after: datetime) -> list[datetime]:
        """Return the next times after a moment, in UTC, at most `count`."""
        found: list[datetime] = []
        times, moment = schedule(self.schedule, self.timezone), after
        while len(found) < count and (later := times.after(moment)) is not None:
            found.append(moment := later)
        return found
