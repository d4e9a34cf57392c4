"""When to NOTIFY: at once, unless this process does so all the time.

NOTIFY takes a cluster-wide lock from the statement to the end of its commit, so a process that enqueues steadily notifies
once per `PAUSE` and not once per row; the workers it would wake are awake already.
"""

from __future__ import annotations

import asyncio
from functools import partial

from asyncjobs.db import jobs
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError
from asyncjobs.services import Services

PAUSE = 0.005
"""Seconds that a job waits longer for its worker, at most, when its notice is put off."""
RATE = 400
BURST = 20
"""Notices a second that one process sends in the long run, and how many it may send at once after a quiet while."""


class Notices:
    """Decides whether an enqueue carries its own notice, and sends those that were put off."""

    def __init__(self, sessions: Sessions, services: Services) -> None:
        self._sessions = sessions
        self._services = services
        self._left = float(BURST)
        self._counted_at = 0.0
        self._late: dict[str, int] = {}
        self._sending = False

    def due(self) -> bool:
        """Whether a single row should carry its notice itself; if so, it is counted as sent."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._left + (now - self._counted_at) * RATE, BURST)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def later(self, queue: str, seq: int | None) -> None:
        """Have the row with this `seq` told of within `PAUSE`; None: there was none."""
        if seq is None:
            return
        self._late[queue] = min(seq, self._late.get(queue, seq))
        if not self._sending:
            self._sending = True
            self._services.start(self._send(), name="notice")

    async def _send(self) -> None:
        try:
            while self._late:
                await asyncio.sleep(PAUSE)
                late, self._late = self._late, {}
                try:
                    await self._sessions.run(partial(jobs.notify_ready, least=late))
                except DatabaseError:
                    return  # a notice is only a speed-up: the workers' poll finds the rows
        finally:
            self._sending = False
