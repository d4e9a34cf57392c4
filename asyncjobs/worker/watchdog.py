"""The watchdog names what blocks the event loop, while it blocks.

The loop sets a pulse by a timer; a thread looks at it, and when the pulse is late, at what runs in the loop. The thread is
the watchdog's own and not the keeper's: what it logs may have to wait for the lock of a log handler that is just what blocks
the loop, and the lease must not wait with it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

from asyncjobs.defining import context
from asyncjobs.worker.attempts import Attempt
from asyncjobs.worker.patience import Patience
from asyncjobs.worker.places import Place, place_of
from asyncjobs.worker.telling import Ration

logger = logging.getLogger("asyncjobs.worker")

LOOKS = 4
"""Looks, and pulses, in the time after which a block is told of: that much more it may have lasted by then."""
SHORTEST = 0.01
"""Seconds between two looks, at least: each takes the interpreter from the loop for some 50 µs."""


class Blocks(NamedTuple):
    """How often a kind has blocked the loop, and for how many seconds the longest time."""

    times: int
    longest: float


class Culprit(NamedTuple):
    """What runs in the loop."""

    name: str
    """As log lines begin."""
    kind: str | None
    """None: it is no job, or nobody can tell which."""
    job_id: str | None


class Block:
    """A turn of the loop that takes too long."""

    def __init__(self, begun: float, warning: float) -> None:
        self.begun = begun
        """The last pulse before it."""
        self.tell_at = warning
        """How long it may last until the next line."""
        self.culprit: Culprit | None = None
        """None: nothing took so long by itself yet."""
        self.told: bool | None = None
        """Whether it is told of; None: not decided yet."""
        self.excused = 0.0


class Watchdog:
    """Watches the loop that it is made on.

    Args:
        warning: Seconds without a pulse after which what runs is named, again each time they have doubled. 0: never.
        attempt_of: Finds the attempt that a task runs; called from a thread.
    """

    def __init__(self, warning: float, attempt_of: Callable[[asyncio.Task[Any]], Attempt | None]) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._clock = _clock_of_this_thread()
        self._warning = warning
        self._interval = max(warning / LOOKS, SHORTEST)
        self._attempt_of = attempt_of
        self._patience = Patience(self._interval)
        self._ration = Ration("blocks")
        self._counts: dict[str, Blocks] = {}
        # Set in the loop:
        self._pulse = self._resumed = 0.0
        self._timer: asyncio.Handle | None = None
        self._base: CodeType | None = None
        # Used by the thread alone:
        self._block: Block | None = None
        self._seen: tuple[asyncio.Task[Any] | None, float] | None = None

    def blocks(self) -> dict[str, Blocks]:
        """Return how each kind has blocked the loop, those that never did left out; from any thread."""
        return dict(self._counts)

    async def run(self) -> None:
        """Watch until cancelled."""
        if not self._warning:
            return
        self._pulse = time.monotonic()
        over = threading.Event()
        self._timer = self._loop.call_soon(self._beat)
        threading.Thread(target=self._look_on, args=[over], name="asyncjobs watchdog", daemon=True).start()
        try:
            await self._loop.create_future()
        finally:
            over.set()
            self._timer.cancel()

    def _beat(self) -> None:
        """Set the pulse; note the first one after a block, whose end it is."""
        now = time.monotonic()
        if now - self._pulse >= self._warning:
            self._resumed = now
        self._pulse = now
        self._timer = self._loop.call_later(self._interval, self._beat)
        if self._base is None and (caller := sys._getframe().f_back) is not None:
            self._base = caller.f_code

    # In the thread

    def _look_on(self, over: threading.Event) -> None:
        try:
            self._patience.begin(time.monotonic(), self._clock())
            while not over.wait(self._interval):
                self._look()
        except Exception:
            logger.exception("the watchdog ended: nothing names jobs that block the event loop any more")

    def _look(self) -> None:
        pulse = self._pulse
        owed = self._patience.owed(time.monotonic(), pulse, self._clock())
        block = self._block
        if block is not None and block.begun != pulse:
            self._end(block)
            block = self._block = None
        seen, self._seen = self._seen, None
        if owed <= self._interval:
            return
        task = asyncio.current_task(self._loop)
        self._seen = (task, pulse)
        if owed < (block.tell_at if block else self._warning):
            return
        place = place_of(self._thread, task, self._base)
        culprit = self._culprit(task)
        if place is None or self._pulse != pulse or asyncio.current_task(self._loop) is not task:
            return  # it waits for events and cannot get on, or it has gone on while we looked
        if block is None:
            block = self._block = Block(pulse, self._warning)
        while block.tell_at <= owed:
            block.tell_at *= 2
        block.excused = self._patience.excused
        # Seen once in this turn, it may be one of many that took a little each. Not if the thread could not look because
        # the loop's kept the interpreter: that was one call.
        alone = seen == self._seen or self._patience.kept_out
        self._go_on(block, culprit if alone else None, owed, place)

    def _go_on(self, block: Block, culprit: Culprit | None, owed: float, place: Place) -> None:
        """Count and tell of a block that is under way."""
        before = block.culprit
        block.culprit = culprit or before
        if block.culprit is not None:
            self._count(block.culprit.kind, owed, is_new=before is None)
        if block.told is None:
            block.told = self._ration.may((culprit and culprit.kind) or "")
        if not block.told:
            return
        if culprit is None:
            _log(None, owed, place, "the event loop has had no turn for %.2f s, many took a little of it; now it is at %s",
                 owed, place)  # fmt: skip
        else:
            _log(culprit, owed, place, "%s has blocked the event loop for %.2f s and goes on, at %s",
                 culprit.name, owed, place)  # fmt: skip

    def _end(self, block: Block) -> None:
        lasted = max(self._resumed - block.begun - block.excused, 0)
        culprit = block.culprit
        if culprit is not None:
            self._count(culprit.kind, lasted, is_new=False)
        if block.told:
            name = "the event loop had no turn" if culprit is None else f"{culprit.name} blocked the event loop"
            _log(culprit, lasted, None, "%s for %.2f s", name, lasted)

    def _count(self, kind: str | None, lasted: float, *, is_new: bool) -> None:
        if kind is not None:
            times, longest = self._counts.get(kind, Blocks(0, 0.0))
            self._counts[kind] = Blocks(times + is_new, max(longest, round(lasted, 3)))

    def _culprit(self, task: asyncio.Task[Any] | None) -> Culprit:
        if task is None:
            return Culprit("a callback (of no task)", None, None)
        attempt = self._attempt_of(task)
        if attempt is not None:
            return _of_job(attempt.claimed.kind, attempt.claimed.id)
        # A task that a job has started; before Python 3.12 nobody can ask a task for its context.
        get_context = getattr(task, "get_context", None)
        job = get_context().get(context.running) if get_context is not None else None
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
        extra.update(kind=culprit.kind, job_id=culprit.job_id)
    if place is not None:
        extra.update(file=place.path, line=place.line)
    stack = None if place is None else "What it is doing (most recent call last):\n" + place.stack
    level = logging.WARNING
    logger.handle(logger.makeRecord(logger.name, level, __file__, 0, text, values, None, None, extra, stack))


def _clock_of_this_thread() -> Callable[[], float]:
    """Return a function that any thread may call, for the seconds of CPU that this one has used; where none, 0."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return lambda: 0.0
    clock = time.pthread_getcpuclockid(threading.get_ident())

    def used() -> float:
        try:
            return time.clock_gettime(clock)
        except OSError:
            return 0.0  # the thread is gone

    return used
