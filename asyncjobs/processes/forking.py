"""The forking process of a worker, and the child that it forks for an attempt.

Run by `python -m asyncjobs.processes.forking FD FD`. It has one thread and no event loop, so that a fork copies no locked
lock. See `asyncjobs.worker.job_processes.forking_process`, the other side.

A child leads a session of its own, and whatever it starts is in its process group unless it leaves that on purpose. The
group is killed on the worker's word, when its leader has ended, and when this process ends. The forkserver of
`multiprocessing` forks from such a process, too; but its children lead no group, outlive it, and are waited for in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio

from asyncjobs.definitions import registry
from asyncjobs.logs import carried
from asyncjobs.modules.guarding import import_for_jobs
from asyncjobs.operating_system import child_processes, forks
from asyncjobs.performing import job_code, tracing
from asyncjobs.performing.attempt import Attempt
from asyncjobs.performing.job_fields import JobFilter, follow_structlog
from asyncjobs.processes.forked_group import EXIT_WITHIN, ForkedGroup, Slots, flush, open_runner
from asyncjobs.records.claimed import Claimed
from asyncjobs.tasks.main_thread import MainThread
from asyncjobs.worker.job_processes.channel import BlockingChannel
from asyncjobs.worker.job_processes.forking_process import NUMBER, Recipe
from asyncjobs.worker.job_processes.sent_outcomes import said

PR_SET_PDEATHSIG = 1
LEAVE_WITHIN = 1.0
"""Seconds that what an attempt has started and left gets to end after SIGTERM; when it died, there is no such time."""


def main() -> int:
    """Import, then fork for each request until the worker is gone."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        # Whoever signals the whole group, a terminal or a service manager, means the worker, which tells us.
        forks.handle(number, lambda *_: None)
    child_processes.be_ended_before_parent()
    control = BlockingChannel(socket.socket(fileno=int(sys.argv[1])))
    requests = socket.socket(fileno=int(sys.argv[2]))
    forks.keep_descriptor(requests.fileno())
    message = control.receive()
    if message is None:
        return 0
    recipe: Recipe = message[1]
    sys.path[:] = recipe.path
    if problems := [recipe.refusal] if recipe.refusal else import_for_jobs(recipe.modules):
        control.send("failed", "; ".join(problems))
        return 1
    follow_structlog()
    anyio.run(anyio.sleep, 0)  # imports what anyio leaves to its first loop: half of what a child costs, 30 ms
    with registry.prefixed(recipe.settings.kind_prefix):
        control.send("ready", list(registry.all_names()))
        _Forker(control, requests, recipe).run()
    return 0


@dataclass
class _Group:
    """A child, and what it has started.

    Attributes:
        number: Its number.
        life: A descriptor that is open here alone: see `_lead_group`.
        due: When it is killed, as its leader has ended; None: that runs.
    """

    number: int
    life: int
    due: float | None = None


class _Forker:
    def __init__(self, control: BlockingChannel, requests: socket.socket, recipe: Recipe) -> None:
        self._control = control
        self._requests = requests
        self._recipe = recipe
        self._groups: dict[int, _Group] = {}
        """By the process ids of their leaders; a number stays its group's for as long as that has a process."""
        self._over = False

    def run(self) -> None:
        ended, ending = socket.socketpair()
        ended.setblocking(False)
        ending.setblocking(False)
        forks.keep_descriptor(ended.fileno())
        forks.keep_descriptor(ending.fileno())
        forks.handle(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ending.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_READ, self._fork)
            selector.register(self._control, selectors.EVENT_READ, self._obey)
            selector.register(ended, selectors.EVENT_READ, lambda: ended.recv(4096))
            while not self._over:
                for key, _ in selector.select(self._pause()):
                    key.data()
                self._reap()
        for pid in self._groups:
            self._kill(pid)

    def _fork(self) -> None:
        data, descriptors, *_ = socket.recv_fds(self._requests, NUMBER.size, 1)
        if not data:
            self._over = True
            return
        [descriptor] = descriptors
        lives: list[int] = []
        try:
            lives += os.pipe()
            pid = os.fork()
        except OSError as error:  # too many processes, too little memory: those that run go on
            print(f"the forking process cannot fork: {error}", file=sys.stderr)
            for each in (descriptor, *lives):
                os.close(each)
            return
        if pid == 0:
            code = 1
            try:
                os.close(lives[1])
                for group in self._groups.values():
                    os.close(group.life)
                _lead_group(lives[0])
                code = _Child(BlockingChannel(socket.socket(fileno=descriptor)), self._recipe).run()
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)  # no clean-up of what the forking process has
        os.close(descriptor)
        os.close(lives[0])
        self._groups[pid] = _Group(NUMBER.unpack(data)[0], lives[1])

    def _obey(self) -> None:
        match self._control.receive():
            case ("kill", int() as number):
                for pid in [pid for pid, group in self._groups.items() if group.number == number]:
                    self._kill(pid)
            case None:
                self._over = True

    def _kill(self, pid: int) -> None:
        if not _signal_group(pid, signal.SIGKILL) and self._groups[pid].due is None:
            os.kill(pid, signal.SIGKILL)  # forked a moment ago: it leads no group yet, and has started nothing

    def _pause(self) -> float | None:
        """Kill the groups whose time is over; return the seconds until the next one's is, None when there is none."""
        now = time.monotonic()
        waiting = {pid: group.due for pid, group in self._groups.items() if group.due is not None}
        for pid, due in waiting.items():
            if due <= now:
                _signal_group(pid, signal.SIGKILL)
                os.close(self._groups.pop(pid).life)
        return min((due - now for due in waiting.values() if due > now), default=None)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (group := self._groups.get(pid)) is not None:
                code = os.waitstatus_to_exitcode(status)
                if _signal_group(pid, signal.SIGKILL if code else signal.SIGTERM) and not code:
                    group.due = time.monotonic() + LEAVE_WITHIN
                else:
                    os.close(self._groups.pop(pid).life)
                with contextlib.suppress(OSError):
                    self._control.send("exit", group.number, code)


class _Child:
    """One attempt, from the row to what is to be written about it."""

    def __init__(self, channel: BlockingChannel, recipe: Recipe) -> None:
        self._channel = channel
        self._recipe = recipe
        self._main_thread = MainThread()
        self._ended = False
        """Whether the worker has been told of the end, and may close the channel."""
        self._taken = threading.Event()
        """Set once it has."""

    def run(self) -> int:
        self._channel.send("pid", os.getpid())
        tracing.apart = True
        message = self._channel.receive()
        if message is None:
            return 1
        root = logging.getLogger()
        root.handlers[:] = [_ToWorker(self._channel)]
        root.setLevel(self._recipe.log_level)
        if type(message[0]) is int:  # the number of a line: for several attempts, this is the first of them
            ForkedGroup(self._channel, self._recipe).run(message)
            return 0
        end = self._end_of(message[1])
        self._ended = True
        self._channel.send("end", said(end))
        flush()
        self._taken.wait()  # the worker hears of this exit from the forking process, and perhaps before it has read the end
        return 0

    def _end_of(self, claimed: Claimed) -> Any:
        definition = registry.find(claimed.kind)
        if definition is None or definition.is_async:
            return asyncio.run(self._perform(claimed))
        job_code.run_code = self._run_code
        return self._main_thread.serve(lambda: asyncio.run(self._perform(claimed)))

    def _run_code(self, code: Callable[[], Any]) -> Any:
        try:
            return self._main_thread.run(code)
        finally:
            if not forks.has_descriptor(self._channel.fileno()):
                # The loop's own are gone, too, and it would wait for ever.
                print("the job has closed descriptors that are not its own: its process ends", file=sys.stderr)
                os._exit(1)

    async def _perform(self, claimed: Claimed) -> Any:
        async with open_runner(self._recipe) as runner:
            slots = Slots(self._channel)
            attempt = Attempt(claimed, slots)
            task = asyncio.get_running_loop().create_task(runner.run(attempt))
            attempt.task = task
            listening = [asyncio.get_running_loop(), attempt, slots]
            threading.Thread(target=self._listen, args=listening, name="asyncjobs worker's word", daemon=True).start()
            return await task

    def _listen(self, loop: asyncio.AbstractEventLoop, attempt: Attempt, slots: Slots) -> None:
        while True:
            match self._channel.receive():
                case ("stop",):
                    loop.call_soon_threadsafe(attempt.stop)
                case ("cancel", reason):
                    loop.call_soon_threadsafe(attempt.cancel, reason)
                case ("slot",):
                    loop.call_soon_threadsafe(slots.given)
                case _ if self._ended:
                    self._taken.set()
                    time.sleep(EXIT_WITHIN)
                    os._exit(0)
                case _:
                    os.killpg(
                        0, signal.SIGKILL
                    )  # the worker is gone, and its lease with it: nothing of this may be written


class _ToWorker(logging.Handler):
    """Sends log records to the worker, which logs them as its own: each goes through the handlers there, and none here."""

    def __init__(self, channel: BlockingChannel) -> None:
        super().__init__()
        self._channel = channel
        self.addFilter(JobFilter())
        for logger in list(logging.root.manager.loggerDict.values()):
            if isinstance(logger, logging.Logger):
                logger.handlers.clear()
                logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._channel.send("log", carried(record))
        except Exception:
            self.handleError(record)


def _lead_group(life: int) -> None:
    """Make this process the leader of a group that the kernel kills when the forking process is gone, where it can (Linux).

    Args:
        life: The reading end of a pipe whose other end the forking process alone has, and never writes to.
    """
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # for one that has closed the pipe
        # A pipe whose other end is closed signals to its owner, here a group. It is open for as long as one of that has it.
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC)


def _signal_group(leader: int, number: int) -> bool:
    """Send a signal to all processes of a group; return whether there was one."""
    try:
        os.killpg(leader, number)
    except PermissionError:
        return True  # all that is left runs as somebody else
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
