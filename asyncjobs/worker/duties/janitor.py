"""The janitor: it buries dead workers, rescues their jobs, and makes and drops days of the history. Every worker has one."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from functools import partial
from uuid import UUID

from asyncjobs.db import audit, batches, jobs, limiting, live, steps, workers
from asyncjobs.db.errors import is_locked
from asyncjobs.db.sessions import Runs
from asyncjobs.exceptions import DatabaseError
from asyncjobs.tasks.retrying import Backoff
from asyncjobs.worker.lease.keeper import Lease

logger = logging.getLogger("asyncjobs.worker")

ROUNDS_A_LEASE = 30
"""A round a second with a lease of 30 s."""
JUDGING_A_LEASE = 20
"""Rounds in which dead workers are looked for, at most: with a lease of 30 s every other one, so that a death is seen 5 to
7.5 s after the last beat."""
FIRST_HOUSEKEEPING = 10.0
HOUSEKEEPING = 3600.0
"""Seconds between looks at the history's days."""
DAYS_AHEAD = 3
BATCH = 500
ITEMS = 5_000
"""Items of streams that one statement deletes."""


class Janitor:
    """Rescues jobs of dead workers and keeps house.

    Args:
        sessions: Sessions with pinned plans.
        lease: The lease of this worker; without one it buries nobody.
        alive: Returns how many workers are alive: the more, the rarer each one's rounds.
        retention: The longest retention of all kinds, in seconds; and that of an event that no job waits for.
        on_rescue: Called when a worker was buried or jobs were rescued.
    """

    def __init__(
        self,
        sessions: Runs,
        lease: Lease,
        alive: Callable[[], int],
        *,
        retention: float,
        on_rescue: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._lease = lease
        self._alive = alive
        self._on_rescue = on_rescue
        self._retention = retention
        self._days = math.ceil(retention / 86_400) + DAYS_AHEAD
        self._backoff = Backoff(logger, "looking after dead workers")
        self.rescued = 0
        """Jobs that were rescued here."""

    async def run(self) -> None:
        """Make rounds, for ever."""
        loop = asyncio.get_running_loop()
        # Not at once: a worker that starts has jobs to claim first, and the days ahead were made days ago.
        next_housekeeping = loop.time() + FIRST_HOUSEKEEPING * random.random()
        next_judging = loop.time()
        while True:
            pause = self._lease.seconds / ROUNDS_A_LEASE * max(1, self._alive() / 4)
            await asyncio.sleep(pause * (0.75 + random.random() / 2))
            # A worker that was alone at its last beat has nobody to bury: later ones cannot have been silent for long
            # enough.
            judges = self._alive() > 1 and loop.time() >= next_judging
            if judges:
                next_judging = loop.time() + self._lease.seconds / JUDGING_A_LEASE
            try:
                await self.rescue(judges=judges)
                if loop.time() >= next_housekeeping:
                    await self.keep_house()
                    next_housekeeping = loop.time() + HOUSEKEEPING * (0.5 + random.random())
                self._backoff.succeeded()
            except DatabaseError as error:
                await self._backoff.failed(error)

    async def rescue(self, *, judges: bool = True) -> int:
        """Make the jobs of dead workers ready again; return how many.

        Args:
            judges: Whether to bury workers first whose lease is over.
        """
        worker = self._lease.worker
        if worker is None:
            return 0
        if judges:
            await self._judge(worker)
        total = 0
        while True:
            rescued = await self._sessions.run(lambda connection: jobs.rescue(connection, BATCH))
            total += rescued
            if rescued:
                self._on_rescue()
            if rescued < BATCH:
                break
        self.rescued += total
        if total:
            logger.warning("rescued %d jobs of dead workers", total)
        return total

    async def _judge(self, worker: UUID) -> None:
        buried = await self._sessions.run(lambda connection: workers.bury(connection, worker))
        for dead, left in buried.items():
            self._on_rescue()
            rest = f"its {left} jobs run elsewhere" if left else "it had no jobs"
            logger.warning("worker %s is dead: %s", dead, rest)

    async def keep_house(self) -> None:
        """Make coming days of the history, drop expired ones, and delete rows that nobody needs any more."""
        try:
            await self._sessions.run(lambda connection: jobs.make_partitions(connection, self._days))
        except DatabaseError as error:
            if not is_locked(error):  # else another worker makes them
                raise
        dropped = await self._sessions.run(jobs.drop_expired)
        if dropped:
            logger.info("dropped %d days of finished jobs", dropped)
        await self._sessions.run(workers.forget)
        await self._tidy_chains()
        while await self._sessions.run(partial(batches.forget, seconds=self._retention, limit=BATCH)):
            continue
        while True:
            gone = await self._sessions.run(lambda connection: steps.forget_events(connection, self._retention, BATCH))
            if gone < BATCH:
                break
        while await self._sessions.run(lambda connection: live.forget(connection, ITEMS)):
            pass
        for forget in (limiting.forget, audit.forget):
            while await self._sessions.run(partial(forget, limit=BATCH)) == BATCH:
                pass

    async def _tidy_chains(self) -> None:
        """End chains whose failed job was dropped, and delete chains of which nothing is left."""
        last: UUID | None = None
        days = math.ceil(self._retention / 86_400)
        while True:
            tidy = partial(batches.tidy_links, after=last, limit=BATCH, days=days)
            last = await self._sessions.run(tidy)
            if last is None:
                break
