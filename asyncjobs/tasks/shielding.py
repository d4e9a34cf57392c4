"""Waits that no cancellation of the waiting task ends early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def shielded(work: Coroutine[Any, Any, T], on_cancel: Callable[[], object] = lambda: None) -> T:
    """Run `work` in a task of its own and return its result; a cancellation is raised after `work` has ended.

    anyio's shield does not stop `Task.cancel()`, and `asyncio.shield` is lost at the second cancel.

    Args:
        work: No other code can cancel it.
        on_cancel: Called at each cancellation.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        on_cancel()
        await _end_of(task, on_cancel)
        if not task.cancelled():
            task.exception()  # marks it as seen: an error that nobody waits for need not be logged
        raise
    return task.result()


async def _end_of(task: asyncio.Task[Any], on_cancel: Callable[[], object]) -> None:
    with anyio.CancelScope(
        shield=True
    ):  # a cancelled scope cancels again and again: without the shield this would spin
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                on_cancel()
