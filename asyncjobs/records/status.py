"""What is known about one job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

StateName = Literal["scheduled", "ready", "running", "waiting", "succeeded", "failed", "discarded", "cancelled"]


@dataclass(frozen=True, slots=True)
class AttemptError:
    """How one attempt went wrong."""

    attempt: int
    at: datetime
    """By the worker's clock."""
    type: str
    """Qualified name of the exception's class."""
    message: str
    traceback: str
    """As text; shortened in the middle when it is very long."""


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """One job that a step runs."""

    id: UUID
    kind: str
    state: StateName | None
    """Now, or as it ended; None: it has no row, and how it ended was not recorded."""


@dataclass(frozen=True, slots=True)
class StepStatus:
    """What is recorded of one step."""

    name: str
    state: str
    """started, running (other jobs), succeeded, skipped, handled, sleeping, waiting, timed_out or failed (a wait
    that the next attempt begins anew)."""
    attempt: int
    """In which it was recorded last."""
    started_at: datetime
    finished_at: datetime | None
    wakes_at: datetime | None
    """When a sleep or a wait is over; None: as long as it takes, or it is neither."""
    event: str | None
    """What it waits or waited for."""
    key: str | None
    result: Any
    """As stored: plain JSON. Of other jobs it is a list of theirs, in the order of `children`."""
    cursor: Any
    """As stored: plain JSON."""
    error: str | None
    """What was handled, as type and message."""
    children: list[ChildStatus] | None = None
    """The jobs that it runs, in the order in which they were given first; None: it runs none, but code."""

    @property
    def left(self) -> list[ChildStatus]:
        """Of these jobs, those that are not final."""
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
    """Of the current or last run, from 1; 0 before the first."""
    crashes: int
    """How many deaths of its process are charged to it."""
    arguments: dict[str, Any]
    """As stored: plain JSON. Empty where this role may not read them, as one that only enqueues or looks."""
    errors: list[AttemptError]
    """Oldest first."""
    result: Any
    """As stored: plain JSON. None until it succeeded, and where this role may not read it, as one that only enqueues."""
    reason: str | None
    """Why it was discarded or cancelled, or failed without being run once more: its process died too often."""
    cancel_reason: str | None
    """Why it was asked to be cancelled while it runs; None unless it was."""
    counts: dict[str, int]
    """How many errors each `retry_on` has taken, by what it is declared for; empty once the job is final."""
    expires_at: datetime | None
    """Not started by then, it is discarded; None once it is final, or was started and then snoozed or interrupted."""
    enqueued_at: datetime
    run_at: datetime | None
    """When it is or was due; None once it is final."""
    started_at: datetime | None
    """Of the current or last attempt."""
    finished_at: datetime | None
    worker: UUID | None
    """Whose lease it runs under; None unless it is running."""
    attributes: dict[str, Any]
    """As of the last checkpoint: plain JSON. Empty, too, where this role may not read them."""
    steps: list[StepStatus]
    """In the order in which they were met; one that runs now is there once its cursor was recorded."""

    @property
    def final(self) -> bool:
        """Whether it never changes again."""
        return self.state in ("succeeded", "failed", "discarded", "cancelled")
