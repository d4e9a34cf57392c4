"""Several worker processes, kept alive by one that runs no jobs.

Each child has one end of a socket pair; only the supervisor holds the other. Over it the supervisor says how far to stop,
the child says once that it is ready, and its end tells the child that the supervisor is gone, kill -9 included.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID, uuid4

from asyncjobs import forks
from asyncjobs.worker.exits import spell

logger = logging.getLogger("asyncjobs.supervisor")

WORKER_ID = "ASYNCJOBS_WORKER_ID"
WORKER_SHARE = "ASYNCJOBS_WORKER_SHARE"
WORKER_LINK = "ASYNCJOBS_WORKER_LINK"
"""What a child is told: its id, which of the pools' processes it is (empty: all pools), the descriptor of its link."""
READY = b"r"

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY = 60.0
"""Seconds of life after which a death counts as the first again."""
BURY_LIMIT = 5.0
"""Seconds that writing a child's death may take."""
LAST_CALL = 1.85
"""Seconds after the children's `shutdown_timeout` at which those still alive are killed."""
START_FAILURES = (2, 3)
"""Exit codes that say that a start cannot succeed: configuration, and a database that cannot be used."""


class Child:
    """One place for a process; processes come and go in it."""

    def __init__(self, number: int, share: int | None) -> None:
        self.number = number
        self.share = share
        self.process: asyncio.subprocess.Process | None = None
        self.link: socket.socket | None = None
        self.was_ready = False
        """Whether any process here has ever claimed jobs."""
        self.deaths = 0


class Supervisor:
    """Starts children, starts them again, and stops them.

    Args:
        command: What a child runs.
        environment: Its variables, beside the three that say who it is.
        shares: One for each child: its share of the pools; None: all of them.
        shutdown_timeout: What the children give their jobs.
        ends_alone: A child that ends with code 0 has nothing left to do; otherwise somebody stopped it by hand, and it is
            started again.
        bury: Declares the worker of a reaped child dead and says how it ended, so that its jobs are rescued at once.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        shares: Sequence[int | None],
        shutdown_timeout: float,
        ends_alone: bool,
        bury: Callable[[UUID, str], Awaitable[object]],
    ) -> None:
        self._command = command
        self._environment = environment
        self._shutdown_timeout = shutdown_timeout
        self._ends_alone = ends_alone
        self._bury = bury
        self._children = [Child(number, share) for number, share in enumerate(shares, 1)]
        self._level = 0
        self._stopping = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._code = 0

    @property
    def children(self) -> list[Child]:
        """The places, from child 1 on."""
        return self._children

    async def run(self) -> int:
        """Keep every child running until `stop`, or until all have ended by themselves; return the exit code."""
        try:
            async with asyncio.TaskGroup() as group:
                for child in self._children:
                    group.create_task(self._keep(child), name=f"asyncjobs child {child.number}")
        finally:
            if self._deadline is not None:
                self._deadline.cancel()
            self.kill()
        return self._code

    def stop(self, level: int) -> None:
        """Tell the children to stop (1), or to stop now (2); whoever is alive a while after is killed."""
        if level <= self._level:
            return
        self._level = level
        self._stopping.set()
        loop = asyncio.get_running_loop()
        limit = LAST_CALL + (self._shutdown_timeout if level == 1 else 0)
        if self._deadline is None or self._deadline.when() > loop.time() + limit:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = loop.call_later(limit, self.kill)
        for child in self._children:
            self._tell(child)

    def send(self, number: int) -> None:
        """Pass a signal on that does not stop, such as SIGQUIT."""
        for child in self._children:
            if child.process is not None and child.process.returncode is None:
                child.process.send_signal(number)

    def kill(self) -> None:
        """End what is alive, at once."""
        for child in self._children:
            if child.process is not None and child.process.returncode is None:
                logger.error("child %d (pid %d) did not end in time: killed", child.number, child.process.pid)
                child.process.kill()

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            begun = loop.time()
            worker = uuid4()
            try:
                code = await self._run_one(child, worker)
            except OSError as error:
                logger.warning("child %d cannot be started: %s", child.number, error)
                code = 1
            await self._bury_worker(child, worker, spell(code))
            if self._is_over(child, code):
                return
            if loop.time() - begun > STEADY:
                pause = FIRST_PAUSE
            child.deaths += 1
            logger.warning("child %d ended (%s); starting it again in %g s", child.number, spell(code), pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(pause * 2, LONGEST_PAUSE)

    def _is_over(self, child: Child, code: int) -> bool:
        """Whether a child that ended stays ended."""
        if self._stopping.is_set():
            return True
        if code in START_FAILURES and not child.was_ready:
            logger.critical("child %d cannot start: it ended (%s); stopping all", child.number, spell(code))
            self._code = code
            self.stop(1)
            return True
        return code == 0 and self._ends_alone

    async def _run_one(self, child: Child, worker: UUID) -> int:
        """Run one process in a child's place; return how it ended."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            with theirs:
                child.process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={
                        **self._environment,
                        WORKER_ID: str(worker),
                        WORKER_SHARE: "" if child.share is None else str(child.share),
                        WORKER_LINK: str(theirs.fileno()),
                    },
                )
            child.link = ours
            logger.info("child %d started: pid %d, worker %s", child.number, child.process.pid, worker)
            loop.add_reader(ours, self._heard, child)
            if self._level:
                self._tell(child)  # asked to stop while it was being started
            return await child.process.wait()
        finally:
            child.link = None
            loop.remove_reader(ours)
            ours.close()

    def _heard(self, child: Child) -> None:
        assert child.link is not None
        try:
            said = child.link.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            asyncio.get_running_loop().remove_reader(child.link)
        elif READY in said:
            child.was_ready = True

    def _tell(self, child: Child) -> None:
        if child.link is not None:
            with contextlib.suppress(OSError):  # it has just ended
                child.link.send(bytes([self._level]))

    async def _bury_worker(self, child: Child, worker: UUID, how: str) -> None:
        limit = BURY_LIMIT
        if self._deadline is not None:
            # Stopping: the end must not wait for a database that does not answer.
            limit = min(max(self._deadline.when() - asyncio.get_running_loop().time(), 0.1), 1.0)
        try:
            async with asyncio.timeout(limit):
                await self._bury(worker, how)
        except Exception as error:
            logger.warning("the death of child %d could not be written, its lease runs out by itself: %s",
                           child.number, error or "no answer in time")  # fmt: skip


class Link:
    """A child's end of the link to its supervisor; without a supervisor it does nothing."""

    def __init__(self) -> None:
        # Taken out: what jobs start is no child of the supervisor.
        given, share, descriptor = (os.environ.pop(name, None) for name in (WORKER_ID, WORKER_SHARE, WORKER_LINK))
        self.worker_id = UUID(given) if given else None
        self.share = int(share) if share else None
        self._socket = socket.socket(fileno=int(descriptor)) if given and descriptor else None
        if self._socket is not None:
            forks.keep_descriptor(self._socket.fileno())

    @property
    def is_child(self) -> bool:
        """Whether this process has a supervisor."""
        return self.worker_id is not None

    def ready(self) -> None:
        """Tell the supervisor that jobs are claimed."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(READY)

    def listen(self, stop: Callable[[int, str], object]) -> None:
        """Call `stop` with each level the supervisor asks for, and with 1 when it is gone; blocks until then."""
        if self._socket is None:
            return
        while True:
            try:
                said = self._socket.recv(1)
            except OSError:
                said = b""
            if not said:
                stop(1, "the supervisor is gone")
                return
            stop(said[0], "the supervisor stops")
