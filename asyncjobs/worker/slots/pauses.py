"""Pauses, as this worker knows them, so that it starts no job of a paused queue or kind.

A claim itself leaves out what is paused, whether or not the worker knows of it. But jobs that were claimed before the pause
may still wait here for a slot, and the notice of the pause may be lost. Therefore the claims that move the positions also
read the pauses, twice a second; where jobs wait for longer than `SURE`, the pauses are read for them; and jobs that have
waited for `UNSURE` without that are given back. While nothing is paused, an idle worker asks nothing.
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
"""Seconds since the pauses were last read, or since the claim, after which waiting jobs have them read again, and after
which waiting jobs are given back. That is checked every quarter of a second: together, a pause holds in less than a
second."""
LEAST_PAUSE = 0.02
"""Seconds between two looks, however many notices come."""
NOTHING = PausedNames(frozenset(), frozenset(), None)


class Pauses:
    """Reads which queues and kinds are paused.

    Args:
        sessions: Sessions with pinned plans.
        polling_interval: Seconds between looks while something is paused: the notice of its end may be lost.
        on_pause: Called when more is paused than before.
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
        """The loop's time at which the pauses were last read."""

    @property
    def queues(self) -> frozenset[str]:
        """Paused queues."""
        return self._known.queues

    @property
    def kinds(self) -> frozenset[str]:
        """Paused kinds."""
        return self._known.kinds

    def notified(self, _payload: str = "") -> None:
        """Look now: something was paused or resumed."""
        self._is_told = True
        self._news.set()

    def ask(self) -> None:
        """Look now: jobs wait here for a slot."""
        self._news.set()

    def learn(self, paused: PausedNames, *, asked_at: float) -> None:
        """Take in what is paused, as the database answered.

        Args:
            paused: The answer.
            asked_at: The loop's time of the question; an answer to an older question than the last one is ignored.
        """
        if asked_at < self.known_at:
            return
        before, self._known, self.known_at = self._known, paused, asked_at
        if before[:2] == paused[:2]:
            return
        self._news.set()  # the time of the next look changes
        if paused.queues - before.queues or paused.kinds - before.kinds:
            self._on_pause()
        if before.queues - paused.queues or before.kinds - paused.kinds:
            self._on_resume()

    async def run(self) -> None:
        """Look at each notice and, while something is paused, now and then; for ever."""
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
                # Even if this worker has not known of the pause: its claims have passed over the paused jobs all the same.
                self._on_resume()
            await asyncio.sleep(LEAST_PAUSE)
            try:
                async with asyncio.timeout(self._pause()):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Ask what is paused, and delete pauses that are over."""
        asked_at, paused = await self._sessions.run(self._read)
        if paused.ends_in == 0:
            await self._sessions.run(pausing.resume)  # which also notifies the other workers
            asked_at, paused = await self._sessions.run(self._read)
        self.learn(paused, asked_at=asked_at)

    async def _read(self, connection: Connection) -> tuple[float, PausedNames]:
        asked_at = self._loop.time()  # not before: while this waited for a connection, a claim may have asked
        return asked_at, await pausing.read_paused(connection)

    def _pause(self) -> float | None:
        """Return the seconds until the next look; None: at the next news."""
        if not self._known.queues and not self._known.kinds:
            return None
        again = self._polling_interval * (0.75 + random.random() / 2)
        return again if self._known.ends_in is None else min(again, self._known.ends_in)
