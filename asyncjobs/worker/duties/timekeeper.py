"""The timekeeper: it makes scheduled jobs ready when their time has come, to the millisecond and not at the next poll.

It sleeps until the next job is due by the database's clock, for two seconds at most; for a job that is due sooner, the
statement that enqueues it sends a notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncjobs.db import jobs
from asyncjobs.db.sessions import Runs
from asyncjobs.worker.duty import Duty

LOOK_AHEAD = 2.0
"""Seconds between looks, at most; jobs that are due sooner are announced by a notice."""
BATCH = 500
LEAST_PAUSE = 0.01
"""Seconds between two looks, however many notices come."""
STAGGER = 0.004
"""Seconds by which each worker comes after the one before it, so that one does the work and the others find it done."""
MOST_STAGGER = 0.02


class Timekeeper(Duty):
    """Makes due jobs ready.

    Args:
        sessions: Sessions with pinned plans.
        rank: Returns how many live workers come before this one.
    """

    def __init__(self, sessions: Runs, rank: Callable[[], int]) -> None:
        super().__init__(sessions, "making due jobs ready")
        self._rank = rank

    async def _round(self) -> float:
        return await self.promote()

    async def _rest(self, pause: float | None) -> None:
        pause = LOOK_AHEAD if pause is None else pause
        await asyncio.sleep(min(pause, LEAST_PAUSE))
        await super()._rest(pause - LEAST_PAUSE)

    async def promote(self) -> float:
        """Make all due jobs ready; return the seconds until the next look."""
        while True:
            promoted, next_due = await self._sessions.run(lambda connection: jobs.promote(connection, BATCH))
            if promoted < BATCH:
                break
        if next_due is None or next_due >= LOOK_AHEAD:
            return LOOK_AHEAD
        return max(next_due, 0.0) + min(self._rank() * STAGGER, MOST_STAGGER)
