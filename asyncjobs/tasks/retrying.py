"""The retry loop of services: after a database error they try again, with a growing pause and jitter."""

from __future__ import annotations

import asyncio
import logging
import random

from asyncjobs.exceptions import DatabaseError

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds: with jitter at most one attempt a second on average, and a return within seconds of the database's."""


class Backoff:
    """Pauses between failing attempts; a line is logged at the first failure and one at the next success."""

    def __init__(self, logger: logging.Logger, what: str, *, longest: float = LONGEST_PAUSE) -> None:
        self._logger = logger
        self._what = what
        self._longest = longest
        self._pause = 0.0

    def succeeded(self) -> None:
        """Note an attempt that worked."""
        if self._pause:
            self._pause = 0.0
            self._logger.info("%s: the database answers again", self._what)

    async def failed(self, error: DatabaseError) -> None:
        """Note an attempt that failed, and wait before the next."""
        self.note(error)
        await asyncio.sleep(self._pause * (0.5 + random.random()))

    def note(self, error: DatabaseError) -> None:
        """Note an attempt that failed, when the caller waits before the next."""
        if not self._pause:
            self._logger.warning("%s: %s; trying again until it works", self._what, error)
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), self._longest)
