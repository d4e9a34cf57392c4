"""Groups of suspects that share a process: as small as the number of processes allows, and halved after each crash.

After a second crash it is not known which of the jobs in the process was the cause. A process for each of 1,000 suspects
would take some 7 GiB, or they would run one after the other. With all in one process, ten crashes would pass until the cause
is alone. So each suspect gets a process of its own while there are enough, and else half of the free processes are shared
out among them. The other half is for the next crash: of 1,000 suspects, 32 run in each of 32 processes; and when one of
these has crashed, each of its 32 gets a process of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asyncjobs.records.claimed import Claimed

if TYPE_CHECKING:
    from asyncjobs.worker.job_processes.shared_process import Shared

MOST_APART = 64
"""Processes with suspects at once, and a few more when groups are split: each needs memory of its own."""


class Group:
    """Suspects that share a process.

    Args:
        most: Suspects in the group, at most.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.placed = 0
        """Suspects that have ever joined the group."""
        self.process: Shared | None = None
        """The process of the group; None while no suspect runs."""


class Groups:
    """Assigns the suspects of a worker to groups."""

    def __init__(self) -> None:
        self._running: Counter[Group] = Counter()
        self._filling: Group | None = None
        self._size = 1

    @property
    def running(self) -> int:
        """Groups that have a process."""
        return len(self._running)

    def free(self, waiting: int = 0) -> int:
        """Return how many more processes may be made when so many suspects are waiting to start."""
        return MOST_APART - self.running - -(-waiting // self._size)

    def has_room(self, waiting: int) -> bool:
        """Whether more suspects may be claimed when so many are waiting to start."""
        return self.free(waiting) > 0 or (self._filling is not None and not waiting)

    def plan(self, suspects: Sequence[Claimed]) -> list[Claimed]:
        """Share out the free processes among suspects of one claim; return the suspects in the order of their start."""
        free = self.free()
        # The suspects of one dead process may be claimed one by one: a process for each would leave none for the last.
        count = max([len(suspects), *(2 * suspect.together + 1 for suspect in suspects if suspect.together)])
        self._size = 1 if count <= free else -(-count // max(free // 2, 1))
        # First the suspects whose groups must be small: among others they would leave groups half empty.
        return sorted(suspects, key=lambda suspect: suspect.together or self._size)

    def join(self, suspect: Claimed, *, alone: bool = False) -> Group:
        """Return the group of a suspect that starts now; `alone`: its kind demands a process of its own."""
        most = 1 if alone else min(suspect.together or self._size, self._size)
        group = self._filling
        if group is None or group.placed >= min(group.most, most):
            group = Group(most)
        group.most = min(group.most, most)
        group.placed += 1
        self._filling = group if group.placed < group.most else None
        self._running[group] += 1
        return group

    def leave(self, group: Group) -> None:
        """Note that the attempt of a suspect of a group has ended."""
        self._running[group] -= 1
        if not self._running[group]:
            del self._running[group]
            self._filling = None if self._filling is group else self._filling
