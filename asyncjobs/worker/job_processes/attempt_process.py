"""A child process that runs an attempt, as its worker sees it: messages until its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from asyncjobs.logs import arrived
from asyncjobs.operating_system.child_processes import spell
from asyncjobs.performing.attempt import Attempt
from asyncjobs.worker.job_processes.channel import Channel
from asyncjobs.worker.job_processes.forking_process import CannotFork
from asyncjobs.worker.job_processes.sent_outcomes import End, NoEnd, heard
from asyncjobs.worker.job_processes.shared_process import Line

REAP_TIMEOUT = 1.0
"""Seconds between the end of a child's channel and its exit code; a child that lives longer is killed."""
KILL_TIMEOUT = 5.0
"""Seconds between the kill and the exit code."""
FROM_OUTSIDE = frozenset({-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
"""Exit codes of a child that may have got its worker's stop signal: service managers send it to all processes."""
STOP_NOTICE = 1.0
"""Seconds within which the worker must get such a signal, too."""
SHUTDOWN_GRACE = 1.0
"""Seconds that a cancelled attempt gets, at most, when its worker stops: the worker must give the job back in time."""


class ChildDied(Exception):
    """The process of an attempt ended before the attempt did; the message says how.

    Args:
        how: The message.
        together: Attempts that have run in the process, this one included.
    """

    def __init__(self, how: str, *, together: int = 1) -> None:
        super().__init__(how)
        self.together = together


class AttemptProcess:
    """One attempt in a process of its own, or in the process of its group.

    Args:
        channel: The channel to the process.
        attempt: The attempt that runs there.
        exit_code: Gets the exit code of the process; None: it is unknown.
        grace: Seconds between a cancellation and the kill.
        kill: Kills the process.
        tell_stop: Tells the process that the worker stops.
        stopping: Set once the worker stops.
    """

    def __init__(
        self,
        channel: Channel | Line,
        attempt: Attempt,
        exit_code: asyncio.Future[int | None],
        *,
        grace: float,
        kill: Callable[[], None],
        tell_stop: Callable[[], object],
        stopping: asyncio.Event,
    ) -> None:
        self._channel = channel
        self._attempt = attempt
        self._exit_code = exit_code
        self._grace = grace
        self._kill = kill
        self._tell_stop = tell_stop
        self._stopping = stopping

    async def follow(self) -> End:
        """Take in messages of the process until the end of the attempt; pass on a cancellation.

        Raises:
            ChildDied: The process ended before the attempt did.
            CannotFork: There was no process.
            asyncio.CancelledError: The attempt was cancelled, and its process killed before the attempt had ended.
        """
        channel, attempt, exit_code = self._channel, self._attempt, self._exit_code
        loop = asyncio.get_running_loop()
        pid: int | None = None
        killing: asyncio.TimerHandle | None = None
        attempt.on_stop = self._tell_stop
        if attempt.stopping:
            attempt.stop()
        # In a task of its own, which goes on when this one is cancelled: after half a message the next would be unreadable.
        receiving: asyncio.Task[Sequence[Any] | None] | None = None
        has_exited = False
        try:
            while True:
                receiving = receiving or loop.create_task(channel.receive())
                try:
                    awaited: list[asyncio.Future[Any]] = [receiving] if has_exited else [receiving, exit_code]
                    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    killing = await self._pass_on()
                    continue
                if exit_code.done() and not has_exited:
                    has_exited = True
                    channel.end_input()  # a process that it has forked may hold its end open
                if not receiving.done():
                    continue
                message, receiving = receiving.result(), None
                match message:
                    case ["pid", int() as pid]:
                        if attempt.cancel_reason is not None:
                            self._kill()  # the attempt was cancelled before the process existed
                    case ["log", record]:
                        log(record)
                    case ["give_slot_back"]:
                        attempt.give_slot_back()
                    case ["take_slot"]:
                        try:
                            await attempt.take_slot()
                        except asyncio.CancelledError:
                            killing = await self._pass_on()
                        await channel.send("slot")
                    case ["end", end]:
                        return heard(end, attempt.claimed)
                    case _:
                        break
            how = "" if pid is None else await self._how(pid)
        except NoEnd as no_end:
            self._kill()
            raise ChildDied(f"its process sent an outcome that is refused: {no_end}") from None
        except BaseException:
            self._kill()
            raise
        finally:
            attempt.on_stop = None
            if killing is not None:
                killing.cancel()
            if receiving is not None:
                receiving.cancel()
                await asyncio.wait([receiving])  # the socket is closed next, and its descriptor may be used again
        if attempt.cancel_reason is not None:
            raise asyncio.CancelledError
        if pid is None:
            raise CannotFork("the forking process has not made a process, or is gone")
        raise ChildDied(how)

    async def _pass_on(self) -> asyncio.TimerHandle:
        """Tell the process that its attempt was cancelled; return the timer that kills it after `grace` seconds."""
        reason = self._attempt.cancel_reason
        if reason is None:
            raise asyncio.CancelledError  # the task was cancelled from outside the worker
        grace = min(self._grace, SHUTDOWN_GRACE) if reason == "shutdown" else self._grace
        killing = asyncio.get_running_loop().call_later(grace, self._kill)
        await self._channel.send("cancel", reason)
        return killing

    async def _how(self, pid: int) -> str:
        """Return how a silent process ended; if it got the worker's stop signal first, note that as a cancellation."""
        exit_code, attempt = self._exit_code, self._attempt
        where = f"its process {pid} on {socket.gethostname()}"
        await asyncio.wait([exit_code], timeout=REAP_TIMEOUT)
        if not exit_code.done():
            self._kill()
            await asyncio.wait([exit_code], timeout=KILL_TIMEOUT)
        code = exit_code.result() if exit_code.done() else None
        if code is None:
            return f"{where} died while it ran"
        if code in FROM_OUTSIDE and attempt.cancel_reason is None and await self._stops():
            attempt.cancel_reason = "shutdown"
        return f"{where} died ({spell(code)}) while it ran"

    async def _stops(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_NOTICE):
                await self._stopping.wait()
        return self._stopping.is_set()


def log(fields: Any) -> None:
    """Log a record of a job's process, as the logger of that name here would; errors of records and handlers are ignored."""
    with contextlib.suppress(Exception):
        found = arrived(fields)
        logger = logging.getLogger(found.name)
        if logger.isEnabledFor(found.levelno):
            logger.handle(found)
