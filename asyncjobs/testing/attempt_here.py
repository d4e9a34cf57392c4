"""`AttemptHere`: an attempt in the test's own process, and its slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncjobs.performing.attempt import Attempt
from asyncjobs.records.claimed import Claimed


class AttemptHere(Attempt):
    """An attempt that a test can make see its worker stopping."""

    _stopping = False

    def __init__(self, claimed: Claimed, slots: Slots, is_to_stop: Callable[[AttemptHere], bool]) -> None:
        super().__init__(claimed, slots)
        self.is_to_stop = is_to_stop

    @property
    def stopping(self) -> bool:
        """Whether the attempt should come to an end."""
        return self._stopping or self.is_to_stop(self)

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self._stopping = stopping


class Slots:
    """The slots of a test: one, for the job that is performed."""

    def __init__(self) -> None:
        self.free = 1
        self.moved = asyncio.Event()

    def give_back(self) -> None:
        """Free the slot."""
        self.free += 1
        self.moved.set()

    async def take_slot(self) -> None:
        """Take a slot, without waiting for a free one: a job whose wait is over goes on at once."""
        self.free -= 1

    def take_slot_at_once(self) -> None:
        """Take a slot."""
        self.free -= 1
