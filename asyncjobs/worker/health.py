"""Trouble that keeps a worker from claiming: its reason and its duration, reported with beats and by the health check."""

from __future__ import annotations

import time


class Trouble:
    """The reason why something cannot be done for now; readable from any thread."""

    def __init__(self) -> None:
        self.reason = ""
        """Empty when nothing is wrong."""
        self._since = 0.0

    def begin(self, reason: str) -> None:
        """Note that it cannot be done; the duration counts from the first note."""
        if not self.reason:
            self._since = time.monotonic()
        self.reason = reason

    def end(self) -> None:
        """Note that it can be done."""
        self.reason = ""

    @property
    def seconds(self) -> float:
        """Seconds since the trouble began; 0 while nothing is wrong."""
        return time.monotonic() - self._since if self.reason else 0.0
