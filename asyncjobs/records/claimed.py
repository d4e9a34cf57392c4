"""`Claimed`: a job as the claim hands it to a worker, from which an attempt starts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID


class Refused(IntEnum):
    """Why a claimed job is not run."""

    cancelled = 1
    """It was cancelled while it ran elsewhere."""
    expired = 2
    """It was not started within `expires_in`."""
    crashed = 3
    """Its process has died while it ran as often as its kind allows."""


class Claimed(NamedTuple):
    """One job as the claim hands it to a worker, not decoded yet."""

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
    crashes: int = 0
    """Deaths of its process that are charged to it."""
    counts: str | None = None
    """JSON: how often each declaration has handled an error of it."""
    refused: int | None = None
    """A `Refused`; None: it is to run."""
    progress: str | None = None
    """JSON of its attributes; None: nothing was recorded, neither attributes nor steps."""
    limited: bool | None = None
    """Whether it has passed a limit; None: it has not."""
    batch: UUID | None = None
    """The batch of which it is a job."""
    tick: str | None = None
    """The time of the schedule that enqueued it, in seconds since 1970 as a decimal number; None: no schedule did."""
    waited: float = 0.0
    """Seconds from its due time to its claim, by the database's clock; infinite for some times written by hand."""
    labels: Sequence[str | None] | None = None
    """Its tags and meta, as they are stored; None: none."""
    apart: bool | None = None
    """Whether it is a suspect that runs in a process of its own, or of suspects only; None: it does not."""
    together: int | None = None
    """The most suspects that share a process with it, itself included; None: any number."""
