"""What wakes the dispatcher: notices, seen by all workers and acted on by a few, slots that fall free, and the poll.

With 32 idle workers and 50 jobs/s, every notice woke all of them: 32 claims a job, the database at 36 % CPU. Two chosen by
turn, the others a moment later in case the chosen are busy: 6 claims, 19 %.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from asyncjobs.worker.pools import Pool

CHOSEN = 2
"""Workers that act on a notice at once."""
SUSPECTS_FOR = 60.0
"""Seconds after a crash in which every notice has suspects looked for, too; otherwise the poll does."""
OTHERS_AFTER = 0.1
"""Seconds, up to twice as many, after which the others act."""


class Wakeups:
    """Gathers what the dispatcher should look at."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._news: list[tuple[str, int]] = []
        self.alive = 1
        """Workers alive, this one included."""
        self.rank = 0
        """How many of them come before this one."""
        self._suspects_until = float("-inf")

    def wake(self) -> None:
        """Have the dispatcher look at its pools."""
        self._event.set()

    def expect_suspects(self) -> None:
        """Look for suspects with every notice for a while: a process has died."""
        self._suspects_until = asyncio.get_running_loop().time() + SUSPECTS_FOR

    @property
    def suspects_expected(self) -> bool:
        """Whether a process has died a short while ago."""
        return asyncio.get_running_loop().time() < self._suspects_until

    def notified(self, payload: str) -> None:
        """Take a notice in: the least seq to look from, a space, the queue. Whatever else it holds is ignored."""
        number, _, queue = payload.partition(" ")
        if not number.isdecimal() or not queue or len(number) > 19:
            return
        seq = int(number)
        if self.alive <= CHOSEN or (seq + self.rank) % self.alive < CHOSEN:
            self._take(queue, seq)
        else:
            delay = OTHERS_AFTER * (1 + random.random())
            asyncio.get_running_loop().call_later(delay, self._take, queue, seq)

    def _take(self, queue: str, seq: int) -> None:
        self._news.append((queue, seq))
        self._event.set()

    def take_news(self) -> list[tuple[str, int]]:
        """Return the queues that have news since the last call, with the least seq to look from."""
        news, self._news = self._news, []
        return news

    def all_hungry(self, pools: Sequence[Pool]) -> None:
        """Have every pool looked after, whatever was known of it."""
        for pool in pools:
            pool.hungry = True

    async def wait(self, timeout: float) -> None:
        """Wait until there is something to look at, or for `timeout` seconds."""
        if not self._event.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._event.wait()
            except TimeoutError:
                return
        self._event.clear()
