"""Suspects: jobs whose process died while they ran. Nobody knows which of those that ran there did it.

After its first crash a job runs among the ordinary ones, one such at a time; after the second in a process of its own. The
same holds for one that has waited `PATIENCE` seconds for its turn: else the jobs of a killed worker would run one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asyncjobs.db import jobs
from asyncjobs.db.connecting import Connection
from asyncjobs.defining import registry
from asyncjobs.worker.executor import MOST_CRASHES, Executor
from asyncjobs.worker.keeper import Lease
from asyncjobs.worker.pools import Pool

PATIENCE = 0.5
"""Seconds. With the next poll and the start of the forking process, some 2 until all jobs of a killed worker run again."""


class Suspects:
    """Claims suspects as far as they may run here.

    Args:
        pools: In priority order.
        executor: Runs them.
        lease: This worker's.
        known_queues: Returns the queues that patterns stand for.
    """

    def __init__(
        self, pools: Sequence[Pool], executor: Executor, lease: Lease, known_queues: Callable[[], Sequence[str]]
    ) -> None:
        self._pools = pools
        self._executor = executor
        self._lease = lease
        self._known_queues = known_queues
        self._claiming = False
        self._put_off: list[Pool] = []
        """Pools that had no place for one when they were looked for."""
        self.due = False
        """Whether they should be looked for."""

    def are_due(self) -> bool:
        """Whether they should be looked for now; once."""
        if self._claiming or not (
            self.due or self._executor.has_new_room_for_suspects or any(map(_places, self._put_off))
        ):
            return False
        self.due = self._executor.has_new_room_for_suspects = False
        self._put_off = []
        return True

    async def claim_on(self, connection: Connection) -> int:
        """Claim suspects for the places of each pool and have them started; return how many."""
        worker = self._lease.worker
        if worker is None or self._claiming:
            return 0
        kinds = {name: definition.max_crashes for name, definition in registry.by_name().items()}
        claimed = 0
        self._claiming, self._put_off = True, []
        try:
            for pool in self._pools:
                here = ((1, self._executor.most_crashes_here), int(self._executor.has_room_for_suspect))
                apart = ((2, MOST_CRASHES), self._executor.room_apart)
                for crashes, room in (here, apart):
                    if room > 0 and not _places(pool):
                        self._put_off.append(pool)
                    if (limit := min(_places(pool), room)) <= 0:
                        continue
                    found = await jobs.claim_suspects(
                        connection,
                        queues=pool.queues(self._known_queues()),
                        limit=limit,
                        crashes=crashes,
                        patience=PATIENCE,
                        kinds=kinds,
                        worker=worker,
                    )
                    if self._lease.worker == worker:  # else they are rescued, and others run them
                        self._executor.accept_suspects(pool, found)
                        claimed += len(found)
        finally:
            self._claiming = False
        return claimed


def _places(pool: Pool) -> int:
    """Return how many suspects a pool may start soon: as slots are free, else one where jobs follow each other quickly."""
    return max(pool.free, int(bool(pool.queued)))
