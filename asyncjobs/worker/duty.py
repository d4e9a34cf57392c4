"""A duty: a task that looks when there is news, or when its next time has come, for as long as its worker lives."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

from asyncjobs.db.sessions import Runs
from asyncjobs.exceptions import DatabaseError
from asyncjobs.tasks.retrying import Backoff

logger = logging.getLogger("asyncjobs.worker")


class Duty(ABC):
    """Looks, rests, and looks again; a look that the database fails is repeated with a growing pause.

    Args:
        sessions: With pinned plans.
        what: What it does, as a log line says when it cannot.
    """

    def __init__(self, sessions: Runs, what: str) -> None:
        self._sessions = sessions
        self._news = asyncio.Event()
        self._backoff = Backoff(logger, what)

    def notified(self, _payload: str = "") -> None:
        """Look now: a notice says that something has changed."""
        self._news.set()

    async def run(self) -> None:
        """Look whenever there is something to look at, for ever."""
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
        """Look once; return the seconds until the next look, None: when there is news."""

    async def _rest(self, pause: float | None) -> None:
        """Wait for news, at most so many seconds."""
        await self._has_news_within(pause)

    async def _has_news_within(self, seconds: float | None) -> bool:
        """Wait for news; return whether there is any after so many seconds, None: however long that takes."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
