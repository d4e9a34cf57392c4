"""A duty of a worker: a loop that looks at the database at a notice, and when its next time has come."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

from asyncjobs.db.sessions import Runs
from asyncjobs.exceptions import DatabaseError
from asyncjobs.tasks.retrying import Backoff

logger = logging.getLogger("asyncjobs.worker")


class Duty(ABC):
    """Looks, rests, and looks again; after a database error, with a growing pause.

    Args:
        sessions: Sessions with pinned plans.
        what: The duty, as log lines about its errors name it.
    """

    def __init__(self, sessions: Runs, what: str) -> None:
        self._sessions = sessions
        self._news = asyncio.Event()
        self._backoff = Backoff(logger, what)

    def notified(self, _payload: str = "") -> None:
        """Look now: a notice says that something has changed."""
        self._news.set()

    async def run(self) -> None:
        """Look and rest, for ever."""
        while True:
            self._news.clear()
            try:
                pause = await self._round()
                self._backoff.succeeded()
            except DatabaseError as error:
                await self._backoff.failed(error)
                continue
            await self._rest(pause)

    @abstractmethod
    async def _round(self) -> float | None:
        """Look once; return the seconds until the next look, None for: at the next news."""

    async def _rest(self, pause: float | None) -> None:
        """Wait for news, at most `pause` seconds."""
        await self._has_news_within(pause)

    async def _has_news_within(self, seconds: float | None) -> bool:
        """Return whether news comes within so many seconds; None waits until it does."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
