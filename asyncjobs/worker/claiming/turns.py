"""The queues that the patterns of pools stand for: so many at a time, in turn.

A claim looks at each of its queues. 100,000 queues of one job each, of a kind that nobody knows, took 3.4 to
5.9 s, which every other job of the pool waited for.
"""

from __future__ import annotations

from asyncjobs.db import jobs
from asyncjobs.db.connecting import Connection

AT_ONCE = 200
"""Queues that are looked at together, and as many of which there was news beside them."""
PAUSE = 0.05
"""Seconds between two looks of one turn: at most 4,000 queues a second."""


class Turns:
    """Names of queues that have ready jobs."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """Those whose turn it is, and those of which there was news."""
        self.is_over = True
        """Whether all there are have had their turn, and the next look begins with the first again."""
        self.has_all = False
        """Whether the last look was at all there are."""
        self._after = ""
        self._news: dict[str, None] = {}

    async def look(self, connection: Connection) -> None:
        """Go on to the next of them."""
        begins = not self._after
        found = await jobs.ready_queues(connection, after=self._after, limit=AT_ONCE)
        self.is_over = len(found) < AT_ONCE
        self.has_all = begins and self.is_over
        self._after = "" if self.is_over else found[-1]
        here = set(found)
        self.names = found + [queue for queue in self._news if queue not in here]

    def begin_anew(self) -> None:
        """Have the next look begin with the first again: nobody asks for the others."""
        self._after, self.is_over = "", True

    def told(self, queue: str) -> None:
        """Look at a queue, whosever turn it is, until it has nothing more."""
        if queue in self._news:
            return
        if len(self._news) >= AT_ONCE:  # anybody may NOTIFY: the first of them waits for its turn
            del self._news[next(iter(self._news))]
        self._news[queue] = None
        if queue not in self.names:
            self.names.append(queue)

    def exhausted(self, queue: str) -> None:
        """Note that nothing more was found in a queue."""
        self._news.pop(queue, None)
