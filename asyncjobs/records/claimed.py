"""A job as the claim hands it over: what one attempt starts from."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple
from uuid import UUID


class Refused(IntEnum):
    """Why a claimed job is not to be run."""

    not_at_all = 0
    cancelled = 1
    """It was asked to be cancelled while it ran elsewhere."""
    expired = 2
    """It was not started in time."""
    crashed = 3
    """It has ended with its process as often as its kind allows."""


class Claimed(NamedTuple):
    """One job as the claim hands it over, still undecoded."""

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
    """How many deaths of its process are charged to it."""
    counts: str | None = None
    """JSON: how often each declaration has taken an error of it."""
    refused: int = 0
    """A `Refused`."""
    progress: str | None = None
    """JSON of its attributes; None: nothing was recorded of it, no step either."""
    limited: bool = False
    """Whether it has passed a limit."""
    batch: UUID | None = None
    """Of which it is one."""
    tick: str | None = None
    """The time of the schedule that has enqueued it, in seconds since 1970 as a decimal number; None: none has."""
    apart: bool = False
    """Whether it is a suspect that runs in a process of its own, or of suspects."""
    together: int | None = None
    """At most so many suspects share a process with it, itself included; None: any number."""
