"""What keeps a worker from claiming: why, and for how long by now. Told with its beats, and part of its health."""

from __future__ import annotations

import time


class Trouble:
    """Why something cannot be done for now; none at first. It may be read from any thread."""

    def __init__(self) -> None:
        self.reason = ""
        """Empty: nothing is wrong."""
        self._since = 0.0

    def begin(self, reason: str) -> None:
        """Note that it cannot be done, or still not."""
        if not self.reason:
            self._since = time.monotonic()
        self.reason = reason

    def end(self) -> None:
        """Note that it can be done."""
        self.reason = ""

    @property
    def seconds(self) -> float:
        """How long it has lasted; 0 while nothing is wrong."""
        return time.monotonic() - self._since if self.reason else 0.0
