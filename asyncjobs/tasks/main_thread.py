"""The main thread of a job's own process: it runs the code of a `def` job, while a thread beside it runs the event loop.

So the job may do what Python allows in the main thread alone: `signal.signal`, libraries that insist on it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeVar

from anyio import from_thread

T = TypeVar("T")


class _Call:
    """Code that a thread hands over, and what became of it.

    Args:
        code: What is called.
        context: In which it is.
        kept: What anyio keeps for the thread that hands it over: with it, `anyio.from_thread.run` works in the other, too.
    """

    def __init__(self, code: Callable[[], Any], context: Context, kept: dict[str, Any]) -> None:
        self._code = code
        self._context = context
        self._kept = kept
        self._value: Any = None
        self._error: BaseException | None = None
        self._done = threading.Event()

    def run(self) -> None:
        """Run it here."""
        mine = _kept_by_anyio()
        mine.update(self._kept)
        try:
            self._value = self._context.run(self._code)
        except BaseException as error:
            self._error = error
        finally:
            mine.clear()
            self._done.set()

    def answer(self) -> Any:
        """Wait for it; return what it returned, or raise what it raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


class MainThread:
    """Runs what other threads hand to it, one at a time."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._busy = threading.Lock()

    def run(self, code: Callable[[], Any]) -> Any:
        """Run `code` in the main thread and return what it returns; called in a thread of anyio's.

        While the main thread runs something, which may wait for this, `code` runs where it is.
        """
        if not self._busy.acquire(blocking=False):
            return code()
        try:
            call = _Call(code, copy_context(), dict(_kept_by_anyio()))
            self._calls.put(call)
            return call.answer()
        finally:
            self._busy.release()

    def serve(self, function: Callable[[], T]) -> T:
        """Run `function` in a thread, and here what is handed over, until it returns; return what it returned."""
        last = _Call(function, copy_context(), {})

        def beside() -> None:
            last.run()
            self._calls.put(None)

        threading.Thread(target=beside, name="asyncjobs loop", daemon=True).start()
        while (call := self._calls.get()) is not None:
            call.run()
        value: T = last.answer()
        return value


def _kept_by_anyio() -> dict[str, Any]:
    kept = getattr(from_thread, "threadlocals", None)
    return {} if kept is None else vars(kept)
