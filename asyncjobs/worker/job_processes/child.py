"""A child that runs an attempt, as its worker follows it: to its answer, or to its end without one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from asyncjobs.logs import arrived
from asyncjobs.operating_system.exit_codes import spell
from asyncjobs.performing.attempt import Attempt
from asyncjobs.worker.job_processes.channel import Channel
from asyncjobs.worker.job_processes.forking_process import CannotFork
from asyncjobs.worker.job_processes.sent_outcomes import End, NoEnd, heard
from asyncjobs.worker.job_processes.shared import Line

REAP_TIMEOUT = 1.0
"""Seconds between the end of a child's channel and the word of how it ended; one that goes on for longer is killed."""
KILL_TIMEOUT = 5.0
"""Seconds between that and the same word."""
FROM_OUTSIDE = frozenset({-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
"""Exit codes of a child that may have got the signal that its worker got, as a service manager sends it to all processes."""
STOP_NOTICE = 1.0
"""Seconds in which its worker must have got it, too."""
SHUTDOWN_GRACE = 1.0
"""Seconds that a cancelled attempt gets at most when its worker stops, which must give its job back in time."""


class ChildDied(Exception):
    """The process of an attempt ended without saying how the attempt did; the message says how the process did.

    Args:
        how: The message.
        together: How many attempts have run there, this one included.
    """

    def __init__(self, how: str, *, together: int = 1) -> None:
        super().__init__(how)
        self.together = together


class Child:
    """One attempt in a process of its own, or of its group.

    Args:
        channel: What is said to it and by it.
        attempt: The one.
        exit_code: Will hold how the process has ended; None: nobody can tell.
        grace: Seconds between a cancellation and the death of the process.
        kill: Kills it.
        tell_stop: Tells it that the worker stops.
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
        """Take its messages in until it has answered or is gone; a cancellation is passed on.

        Raises:
            ChildDied: It ended by itself, and not by ending the attempt.
            CannotFork: It was never there.
            asyncio.CancelledError: The attempt was cancelled, and the child killed before it had answered.
        """
        channel, attempt, exit_code = self._channel, self._attempt, self._exit_code
        loop = asyncio.get_running_loop()
        pid: int | None = None
        killing: asyncio.TimerHandle | None = None
        attempt.on_stop = self._tell_stop
        if attempt.stopping:
            attempt.stop()
        # In a task of its own, which goes on when this one is cancelled: half a message taken in makes the next unreadable.
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
                    channel.end_input()  # what it has forked may hold its end, and would keep this waiting
                if not receiving.done():
                    continue
                message, receiving = receiving.result(), None
                match message:
                    case ["pid", int() as pid]:
                        if attempt.cancel_reason is not None:
                            self._kill()  # cancelled before it was there
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
            raise ChildDied(f"its process told an end that is refused: {no_end}") from None
        except BaseException:
            self._kill()
            raise
        finally:
            attempt.on_stop = None
            if killing is not None:
                killing.cancel()
            if receiving is not None:
                receiving.cancel()
                await asyncio.wait([receiving])  # the socket is closed next, and its number may be another's
        if attempt.cancel_reason is not None:
            raise asyncio.CancelledError
        if pid is None:
            raise CannotFork("the forking process has made no process, or is gone")
        raise ChildDied(how)

    async def _pass_on(self) -> asyncio.TimerHandle:
        """Tell a child that its attempt was cancelled; return what kills it after `grace` seconds."""
        reason = self._attempt.cancel_reason
        if reason is None:
            raise asyncio.CancelledError  # nobody's who may: a task is cancelled from outside the worker
        grace = min(self._grace, SHUTDOWN_GRACE) if reason == "shutdown" else self._grace
        killing = asyncio.get_running_loop().call_later(grace, self._kill)
        await self._channel.send("cancel", reason)
        return killing

    async def _how(self, pid: int) -> str:
        """Return how a child ended that says nothing more; a stop that came to it first cancels the attempt."""
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
    """Log what a job has logged in its process, as its logger here would; a record or a handler that raises harms nobody."""
    with contextlib.suppress(Exception):
        found = arrived(fields)
        logger = logging.getLogger(found.name)
        if logger.isEnabledFor(found.levelno):
            logger.handle(found)
