"""What the watchdog knows of a loop that does not get on."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple


class Blocks(NamedTuple):
    """How often a kind has blocked the loop, and for how many seconds the longest time."""

    times: int
    longest: float


class Culprit(NamedTuple):
    """What runs in the loop."""

    name: str
    """As log lines begin."""
    kind: str | None
    """None: it is no job, or nobody can tell which."""
    job_id: str | None


class Block:
    """One task that keeps the loop to itself; None: a callback."""

    def __init__(self, task: asyncio.Task[Any] | None, begun: float, warning: float) -> None:
        self.task = task
        self.begun = begun
        """Seconds of the loop's turn that were over by then."""
        self.tell_at = warning
        """Seconds that it may last until the next line."""
        self.culprit: Culprit | None = None
        """None: it did not last long enough to be told of yet."""
        self.told = False


class Turn:
    """A turn of the loop that takes long: the time from one pulse to the next."""

    def __init__(self, pulse: float, warning: float) -> None:
        self.pulse = pulse
        self.owed = self.excused = 0.0
        """As of the last look."""
        self.block: Block | None = None
        """What runs in it now."""
        self.tell_at = 2 * warning
        """Seconds that it may last until the next line when no block in it is told of: many tasks took a little each."""
        self.has_blocks = False
        self.told = False
