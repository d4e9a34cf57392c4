"""The timekeeper makes scheduled jobs ready when their time has come, to the millisecond and not at the next poll.

It sleeps until the next job is due by the database's clock, and looks at least every two seconds; a job that is enqueued
to be due sooner announces itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asyncjobs.db import jobs
from asyncjobs.db.sessions import Runs
from asyncjobs.exceptions import DatabaseError
from asyncjobs.tasks.retrying import Backoff

logger = logging.getLogger("asyncjobs.worker")

LOOK_AHEAD = 2.0
"""Seconds between looks; the statements that enqueue announce what is due sooner."""
BATCH = 500
LEAST_PAUSE = 0.01
"""Seconds between two looks, however many notices come."""
STAGGER = 0.004
"""Seconds by which each worker comes after the one before it, so that one promotes and the others find it done."""
MOST_STAGGER = 0.02


class Timekeeper:
    """Promotes due jobs.

    Args:
        sessions: With pinned plans.
        rank: How many live workers come before this one.
    """

    def __init__(self, sessions: Runs, rank: Callable[[], int]) -> None:
        self._sessions = sessions
        self._rank = rank
        self._news = asyncio.Event()
        self._backoff = Backoff(logger, "making due jobs ready")

    def notified(self, _payload: str = "") -> None:
        """Look now: something is due soon."""
        self._news.set()

    async def run(self) -> None:
        """Promote, for ever."""
        while True:
            self._news.clear()
            try:
                pause = await self.promote()
                self._backoff.succeeded()
            except DatabaseError as error:
                await self._backoff.failed(error)
                continue
            await asyncio.sleep(min(pause, LEAST_PAUSE))
            try:
                async with asyncio.timeout(pause - LEAST_PAUSE):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def promote(self) -> float:
        """Make everything due ready; return the seconds until the next look."""
        while True:
            promoted, next_due = await self._sessions.run(lambda connection: jobs.promote(connection, BATCH))
            if promoted < BATCH:
                break
        if next_due is None or next_due >= LOOK_AHEAD:
            return LOOK_AHEAD
        return max(next_due, 0.0) + min(self._rank() * STAGGER, MOST_STAGGER)
