"""`FoundJob`: one job as a search returns it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncjobs.records.status import AttemptError, StateName


@dataclass(frozen=True, slots=True)
class FoundJob:
    """One job that `find` has found, at one moment: a `Status` without arguments, result and steps."""

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
    enqueued_at: datetime
    run_at: datetime | None
    """When it is or was due; None once it is final."""
    started_at: datetime | None
    """Of the current or last attempt."""
    finished_at: datetime | None
    worker: UUID | None
    """The worker that runs it; None: it is not running."""
    reason: str | None
    """Why it was discarded or cancelled, or failed without another run."""
    error: AttemptError | None
    """The error of its last failed attempt."""
    meta: dict[str, str]
    tags: tuple[str, ...]
