"""Waiting so that nothing is left behind, whatever is cancelled when."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


async def interruptible(work: Awaitable[T]) -> T:
    """Await `work`; SIGINT, SIGTERM and SIGHUP cancel it, once: while it cleans up further ones do nothing.

    Raises:
        Interrupted: It was cancelled by one of them, and has cleaned up.
    """
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    received: list[int] = []

    def interrupt(number: int) -> None:
        if not received:
            task.cancel()
        received.append(number)

    heard = [number for number in _INTERRUPTS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, interrupt, number)
    try:
        await asyncio.wait([task])
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
    if task.cancelled() and received:
        raise Interrupted(received[0])
    return task.result()


_INTERRUPTS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


async def beside(work: Coroutine[Any, Any, T], *guards: Coroutine[Any, Any, object]) -> T:
    """Return what `work` returns; a guard that fails ends it, with the guard's error. All have ended afterwards."""
    tasks = [asyncio.create_task(each) for each in (work, *guards)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in reversed(tasks):
            if task.done():
                result = task.result()
        return result  # type: ignore[return-value]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end even if this is cancelled meanwhile; only then the cancellation goes on."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
