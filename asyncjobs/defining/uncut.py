"""Waiting for what must not be cut, whatever cancels the task that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

import anyio
import anyio.to_thread

T = TypeVar("T")


async def uncut(work: Coroutine[Any, Any, T], on_cancel: Callable[[], object] = lambda: None) -> T:
    """Run `work` in a task of its own and return what it returns; cancelled, wait on, drop that, and be cancelled then.

    anyio's shield does not stop `Task.cancel()`, and `asyncio.shield` is lost at the second cancel.

    Args:
        work: Nobody else has a handle on it.
        on_cancel: Called at each cancellation.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):  # a scope cancels again and again: this wait would spin
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as cancellation:
                cancelled = cancellation
                on_cancel()
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen: a failure nobody waits for is not to be logged
        raise cancelled
    return task.result()


async def in_thread(call: Callable[[], T]) -> T:
    """Run `call` in a thread, which is waited for whatever happens, and return what it returns."""
    value, error = await uncut(_outcome(call))
    if error is not None:
        raise error
    return cast("T", value)


async def _outcome(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return await anyio.to_thread.run_sync(call), None
    except BaseException as error:  # SystemExit, let out of this task, would end the loop
        return None, error
