"""The batch finisher: it ends batches whose jobs have ended, and enqueues the jobs that follow, after the commits.

The worker that ends a job of a batch looks at the batch a moment later, so that all ends meanwhile are seen in one look. A
batch that was missed is found by a look at all open batches: at a worker's start, after another's death, after an action by
hand, and now and then.
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
"""Seconds between two looks at a batch whose jobs end all the time, at least."""
PAUSE_FOR_LOOK = 10
"""The same, as a multiple of the time that a look took."""
MOST = 200
"""Batches in one statement."""
LOOK_AT_ALL = 60.0
"""Seconds between looks at all open batches."""
AGAIN = 5.0
"""Seconds until another look at a batch whose end the database refused."""
STAGGER, MOST_STAGGER = 0.02, 0.5
"""Seconds by which each worker comes after the one before it, so that one does the work and the others find it done."""


class BatchFinisher(Duty):
    """Ends batches.

    Args:
        sessions: Sessions with pinned plans.
        rank: Returns how many live workers come before this one.
    """

    def __init__(self, sessions: Runs, rank: Callable[[], int] = lambda: 0) -> None:
        super().__init__(sessions, "looking whether batches are over")
        self._rank = rank
        self._due: dict[UUID, float] = {}
        """The loop's time from which to look at a batch."""
        self._not_before: dict[UUID, float] = {}
        """The loop's time before which not to look at a batch again."""
        self._all_at = 0.0
        """The loop's time from which to look at all open batches."""
        self._looking = asyncio.Lock()

    def ended(self, ids: Iterable[UUID]) -> None:
        """Look soon at batches whose jobs have ended, in a committed transaction."""
        now = asyncio.get_running_loop().time()
        for batch_id in ids:
            if batch_id not in self._due:
                self._due[batch_id] = max(now, self._not_before.get(batch_id, 0.0))
                self._news.set()

    def notified(self, _payload: str = "") -> None:
        """Look at all open batches soon: jobs of some have ended without this worker."""
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
        """Wait until a batch is due; news may be of one that is due later."""
        loop = asyncio.get_running_loop()
        while (next_due := min((self._all_at, *self._due.values()))) > loop.time():
            self._news.clear()
            await super()._rest(next_due - loop.time())

    async def look(self, *, at_once: bool = False) -> None:
        """Look at batches that are due; `at_once`: at all that are noted, and at those that follow from them."""
        async with self._looking:
            await self._look(at_once=at_once)

    async def _look(self, *, at_once: bool) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + PAUSE if at_once else 0.0
        while wanted := [batch for batch, due in self._due.items() if due <= max(loop.time(), until)][:MOST]:
            for batch_id in wanted:
                del self._due[batch_id]  # before it is read: a job that ends from now on calls for another look
            began = loop.time()
            try:
                above = await self._settle(wanted)
            except BaseException:
                for batch_id in wanted:
                    self._due.setdefault(batch_id, began)
                raise
            now = loop.time()
            self._not_before = {batch: until for batch, until in self._not_before.items() if until > now}
            rest_until = now + max(PAUSE, PAUSE_FOR_LOOK * (now - began))
            self._not_before.update(dict.fromkeys(wanted, rest_until))
            for batch_id in above:
                self._due[batch_id] = now  # at once: perhaps no other worker looks

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
        logger.error(
            "batch %s: the jobs that follow it cannot be enqueued, trying again in %g s: %s", batch, AGAIN, error
        )
        self._due[batch] = asyncio.get_running_loop().time() + AGAIN

    async def _settle(self, ids: list[UUID]) -> list[UUID]:
        """End batches whose jobs are over; return those to look at next. One that is refused holds up no other."""
        try:
            return await self._sessions.run(partial(batches.settle, ids=ids))
        except DatabaseError as error:
            if not error.refused:
                raise
            if len(ids) == 1 and is_locked(error):
                self._due[ids[0]] = asyncio.get_running_loop().time() + PAUSE  # another worker has it
                return []
            if len(ids) == 1:
                self._put_off(ids[0], error)
                return []
        found = []
        for batch_id in ids:
            found += await self._settle([batch_id])
        return found
