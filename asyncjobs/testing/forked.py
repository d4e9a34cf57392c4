"""A forked child that runs a job and dies where it is told, as a worker does that is killed."""

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
"""Characters; as JSON at most six times as many bytes, less than a pipe holds."""


class Ended(NamedTuple):
    """How a child ended."""

    place: Place | None
    """Where it was killed; None: it was not."""
    problem: str
    """What went wrong in it; empty: nothing."""


async def fork(run: Callable[[Callable[[Place], NoReturn]], Coroutine[Any, Any, None]], *, limit: float) -> Ended:
    """Run something in a forked child, on an event loop of its own.

    Nothing is cleaned up there: it has no test to report, and what it shares with this process is this one's.

    Args:
        run: Given what kills the child.
        limit: Seconds until it is given up.
    """
    reading, writing = os.pipe()
    loop = asyncio.get_running_loop()
    forked: asyncio.Future[int] = loop.create_future()
    # In a callback no task is the current one: the child's own loop could not begin one inside another.
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
            warnings.simplefilter("ignore", DeprecationWarning)  # about threads: the child uses none of this process's
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
    gc.freeze()  # what is this process's in name only must not be finalised in it
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    asyncio._set_running_loop(None)  # noqa: SLF001 - asyncio documents it for loops alone

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
