"""How far a batch is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How far a batch is: its jobs, and those of the batches that are parts of it.

    Attributes:
        id: The batch's id.
        description: What it was given.
        by_state: How many jobs are in each state; of others 0.
        over: Whether all are final, and what was to follow that is enqueued. A retry by hand of one ends that for its time.
        made_at: When it was enqueued, by the database's clock.
        discarded_at: When it was noticed that the first job had ended other than well; None: none has.
        finished_at: When it was noticed that all were final, the first time; None: they are not.
        succeeded_at: When it was noticed that all had succeeded; None: they have not.
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
        """Jobs, those included that its jobs have added."""
        return sum(self.by_state.values())

    @property
    def done(self) -> int:
        """Jobs that are final."""
        return sum(self.by_state[state] for state in ("succeeded", "failed", "discarded", "cancelled"))

    @property
    def succeeded(self) -> bool:
        """Whether all jobs have succeeded."""
        return self.succeeded_at is not None
