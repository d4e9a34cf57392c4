"""The forking process of a worker, and the child that it forks for an attempt: `python -m asyncjobs.forking FD FD`.

It has one thread and no event loop, so that a fork copies no locked lock. See `asyncjobs.worker.apart`, the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import pickle
import selectors
import signal
import socket
import sys
import threading
import traceback
from typing import Any

import anyio

from asyncjobs.db.rows import Claimed
from asyncjobs.defining.importing import import_problem
from asyncjobs.forked_group import ForkedGroup, Slots, flush, performing
from asyncjobs.worker.apart import NUMBER, Recipe
from asyncjobs.worker.attempts import Attempt
from asyncjobs.worker.channel import BlockingChannel

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Import, then fork for each request until the worker is gone."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # Whoever signals the whole group, a terminal or a service manager, means the worker, which tells us.
        signal.signal(number, lambda *_: None)
    control = BlockingChannel(socket.socket(fileno=int(sys.argv[1])))
    requests = socket.socket(fileno=int(sys.argv[2]))
    message = control.receive()
    if message is None:
        return 0
    recipe: Recipe = message[1]
    sys.path[:] = recipe.path
    if problems := [problem for name in recipe.modules if (problem := import_problem(name))]:
        control.send("failed", "; ".join(problems))
        return 1
    anyio.run(anyio.sleep, 0)  # imports what anyio leaves to its first loop: half of what a child costs, 30 ms
    control.send("ready")
    _Forker(control, requests, recipe).run()
    return 0


class _Forker:
    def __init__(self, control: BlockingChannel, requests: socket.socket, recipe: Recipe) -> None:
        self._control = control
        self._requests = requests
        self._recipe = recipe
        self._children: dict[int, int] = {}
        """The number of each, by its process id."""
        self._over = False

    def run(self) -> None:
        ended, ending = socket.socketpair()
        ended.setblocking(False)
        ending.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ending.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_READ, self._fork)
            selector.register(self._control, selectors.EVENT_READ, self._obey)
            selector.register(ended, selectors.EVENT_READ, lambda: ended.recv(4096))
            while not self._over:
                for key, _ in selector.select():
                    key.data()
                self._reap()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own

    def _fork(self) -> None:
        data, descriptors, *_ = socket.recv_fds(self._requests, NUMBER.size, 1)
        if not data:
            self._over = True
            return
        [descriptor] = descriptors
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, too little memory: those that run go on
            print(f"the forking process cannot fork: {error}", file=sys.stderr)
            os.close(descriptor)
            return
        if pid == 0:
            code = 1
            try:
                signal.set_wakeup_fd(-1)
                self._control.close()
                self._requests.close()
                code = _Child(BlockingChannel(socket.socket(fileno=descriptor)), self._recipe).run()
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)  # no clean-up of what the forking process has
        os.close(descriptor)
        self._children[pid] = NUMBER.unpack(data)[0]

    def _obey(self) -> None:
        match self._control.receive():
            case ("kill", int() as pid) if pid in self._children:
                os.kill(pid, signal.SIGKILL)
            case None:
                self._over = True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (number := self._children.pop(pid, None)) is not None:
                with contextlib.suppress(OSError):
                    self._control.send("exit", number, os.waitstatus_to_exitcode(status))


class _Child:
    """One attempt, from the row to what is to be written about it."""

    def __init__(self, channel: BlockingChannel, recipe: Recipe) -> None:
        self._channel = channel
        self._recipe = recipe
        self._ended = False
        """Whether the worker has been told of the end, and may close the channel."""

    def run(self) -> int:
        _die_with_parent()
        self._channel.send("pid", os.getpid())
        message = self._channel.receive()
        if message is None:
            return 1
        root = logging.getLogger()
        root.handlers[:] = [_ToWorker(self._channel)]
        root.setLevel(self._recipe.log_level)
        if type(message[0]) is int:  # the number of a line: for several attempts, this is the first of them
            ForkedGroup(self._channel, self._recipe).run(message)
            return 0
        end = asyncio.run(self._perform(message[1]))
        self._ended = True
        self._channel.send("end", end)
        flush()
        return 0

    async def _perform(self, claimed: Claimed) -> Any:
        async with performing(self._recipe) as performer:
            slots = Slots(self._channel)
            attempt = Attempt(claimed, slots, lambda: None)
            attempt.begun = True
            task = asyncio.get_running_loop().create_task(performer.run(attempt))
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
                    return
                case _:
                    os._exit(1)  # the worker is gone, and its lease with it: nothing of this may be written


class _ToWorker(logging.Handler):
    """Sends log records to the worker, which logs them as its own."""

    def __init__(self, channel: BlockingChannel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            values = dict(vars(record), msg=record.getMessage(), args=None, exc_info=None)
            if record.exc_info and not record.exc_text:
                values["exc_text"] = logging.Formatter().formatException(record.exc_info)
            # Pickled apart: what cannot be read there is a lost line and no lost message.
            self._channel.send("log", pickle.dumps(values))
        except Exception:
            self.handleError(record)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the forking process is gone, where it can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
