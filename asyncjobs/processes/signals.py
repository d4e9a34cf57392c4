"""Signals of a worker process, and its promise to end in time.

A handler only notes the signal; a thread acts on it. So a signal is noticed, logged and answered while a job blocks the
event loop, and the deadline it starts is kept whatever the loop, the database or a job does.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from asyncjobs.operating_system import forks

logger = logging.getLogger("asyncjobs.process")

MARGIN = 1.5
"""Of a worker process; it promises to end within `shutdown_timeout` and 2 s."""
STOP, STOP_NOW = 1, 2
GIVEN_UP = 130
"""Exit code at the third signal."""

_STOPPING = tuple(s for s in ("SIGTERM", "SIGINT") if hasattr(signal, s))


class Signals:
    """Turns signals into two levels of stopping, and enforces a deadline.

    Args:
        shutdown_timeout: Seconds that running jobs get to finish.
        running: Returns a line for each job that runs now; called from another thread.
        margin: Seconds after these, or after the second signal, at which the process ends whatever still runs.
        on_quit: Called at SIGQUIT, from another thread.
        on_hangup: Called at SIGHUP, from another thread; None: it stops, in order. A SIGHUP that was ignored when this
            process began, as under nohup, is ignored on.
        give_back: Called last of all before this process is ended under what runs; bounded in time.
    """

    def __init__(
        self,
        shutdown_timeout: float,
        running: Callable[[], Sequence[str]],
        *,
        margin: float = MARGIN,
        on_quit: Callable[[], object] = lambda: None,
        on_hangup: Callable[[], object] | None = None,
        give_back: Callable[[], object] = lambda: None,
    ) -> None:
        self._shutdown_timeout = shutdown_timeout
        self._margin = margin
        self._on_quit = on_quit
        self._on_hangup = on_hangup
        self._give_back = give_back
        self._had_terminal = _has_terminal()
        self._running = running
        # SimpleQueue.put may be interrupted by a signal whose handler puts too; no lock of ours may.
        self._notes: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._received = 0
        self._on_level: Callable[[int], object] = lambda _: None
        self._level = 0
        self._deadline: float | None = None
        self._overdue: tuple[int, str] = (0, "")

    def install(self) -> None:
        """Take over SIGTERM, SIGINT, SIGHUP and SIGQUIT; in the main thread."""
        for name in _STOPPING:
            forks.handle(getattr(signal, name), self._handle)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            forks.handle(signal.SIGHUP, lambda *_: self._notes.put(self._hang_up))
        if hasattr(signal, "SIGQUIT"):
            forks.handle(signal.SIGQUIT, self._list_jobs)
            # Dumped by C code in the handler itself, even while Python cannot run; then the list above.
            faulthandler.register(signal.SIGQUIT, file=sys.stderr, all_threads=True, chain=True)
        threading.Thread(target=self._act, name="asyncjobs signals", daemon=True).start()

    def on_level(self, callback: Callable[[int], object]) -> None:
        """Call `callback` with STOP or STOP_NOW from the thread, at once if it was reached already."""
        self._on_level = callback
        if self._level:
            callback(self._level)

    def stop(self, level: int, why: str) -> None:
        """Ask for a level of stopping; one that is reached already changes nothing. From any thread."""
        self._notes.put(lambda: self._reach(level, why))

    def end_within(self, seconds: float, code: int, why: str) -> None:
        """End the process with `code` after so many seconds, unless an earlier end is set or `go_on` is called."""
        deadline = time.monotonic() + seconds
        self._notes.put(lambda: self._limit(deadline, code, why))

    def go_on(self) -> None:
        """Lift the deadline of `end_within`; one that a signal has set stays."""
        self._notes.put(self._lift)

    def _handle(self, number: int, _frame: Any) -> None:
        self._received += 1
        level, name = self._received, signal.Signals(number).name
        if level > STOP_NOW + 1:
            os._exit(GIVEN_UP)
        elif level > STOP_NOW:
            self._notes.put(lambda: self._end_now(GIVEN_UP, f"received {name} again"))
        else:
            self._notes.put(lambda: self._reach(level, f"received {name}"))

    def _hang_up(self) -> None:
        # A terminal that is closed says it, too, and means the end.
        if self._on_hangup is None or (self._had_terminal and not _has_terminal()):
            self._reach(STOP, "received SIGHUP")
        else:
            self._on_hangup()

    def _list_jobs(self, _number: int, _frame: Any) -> None:
        self._notes.put(self._log_jobs)

    def _act(self) -> None:
        while True:
            timeout = None if self._deadline is None else max(self._deadline - time.monotonic(), 0)
            try:
                note = self._notes.get(timeout=timeout)
            except queue.Empty:
                self._end_now(*self._overdue)
            else:
                note()

    def _reach(self, level: int, why: str) -> None:
        if level <= self._level:
            return
        self._level = level
        grace = self._shutdown_timeout if level == STOP else 0.0
        self._limit(time.monotonic() + grace + self._margin, 0, "stopping took too long")
        what = "cancelling what runs" if level == STOP_NOW else f"jobs may finish within {self._shutdown_timeout:g} s"
        # First: an idle worker stops within 20 ms, and its process with it, before a thread has come to write this.
        _bounded(lambda: logger.info("%s: %s", why, what))
        self._on_level(level)

    def _limit(self, deadline: float, code: int, why: str) -> None:
        if self._deadline is None or deadline < self._deadline:
            self._deadline, self._overdue = deadline, (code, why)

    def _lift(self) -> None:
        if not self._level:
            self._deadline = None

    def _log_jobs(self) -> None:
        self._on_quit()
        jobs = self._running()
        _bounded(lambda: logger.warning("SIGQUIT: %d jobs run here\n%s", len(jobs), "\n".join(jobs)))

    def _end_now(self, code: int, why: str) -> None:
        jobs = self._running()
        left = f"; {len(jobs)} jobs are left: {', '.join(jobs)}" if jobs else ""
        _bounded(lambda: logger.error("%s%s; this process ends now", why, left))
        leave(code, self._give_back)


def leave(code: int, last: Callable[[], object] = lambda: None) -> NoReturn:
    """End this process now, after `last`, which is bounded in time: no thread, no job and no exit handler can keep it."""
    _bounded(_flush)
    try:
        last()
    finally:
        os._exit(code)


def _has_terminal() -> bool:
    """Whether there is a terminal whose closing this process is told of."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _flush() -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()


def _bounded(action: Callable[[], object], seconds: float = 0.2) -> None:
    # The log may be a pipe that nobody reads: whoever writes to it blocks, holding the handler's lock.
    thread = threading.Thread(target=action, name="asyncjobs last words", daemon=True)
    thread.start()
    thread.join(seconds)
