"""Waiting for what must not be cut, whatever cancels the task that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def shielded(work: Coroutine[Any, Any, T], on_cancel: Callable[[], object] = lambda: None) -> T:
    """Run `work` in a task of its own and return what it returns; cancelled, wait on, drop that, and be cancelled then.

    anyio's shield does not stop `Task.cancel()`, and `asyncio.shield` is lost at the second cancel.

    Args:
        work: Nobody else has a handle on it.
        on_cancel: Called at each cancellation.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        on_cancel()
        await _end_of(task, on_cancel)
        if not task.cancelled():
            task.exception()  # seen: a failure nobody waits for is not to be logged
        raise
    return task.result()


async def _end_of(task: asyncio.Task[Any], on_cancel: Callable[[], object]) -> None:
    with anyio.CancelScope(shield=True):  # a scope cancels again and again: this wait would spin
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                on_cancel()
