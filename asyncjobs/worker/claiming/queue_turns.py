"""Turns of queues: the queues that patterns of pools match are looked at so many at a time, in turn.

A claim looks at each of its queues. With 100,000 queues of one job each, of an unknown kind, it took 3.4 to 5.9 s, for which
every other job of the pool waited.
"""

from __future__ import annotations

from asyncjobs.db import claims
from asyncjobs.db.connecting import Connection

AT_ONCE = 200
"""Queues that are looked at together; and beside them as many that notices have named."""
PAUSE = 0.05
"""Seconds between two looks: at most 4,000 queues a second."""


class Turns:
    """The names of queues that have ready jobs, some at a time."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """Queues whose turn it is, and queues that notices have named."""
        self.is_over = True
        """Whether every queue has had its turn, and the next look begins with the first again."""
        self.has_all = False
        """Whether the last look covered every queue."""
        self._after = ""
        self._news: dict[str, None] = {}

    async def look(self, connection: Connection) -> None:
        """Go on to the next queues."""
        begins = not self._after
        found = await claims.ready_queues(connection, after=self._after, limit=AT_ONCE)
        self.is_over = len(found) < AT_ONCE
        self.has_all = begins and self.is_over
        self._after = "" if self.is_over else found[-1]
        here = set(found)
        self.names = found + [queue for queue in self._news if queue not in here]

    def begin_anew(self) -> None:
        """Have the next look begin with the first queue again."""
        self._after, self.is_over = "", True

    def told(self, queue: str) -> None:
        """Look at a queue that a notice has named, whether or not it is its turn, until it has nothing more."""
        if queue in self._news:
            return
        if len(self._news) >= AT_ONCE:  # anybody may send notices: the first queue that was named waits for its turn
            del self._news[next(iter(self._news))]
        self._news[queue] = None
        if queue not in self.names:
            self.names.append(queue)

    def exhausted(self, queue: str) -> None:
        """Note that nothing more was found in a queue."""
        self._news.pop(queue, None)
