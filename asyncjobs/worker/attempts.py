"""One run of one job, from the moment a slot is taken for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from asyncjobs.db.rows import Claimed

if TYPE_CHECKING:
    from asyncjobs.defining.base import CancelReason
    from asyncjobs.worker.pools import Pool


class Attempt:
    """A run that is going on: its row, its task, and why it was cancelled if it was."""

    __slots__ = ("_on_slot", "begun", "cancel_reason", "claimed", "number", "pool", "slots", "stopping", "task")

    def __init__(self, claimed: Claimed, pool: Pool, on_slot: Callable[[], None]) -> None:
        self.claimed = claimed
        self.pool = pool
        self.number = claimed.attempt
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        self.stopping = False
        self.cancel_reason: CancelReason | None = None
        self.slots = 1
        """1 while it holds its slot. Several awaits of one job share one giving back."""
        self._on_slot = on_slot

    def cancel(self, reason: CancelReason) -> None:
        """Cancel its task, once; before its first step it is told by the reason alone, since no code would see it."""
        if self.cancel_reason is None:
            self.cancel_reason = reason
            self.stopping = True
            if self.begun and self.task is not None:
                self.task.cancel()

    def give_slot_back(self) -> None:
        """Let another job run while this one waits."""
        self.slots -= 1
        if self.slots == 0:
            self.pool.give_back()
            self._on_slot()

    async def take_slot(self) -> None:
        """Wait for a slot to go on in."""
        self.slots += 1
        if self.slots == 1:
            await self.pool.take_slot()
