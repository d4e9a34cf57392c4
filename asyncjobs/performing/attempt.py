"""One attempt of one job, from the moment a slot is taken for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from uuid import UUID

from asyncjobs.checks.foreign_texts import log, shown
from asyncjobs.exceptions import InvalidStep
from asyncjobs.failing.control_exceptions import Parked
from asyncjobs.records.claimed import Claimed
from asyncjobs.values import codec

if TYPE_CHECKING:
    from asyncjobs.records.step_records import Recorder

logger = logging.getLogger("asyncjobs.worker")

E = TypeVar("E", bound=BaseException)

CancelReason = Literal["user", "timeout", "shutdown", "lease_lost", "exit"]
"""`exit`: a task that the job started raised SystemExit or KeyboardInterrupt."""


class Latch:
    """The error that ends a run, kept from the moment it is raised.

    A job's code may catch it (`except BaseException`, `finally: return`, `gather(…, return_exceptions=True)`, a library that
    does so). The run ends by it all the same: it is raised again where the next step begins, where a step is recorded, and
    where the attempt ends.
    """

    ended_by: BaseException | None = None

    def end_by(self, error: E) -> E:
        """Have the run end by an error, and return the error, to be raised; the first one counts."""
        if self.ended_by is None:
            self.ended_by = error
        return error

    def end_of(self, error: BaseException | None) -> BaseException | None:
        """Return the error that the run ends with; `error` is what its code raised, None if it returned."""
        ended = self.ended_by
        if not isinstance(ended, Parked):
            return error if ended is None else ended
        # Code that went on in place of a sleep would do so at every attempt: the job fails instead of sleeping.
        return error or InvalidStep(
            f"{ended.kind}: its code caught the signal that ends the run at {ended.step!r}, a sleep or a wait, and went on: "
            "catch Exception around it, not BaseException, and return from no `finally`"
        )


class Slots(Protocol):
    """The slots of a pool, as an attempt uses them."""

    def give_back(self) -> None:
        """Free a slot."""

    async def take_slot(self) -> None:
        """Wait for a free slot."""

    def take_slot_at_once(self) -> None:
        """Take a slot, whether one is free or not."""


class Places(Protocol):
    """The places that an attempt holds under limits of its job."""

    def leave(self) -> None:
        """Give the places back while the attempt waits for other jobs."""

    async def come_back(self) -> None:
        """Wait until the attempt has its places again."""

    def stay_away(self) -> None:
        """Have the attempt end without its places."""


class Shows(Protocol):
    """What takes the progress and the stream of one attempt."""

    def show(self, done: float, total: float | None, note: str) -> None:
        """Show progress; from any thread."""

    async def send(self, text: str) -> None:
        """Take an item of the stream, as JSON."""

    async def settled(self) -> None:
        """Wait until everything is durable; raise the error of an item that the database refuses."""

    def close(self) -> None:
        """Take nothing more: the attempt has ended."""


class ShowsOf(Protocol):
    """The maker of what takes the progress and the stream of attempts."""

    loop: asyncio.AbstractEventLoop

    def of(self, attempt: Attempt) -> Shows:
        """Return that of one attempt; from any thread."""


class Recorders(Protocol):
    """The maker of recorders for the steps of attempts."""

    def of(self, attempt: Attempt) -> Recorder:
        """Return the recorder of one attempt."""


class Attempt(Latch):
    """A running attempt: its row, its task, and why it was cancelled if it was.

    Initial values are class attributes: a worker makes some ten thousand attempts a second.

    Args:
        on_slot: Called when the attempt has given its slot back.
    """

    task: asyncio.Task[Any] | None = None
    """The task that runs it; None before it has begun, and when it has ended."""
    started = False
    """Whether its time has begun, for `timeout` and `expires_in`."""
    finished = False
    """Whether its code came to its end before any cancellation."""
    timer: asyncio.TimerHandle | None = None
    """The timer of its timeout, later of its cleanup."""

    cancel_reason: CancelReason | None = None
    cancelled_at = 0.0
    """Seconds since 1970, by this machine's clock; 0: it was not cancelled."""
    cancel_by: Callable[[Attempt, CancelReason], object] | None = None
    """Cancels the attempt, and makes sure that it ends; None: `cancel` does."""
    stopping = False
    """Whether its code should come to an end."""
    on_stop: Callable[[], object] | None = None
    """Called when its code should come to an end, for code that runs in another process."""
    stuck = False
    """Whether it still runs after its time for cleanup."""
    let_go = False
    """Whether its job is to be given back: its lease is not known to be lost."""

    following: list[Any] | None = None
    """Jobs and chains to enqueue together with its success."""
    then: str | None = None
    """The same, as it is sent to the database."""

    recorders: Recorders | None = None
    recorded: Recorder | None = None
    """The recorder of its steps; None until it has some."""

    shows: ShowsOf | None = None
    """Makes what takes its progress and its stream; None: `perform_now` runs it in a program, and nothing does."""
    shown: Shows | None = None
    """What takes its progress and its stream; None until it has shown something."""
    warned_of_progress = False
    """Whether it was logged that its code has shown progress that is no number."""

    places: Places | None = None
    """Its places under limits; None: its job has no limits."""
    was_waiting = False
    """Whether it was interrupted because it waited for other jobs."""
    _holds = True
    _waits = 0
    _waiting: set[asyncio.Task[Any]] | None = None
    """The tasks of its code that wait for other jobs; None: none has waited yet."""
    _ended = False

    def __init__(self, claimed: Claimed, slots: Slots, on_slot: Callable[[], object] = lambda: None) -> None:
        self.claimed = claimed
        self._slots = slots
        self._on_slot = on_slot

    @property
    def number(self) -> int:
        """The number of the attempt, from 1."""
        return self.claimed.attempt

    @property
    def counts(self) -> dict[str, int]:
        """How often each declaration has handled an error of this job; counts that are no valid JSON are ignored."""
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
        """Id and fence of the job that a worker runs; None: `perform_now` runs it in a program."""
        return self.claimed.id, self.claimed.fence

    @property
    def recorder(self) -> Recorder:
        """The recorder of its steps."""
        if self.recorded is None:
            assert self.recorders is not None, "set before any code of the job runs"
            self.recorded = self.recorders.of(self)
        return self.recorded

    @property
    def showing(self) -> Attempt | None:
        """The attempt that shows what the code of this one shows; None: nothing does."""
        return self if self.shows is not None else None

    @property
    def outermost(self) -> Attempt | None:
        """The worker's attempt: this one, or the one inside which it runs; None: `perform_now` runs it in a program."""
        return self

    @property
    def seen_reason(self) -> CancelReason | None:
        """Why this attempt, or one around it, was cancelled; None: it was not."""
        return self.cancel_reason

    @property
    def has_ended(self) -> bool:
        """Whether it has given back its slot; a task that it has left may go on."""
        return self._ended

    @property
    def is_over(self) -> bool:
        """Whether the run was told to end, even if its code goes on."""
        return self.ended_by is not None or self.cancel_reason is not None

    # Ending

    def end_by(self, error: E) -> E:
        """Have the run end by an error, but for one that its code raises when its worker stops: that belongs to the stop."""
        return error if self.cancel_reason == "shutdown" else super().end_by(error)

    def cancel(self, reason: CancelReason) -> bool:
        """Cancel the attempt, once, and return whether this call did; before its task begins only the reason is noted.

        The tasks that wait for other jobs are cancelled too: nothing else ends the wait of a thread.
        """
        if self.cancel_reason is not None or self._ended:
            return False
        self.cancel_reason = reason
        self.cancelled_at = time.time()
        self.stopping = True
        if self.task is not None:
            self.task.cancel()
        for task in self._waiting or ():
            if not task.cancelling():
                task.cancel()
        return True

    def cancel_well(self, reason: CancelReason) -> None:
        """Cancel the attempt through `cancel_by`, which makes sure that it ends."""
        if self.cancel_by is None:
            self.cancel(reason)
        else:
            self.cancel_by(self, reason)

    def uncancel(self) -> None:
        """Take back the cancellation by its timeout: hooks after its code run on, with limits of their own."""
        if self.cancel_reason == "timeout" and self.task is not None:
            self.task.uncancel()

    def let_out(self, error: BaseException) -> None:
        """Raise an error that belongs to the caller of the attempt; a worker's attempt has no such errors."""

    def exit(self, exiting: BaseException) -> None:
        """Have the attempt fail: a task that it started raised SystemExit or KeyboardInterrupt."""
        late = " has ended, and" if self._ended else ""
        told = "the error is only logged" if self._ended else "the job fails"
        text = "%s %s%s: a task that it started raised %s: %s"
        log(logger, logging.ERROR, text, self.claimed.kind, self.claimed.id, late, shown(exiting), told, error=exiting)
        self.end_by(exiting)
        self.cancel_well("exit")

    def stop(self) -> None:
        """Have the attempt end at its next checkpoint; while it waits for other jobs, interrupt it at once.

        The jobs that it waits for may take hours and run anywhere, so they may not end before this worker does.
        """
        self.stopping = True
        if self.on_stop is not None:
            self.on_stop()
        if self._waits:
            self._interrupt_wait()

    def stop_timer(self) -> None:
        """Cancel the timer of its timeout or cleanup."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def end(self) -> None:
        """Give back its slot. A task that outlives its job then takes no slot from others and adds none."""
        self._ended = True
        # The task's context holds the job, and so this attempt: left in a cycle, ten objects a job wait for the garbage
        # collector, whose runs then take 4 of 53 µs a job.
        self.task = None
        if self.shown is not None:
            self.shown.close()
        if self.timer is not None:
            self.stop_timer()
        if self._holds:
            self._free()

    # The slot

    def give_slot_back(self) -> None:
        """Let another job run while this one waits; of several waits at once the first gives the slot back."""
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
        """Wait for a slot, once nothing in this attempt waits any more."""
        self._waits -= 1
        if (task := asyncio.current_task()) is not None and self._waiting:
            self._waiting.discard(task)
        if self._waits or self._ended or self._holds:
            return
        if self.cancel_reason is not None:
            # Cleanup must not wait for a slot that other jobs hold for hours, perhaps the jobs that this one waited for.
            if self.places is not None:
                self.places.stay_away()
            self._slots.take_slot_at_once()
            self._holds = True
            return
        if self.places is not None:
            # Places come before the slot: holding a slot, it would keep jobs from running that hold its places.
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
            self._holds = True  # also when cancelled: the pool then gives a slot for the cleanup
            self._free_if_ended()

    def _free_if_ended(self) -> None:
        if self._ended:
            self._free()

    def _free(self) -> None:
        self._holds = False
        self._slots.give_back()
        self._on_slot()
