"""Positions: how far this worker has seen each queue, so that claims do not pass over dead index entries.

A claimed job leaves a dead entry at the front of the claim index until vacuum may remove it, which a snapshot held anywhere
prevents: at 2,000 jobs/s for 60 s a claim grew from 1.0 ms to 21.6. So each claim starts at a position, for each queue and
priority: the greatest seq that was claimed, or known to be used up, half a second ago. That is the lag, because a row whose
seq is lower may commit later: without it, a pickup took up to 915 ms. Rows that commit later still are found by their
notice, which lowers the position, and by a full look every 5 seconds. At 40,000 jobs/s there are 20,000 dead entries within
the lag. So a claim that follows a full one continues where that one ended. Rows that were locked or not committed yet were
passed over then: when a claim comes back short, and every `CONTINUE_FOR` seconds, the next begins at the lagging position
again.
"""

from __future__ import annotations

from collections.abc import Collection

from asyncjobs.checks.limits import GREATEST_PRIORITY, LEAST_PRIORITY
from asyncjobs.db.rows import Range

LAG = 0.5
CONTINUE_FOR = 0.05
FULL_LOOK = 5.0
MOST_PRIORITIES = 8
"""Positions of one queue; each costs two descents of the index in every claim (about 10 µs)."""
MOST_QUEUES = 1_000
"""Queues to remember beyond those that have jobs: anybody may send notices with ever new names."""
_START = -(2**63)


class _Position:
    """Positions of one queue at one priority.

    `seq` is in force, `settling` will be after one lag, `fresh` after two; `end` is where the last claim ended.
    """

    __slots__ = ("end", "fresh", "seq", "settling")

    def __init__(self) -> None:
        self.seq = self.settling = self.fresh = self.end = _START


class QueuePositions:
    """The positions of one worker."""

    def __init__(self) -> None:
        self._queues: dict[str, dict[int, _Position]] = {}
        self._rolled_at = float("-inf")
        self._horizon = _START

    def needs_roll(self, now: float) -> bool:
        """Whether the lag has passed since `roll`."""
        return now - self._rolled_at >= LAG

    def roll(self, now: float, horizon: int) -> None:
        """Put the positions of a lag ago in force.

        Args:
            now: The loop's time.
            horizon: The last number of the ready sequence, read before the next claim.
        """
        for positions in self._queues.values():
            for position in positions.values():
                position.seq, position.settling = position.settling, position.fresh
        self._rolled_at = now
        self._horizon = horizon

    def ranges(self, pool: int, queue: str, *, full: bool, continues: bool = False) -> list[Range]:
        """Return the ranges to look at in `queue`, in priority order.

        A known priority is looked at from its position on; with `continues` from where the last claim ended, with `full`
        from the start. The priorities between known ones are looked at from the start: empty, they cost one descent.
        """
        if full:
            return [Range(pool, queue, LEAST_PRIORITY, GREATEST_PRIORITY, _START)]
        found = []
        low = LEAST_PRIORITY
        for priority, position in sorted(self._queues.get(queue, {0: _Position()}).items()):
            if low < priority:
                found.append(Range(pool, queue, low, priority - 1, _START))
            found.append(Range(pool, queue, priority, priority, position.end if continues else position.seq))
            low = priority + 1
        if low <= GREATEST_PRIORITY:
            found.append(Range(pool, queue, low, GREATEST_PRIORITY, _START))
        return found

    def claimed(self, queue: str, priority: int, seq: int) -> None:
        """Note a claimed job: jobs before it at its priority are claimed, locked, or not for this worker."""
        positions = self._of(queue)
        position = positions.get(priority)
        if position is None:
            if len(positions) >= MOST_PRIORITIES:
                return
            position = positions[priority] = _Position()
        position.fresh = max(position.fresh, seq)
        position.end = seq

    def exhausted(self, queue: str) -> None:
        """Note that a claim found nothing more in `queue`, at any priority."""
        for position in self._of(queue).values():
            position.fresh = max(position.fresh, self._horizon)

    def lower(self, queue: str, seq: int) -> None:
        """Have `queue` looked at from `seq` on again, at every priority; from 0 on, that is all of it."""
        for position in self._queues.get(queue, {}).values():
            position.seq, position.settling = min(position.seq, seq), min(position.settling, seq)
            position.fresh, position.end = min(position.fresh, seq), min(position.end, seq)

    def __len__(self) -> int:
        return len(self._queues)

    def keep(self, queues: Collection[str]) -> None:
        """When there are many, forget queues that are not among `queues`; they are looked at from the start again."""
        if len(self._queues) > MOST_QUEUES + len(queues):
            self._queues = {name: self._queues[name] for name in queues if name in self._queues}

    def _of(self, queue: str) -> dict[int, _Position]:
        # Priority 0 is known from the start, so that positions pass over jobs of unknown kinds at the default priority, too.
        positions = self._queues.get(queue)
        if positions is None:
            positions = self._queues[queue] = {0: _Position()}
        return positions
