"""Blocks of the event loop, as the watchdog notes them."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple


class Blocks(NamedTuple):
    """The number of times that a kind has blocked the loop, the longest in seconds, and the line that was seen then."""

    times: int
    longest: float
    place: str = ""


class Culprit(NamedTuple):
    """The code that runs in the loop."""

    name: str
    """The subject of log lines."""
    kind: str | None
    """The kind of the job; None when it is no job, or cannot be known."""
    job_id: str | None


class Block:
    """A block by one task; None: by a callback."""

    def __init__(self, task: asyncio.Task[Any] | None, begun: float, warning: float) -> None:
        self.task = task
        self.begun = begun
        """Seconds of the loop's turn before the block."""
        self.tell_at = warning
        """Seconds of the block at which the next line is logged."""
        self.culprit: Culprit | None = None
        """None while the block is too short to be logged."""
        self.told = False
        self.place = ""
        """The line that was seen last."""


class Turn:
    """A turn of the loop that takes long: the time from one pulse to the next."""

    def __init__(self, pulse: float, warning: float) -> None:
        self.pulse = pulse
        self.owed = self.excused = 0.0
        """As of the last look."""
        self.block: Block | None = None
        """The block under way."""
        self.tell_at = 2 * warning
        """Seconds of the turn at which the next line is logged if no single block is: many tasks took a little each."""
        self.has_blocks = False
        self.told = False
