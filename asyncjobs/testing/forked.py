"""A forked child that runs a job and dies at a given place, as a killed worker does."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, NoReturn

import anyio.to_thread

from asyncjobs.testing.waiting_points import Place

PR_SET_PDEATHSIG = 1
MOST_TOLD = 10_000
"""Characters: as JSON at most six times as many bytes, less than a pipe holds."""


class Ended(NamedTuple):
    """The end of a child."""

    place: Place | None
    """The place where it was killed; None: it was not killed."""
    problem: str
    """The error of the child; empty: none."""


async def fork(run: Callable[[Callable[[Place], NoReturn]], Coroutine[Any, Any, None]], *, limit: float) -> Ended:
    """Run a coroutine in a forked child, on an event loop of its own.

    The child cleans nothing up: it has no test to report, and what it shares with this process belongs to this one.

    Args:
        run: Takes the function that kills the child.
        limit: Seconds after which the child is killed.
    """
    reading, writing = os.pipe()
    loop = asyncio.get_running_loop()
    forked: asyncio.Future[int] = loop.create_future()
    # In a callback there is no current task: with one, the child's own loop could not start a task.
    loop.call_soon(_fork, run, writing, forked)
    pid = await forked
    os.close(writing)
    try:
        async with asyncio.timeout(limit):
            status = await anyio.to_thread.run_sync(os.waitpid, pid, 0, abandon_on_cancel=True)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            await anyio.to_thread.run_sync(os.waitpid, pid, 0)
        os.close(reading)
        if isinstance(error, TimeoutError):
            return Ended(None, f"it did not end within {limit:.0f} s; {ABOUT_CONNECTIONS}")
        raise
    with os.fdopen(reading, "rb") as pipe:
        told = json.loads(pipe.read() or b"{}")
    if "place" in told:
        return Ended(Place(*told["place"]), "")
    code = os.waitstatus_to_exitcode(status[1])
    return Ended(None, told.get("problem", "") or ("" if code == 0 else f"it ended with code {code}"))


ABOUT_CONNECTIONS = (
    "it runs in a forked child, where connections and pools that were opened before do not work: have the job open its own, "
    "or open them anew with in_child="
)


def _fork(run: Callable[..., Coroutine[Any, Any, None]], writing: int, forked: asyncio.Future[int]) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about threads: the child uses none of this process
            pid = os.fork()
    except OSError as error:
        forked.set_exception(error)
        return
    if pid:
        forked.set_result(pid)
        return
    code = 1
    try:
        code = _child(run, writing)
    finally:
        os._exit(code)


def _child(run: Callable[..., Coroutine[Any, Any, None]], writing: int) -> int:
    gc.freeze()  # objects that belong to the parent must not be finalised here
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    asyncio._set_running_loop(None)  # a forked child begins a loop inside that of its parent

    def tell(**told: Any) -> None:
        os.write(writing, json.dumps(told).encode())

    def kill(place: Place) -> NoReturn:
        tell(place=place)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    try:
        asyncio.new_event_loop().run_until_complete(run(kill))
    except BaseException:
        tell(problem=traceback.format_exc()[-MOST_TOLD:])
        return 1
    return 0
