"""Notices of new jobs: sent at once, unless this process has sent one a moment ago.

NOTIFY takes a cluster-wide lock from the statement to the end of its commit, and costs a single-row insert a sixth of its
time. So a process that enqueues steadily sends a notice once per `PAUSE` and not once per row. A notice that was left out
is made up for by the next one, or sent by itself if none follows.
"""

from __future__ import annotations

import asyncio
from functools import partial

from asyncjobs.db import inserts
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError, NotOpen
from asyncjobs.tasks.services import Services

PAUSE = 0.0025
"""Seconds between two notices of one process, and so the longest that a job's pickup is delayed by this.

It is about the time from enqueueing a job to its result, so that a caller who awaits each job is hardly ever delayed.
"""


class Notices:
    """Decides whether an enqueue sends its own notice, and sends those that were left out."""

    def __init__(self, sessions: Sessions, services: Services) -> None:
        self._sessions = sessions
        self._services = services
        self._loop = asyncio.get_running_loop()
        self._last = float("-inf")
        self._late: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def due(self, queue: str) -> bool:
        """Whether the statement that inserts a row of `queue` is to notify; its notice covers those left out before."""
        now = self._loop.time()
        if now - self._last < PAUSE:
            return False
        self._last = now
        self._late.discard(queue)
        return True

    def later(self, queue: str) -> None:
        """Send a notice for `queue` within `PAUSE`."""
        self._late.add(queue)
        if self._timer is None:
            self._timer = self._loop.call_later(PAUSE, self._send_late)

    def _send_late(self) -> None:
        self._timer = None
        if self._late:
            late, self._late = self._late, set()
            self._last = self._loop.time()
            self._services.start(self._send(late), name="notice")

    async def _send(self, late: set[str]) -> None:
        try:
            await self._sessions.run(partial(inserts.notify_ready, queues=late))
        except (DatabaseError, NotOpen):
            return  # without the notice, the workers' poll finds the rows
