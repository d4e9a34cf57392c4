"""Groups of suspects, each in a process: as few to a group as there are processes for, and half as many after its death.

After a second crash nobody knows yet which of those that ran in the process did it. A process for each of a thousand would
take some 7 GiB, or they would wait for each other's turn; all in one, ten deaths would pass until a bomb is alone, each as
late as it goes off. So those that come together have a process each where there are enough, and else half of the free ones
are shared out among them. The other half is for what comes next: of 1,000 suspects 32 run in each of 32 processes, and when
a bomb has ended one of these, each of its 32 has one to itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asyncjobs.records.claimed import Claimed

if TYPE_CHECKING:
    from asyncjobs.worker.job_processes.shared import Shared

MOST_APART = 64
"""Processes with suspects at once, and a few more when groups are split: memory that each writes to is its own."""


class Group:
    """Suspects that share a process.

    Args:
        most: How many, at most.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.placed = 0
        """How many have got a place here, ever."""
        self.process: Shared | None = None
        """Where they run; None while none does."""


class Groups:
    """Says with which others each suspect of a worker shares a process."""

    def __init__(self) -> None:
        self._running: Counter[Group] = Counter()
        self._filling: Group | None = None
        self._size = 1

    @property
    def running(self) -> int:
        """How many have a process."""
        return len(self._running)

    def free(self, waiting: int = 0) -> int:
        """Return how many more processes may be had, when so many suspects have come that wait for their start."""
        return MOST_APART - self.running - -(-waiting // self._size)

    def has_room(self, waiting: int) -> bool:
        """Whether more suspects may come, when so many have come that wait for their start."""
        return self.free(waiting) > 0 or (self._filling is not None and not waiting)

    def plan(self, suspects: Sequence[Claimed]) -> list[Claimed]:
        """Share out the free processes among suspects that have come together; return these in the order of their start."""
        free = self.free()
        # Those of one dead process may come one by one: a process for each would leave none for the last of them.
        count = max([len(suspects), *(2 * suspect.together + 1 for suspect in suspects if suspect.together)])
        self._size = 1 if count <= free else -(-count // max(free // 2, 1))
        # Those that may be with few others first: among many they would leave their groups half empty.
        return sorted(suspects, key=lambda suspect: suspect.together or self._size)

    def join(self, suspect: Claimed, *, alone: bool = False) -> Group:
        """Return the group of a suspect that starts now.

        Args:
            suspect: Its row.
            alone: Whether its kind asks for a process of its own.
        """
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
        """Take note that the run of one of a group has ended."""
        self._running[group] -= 1
        if not self._running[group]:
            del self._running[group]
            self._filling = None if self._filling is group else self._filling
