"""How far this worker has seen each queue, so that claims do not walk what is dead.

A claimed job leaves a dead entry at the front of the claim index until vacuum may remove it, which a snapshot held
anywhere forbids: at 2,000 jobs/s for 60 s a claim grew from 1.0 ms to 21.6. So each claim starts at a position, per
queue and priority: the greatest seq that was claimed, or known to be used up, half a second ago. Half a second, because
a row whose seq is lower may commit later: with no lag, a pickup took up to 915 ms. What comes later still is found by
its notice, which lowers the position, and by a full look every 5 seconds. A drain at 40,000 jobs/s leaves 20,000 dead
entries within the lag, so that a claim that follows a full one goes on where that one ended; when it comes back short,
and every `QUICK_FOR` seconds, the next begins at the lagging position again: rows that were locked, or not committed
yet, were passed.
"""

from __future__ import annotations

from collections.abc import Collection

from asyncjobs.checks.limits import GREATEST_PRIORITY, LEAST_PRIORITY
from asyncjobs.db.rows import Range

LAG = 0.5
QUICK_FOR = 0.05
FULL_LOOK = 5.0
MOST_PRIORITIES = 8
"""Positions kept a queue; each costs two descents of the index in every claim (about 10 µs)."""
MOST_QUEUES = 1_000
"""Queues kept beyond those that hold jobs: anybody may NOTIFY, of ever new names."""
_START = -(2**63)


class _Position:
    """Positions at one priority: `seq` is in force, `settling` will be after the lag, `fresh` is being gathered.

    `end` is where the last claim ended.
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
        """Put in force what was gathered a lag ago.

        Args:
            now: The loop's time.
            horizon: The ready sequence's last number, read before the next claim.
        """
        for positions in self._queues.values():
            for position in positions.values():
                position.seq, position.settling = position.settling, position.fresh
        self._rolled_at = now
        self._horizon = horizon

    def ranges(self, pool: int, queue: str, *, full: bool, quick: bool = False) -> list[Range]:
        """Return what to look at in `queue`, in priority order.

        At known priorities from the position on (`quick`: from where the last claim ended; `full`: from the start); between
        them everything, which is nothing but a descent when it is empty.
        """
        if full:
            return [Range(pool, queue, LEAST_PRIORITY, GREATEST_PRIORITY, _START)]
        found = []
        low = LEAST_PRIORITY
        for priority, position in sorted(self._queues.get(queue, {0: _Position()}).items()):
            if low < priority:
                found.append(Range(pool, queue, low, priority - 1, _START))
            found.append(Range(pool, queue, priority, priority, position.end if quick else position.seq))
            low = priority + 1
        if low <= GREATEST_PRIORITY:
            found.append(Range(pool, queue, low, GREATEST_PRIORITY, _START))
        return found

    def claimed(self, queue: str, priority: int, seq: int) -> None:
        """Note a claimed job: what is before it at its priority was claimed, is locked, or is not for us."""
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
        """Look from `seq` on again, at every priority of `queue`; 0 looks at everything."""
        for position in self._queues.get(queue, {}).values():
            position.seq, position.settling = min(position.seq, seq), min(position.settling, seq)
            position.fresh, position.end = min(position.fresh, seq), min(position.end, seq)

    def __len__(self) -> int:
        return len(self._queues)

    def keep(self, queues: Collection[str]) -> None:
        """Forget queues that are not among `queues` when there are many; they are looked at from their start again."""
        if len(self._queues) > MOST_QUEUES + len(queues):
            self._queues = {name: self._queues[name] for name in queues if name in self._queues}

    def _of(self, queue: str) -> dict[int, _Position]:
        # Priority 0 is known from the start: jobs of unknown kinds at the default priority are passed too.
        positions = self._queues.get(queue)
        if positions is None:
            positions = self._queues[queue] = {0: _Position()}
        return positions
