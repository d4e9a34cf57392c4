"""One run of one job, from the moment a slot is taken for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from uuid import UUID

from asyncjobs.checks.foreign_texts import log, shown
from asyncjobs.exceptions import InvalidStep
from asyncjobs.failing.signals import Parked
from asyncjobs.records.claimed import Claimed
from asyncjobs.values import codec

if TYPE_CHECKING:
    from asyncjobs.records.step_records import Recorder

logger = logging.getLogger("asyncjobs.worker")

E = TypeVar("E", bound=BaseException)

CancelReason = Literal["user", "timeout", "shutdown", "lease_lost", "exit"]
"""`exit`: a task that the job has started raised SystemExit or KeyboardInterrupt."""


class Latch:
    """What has ended a run, kept from the moment it is raised.

    A job's code may catch it (`except BaseException`, `finally: return`, `gather(…, return_exceptions=True)`, a library that
    does so). The run ends by it all the same: it is asked for where the next step begins, where a step is recorded, and
    where the attempt ends.
    """

    ended_by: BaseException | None = None

    def end_by(self, error: E) -> E:
        """Have the run end by an error, and return that, to be raised; the first one counts."""
        if self.ended_by is None:
            self.ended_by = error
        return error

    def end_of(self, error: BaseException | None) -> BaseException | None:
        """Return what the run has ended with.

        Args:
            error: What its code has raised; None: it has returned.
        """
        ended = self.ended_by
        if not isinstance(ended, Parked):
            return error if ended is None else ended
        # What the code did in place of a sleep must not be done again and again: it is told, and does not sleep.
        return error or InvalidStep(
            f"{ended.kind}: its code has caught what ends the run at {ended.step!r}, a sleep or a wait, and has gone on: "
            "catch Exception around it, not BaseException, and return from no `finally`"
        )


class Slots(Protocol):
    """Where an attempt has its slot."""

    def give_back(self) -> None:
        """Free a slot."""

    async def take_slot(self) -> None:
        """Wait for a slot to go on in."""

    def take_slot_at_once(self) -> None:
        """Go on in a slot, whether one is free or not."""


class Places(Protocol):
    """What an attempt holds under limits of its job."""

    def leave(self) -> None:
        """Give it back while the attempt waits for other jobs."""

    async def come_back(self) -> None:
        """Wait until it has that again."""

    def stay_away(self) -> None:
        """Have it come to its end without."""


class Recorders(Protocol):
    """Where the steps of attempts are recorded."""

    def of(self, attempt: Attempt) -> Recorder:
        """Return where those of one attempt are."""


class Attempt(Latch):
    """A run that is going on: its row, its task, and why it was cancelled if it was.

    What it begins with stands on the class: a worker makes some ten thousand of these a second.

    Args:
        claimed: Its row.
        slots: Where it has its slot.
        on_slot: Called when it has given that back.
    """

    task: asyncio.Task[Any] | None = None
    begun = False
    started = False
    """Whether its time has begun, as far as `timeout` and `expires_in` go."""
    finished = False
    """Whether its code has come to its end without having been cancelled before."""
    timer: asyncio.TimerHandle | None = None
    """Of its timeout, later of its cleanup."""

    cancel_reason: CancelReason | None = None
    cancelled_at = 0.0
    """Seconds since 1970, by this machine's clock; 0: it was not."""
    cancel_by: Callable[[Attempt, CancelReason], object] | None = None
    """Cancels it, and sees to it that it ends; None: `cancel` does."""
    stopping = False
    """Whether its code should come to an end."""
    on_stop: Callable[[], object] | None = None
    """Called when it is to come to an end of itself, where its code runs elsewhere."""
    stuck = False
    """Whether it goes on though its time for cleanup is over."""
    let_go = False
    """Whether its lease was not lost as far as is known here, so that it is to be given back."""

    following: list[Any] | None = None
    """What is to be enqueued together with its success."""
    then: str | None = None
    """The same, as it is sent."""

    recorders: Recorders | None = None
    recorded: Recorder | None = None
    """Where its steps are recorded; None until it has some."""

    places: Places | None = None
    """What it holds under limits; None: nothing."""
    was_waiting = False
    """Whether it was interrupted since it waited for other jobs."""
    _holds = True
    _waits = 0
    _waiting: set[asyncio.Task[Any]] | None = None
    """The tasks of its code that wait for other jobs; None: none ever did."""
    _ended = False

    def __init__(self, claimed: Claimed, slots: Slots, on_slot: Callable[[], object] = lambda: None) -> None:
        self.claimed = claimed
        self._slots = slots
        self._on_slot = on_slot

    @property
    def number(self) -> int:
        """From 1."""
        return self.claimed.attempt

    @property
    def counts(self) -> dict[str, int]:
        """How often each declaration has taken an error of this job; what somebody wrote by hand counts for nothing."""
        if self.claimed.counts is None:
            return {}
        try:
            stored = codec.loads(self.claimed.counts)
        except ValueError:
            return {}
        items = stored.items() if isinstance(stored, dict) else ()
        return {key: value for key, value in items if type(value) is int}

    @property
    def row(self) -> tuple[UUID, int] | None:
        """Id and fence of the job that a worker runs here; None: none does, this is `perform_now` in a program."""
        return self.claimed.id, self.claimed.fence

    @property
    def recorder(self) -> Recorder:
        """Where its steps are recorded."""
        if self.recorded is None:
            assert self.recorders is not None, "set before any code of the job runs"
            self.recorded = self.recorders.of(self)
        return self.recorded

    @property
    def outermost(self) -> Attempt | None:
        """The run of a worker that this is, or inside which it is; None: it is `perform_now` in a program."""
        return self

    @property
    def seen_reason(self) -> CancelReason | None:
        """Why it was cancelled, or a run around it."""
        return self.cancel_reason

    @property
    def is_over(self) -> bool:
        """Whether it was told to end, whatever its code makes of that."""
        return self.ended_by is not None or self.cancel_reason is not None

    # Ending

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
        for task in self._waiting or ():
            if not task.cancelling():
                task.cancel()
        return True

    def cancel_well(self, reason: CancelReason) -> None:
        """Cancel it by who sees to it that it ends."""
        if self.cancel_by is None:
            self.cancel(reason)
        else:
            self.cancel_by(self, reason)

    def uncancel(self) -> None:
        """Take back the cancellation by its timeout: what follows its code is not cancelled, and has limits of its own."""
        if self.cancel_reason == "timeout" and self.task is not None:
            self.task.uncancel()

    def let_out(self, error: BaseException) -> None:
        """Raise an error of its code that is not for this run to end by; of a worker's run there is none."""

    def exit(self, exiting: BaseException) -> None:
        """Have it fail: a task that it has started raised SystemExit or KeyboardInterrupt."""
        late = " has ended, and" if self._ended else ""
        told = "nothing follows from it" if self._ended else "the job fails"
        text = "%s %s%s: a task that it has started raised %s: %s"
        log(logger, logging.ERROR, text, self.claimed.kind, self.claimed.id, late, shown(exiting), told, error=exiting)
        self.end_by(exiting)
        self.cancel_well("exit")

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

    def end(self) -> None:
        """Give back what it holds. A task that outlives its job takes no slot from others and adds none."""
        self._ended = True
        if self.timer is not None:
            self.stop_timer()
        if self._holds:
            self._free()

    # Its slot

    def give_slot_back(self) -> None:
        """Let another job run while this one waits; what waits beside it has given the slot back for all."""
        self._waits += 1
        if (task := asyncio.current_task()) is not None:
            self._waiting = self._waiting or set()
            self._waiting.add(task)
        if self._holds:
            self._free()
            if self.places is not None:
                self.places.leave()
        if self.stopping and self.cancel_reason is None:
            self._interrupt_wait()

    def _interrupt_wait(self) -> None:
        self.was_waiting = self.cancel_reason is None
        self.cancel_well("shutdown")

    async def take_slot(self) -> None:
        """Wait for a slot to go on in, once nothing of this run waits any more."""
        self._waits -= 1
        if (task := asyncio.current_task()) is not None and self._waiting:
            self._waiting.discard(task)
        if self._waits or self._ended or self._holds:
            return
        if self.cancel_reason is not None:
            # It is to come to an end, which must not wait for jobs that go on for hours: perhaps those it has waited for.
            if self.places is not None:
                self.places.stay_away()
            self._slots.take_slot_at_once()
            self._holds = True
            return
        if self.places is not None:
            # Before the slot: in it, it would keep those from running that have its places.
            try:
                await self.places.come_back()
            except BaseException:
                self._slots.take_slot_at_once()
                self._holds = True
                self._free_if_ended()
                raise
        try:
            await self._slots.take_slot()
        finally:
            self._holds = True  # cancelled, too: the pool gave one all the same, for the cleanup
            self._free_if_ended()

    def _free_if_ended(self) -> None:
        if self._ended:
            self._free()

    def _free(self) -> None:
        self._holds = False
        self._slots.give_back()
        self._on_slot()
