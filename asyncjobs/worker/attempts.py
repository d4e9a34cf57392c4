"""One run of one job, from the moment a slot is taken for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from asyncjobs.db.rows import Claimed
from asyncjobs.defining.attempt import Latch
from asyncjobs.harmless import log, shown
from asyncjobs.worker.outcomes import counts_of

if TYPE_CHECKING:
    from asyncjobs.defining.attempt import CancelReason
    from asyncjobs.worker.groups import Group
    from asyncjobs.worker.recorder import AttemptRecorder, StepWriter


logger = logging.getLogger("asyncjobs.worker")


class Slots(Protocol):
    """Where an attempt has its slot."""

    def give_back(self) -> None:
        """Free a slot."""

    async def take_slot(self) -> None:
        """Wait for a slot to go on in."""

    def take_slot_at_once(self) -> None:
        """Go on in a slot, whether one is free or not."""


class Attempt(Latch):
    """A run that is going on: its row, its task, and why it was cancelled if it was."""

    __slots__ = ("_ended", "_holds", "_on_slot", "_waiting", "_waits", "apart", "begun", "cancel_by", "cancel_reason",
                 "cancelled_at", "claimed", "finished", "let_go", "number", "on_stop", "pool", "recorded", "started",
                 "stopping", "stuck", "task", "timer", "was_waiting", "writer")  # fmt: skip

    def __init__(self, claimed: Claimed, pool: Slots, on_slot: Callable[[], None]) -> None:
        super().__init__()
        self.claimed = claimed
        self.pool = pool
        self.number = claimed.attempt
        self.task: asyncio.Task[Any] | None = None
        self.writer: StepWriter | None = None
        self.recorded: AttemptRecorder | None = None
        """Where its steps are recorded; None until it has some."""
        self.begun = False
        self.started = False
        """Whether its time has begun, as far as `timeout` and `expires_in` go."""
        self.finished = False
        """Whether its code has come to its end without having been cancelled before."""
        self.apart: Group | None = None
        """A suspect's: those it shares a process with; None: it is none, or runs in this one."""
        self.stopping = False
        self.on_stop: Callable[[], object] | None = None
        """Called when it is to come to an end of itself, where its code runs elsewhere."""
        self.stuck = False
        """Whether it goes on though its time for cleanup is over."""
        self.cancel_by: Callable[[Attempt, CancelReason], object] = Attempt.cancel
        """Cancels it, and sees to it that it ends."""
        self.cancel_reason: CancelReason | None = None
        self.cancelled_at = 0.0
        """Seconds since 1970, by this machine's clock; 0: it was not."""
        self.let_go = False
        """Whether its lease was not lost as far as is known here, so that it is to be given back."""
        self.timer: asyncio.TimerHandle | None = None
        """Of its timeout, later of its cleanup."""
        self._on_slot = on_slot
        self._holds = True
        self._waits = 0
        self.was_waiting = False
        """Whether it was interrupted since it waited for other jobs."""
        self._waiting: set[asyncio.Task[Any]] = set()
        """The tasks of its code that wait for other jobs."""
        self._ended = False

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each declaration has taken an error of this job."""
        return counts_of(self.claimed)

    @property
    def row(self) -> tuple[UUID, int]:
        """Its id and fence."""
        return self.claimed.id, self.claimed.fence

    @property
    def recorder(self) -> AttemptRecorder:
        """Where its steps are recorded."""
        if self.recorded is None:
            assert self.writer is not None, "set by the performer, in front of all code of the job"
            self.recorded = self.writer.of(self)
        return self.recorded

    def cancel(self, reason: CancelReason) -> bool:
        """Cancel it, once, and return whether it was now; before its first step the reason alone tells it.

        Its task is cancelled, and what waits for other jobs: a thread that waits for one gets to its end by nothing else.
        """
        if self.cancel_reason is not None or self._ended:
            return False
        self.cancel_reason = reason
        self.cancelled_at = time.time()
        self.stopping = True
        if self.begun and self.task is not None:
            self.task.cancel()
        for task in self._waiting:
            if not task.cancelling():
                task.cancel()
        return True

    @property
    def outermost(self) -> Attempt:
        """The run of a worker that this is."""
        return self

    def exit(self, exiting: BaseException) -> None:
        """Have it fail: a task that it has started raised SystemExit or KeyboardInterrupt."""
        late = " has ended, and" if self._ended else ""
        told = "nothing follows from it" if self._ended else "the job fails"
        text = "%s %s%s: a task that it has started raised %s: %s"
        log(logger, logging.ERROR, text, self.claimed.kind, self.claimed.id, late, shown(exiting), told, error=exiting)
        self.end_by(exiting)
        self.cancel_by(self, "exit")

    def stop(self) -> None:
        """Have it come to an end of itself, at its next checkpoint; waiting for other jobs, it is interrupted at once.

        What it waits for may take hours and run anywhere, and is not known to end while this worker lasts.
        """
        self.stopping = True
        if self.on_stop is not None:
            self.on_stop()
        if self._waits:
            self._interrupt_wait()

    def stop_timer(self) -> None:
        """Have nothing more happen after a time."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def give_slot_back(self) -> None:
        """Let another job run while this one waits; what waits beside it has given the slot back for all."""
        self._waits += 1
        if (task := asyncio.current_task()) is not None:
            self._waiting.add(task)
        if self._holds:
            self._free()
        if self.stopping and self.cancel_reason is None:
            self._interrupt_wait()

    def _interrupt_wait(self) -> None:
        self.was_waiting = self.cancel_reason is None
        self.cancel_by(self, "shutdown")

    async def take_slot(self) -> None:
        """Wait for a slot to go on in, once nothing of this run waits any more."""
        self._waits -= 1
        if (task := asyncio.current_task()) is not None:
            self._waiting.discard(task)
        if self._waits or self._ended or self._holds:
            return
        if self.cancel_reason is not None:
            # It is to come to an end, which must not wait for jobs that go on for hours: perhaps those it has waited for.
            self.pool.take_slot_at_once()
            self._holds = True
            return
        try:
            await self.pool.take_slot()
        finally:
            self._holds = True  # cancelled, too: the pool gave one all the same, for the cleanup
            self._free_if_ended()

    def end(self) -> None:
        """Give back what it holds. A task that outlives its job takes no slot from others and adds none."""
        self._ended = True
        self.stop_timer()
        self._free_if_ended()

    def _free_if_ended(self) -> None:
        if self._ended and self._holds:
            self._free()

    def _free(self) -> None:
        self._holds = False
        self.pool.give_back()
        self._on_slot()
