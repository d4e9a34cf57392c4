"""`BatchStatus`: the state of a batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """The state of a batch: of its jobs, and of the jobs of batches that are its parts.

    Attributes:
        id: The batch's id.
        description: The text that it was given.
        by_state: Number of jobs by state; 0 for other states.
        over: Whether all jobs are final, and its callbacks are enqueued. While a job is retried by hand, it is not over.
        made_at: When it was enqueued, by the database's clock.
        discarded_at: When it was noticed that a first job had ended without success; None: none has.
        finished_at: When it was noticed for the first time that all jobs were final; None: they were not yet.
        succeeded_at: When it was noticed that all jobs had succeeded; None: they have not.
        parent: The batch of which it is a part.
    """

    id: UUID
    description: str
    by_state: Counter[str]
    over: bool
    made_at: datetime
    discarded_at: datetime | None = None
    finished_at: datetime | None = None
    succeeded_at: datetime | None = None
    parent: UUID | None = None

    @property
    def total(self) -> int:
        """Number of jobs, with those that its jobs have added."""
        return sum(self.by_state.values())

    @property
    def done(self) -> int:
        """Number of final jobs."""
        return sum(self.by_state[state] for state in ("succeeded", "failed", "discarded", "cancelled"))

    @property
    def succeeded(self) -> bool:
        """Whether all jobs have succeeded."""
        return self.succeeded_at is not None
