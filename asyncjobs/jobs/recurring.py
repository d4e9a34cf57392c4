"""What recurs: as it is said in code, in config.toml or at run time, and as it is stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from uuid import UUID

from asyncjobs.checks import limits
from asyncjobs.definitions.recurring_options import CatchUp, Overlap, checked_catch_up, checked_jitter, checked_overlap
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.ordering import limit_keys_of, unique_key_of
from asyncjobs.schedules import Schedule, schedule
from asyncjobs.values import codec

if TYPE_CHECKING:
    from asyncjobs.jobs.job import Job

LATE: Final = timedelta(seconds=10)
"""A time that is over for no longer is on time, whatever `catch_up` says."""
MOST_CAUGHT_UP: Final = 1_000
"""Times that `catch_up="all"` makes up for at once, the latest; earlier ones are passed over, and the log says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """What is enqueued again and again, and when; as it is stored."""

    name: str
    kind: str
    queue: str
    priority: int
    args: str
    """JSON object text."""
    order: str | None
    """JSON of what keeps its jobs in order among others; None: nothing does."""
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
        """When it recurs."""
        return schedule(self.schedule, self.timezone)

    @property
    def when(self) -> tuple[str, str]:
        """What says when."""
        return self.schedule, self.timezone

    @property
    def digest(self) -> str:
        """What tells it from one of the same name that says something else."""
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
    """Return what has a job recur: one like it, with its arguments, queue and priority, is enqueued each time.

    Raises:
        InvalidOption: Something of it cannot be; the job says itself when it is due, or was enqueued.
        InvalidArguments: Its arguments cannot be stored.
    """
    from_job = job._set_options or {}
    if "wait" in from_job or "at" in from_job:
        raise InvalidOption(
            f"recurring {name}: its job was set to be due at a time: leave that out, its schedule says when"
        )
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
    order = {"unique": unique_key_of(job), "limits": limit_keys_of(job)}
    return codec.dumps({name: value for name, value in order.items() if value}) if any(order.values()) else None


class Due(NamedTuple):
    """What is to be done about the times that are over."""

    times: list[datetime]
    """To be enqueued for, the earliest first."""
    passed_over: bool
    """Whether there were others, of which nothing comes."""


def due(times: Schedule, since: datetime, now: datetime, catch_up: str) -> Due:
    """Decide about the times later than `since`, `now` among them.

    Those that were over for no longer than `LATE` are on time, and each counts. Of the others, which nobody was there for,
    `catch_up` says which are made up for.
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
    """Return by how much one time of one schedule is later than it says: less than `jitter` seconds, always the same."""
    if not jitter:
        return timedelta()
    digest = hashlib.sha256(f"{name}\0{tick.timestamp():.6f}".encode()).digest()
    return timedelta(seconds=jitter * int.from_bytes(digest[:6]) / 2**48)


class LeftOut(NamedTuple):
    """What recurs on a schedule, or in a time zone, that one worker cannot read: it is for the others."""

    name: str
    schedule: str
    timezone: str
    why: str

    def is_of(self, row: RecurringStatus) -> bool:
        """Whether this says still when it recurs."""
        return (self.name, self.schedule, self.timezone) == (row.name, row.schedule, row.timezone)


@dataclass(frozen=True, slots=True)
class RecurringStatus:
    """Something that recurs, at one moment."""

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
    """Where it is said; None: at run time."""
    paused_at: datetime | None
    """By hand; None: it is not."""
    next_at: datetime | None
    """None: it is paused, or not enabled."""
    last_at: datetime | None
    """The last time for which there is a job; None: there is none yet."""
    last_job: UUID | None
    last_state: str | None
    """Of that job; None: it is past its retention."""
    last_ended_at: datetime | None
    skipped_at: datetime | None
    """The last time, later than that, for which there is none: the one before was not final, or another had its key."""
    trouble: str | None
    """Why it could not be enqueued; None: nothing is the matter."""

    @property
    def paused(self) -> bool:
        """Whether it was paused by hand."""
        return self.paused_at is not None

    @property
    def in_words(self) -> str:
        """Its schedule, in English."""
        return schedule(self.schedule, self.timezone).in_words

    def next_times(self, count: int, after: datetime) -> list[datetime]:
        """Return its next times after a moment, in UTC, at most so many."""
        found: list[datetime] = []
        times, moment = schedule(self.schedule, self.timezone), after
        while len(found) < count and (later := times.after(moment)) is not None:
            found.append(moment := later)
        return found
