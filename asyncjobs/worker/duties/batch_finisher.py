"""The end of batches: the batch finisher looks which are over, and has enqueued what follows, after their jobs' commits.

Whoever ends a job of a batch looks a moment later, and not after each: all that end meanwhile are seen together. What
nobody has looked at is found by a look at all open batches: when a worker begins, when another has died, after what was
done by hand, and now and then.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from functools import partial
from uuid import UUID

from asyncjobs.db import batches
from asyncjobs.db.errors import is_locked
from asyncjobs.db.sessions import Runs
from asyncjobs.exceptions import DatabaseError
from asyncjobs.worker.duty import Duty

logger = logging.getLogger("asyncjobs.worker")

PAUSE = 0.05
"""Seconds between two looks at a batch of which jobs end all the time."""
PAUSE_FOR_LOOK = 10
"""How many times as long as a look took, at least."""
MOST = 200
"""Batches in one statement."""
LOOK_AT_ALL = 60.0
"""Seconds between looks at all open batches."""
AGAIN = 5.0
"""Seconds until a batch is looked at again for which something was refused."""
STAGGER, MOST_STAGGER = 0.02, 0.5
"""Seconds by which each worker comes after the one before it, so that one looks and the others find it done."""


class BatchFinisher(Duty):
    """Looks at batches.

    Args:
        sessions: With pinned plans.
        rank: How many live workers come before this one.
    """

    def __init__(self, sessions: Runs, rank: Callable[[], int] = lambda: 0) -> None:
        super().__init__(sessions, "looking whether batches are over")
        self._rank = rank
        self._due: dict[UUID, float] = {}
        """When each is to be looked at, by the loop's clock."""
        self._looked: dict[UUID, float] = {}
        """Until when none of these is to be looked at again."""
        self._all_at = 0.0
        """When all open ones are."""
        self._looking = asyncio.Lock()

    def ended(self, ids: Iterable[UUID]) -> None:
        """Look soon at batches of which jobs have ended, in a transaction that is committed."""
        now = asyncio.get_running_loop().time()
        for batch_id in ids:
            if batch_id not in self._due:
                self._due[batch_id] = max(now, self._looked.get(batch_id, 0.0))
                self._news.set()

    def notified(self, _payload: str = "") -> None:
        """Look at all open batches soon: jobs of some have ended, and nobody looks."""
        now = asyncio.get_running_loop().time()
        self._all_at = min(self._all_at, now + min(self._rank() * STAGGER, MOST_STAGGER))
        self._news.set()

    async def _round(self) -> float:
        loop = asyncio.get_running_loop()
        await self.look()
        if loop.time() >= self._all_at:
            self._all_at = loop.time() + LOOK_AT_ALL * (0.75 + random.random() / 2)
            try:
                await self.look_at_all()
            except BaseException:
                self._all_at = 0.0
                raise
        return 0.0

    async def _rest(self, _pause: float | None) -> None:
        """Wait until a batch is to be looked at; news may be of one that is to be looked at later."""
        loop = asyncio.get_running_loop()
        while (next_due := min((self._all_at, *self._due.values()))) > loop.time():
            self._news.clear()
            await super()._rest(next_due - loop.time())

    async def look(self, *, at_once: bool = False) -> None:
        """Look at those that are due; `at_once`: at all that are to be looked at, and at what that leads to."""
        async with self._looking:
            await self._look(at_once=at_once)

    async def _look(self, *, at_once: bool) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + PAUSE if at_once else 0.0
        while wanted := [batch for batch, due in self._due.items() if due <= max(loop.time(), until)][:MOST]:
            for batch_id in wanted:
                del self._due[batch_id]  # before it is read: what ends from now on is looked for again
            began = loop.time()
            try:
                above = await self._settle(wanted)
            except BaseException:
                for batch_id in wanted:
                    self._due.setdefault(batch_id, began)
                raise
            now = loop.time()
            self._looked = {batch: until for batch, until in self._looked.items() if until > now}
            rest_until = now + max(PAUSE, PAUSE_FOR_LOOK * (now - began))
            self._looked.update(dict.fromkeys(wanted, rest_until))
            for batch_id in above:
                self._due[batch_id] = now  # at once: nobody else may look

    async def look_at_all(self) -> None:
        """Look at all open batches."""
        after = batches.FIRST
        while found := await self._sessions.run(partial(batches.read_open, after=after, limit=MOST)):
            after = found[-1]
            self._due.update(dict.fromkeys(await self._settle(found), 0.0))
            if len(found) < MOST:
                break
        await self.look()

    def _put_off(self, batch: UUID, error: DatabaseError) -> None:
        logger.error("batch %s: what is to follow it cannot be enqueued, will try again: %s", batch, error)
        self._due[batch] = asyncio.get_running_loop().time() + AGAIN

    async def _settle(self, ids: list[UUID]) -> list[UUID]:
        """Have batches settled; return those to be looked at next. One that is refused harms no other."""
        try:
            return await self._sessions.run(partial(batches.settle, ids=ids))
        except DatabaseError as error:
            if not error.refused:
                raise
            if len(ids) == 1 and is_locked(error):
                self._due[ids[0]] = asyncio.get_running_loop().time() + PAUSE  # another worker is at it
                return []
            if len(ids) == 1:
                self._put_off(ids[0], error)
                return []
        found = []
        for batch_id in ids:
            found += await self._settle([batch_id])
        return found
