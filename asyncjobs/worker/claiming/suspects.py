"""Suspects: jobs that have crashed twice. Nobody knows yet which of those that ran in their processes did it.

After its first crash a job is claimed like any other, since machines are lost every day. From the second on it runs in a
process of its own, or shares one with other suspects (see `groups`), and only a death that it died alone there is charged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence

from asyncjobs.db import jobs
from asyncjobs.db.connecting import Connection
from asyncjobs.definitions import registry
from asyncjobs.worker.lease.keeper import Lease
from asyncjobs.worker.running.executor import Executor
from asyncjobs.worker.slots.pauses import Pauses
from asyncjobs.worker.slots.pools import Pool


class Suspects:
    """Claims suspects as far as they may run here.

    Args:
        pools: In priority order.
        executor: Runs them.
        lease: This worker's.
        known_queues: Returns the queues that patterns stand for.
        pauses: What is paused.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        executor: Executor,
        lease: Lease,
        known_queues: Callable[[], Collection[str]],
        pauses: Pauses,
    ) -> None:
        self._pools = pools
        self._executor = executor
        self._lease = lease
        self._known_queues = known_queues
        self._pauses = pauses
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
        began = asyncio.get_running_loop().time()
        if worker is None or self._claiming:
            return 0
        claimed = 0
        self._claiming, self._put_off = True, []
        try:
            for pool in self._pools:
                for apart, kinds in self._ways():
                    room = self._executor.room_for_suspects(apart=apart)
                    if room > 0 and not _places(pool):
                        self._put_off.append(pool)
                    if (limit := min(_places(pool), room)) <= 0:
                        continue
                    found = await jobs.claim_suspects(
                        connection,
                        queues=pool.queues(self._known_queues()),
                        limit=limit,
                        kinds=kinds,
                        worker=worker,
                        apart=apart,
                    )
                    if self._lease.worker == worker:  # else they are rescued, and others run them
                        self._executor.accept_suspects(pool, found, claimed_at=began)
                        claimed += len(found)
        finally:
            self._claiming = False
        return claimed

    def _ways(self) -> Iterator[tuple[bool, dict[str, int]]]:
        """Yield whether they run apart, and of which kinds, each with its `max_crashes`."""
        known = {name: d for name, d in registry.by_name().items() if name not in self._pauses.kinds}
        for apart in (False, True):
            kinds = {name: d.max_crashes for name, d in known.items() if self._executor.runs_apart(d) is apart}
            if kinds:
                yield apart, kinds


def _places(pool: Pool) -> int:
    """Return how many suspects a pool may start soon: as slots are free, else one where jobs follow each other quickly."""
    return max(pool.free, int(bool(pool.queued)))
