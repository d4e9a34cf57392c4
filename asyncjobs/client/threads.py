"""Calls from threads: coroutines that a thread without an event loop has run on the loop of a client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from asyncjobs.exceptions import InsideEventLoop, NotOpen

T = TypeVar("T")

LOOK = 1.0
"""Seconds between looks whether the loop still runs."""


def refuse_inside(loop: asyncio.AbstractEventLoop | None, instead: str) -> None:
    """Refuse a blocking call in the thread of a running event loop.

    Args:
        loop: The loop that the call would wait for; None: any loop.
        instead: The code to write instead, for the message.

    Raises:
        InsideEventLoop: The loop runs in this thread.
    """
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return
    if loop is None or running is loop:
        raise InsideEventLoop(f"an event loop runs in this thread, and this call would block it: write {instead}")


class Threads:
    """Runs coroutines for threads, on the loop on which it was made, until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._waiting: set[Future[Any]] | None = set()

    def run(self, make: Callable[[], Coroutine[Any, Any, T]], instead: str) -> T:
        """Run a coroutine on the loop, wait for it in this thread, and return its result.

        Args:
            make: Returns the coroutine; called in this thread, whose context variables it has.
            instead: The code to write in the loop's own thread, for the message.

        Raises:
            InsideEventLoop: This is the loop's own thread.
            NotOpen: The client is closed, or was closed meanwhile; its loop does not run; or it was opened before a fork.
        """
        refuse_inside(self._loop, instead)
        if self._process != os.getpid():
            raise NotOpen("this AsyncJobs was opened before this process was forked: open one in each process")
        future = self._submit(make)
        try:
            return self._outcome(future)
        except CancelledError:
            raise NotOpen("this AsyncJobs was closed while a thread waited for it") from None
        except BaseException:
            future.cancel()  # Ctrl-C, perhaps: nobody waits for the coroutine any more
            raise
        finally:
            with self._lock:
                if self._waiting is not None:
                    self._waiting.discard(future)

    def _submit(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        with self._lock:  # so that either `close` finds this future, or this finds that it is closed
            if self._waiting is None or not self._loop.is_running():
                raise NotOpen(
                    "this AsyncJobs is closed, or its event loop does not run: nothing can be done from a thread"
                )
            coroutine = make()
            try:
                future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            except BaseException:  # Ctrl-C before it was handed over: nobody else would close it
                with contextlib.suppress(RuntimeError, ValueError):  # it was, and runs
                    coroutine.close()
                raise
            self._waiting.add(future)
            return future

    def _outcome(self, future: Future[T]) -> T:
        while True:
            try:
                return future.result(LOOK)
            except TimeoutError:
                if future.done():
                    return future.result()  # it may be the coroutine's own TimeoutError
                if not self._loop.is_running():
                    future.cancel()
                    raise CancelledError from None

    def close(self) -> None:
        """Have the calls of all waiting threads raise NotOpen."""
        with self._lock:
            waiting, self._waiting = self._waiting or set(), None
        for future in waiting:
            future.cancel()
