"""The watchdog: it names the code that blocks the event loop, while it blocks.

The loop sets a pulse by a timer; a thread looks at the pulse and, when that is late, at the code that the loop runs. The
thread is not the keeper's: to log, it may have to wait for the lock of a log handler, held by the very code that blocks the
loop, and the lease must not wait for that.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType
from typing import Any

from asyncjobs.metrics.counting import Histogram
from asyncjobs.performing import running_job
from asyncjobs.performing.attempt import Attempt
from asyncjobs.worker.job_log import Ration
from asyncjobs.worker.watching.blocked_time import BlockedTime, clock_of_this_thread
from asyncjobs.worker.watching.blocks import Block, Blocks, Culprit, Turn
from asyncjobs.worker.watching.stacks import Place, frames_of, place_of

logger = logging.getLogger("asyncjobs.worker")

LOOKS = 4
"""Looks, and pulses, within the time of `loop_warning`: a block is logged at most one such interval late."""
PULSE = 0.2
"""Stands for `loop_warning` where nothing is logged."""
SHORTEST = 0.01
"""Seconds between two looks, at least: each takes the interpreter from the loop for some 50 µs."""


class Watchdog:
    """Watches the loop that it is made on.

    Args:
        warning: Seconds without a pulse after which a block is logged, and again each time they have doubled. 0: never.
        pulses: Whether there is to be a pulse even if nothing is logged, for `blocked_for`.
        attempt_of: Returns the attempt that a task runs; called from a thread.
    """

    def __init__(
        self,
        warning: float,
        attempt_of: Callable[[asyncio.Task[Any]], Attempt | None],
        *,
        pulses: bool = False,
    ) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._clock = clock_of_this_thread()
        self._warning = warning
        self._pulses = pulses
        self.lags: Histogram | None = None
        """Told by how much each pulse is late; None: nobody asks."""
        self._interval = max((warning or PULSE) / LOOKS, SHORTEST)
        self._attempt_of = attempt_of
        self._blocked_time = BlockedTime(self._interval)
        self._ration = Ration("blocks")
        self._counts: dict[str, Blocks] = {}
        self._longest_lag = 0.0
        # Set in the loop:
        self._pulse = self._resumed = self._gap = 0.0
        self._timer: asyncio.Handle | None = None
        self._base: CodeType | None = None
        # Used by the thread alone:
        self._turn: Turn | None = None
        self._known = 0.0
        """The end of the last block that the thread has seen."""

    def blocks(self) -> dict[str, Blocks]:
        """Return the blocks by kind, without kinds that have none; from any thread."""
        return dict(self._counts)

    def longest_lag(self) -> float | None:
        """Return by how many seconds a pulse was late at most since the last call; None: there is none. From any thread."""
        if self._timer is None:
            return None
        longest, self._longest_lag = self._longest_lag, 0.0
        return max(longest, self.blocked_for() - self._interval)

    async def run(self) -> None:
        """Watch until cancelled."""
        if not self._warning and not self._pulses:
            return
        self._pulse = time.monotonic()
        over = threading.Event()
        self._timer = self._loop.call_soon(self._beat)
        if self._warning:
            threading.Thread(target=self._look_on, args=[over], name="asyncjobs watchdog", daemon=True).start()
        try:
            await self._loop.create_future()
        finally:
            over.set()
            self._timer.cancel()
            self._timer = None

    def blocked_for(self) -> float:
        """Return the seconds since the last pulse, 0 where there is none; from any thread."""
        return 0.0 if self._timer is None else max(time.monotonic() - self._pulse, 0.0)

    def what_blocks(self) -> str:
        """Return what the loop runs now, with its line; empty while it waits for events. From any thread."""
        task = asyncio.current_task(self._loop)
        frames = frames_of(self._thread, task, self._base)
        return f"{self._culprit(task).name}, at {place_of(frames)}" if frames else ""

    def _beat(self) -> None:
        """Set the pulse; the first one after a block is its end."""
        now = time.monotonic()
        if now - self._pulse >= self._warning:
            self._gap, self._resumed = now - self._pulse, now
        lag = max(now - self._pulse - self._interval, 0.0)
        self._longest_lag = max(self._longest_lag, lag)
        if self.lags is not None:
            self.lags.observe(lag)
        self._pulse = now
        self._timer = self._loop.call_later(self._interval, self._beat)
        if self._base is None and (caller := sys._getframe().f_back) is not None:
            self._base = caller.f_code

    # In the thread

    def _look_on(self, over: threading.Event) -> None:
        try:
            self._blocked_time.begin(time.monotonic(), self._clock())
            while not over.wait(self._interval):
                self._look()
        except Exception:
            logger.exception("the watchdog ended: jobs that block the event loop are not logged any more")

    def _look(self) -> None:
        pulse = self._pulse
        owed = self._blocked_time.owed(time.monotonic(), pulse, self._clock())
        if self._turn is not None and self._turn.pulse != pulse:
            self._end_turn(self._turn)
            self._turn = None
        elif self._resumed != self._known and self._blocked_time.busy >= self._warning:
            self._tell_of_gap(min(self._gap, self._blocked_time.busy))
        self._known = self._resumed
        if owed <= self._interval:
            return
        task = asyncio.current_task(self._loop)
        turn = self._turn = self._turn or Turn(pulse, self._warning)
        block = turn.block
        if block is None or block.task is not task:
            if block is not None:
                self._end_block(block, turn.owed)
            # It began after the last look. To count from that look adds at most one interval, and is exact for a single call
            # that kept this thread from looking.
            block = turn.block = Block(task, turn.owed, self._warning)
        turn.owed, turn.excused = owed, self._blocked_time.excused
        lasts = owed - block.begun
        if lasts < block.tell_at and (turn.has_blocks or owed < turn.tell_at):
            return
        frames = frames_of(self._thread, task, self._base)
        culprit = self._culprit(task)
        if not frames or self._pulse != pulse or asyncio.current_task(self._loop) is not task:
            return  # the loop waits for events, or has gone on meanwhile
        if lasts >= block.tell_at:
            self._tell_of_block(turn, culprit, lasts, place_of(frames))
        else:
            self._tell_of_turn(turn, place_of(frames))

    def _tell_of_block(self, turn: Turn, culprit: Culprit, lasts: float, place: Place) -> None:
        block = turn.block
        assert block is not None
        while block.tell_at <= lasts:
            block.tell_at *= 2
        block.place = str(place)
        self._count(culprit.kind, lasts, block.place, is_new=block.culprit is None)
        if block.culprit is None:
            block.culprit, block.told = culprit, self._ration.may(culprit.kind or "")
            turn.has_blocks = True
        if block.told:
            text = "%s has blocked the event loop for %.2f s and goes on, at %s"
            _log(culprit, lasts, place, text, culprit.name, lasts, place)

    def _tell_of_turn(self, turn: Turn, place: Place) -> None:
        while turn.tell_at <= turn.owed:
            turn.tell_at *= 2
        turn.told = turn.told or self._ration.may("")
        if turn.told:
            text = "the event loop has been blocked for %.2f s, by many tasks that took a little each; now it is at %s"
            _log(None, turn.owed, place, text, turn.owed, place)

    def _tell_of_gap(self, lasted: float) -> None:
        """Log a block that ended before this thread could run and see its cause."""
        if self._ration.may(""):
            text = "the event loop was blocked for %.2f s: one call let no other thread run, so its line is not known"
            _log(None, lasted, None, text, lasted)

    def _end_block(self, block: Block, owed: float) -> None:
        culprit, lasted = block.culprit, max(owed - block.begun, 0.0)
        if culprit is not None:
            self._count(culprit.kind, lasted, block.place, is_new=False)
            if block.told:
                _log(culprit, lasted, None, "%s blocked the event loop for %.2f s", culprit.name, lasted)

    def _end_turn(self, turn: Turn) -> None:
        lasted = max(self._resumed - turn.pulse - turn.excused, 0.0)
        if turn.block is not None:
            self._end_block(turn.block, lasted)
        if turn.told:
            _log(None, lasted, None, "the event loop was blocked for %.2f s", lasted)

    def _count(self, kind: str | None, lasted: float, place: str, *, is_new: bool) -> None:
        if kind is not None:
            known, lasted = self._counts.get(kind, Blocks(0, 0.0)), round(lasted, 3)
            longest = known if known.longest >= lasted else Blocks(0, lasted, place)
            self._counts[kind] = longest._replace(times=known.times + is_new)

    def _culprit(self, task: asyncio.Task[Any] | None) -> Culprit:
        if task is None:
            return Culprit("a callback (of no task)", None, None)
        attempt = self._attempt_of(task)
        if attempt is not None:
            return _of_job(attempt.claimed.kind, attempt.claimed.id)
        # A task that a job has started; before Python 3.12 a task does not give its context.
        get_context = getattr(task, "get_context", None)
        job = get_context().get(running_job.running) if get_context is not None else None
        return (
            Culprit(f"{task.get_name()} (no job's own task)", None, None) if job is None else _of_job(job.kind, job.id)
        )


def _of_job(kind: str, job_id: object) -> Culprit:
    return Culprit(f"{kind} {job_id}", kind, str(job_id))


def _log(culprit: Culprit | None, lasted: float, place: Place | None, text: str, *values: object) -> None:
    """Log a warning with the stack of the loop's thread, where the logging module would put this thread's."""
    if not logger.isEnabledFor(logging.WARNING):
        return
    extra: dict[str, object] = {"blocked_s": round(lasted, 3)}
    if culprit is not None and culprit.kind is not None:
        extra.update(job_kind=culprit.kind, job_id=culprit.job_id)
    if place is not None:
        extra.update(file=place.path, line=place.line)
    stack = None if place is None else "What it is doing (most recent call last):\n" + place.stack
    level = logging.WARNING
    logger.handle(logger.makeRecord(logger.name, level, __file__, 0, text, values, None, None, extra, stack))
