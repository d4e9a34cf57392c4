"""The dispatcher: it claims jobs for free slots, woken by notices, by slots that become free, and by a slow poll."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from asyncjobs.db import claims, jobs, pausing
from asyncjobs.db.connecting import Connection
from asyncjobs.db.rows import Range, Reschedule
from asyncjobs.db.sessions import Runs
from asyncjobs.definitions import registry
from asyncjobs.exceptions import DatabaseError
from asyncjobs.records.claimed import Claimed
from asyncjobs.tasks.retrying import Backoff
from asyncjobs.worker.claiming.queue_positions import CONTINUE_FOR, FULL_LOOK, QueuePositions
from asyncjobs.worker.claiming.queue_turns import PAUSE, Turns
from asyncjobs.worker.claiming.suspects import Suspects
from asyncjobs.worker.claiming.wakeups import Wakeups
from asyncjobs.worker.lease.keeper import Lease
from asyncjobs.worker.running.executor import Executor
from asyncjobs.worker.slots.pauses import Pauses
from asyncjobs.worker.slots.pools import Pool
from asyncjobs.worker.writing.ledger import Ledger

logger = logging.getLogger("asyncjobs.worker")

MOST_CLAIMS = 2
"""Claims under way at once: so an urgent pool's claim does not wait for another pool's large one."""
LOOK_PAUSE, LOOK_SHARE = 0.05, 4.0
"""The least pause between two looks for queues that notices ask for: in seconds, and in times of the last look."""
FEW = 50
"""A pool that wants more jobs is claimed for in a statement of its own, which would hold up the others."""
URGENT_FOR = 1.0
URGENT_BATCH = 250
"""For `URGENT_FOR` seconds after a pool had jobs, later pools claim `URGENT_BATCH` jobs at a time, and none while ends are
written. On two cores, beside a pool that drains no-ops, a critical job's pickup falls from 17 / 60 ms (p50 / p99) to 3 / 18,
and the other pool's rate from 40,000/s to 25,000.
"""


class Dispatcher:
    """Claims jobs for the pools.

    Args:
        pools: The pools of this worker, in priority order.
        sessions: Sessions for `MOST_CLAIMS` operations at once, with pinned plans.
        executor: Takes the claimed jobs.
        ledger: Nothing is claimed while it is full.
        lease: The lease of this worker; without one nothing is claimed.
        is_connected: Returns whether this worker has the connections to write the ends of jobs.
        wakeups: Names the queues that have news.
        polling_interval: Seconds between looks at all queues.
        has_rates: Returns whether any job may be under a rate, so that starts are to be counted.
        pauses: The pauses that this worker knows of; updated by claims.
        on_claim: Called with each batch of claimed jobs.
    """

    def __init__(
        self,
        *,
        pools: Sequence[Pool],
        sessions: Runs,
        executor: Executor,
        ledger: Ledger,
        lease: Lease,
        is_connected: Callable[[], bool],
        wakeups: Wakeups,
        polling_interval: float,
        has_rates: Callable[[], bool],
        pauses: Pauses,
        on_claim: Callable[[Sequence[Claimed]], None] | None = None,
    ) -> None:
        self._pools = pools
        self._sessions = sessions
        self._executor = executor
        self._ledger = ledger
        self._lease = lease
        self._is_connected = is_connected
        self._wakeups = wakeups
        self._polling_interval = polling_interval
        self._has_rates = has_rates
        self._pauses = pauses
        self._positions = QueuePositions()
        self._turns = Turns()
        self._look_at = float("-inf")
        """The loop's time from which notices may have the database asked for its queues, before the next poll."""
        self._claims = 0
        """Claims under way."""
        self._may_hold_lost = False
        """Whether the answer to a claim may have been lost, and with it jobs that this worker holds and does not know of."""
        self._changing = asyncio.Lock()
        """Held while suspects are claimed, and while lost jobs are looked for: a suspect on its way here is not lost."""
        self.suspects = Suspects(pools, executor, lease, lambda: self._turns.names, pauses)
        self._all_empty = asyncio.Event()
        """Set while the last claims found nothing for any pool, and none is under way."""
        self._backoff = Backoff(logger, "claiming")
        self._on_claim = on_claim
        self._stopping = False

    async def run(self) -> None:
        """Claim jobs until `stop`."""
        loop = asyncio.get_running_loop()
        next_poll = next_turn = loop.time()
        next_check = loop.time() + self._lease.seconds
        async with asyncio.TaskGroup() as claims:
            while not self._stopping:
                until = min(next_poll, next_turn, self._look_at if self._wakeups.needs_look else math.inf)
                await self._wakeups.wait(max(until - loop.time(), 0))
                if loop.time() >= next_poll:
                    # With jitter: workers that started together would poll together.
                    next_poll = loop.time() + self._polling_interval * (0.75 + random.random() / 2)
                    await self._poll()
                    next_turn = math.inf if self._turns.is_over else loop.time() + PAUSE
                if loop.time() >= next_turn:
                    await self._learn_queues()
                    self.suspects.due = True  # these queues have not been looked at yet
                    next_turn = math.inf if self._turns.is_over else loop.time() + PAUSE
                elif self._wakeups.needs_look and loop.time() >= self._look_at:
                    await self._learn_queues()
                if loop.time() >= next_check:
                    # Rarely, and nearly always in vain: a claim may have reached the database minutes late over a dead link.
                    next_check = loop.time() + self._lease.seconds
                    self._may_hold_lost = True
                self._take_news()
                if self._may_hold_lost and self._claims == 0:
                    await self._give_back_lost()
                if not self._is_held_up() and self.suspects.are_due():
                    claims.create_task(self.claim_suspects())
                for group in self._ready_groups():
                    for pool in group:
                        pool.claiming = True
                    self._claims += 1
                    claims.create_task(self._claim(group))

    async def claim_suspects(self) -> int:
        """Claim suspects that may run here; return how many."""
        if self._is_held_up():
            self.suspects.due = True
            return 0
        try:
            async with self._changing:
                claimed = await self._sessions.run(self._claim_suspects_on, deadline=self._deadline)
            self._backoff.succeeded()
        except DatabaseError as error:
            self._may_hold_lost = self.suspects.due = True
            await self._backoff.failed(error)
            return 0
        return claimed

    async def _claim_suspects_on(self, connection: Connection) -> int:
        if self._is_held_up():  # since this claim began to wait for a session
            self.suspects.due = True
            return 0
        return await self.suspects.claim_on(connection)

    def look_at_all(self) -> None:
        """Have every pool's next claim look at all of its queues, whatever the positions say."""
        for pool in self._pools:
            pool.may_have_more, pool.last_claim_was_full, pool.full_look_at = True, False, float("-inf")
        self.suspects.due = True
        self._wakeups.needs_look = True
        self._look_at = float("-inf")
        self._wakeups.wake()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when the claims under way have ended."""
        self._stopping = True
        self._wakeups.wake()

    @property
    def known_queues(self) -> list[str]:
        """The queues that patterns are matched against, at the moment."""
        return self._turns.names

    async def found_nothing(self) -> None:
        """Wait until a claim for every pool has found nothing and nothing is under way."""
        await self._all_empty.wait()

    def _take_news(self) -> None:
        news = self._wakeups.take_news()
        self.suspects.due |= bool(news) and self._wakeups.suspects_expected
        for queue, seq in news.items():
            serving = [pool for pool in self._pools if pool.serves(queue)]
            if not serving or queue in self._pauses.queues:
                continue
            self._positions.lower(queue, seq)
            self._turns.told(queue)
            for pool in serving:
                pool.may_have_more, pool.last_claim_was_full = True, False

    async def _poll(self) -> None:
        """Look for jobs whose notice was lost: busy pools by a claim, the others by one statement for all."""
        now = asyncio.get_running_loop().time()
        busy = [pool for pool in self._pools if now - pool.claimed_at < self._polling_interval]
        for pool in busy:
            pool.may_have_more = self.suspects.due = True
        if len(busy) < len(self._pools) or any(pool.has_patterns for pool in busy):
            await self._look(self._pools)
            self.suspects.due |= any(pool.may_have_more for pool in self._pools)

    async def _learn_queues(self) -> None:
        """Refresh the queues that patterns are matched against, and have pools with patterns look there."""
        if patterned := [pool for pool in self._pools if pool.has_patterns]:
            await self._look(patterned)
        else:
            self._wakeups.looked(())

    async def _look(self, pools: Sequence[Pool]) -> None:
        """Ask which queues have jobs, and claim for those of `pools` that serve one of these."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        is_known = False
        try:
            await self._sessions.run(self._turns.look, deadline=self._deadline)
            is_known = self._turns.has_all
            self._positions.keep(self._turns.names)
            if any(pool.has_patterns for pool in self._pools):
                self._wakeups.looked(self._turns.names)
            else:
                self._turns.begin_anew()
        except DatabaseError as error:
            await self._backoff.failed(error)
        ready = set(self._turns.names)
        for pool in pools:
            if not is_known or not ready.isdisjoint(pool.queues(ready)):
                pool.may_have_more = True
        took = loop.time() - began
        self._look_at = loop.time() + max(LOOK_PAUSE, LOOK_SHARE * took)

    @property
    def _deadline(self) -> float:
        return max(self._lease.seconds / 3, 1.0)

    def _ready_groups(self) -> list[list[Pool]]:
        """Return the pools to claim for now, in groups of which no two pools share a queue.

        A job that two pools of one statement serve might be locked for one and counted for the other, as the plan has it.
        """
        if self._is_held_up() or self._may_hold_lost or self._lease.worker is None:
            return []
        groups: list[tuple[list[Pool], set[str]]] = []
        now = asyncio.get_running_loop().time()
        for pool in self._pools:
            pool.measure(now)
            wanted = pool.wanted(self._limit(pool, now))
            if not pool.may_have_more or pool.claiming or not wanted:
                continue
            if now < pool.no_claim_before:
                asyncio.get_running_loop().call_at(pool.no_claim_before, self._wakeups.wake)
                continue
            queues = set(pool.queues(self._turns.names))
            if not queues:
                pool.may_have_more = False
                continue
            for group, taken in groups if wanted <= FEW and pool.aging is None else ():
                if taken.isdisjoint(queues) and group[0].aging is None:  # a pool with aging has a statement of its own
                    group.append(pool)
                    taken.update(queues)
                    break
            else:
                groups.append(([pool], queues))
        self._note_all_empty()
        return [group for group, _ in groups[: MOST_CLAIMS - self._claims]]

    def _is_held_up(self) -> bool:
        """Whether to claim nothing: this worker stops, is told to be quiet, or could not write how claimed jobs end."""
        return self._stopping or self._lease.quiet or self._ledger.full or not self._is_connected()

    def _limit(self, pool: Pool, now: float) -> int:
        """Return how many jobs to claim at most for a pool, so that pools before it are not held up."""
        if any(now - earlier.claimed_at < URGENT_FOR for earlier in self._pools[: self._pools.index(pool)]):
            return 0 if self._ledger.writing else URGENT_BATCH
        return pool.batch_size

    def _note_all_empty(self) -> None:
        if (
            self._claims == 0
            and self._turns.is_over
            and not any(pool.may_have_more or pool.queued for pool in self._pools)
        ):
            self._all_empty.set()
        else:
            self._all_empty.clear()

    async def _claim(self, group: list[Pool]) -> None:
        """Claim once for a group of pools, in one statement."""
        try:
            for pool in group:
                pool.may_have_more = False  # before the claim: a notice that comes during it sets this again
            await self._sessions.run(lambda connection: self._claim_on(connection, group), deadline=self._deadline)
            self._backoff.succeeded()
        except DatabaseError as error:
            for pool in group:
                pool.may_have_more = True
            self._may_hold_lost = True
            self._all_empty.clear()
            await self._backoff.failed(error)
        finally:
            for pool in group:
                pool.claiming = False
            self._claims -= 1
            self._wakeups.wake()

    async def _give_back_lost(self) -> None:
        """Give back jobs that this worker holds by the database's word and does not know of: their claim's answer was lost.

        Called while no claim is under way. Nothing else would ever find these jobs, since their worker lives.
        """
        worker = self._lease.worker
        if worker is None:
            self._may_hold_lost = False  # without a lease, they are rescued
            return
        kinds = {name: definition.max_crashes for name, definition in registry.by_name().items()}
        try:
            async with self._changing:
                held = await self._sessions.run(
                    lambda connection: jobs.read_held(connection, worker, kinds), deadline=self._deadline
                )
                here = self._executor.holds() | self._ledger.holds()
        except DatabaseError as error:
            await self._backoff.failed(error)
            self._wakeups.wake()
            return
        self._may_hold_lost = False
        lost = [job for job in held if job[0] not in here]
        for job_id, fence, refused in lost:
            self._ledger.reschedule(Reschedule(job_id, fence, spent=refused))
        if lost:
            logger.warning(
                "gave back %d jobs: this worker had claimed them, and the connection broke before it heard of it",
                len(lost),
            )

    async def _claim_on(self, connection: Connection, group: list[Pool]) -> int:
        if self._is_held_up():  # since this claim began to wait for a session
            for pool in group:
                pool.may_have_more = True
            return 0
        now = asyncio.get_running_loop().time()
        if self._positions.needs_roll(now):
            horizon, paused = await pausing.last_seq(connection)
            self._positions.roll(now, horizon)
            self._pauses.learn(paused, asked_at=now)
        worker = self._lease.worker
        free = [pool.wanted(self._limit(pool, now)) for pool in group]
        queues = [pool.queues(self._turns.names) for pool in group]
        ranges: list[Range] = []
        for number, (pool, names) in enumerate(zip(group, queues, strict=True), 1):
            full = now - pool.full_look_at >= FULL_LOOK
            pool.full_look_at = now if full else pool.full_look_at
            pool.continues = pool.last_claim_was_full and not full and now - pool.lagging_claim_at < CONTINUE_FOR
            pool.lagging_claim_at = pool.lagging_claim_at if pool.continues else now
            for turn, name in enumerate(names, 1):
                first = number if pool.aging is None else turn
                ranges.extend(self._positions.ranges(first, name, full=full, continues=pool.continues))
        if worker is None or not ranges or not any(free):
            return 0
        known = registry.by_name()
        kinds = sorted(known.keys() - self._pauses.kinds)
        apart = [name for name, definition in known.items() if definition.executor == "process"]
        once = [name for name, definition in known.items() if definition.max_crashes == 1]
        given: dict[str, Any] = {"ranges": ranges, "kinds": kinds, "worker": worker, "apart": apart, "once": once}
        given["paced"] = self._has_rates()
        if (aging := group[0].aging) is None:
            claimed = await claims.claim(connection, free=free, **given)
        else:
            claimed = await claims.claim_aged(connection, free=free[0], aging=aging, **given)
        if self._lease.worker != worker:
            return 0  # the lease was lost meanwhile: these jobs are rescued, and other workers run them
        self._hand_over(group, free, queues, claimed, now)
        return len(claimed)

    def _hand_over(
        self, group: list[Pool], free: list[int], queues: list[list[str]], claimed: list[Claimed], began: float
    ) -> None:
        now = asyncio.get_running_loop().time()
        by_pool: dict[int, list[Claimed]] = {1: claimed} if len(group) == 1 else defaultdict(list)
        if len(group) > 1:
            for job in claimed:
                by_pool[job.pool].append(job)
        greatest = {(job.queue, job.priority): job.seq for job in claimed}  # they come sorted by seq
        for (queue, priority), seq in greatest.items():
            self._positions.claimed(queue, priority, seq)
        for number, pool in enumerate(group, 1):
            mine = by_pool.get(number, [])
            pool.last_claim_was_full = len(mine) >= free[number - 1]
            if pool.last_claim_was_full or pool.continues or (pool.aging is not None and mine):
                # With aging, fewer jobs do not mean an empty queue: a claim looks at the first of each priority alone, and
                # some may be locked.
                pool.may_have_more = True
            else:
                for queue in queues[number - 1]:
                    self._positions.exhausted(queue)
                    self._turns.exhausted(queue)
                # A pause as long as the claim took: at 2,000 notices/s claims would follow each other without one, and a
                # claim a millisecond later brings all jobs that came meanwhile.
                pool.no_claim_before = now + (now - began)
            if mine:
                pool.claimed_at = now
                self._executor.accept(pool, mine, claimed_at=began)
        if claimed and self._on_claim is not None:
            self._on_claim(claimed)
