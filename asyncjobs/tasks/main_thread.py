"""The main thread of a job process: it runs the code of a `def` job, while another thread runs the event loop.

So the job can use what Python allows in the main thread alone, such as `signal.signal` and libraries that call it.
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
    """A call that a thread hands over, and its result.

    Args:
        code: The function to call.
        context: The context to call it in.
        kept: anyio's values of the calling thread, with which `anyio.from_thread.run` works in the other thread, too.
    """

    def __init__(self, code: Callable[[], Any], context: Context, kept: dict[str, Any]) -> None:
        self._code = code
        self._context = context
        self._kept = kept
        self._value: Any = None
        self._error: BaseException | None = None
        self._done = threading.Event()

    def run(self) -> None:
        """Make the call in this thread."""
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
        """Wait for the end of the call; return its result, or raise its error."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


class MainThread:
    """The runner of calls that other threads hand over, one at a time."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._busy = threading.Lock()

    def run(self, code: Callable[[], Any]) -> Any:
        """Run `code` in the main thread and return its result; call it in a thread of anyio's.

        While the main thread runs another call, which may wait for this one, `code` runs in the calling thread.
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
        """Run `function` in a thread, and handed-over calls in this one, until `function` returns; return its result."""
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
