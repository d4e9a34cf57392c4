"""A pool: slots for jobs of certain queues, jobs that are claimed and wait for a slot, and how many more to claim."""

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
"""Seconds of work, at the pool's present rate, that are claimed ahead of free slots.

No-op jobs at 20,000/s are claimed 400 ahead, jobs of a second not at all: jobs that are claimed ahead run before more urgent
ones that arrive meanwhile, and no other worker can take them.
"""


class Pool:
    """Slots, and the jobs claimed for them.

    Args:
        number: The place in the order of pools, from 1.
        settings: Queues and concurrency.
        batch_size: Jobs in one claim, at most.
    """

    def __init__(self, number: int, settings: PoolSettings, batch_size: int) -> None:
        self.number = number
        self.concurrency = settings.concurrency
        self.batch_size = batch_size
        self.aging = settings.aging
        """Seconds in which a waiting job gains one step of priority; None: never."""
        self._queues = settings.queues
        self.paused: Collection[str] = frozenset()
        """Paused queues, from which nothing is claimed."""
        self._entries, self._excluded = split(settings.queues)
        self._weights = settings.weights if settings.order == "weighted" else None
        self.queued: deque[Claimed] = deque()
        self.waiting_since = float("-inf")
        """The loop's time of the claim that filled `queued` when it was last empty."""
        self.running = 0
        self.may_have_more = True
        """Whether its queues may have jobs that the last claim did not bring."""
        self.claiming = False
        self.no_claim_before = 0.0
        """The loop's time before which nothing is claimed for this pool; set by the dispatcher."""
        self.claimed_at = float("-inf")
        """The loop's time of the last claim that brought jobs."""
        self.full_look_at = float("-inf")
        """The loop's time of the last claim that looked at its queues from their start, whatever the positions."""
        self.lagging_claim_at = float("-inf")
        """The loop's time of the last claim that began at the lagging positions."""
        self.last_claim_was_full = False
        """Whether the last claim brought as many jobs as it asked for."""
        self.continues = False
        """Whether the last claim began where the one before ended, and did not look at jobs before that."""
        self._resuming: deque[asyncio.Future[None]] = deque()
        self._started = 0
        self._rate = 0.0
        self._progress = False
        self._rated_at = 0.0

    @property
    def names(self) -> list[str]:
        """The queues that it names without a pattern; an exclusion may still leave some out."""
        return [entry for entry in self._entries if not entry.endswith("*")]

    @property
    def has_patterns(self) -> bool:
        """Whether an entry is a pattern, so that its queues depend on which queues there are."""
        return any(entry.endswith("*") for entry in self._entries)

    def serves(self, queue: str) -> bool:
        """Whether jobs of `queue` may run in this pool."""
        return serves(self._queues, queue)

    def queues(self, known: Collection[str]) -> list[str]:
        """Return the queues to claim from, in order, without paused ones.

        A pattern stands for the queues of `known` that it matches. With weights the order is random, and each entry comes
        first in proportion to its weight.
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
        """Free slots that no claimed job waits for."""
        return self.concurrency - self.running - len(self._resuming) - len(self.queued)

    def wanted(self, most: int | None = None) -> int:
        """Return how many jobs to claim now, at most `most`; 0 while enough are waiting here."""
        most = self.batch_size if most is None else min(most, self.batch_size)
        free = self.concurrency - self.running - len(self._resuming)
        ahead = min(int(self._rate * PREFETCH_TIME), self.batch_size)
        waiting = len(self.queued)
        if waiting and waiting > (free + ahead) // 2:
            return 0
        return max(min(free + ahead - waiting, most), 0)

    def measure(self, now: float) -> None:
        """Measure the rate at which jobs start; called before each claim."""
        passed = now - self._rated_at
        if passed >= PREFETCH_TIME / 4:
            # It rises at once and falls by half: a claim's round trip is no sign of slower jobs.
            rate = self._started / passed
            self._rate = rate if rate > self._rate or passed > 1 else (rate + self._rate) / 2
            self._started, self._rated_at = 0, now

    def progressed(self) -> bool:
        """Return whether a job has started since the last call; if none has, claim nothing ahead until some do."""
        progress, self._progress = self._progress, False
        if not progress:
            self._rate, self._started, self.may_have_more = 0.0, 0, True
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
        """Free a slot; a job that waits to go on gets it before a new one."""
        while self._resuming:
            turn = self._resuming.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def take_slot_at_once(self) -> None:
        """Take a slot to go on in, whether or not one is free."""
        self.running += 1

    async def take_slot(self) -> None:
        """Wait for a slot to go on in; if cancelled, take one all the same, since the job's cleanup runs in it."""
        if self.running < self.concurrency:
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._resuming.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                if turn in self._resuming:  # `give_back` may have removed it in this turn of the loop
                    self._resuming.remove(turn)
                self.running += 1
            raise


def unserved(pools: Sequence[PoolSettings], definitions: Iterable[Definition]) -> list[str]:
    """Return a sentence for each definition whose queue no pool serves."""
    found = []
    for definition in definitions:
        queue = definition.options.queue or "default"
        if isinstance(queue, str) and not any(serves(pool.queues, queue) for pool in pools):
            found.append(
                f"no pool serves queue {queue!r}, which {definition.kind} goes to: its jobs wait for a worker that does"
            )
    return found
