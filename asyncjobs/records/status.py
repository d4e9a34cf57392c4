"""`Status`: the stored facts about one job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from asyncjobs.records.live import Progress

StateName = Literal["scheduled", "ready", "running", "waiting", "succeeded", "failed", "discarded", "cancelled"]


@dataclass(frozen=True, slots=True)
class AttemptError:
    """The error of one attempt."""

    attempt: int
    at: datetime
    """By the worker's clock."""
    type: str
    """Qualified name of the exception's class."""
    message: str
    traceback: str
    """Text; shortened in the middle when it is very long."""
    started_at: datetime | None = None
    """When the attempt began, by the worker's clock; None: it was not stored."""
    worker: str = ""
    """Host and process that ran it; empty: it was not stored."""


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """One job that a step runs."""

    id: UUID
    kind: str
    state: StateName | None
    """At present, or in which it ended; None: it has no row, and its end was not recorded."""


@dataclass(frozen=True, slots=True)
class StepStatus:
    """The record of one step."""

    name: str
    state: str
    """started, running (other jobs), succeeded, skipped, handled, sleeping, waiting, timed_out or failed (a wait
    that the next attempt begins anew)."""
    attempt: int
    """The attempt that recorded it last."""
    started_at: datetime
    finished_at: datetime | None
    wakes_at: datetime | None
    """When a sleep or a wait is over; None: as long as it takes, or it is neither."""
    event: str | None
    """The event that it waits or waited for."""
    key: str | None
    result: Any
    """As stored: plain JSON. For a step that runs other jobs, a list of their results in the order of `children`."""
    cursor: Any
    """As stored: plain JSON."""
    error: str | None
    """The handled error, as type and message."""
    children: list[ChildStatus] | None = None
    """The jobs that it runs, in the order in which they were first given; None: it runs code, no jobs."""

    @property
    def left(self) -> list[ChildStatus]:
        """Those of `children` that are not final."""
        return [child for child in self.children or () if child.state in ("scheduled", "ready", "running", "waiting")]


@dataclass(frozen=True, slots=True)
class Status:
    """Everything stored about one job, at one moment."""

    id: UUID
    kind: str
    state: StateName
    queue: str
    priority: int
    attempt: int
    """The number of the current run, from 1; between runs, how many were spent: one that ends in a sleep, a wait or a
    snooze, or is given back, spends none."""
    crashes: int
    """Deaths of its process that are charged to it."""
    arguments: dict[str, Any]
    """As stored: plain JSON. Empty for a role that may not read them, such as enqueuer or viewer."""
    errors: list[AttemptError]
    """Oldest first."""
    result: Any
    """As stored: plain JSON. None until it succeeded, and for a role that may not read it, such as enqueuer."""
    reason: str | None
    """Why it was discarded or cancelled, or failed without another run: its process died too often."""
    cancel_reason: str | None
    """Why a running job was asked to cancel; None: it was not."""
    counts: dict[str, int]
    """How many errors each `retry_on` has handled, by its errors; empty once the job is final."""
    expires_at: datetime | None
    """When it is discarded if not started by then; None once it is final, or was started and then snoozed or interrupted."""
    enqueued_at: datetime
    run_at: datetime | None
    """When it is or was due; None once it is final."""
    started_at: datetime | None
    """Of the current or last attempt."""
    finished_at: datetime | None
    worker: UUID | None
    """The worker that runs it; None: it is not running."""
    attributes: dict[str, Any]
    """As of the last checkpoint: plain JSON. Empty also for a role that may not read them."""
    progress: Progress | None
    """As it said last, also of an earlier attempt; None: it has shown none."""
    items: int
    """How many items its stream has."""
    steps: list[StepStatus]
    """In the order in which the job came to them; a running step is in it once its cursor was recorded."""
    meta: dict[str, str]
    """As `set(meta=…)` gave it."""
    tags: tuple[str, ...]
    """As `set(tags=…)` gave them."""

    @property
    def final(self) -> bool:
        """Whether the job's state never changes again by itself."""
        return self.state in ("succeeded", "failed", "discarded", "cancelled")
