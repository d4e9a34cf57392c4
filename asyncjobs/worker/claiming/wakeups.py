"""Wakeups of the dispatcher: by notices, by slots that become free, and by the poll.

All workers hear each notice; two, chosen by turn, act on it at once, and the others a moment later, in case those are busy.
With 32 idle workers and 50 jobs/s, that makes 6 claims a job and 19 % CPU of the database; when all act at once, 32 claims
and 36 %.

Anybody may send notices with ever new names of queues. So names are looked up in sets, and only a number of new ones is
believed before the database is asked which queues there are. Beyond a bound the listener drops notices.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence

from asyncjobs.checks.names import is_queue
from asyncjobs.worker.slots.pools import Pool

CHOSEN = 2
"""Workers that act on a notice at once."""
SUSPECTS_FOR = 60.0
"""Seconds after a crash in which each notice also has suspects looked for; at other times the poll does."""
OTHERS_AFTER = 0.1
"""Seconds, up to twice as many, after which the other workers act on a notice."""
MOST_NEW = 200
"""New names of queues that are believed between two looks at the database. Each costs two descents of the index in every
claim for a pool whose pattern matches it."""
MOST_FOREIGN = 10_000
"""Names of queues to remember that no pool serves."""


class Wakeups:
    """Gathers the queues that the dispatcher should look at.

    Args:
        pools: The pools of this worker.
    """

    def __init__(self, pools: Sequence[Pool]) -> None:
        self._pools = pools
        self._event = asyncio.Event()
        self._named = frozenset(name for pool in pools for name in pool.names)
        self._has_patterns = any(pool.has_patterns for pool in pools)
        self._served = set(self._named)
        self._foreign: set[str] = set()
        self._new = 0
        self.needs_look = False
        """Whether more new queues were named than are believed: the database is to be asked, until `looked`."""
        self._news: dict[str, int] = {}
        self._later: dict[str, int] = {}
        """Notices that this worker acts on later, in case the chosen workers are busy."""
        self.alive = 1
        """Workers alive, this one included."""
        self.rank = 0
        """Live workers that come before this one."""
        self._suspects_until = float("-inf")

    def wake(self) -> None:
        """Have the dispatcher look at its pools."""
        self._event.set()

    def expect_suspects(self) -> None:
        """Look for suspects at every notice for a while: a process has died."""
        self._suspects_until = asyncio.get_running_loop().time() + SUSPECTS_FOR

    @property
    def suspects_expected(self) -> bool:
        """Whether a process has died a short while ago."""
        return asyncio.get_running_loop().time() < self._suspects_until

    def notified(self, payload: str) -> None:
        """Take in a notice: the least seq to look from, a space, the queue. One in any other form is ignored."""
        number, _, queue = payload.partition(" ")
        if queue not in self._served and not self._stand_for(queue):
            return
        if not number.isdecimal() or len(number) > 19:
            return
        seq = int(number)
        if self.alive <= CHOSEN or (seq + self.rank) % self.alive < CHOSEN:
            _note(self._news, queue, seq)
            self._event.set()
            return
        if not self._later:
            delay = OTHERS_AFTER * (1 + random.random())
            asyncio.get_running_loop().call_later(delay, self._take_later)
        _note(self._later, queue, seq)

    def _stand_for(self, queue: str) -> bool:
        """Whether a pool's pattern matches a new name, and one more new name is to be believed."""
        if not self._has_patterns or self.needs_look or queue in self._foreign:
            return False
        if self._new == MOST_NEW:
            self.needs_look = True
            self._event.set()
            return False
        self._new += 1
        served = is_queue(queue) and any(pool.serves(queue) for pool in self._pools)
        (self._served if served else self._foreign).add(queue)
        return served

    def looked(self, queues: Iterable[str]) -> None:
        """Take in the queues that have jobs, as the database says."""
        self._served = {*self._named, *queues}
        self._new, self.needs_look = 0, False
        if len(self._foreign) > MOST_FOREIGN:
            self._foreign.clear()

    def _take_later(self) -> None:
        later, self._later = self._later, {}
        for queue, seq in later.items():
            _note(self._news, queue, seq)
        self._event.set()

    def take_news(self) -> dict[str, int]:
        """Return the queues named by notices since the last call, each with the least seq to look from."""
        news, self._news = self._news, {}
        return news

    async def wait(self, timeout: float) -> None:
        """Wait until there is something to look at, or for `timeout` seconds."""
        if not self._event.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._event.wait()
            except TimeoutError:
                return
        self._event.clear()


def _note(news: dict[str, int], queue: str, seq: int) -> None:
    if seq < news.get(queue, seq + 1):
        news[queue] = seq
