"""What is paused, as this worker knows it, so that neither its claims nor what it has claimed ahead touches that.

The claim itself looks at what is paused: one that begins after a pause brings nothing of it, whether the worker has heard or
not. So what a notice saves is time, and what a lost one could cost is a start of what waits here, claimed before the pause.
Therefore the claims that move the positions bring word twice a second; where jobs wait for longer than `SURE`, this looks;
what has waited for `UNSURE` without word is given back. An idle worker in whose database nothing is paused asks nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from asyncjobs.db import pausing
from asyncjobs.db.connecting import Connection
from asyncjobs.db.pausing import PausedNames
from asyncjobs.db.sessions import Runs
from asyncjobs.exceptions import DatabaseError
from asyncjobs.tasks.retrying import Backoff

logger = logging.getLogger("asyncjobs.worker")

SURE, UNSURE = 0.2, 0.5
"""Seconds since the last word of what is paused, or since the claim, after which it is asked for, and after which nothing is
started any more that was claimed before. What waits is looked after every quarter of a second: together less than one."""
LEAST_PAUSE = 0.02
"""Seconds between two looks, however many notices come."""
NOTHING = PausedNames(frozenset(), frozenset(), None)


class Pauses:
    """Knows what is paused.

    Args:
        sessions: With pinned plans.
        polling_interval: Seconds between looks while something is paused: the notice of its end may be lost.
        on_pause: Called when more is paused than was.
        on_resume: Called when something may have been resumed: jobs that were passed over are to be looked for.
    """

    def __init__(
        self,
        sessions: Runs,
        polling_interval: float,
        *,
        on_pause: Callable[[], None],
        on_resume: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._polling_interval = polling_interval
        self._on_pause = on_pause
        self._on_resume = on_resume
        self._news = asyncio.Event()
        self._is_told = False
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff(logger, "looking what is paused")
        self._known = NOTHING
        self.known_at = float("-inf")
        """The loop's time of the last word."""

    @property
    def queues(self) -> frozenset[str]:
        """Queues of which nothing is started."""
        return self._known.queues

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of which nothing is started."""
        return self._known.kinds

    def notified(self, _payload: str = "") -> None:
        """Look now: something was paused or resumed."""
        self._is_told = True
        self._news.set()

    def ask(self) -> None:
        """Look now: jobs wait here."""
        self._news.set()

    def learn(self, paused: PausedNames, *, asked_at: float) -> None:
        """Take in what is paused.

        Args:
            paused: By the database.
            asked_at: The loop's time at which it was asked. An answer to what was asked before the last word is older.
        """
        if asked_at < self.known_at:
            return
        before, self._known, self.known_at = self._known, paused, asked_at
        if before[:2] == paused[:2]:
            return
        self._news.set()  # the time until the next look is another
        if paused.queues - before.queues or paused.kinds - before.kinds:
            self._on_pause()
        if before.queues - paused.queues or before.kinds - paused.kinds:
            self._on_resume()

    async def run(self) -> None:
        """Look whenever there is something to look at, for ever."""
        while True:
            self._news.clear()
            is_told, self._is_told = self._is_told, False
            try:
                await self.look()
                self._backoff.succeeded()
            except DatabaseError as error:
                self._is_told |= is_told
                await self._backoff.failed(error)
                continue
            if is_told:
                # Whether or not it was known here that it was paused: claims have passed over its jobs all the same.
                self._on_resume()
            await asyncio.sleep(LEAST_PAUSE)
            try:
                async with asyncio.timeout(self._pause()):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Ask what is paused, and forget what is over."""
        asked_at, paused = await self._sessions.run(self._read)
        if paused.ends_in == 0:
            await self._sessions.run(pausing.resume)  # whoever forgets it tells the others
            asked_at, paused = await self._sessions.run(self._read)
        self.learn(paused, asked_at=asked_at)

    async def _read(self, connection: Connection) -> tuple[float, PausedNames]:
        asked_at = self._loop.time()  # not before: a connection may have been waited for, and others asked meanwhile
        return asked_at, await pausing.read_paused(connection)

    def _pause(self) -> float | None:
        """Return the seconds until the next look; None: when there is news."""
        if not self._known.queues and not self._known.kinds:
            return None
        again = self._polling_interval * (0.75 + random.random() / 2)
        return again if self._known.ends_in is None else min(again, self._known.ends_in)
