"""Claims of suspects: jobs that were running at two deaths of processes. It is not known yet which jobs were the cause.

After its first crash a job is claimed like any other, since machines are lost every day. From the second on it runs in a
process of its own, or shares one with other suspects (see `groups`), and only a death while it ran alone there is charged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence

from asyncjobs.db import claims
from asyncjobs.db.connecting import Connection
from asyncjobs.definitions import registry
from asyncjobs.worker.lease.keeper import Lease
from asyncjobs.worker.running.executor import Executor
from asyncjobs.worker.slots.pauses import Pauses
from asyncjobs.worker.slots.pools import Pool


class Suspects:
    """Claims as many suspects as may run here.

    Args:
        pools: The pools of this worker, in priority order.
        executor: Runs the suspects.
        lease: The lease of this worker.
        known_queues: Returns the queues that patterns are matched against.
        pauses: The pauses that this worker knows of.
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
        """Pools that had no place for a suspect at the last look."""
        self.due = False
        """Whether to look for suspects."""

    def are_due(self) -> bool:
        """Whether to look for suspects now; true once for each cause."""
        if self._claiming or not (
            self.due or self._executor.has_new_room_for_suspects or any(map(_places, self._put_off))
        ):
            return False
        self.due = self._executor.has_new_room_for_suspects = False
        self._put_off = []
        return True

    async def claim_on(self, connection: Connection) -> int:
        """Claim suspects for the free places of each pool and hand them to the executor; return how many."""
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
                    found = await claims.claim_suspects(
                        connection,
                        queues=pool.queues(self._known_queues()),
                        limit=limit,
                        kinds=kinds,
                        worker=worker,
                        apart=apart,
                    )
                    if self._lease.worker == worker:  # else they are rescued, and other workers run them
                        self._executor.accept_suspects(pool, found, claimed_at=began)
                        claimed += len(found)
        finally:
            self._claiming = False
        return claimed

    def _ways(self) -> Iterator[tuple[bool, dict[str, int]]]:
        """Yield, for suspects that run here and for those that run apart, the kinds with their `max_crashes`."""
        known = {name: d for name, d in registry.by_name().items() if name not in self._pauses.kinds}
        for apart in (False, True):
            kinds = {name: d.max_crashes for name, d in known.items() if self._executor.runs_apart(d) is apart}
            if kinds:
                yield apart, kinds


def _places(pool: Pool) -> int:
    """Return how many suspects a pool may start soon: one for each free slot, and one where jobs wait for slots."""
    return max(pool.free, int(bool(pool.queued)))
