"""A pool: slots on the loop that serve named queues, the jobs claimed for them, and how many more to claim."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from asyncjobs.checks.queue_patterns import matches, serves, split
from asyncjobs.definitions.definition import Definition
from asyncjobs.records.claimed import Claimed
from asyncjobs.settings import Pool as PoolSettings

PREFETCH_TIME = 0.02
"""Seconds of work, at the pool's present rate, that is claimed ahead.

No-op jobs at 20,000/s are claimed 400 ahead, jobs of a second none: what is claimed ahead runs in the order it was claimed,
whatever more urgent arrives meanwhile, and no other worker can take it.
"""


class Pool:
    """Slots, and the jobs claimed for them.

    Args:
        number: Its place in the order of pools, from 1.
        settings: Queues and concurrency.
        batch_size: The most jobs that one claim brings.
    """

    def __init__(self, number: int, settings: PoolSettings, batch_size: int) -> None:
        self.number = number
        self.concurrency = settings.concurrency
        self.batch_size = batch_size
        self.aging = settings.aging
        """Seconds in which a job that waits gains a step of priority; None: none does."""
        self._queues = settings.queues
        self.paused: Collection[str] = frozenset()
        """Queues from which nothing is claimed for now."""
        self._entries, self._excluded = split(settings.queues)
        self._weights = settings.weights if settings.order == "weighted" else None
        self.queued: deque[Claimed] = deque()
        self.waiting_since = float("-inf")
        """The loop's time of the claim of the first that has waited in `queued` since that was empty."""
        self.running = 0
        self.hungry = True
        """Whether its queues may hold more than the last claim brought."""
        self.claiming = False
        self.rests_until = 0.0
        """The loop's time before which it is not claimed for; see `Dispatcher`."""
        self.claimed_at = float("-inf")
        """The loop's time of the last claim that brought jobs."""
        self.looked_at = float("-inf")
        """The loop's time of the last claim that looked at all of its queues, whatever the positions say."""
        self.settled_at = float("-inf")
        """The loop's time of the last claim that began at positions that lag."""
        self.flowing = False
        """Whether the last claim brought as many jobs as it asked for."""
        self.quick = False
        """Whether the last claim began where the one before ended, and so says nothing of what lies before."""
        self._resuming: deque[asyncio.Future[None]] = deque()
        self._started = 0
        self._rate = 0.0
        self._progress = False
        self._rated_at = 0.0

    @property
    def names(self) -> list[str]:
        """The queues that it names, patterns aside, and may leave out all the same."""
        return [entry for entry in self._entries if not entry.endswith("*")]

    @property
    def has_patterns(self) -> bool:
        """Whether its queues depend on which queues there are."""
        return any(entry.endswith("*") for entry in self._entries)

    def serves(self, queue: str) -> bool:
        """Whether jobs of `queue` may run here."""
        return serves(self._queues, queue)

    def queues(self, known: Collection[str]) -> list[str]:
        """Return the queues to claim from, in order, and none that is paused.

        Patterns stand for those of `known` that they match.

        Weighted: in a random order, in which each entry comes first as often as its weight says.
        """
        found: dict[str, None] = {}
        for entry in self._entries if self._weights is None else self._shuffled():
            names = sorted(name for name in known if matches(entry, name)) if entry.endswith("*") else [entry]
            found.update(dict.fromkeys(name for name in names if not any(matches(e, name) for e in self._excluded)))
        return [name for name in found if name not in self.paused]

    def _shuffled(self) -> list[str]:
        # Efraimidis and Spirakis 2006: sorting by random^(1/weight) draws without replacement in proportion.
        weights = self._weights or {}
        return sorted(self._entries, key=lambda entry: random.random() ** (1 / weights.get(entry, 1)), reverse=True)

    @property
    def free(self) -> int:
        """Slots that are free and that nothing claimed waits for."""
        return self.concurrency - self.running - len(self._resuming) - len(self.queued)

    def wanted(self, most: int | None = None) -> int:
        """How many jobs to claim now, at most `most`; 0 while enough are waiting here."""
        most = self.batch_size if most is None else min(most, self.batch_size)
        free = self.concurrency - self.running - len(self._resuming)
        ahead = min(int(self._rate * PREFETCH_TIME), self.batch_size)
        waiting = len(self.queued)
        if waiting and waiting > (free + ahead) // 2:
            return 0
        return max(min(free + ahead - waiting, most), 0)

    def measure(self, now: float) -> None:
        """Note how fast jobs start here; called before each claim."""
        passed = now - self._rated_at
        if passed >= PREFETCH_TIME / 4:
            # Rising at once and falling by half a step: a claim's round trip is no sign of slower jobs.
            rate = self._started / passed
            self._rate = rate if rate > self._rate or passed > 1 else (rate + self._rate) / 2
            self._started, self._rated_at = 0, now

    def progressed(self) -> bool:
        """Whether a job has started here since the last call; if none has, nothing is claimed ahead before some do."""
        progress, self._progress = self._progress, False
        if not progress:
            self._rate, self._started, self.hungry = 0.0, 0, True
        return progress

    @property
    def can_start(self) -> bool:
        """Whether a job is waiting and a slot is free for it."""
        return bool(self.queued) and self.running < self.concurrency and not self._resuming

    def take_next(self) -> Claimed:
        """Take a slot and the next job."""
        self.running += 1
        self._started += 1
        self._progress = True
        return self.queued.popleft()

    def give_back(self) -> None:
        """Free a slot; a job that waits to go on gets it before any new one."""
        while self._resuming:
            turn = self._resuming.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def take_slot_at_once(self) -> None:
        """Go on in a slot, whether one is free or not."""
        self.running += 1

    async def take_slot(self) -> None:
        """Wait for a slot to go on in; cancelled, the slot is taken all the same, since the job's cleanup runs in one."""
        if self.running < self.concurrency:
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._resuming.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                if turn in self._resuming:  # `give_back` may have passed it over in this turn of the loop
                    self._resuming.remove(turn)
                self.running += 1
            raise


def unserved(pools: Sequence[PoolSettings], definitions: Iterable[Definition]) -> list[str]:
    """Return a sentence for each definition whose queue none of `pools` serves."""
    found = []
    for definition in definitions:
        queue = definition.options.queue or "default"
        if isinstance(queue, str) and not any(serves(pool.queues, queue) for pool in pools):
            found.append(
                f"no pool serves queue {queue!r}, which {definition.kind} goes to: its jobs wait for a worker that does"
            )
    return found
