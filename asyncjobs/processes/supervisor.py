"""Several worker processes, kept alive by one that runs no jobs.

Each child has one end of a socket pair; only the supervisor holds the other. Over it the supervisor says how far to stop,
the child says once that it is ready, and its end tells the child that the supervisor is gone, kill -9 included.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID, uuid4

from asyncjobs.operating_system import forks, out_of_memory
from asyncjobs.operating_system.exit_codes import spell

logger = logging.getLogger("asyncjobs.supervisor")

WORKER_LINK = "ASYNCJOBS_WORKER_LINK"
"""The variable with the descriptor of a child's link."""
READY = b"r"
_SIZE = struct.Struct("!I")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY = 60.0
"""Seconds of life after which a death counts as the first again."""
BURY_LIMIT = 5.0
"""Seconds that writing a child's death may take."""
LAST_CALL = 1.85
"""Seconds after the children's `shutdown_timeout` at which those still alive are killed."""
READY_LIMIT = 120.0
"""Seconds that a process may take to become ready that is to take another's place."""
IN_ORDER = (0, 130)
"""Exit codes of a child that was told to stop and did; 130: by a third signal."""
START_FAILURES = (2, 3)
"""Exit codes that say that a start cannot succeed: configuration, and a database that cannot be used."""


class Child:
    """One place for a process; processes come and go in it.

    Args:
        number: From 1.
        share: Of the pools; None: all of them.
        on_trial: Whether it is to take the place of another, if its first process becomes ready.
    """

    def __init__(self, number: int, share: int | None, *, on_trial: bool = False) -> None:
        self.number = number
        self.share = share
        self.on_trial = on_trial
        self.process: asyncio.subprocess.Process | None = None
        self.link: socket.socket | None = None
        self.ready = asyncio.Event()
        """Set once any process here has claimed jobs."""
        self.level = 0
        """How far it was told to stop."""
        self.stopping = asyncio.Event()
        self.killed = False
        """Whether its process was killed as it did not stop in time."""
        self.deaths = 0


class Supervisor:
    """Starts children, starts them again, and stops them.

    Args:
        command: What a child runs.
        url: The database, which is told over the link: an environment is handed on to what jobs start.
        shares: One for each child: its share of the pools; None: all of them.
        shutdown_timeout: What the children give their jobs.
        ends_alone: A child that ends with code 0 has nothing left to do; otherwise somebody stopped it by hand, and it is
            started again.
        bury: Declares the worker of a reaped child dead and says how it ended, so that its jobs are rescued at once; when it
            was told to stop, which the last argument says, they are given back unspent.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        url: str,
        shares: Sequence[int | None],
        shutdown_timeout: float,
        ends_alone: bool,
        bury: Callable[[UUID, str, bool], Awaitable[object]],
    ) -> None:
        self._command = command
        self._url = url
        self._shutdown_timeout = shutdown_timeout
        self._ends_alone = ends_alone
        self._bury = bury
        self._children = [Child(number, share) for number, share in enumerate(shares, 1)]
        self._keepers: dict[Child, asyncio.Task[None]] = {}
        """Of the children in their places, and of those that leave theirs or are to get one."""
        self._level = 0
        self._replacing = asyncio.Event()
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
                    self._start(child, group)
                rolling = group.create_task(self._roll(group), name="asyncjobs replacing")
                while self._keepers:
                    await asyncio.wait(self._keepers.values(), return_when=asyncio.FIRST_COMPLETED)
                rolling.cancel()
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
        loop = asyncio.get_running_loop()
        limit = LAST_CALL + (self._shutdown_timeout if level == 1 else 0)
        if self._deadline is None or self._deadline.when() > loop.time() + limit:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = loop.call_later(limit, self.kill)
        for child in self._keepers:
            self._stop_one(child, level)

    def _stop_one(self, child: Child, level: int) -> None:
        if level > child.level:
            child.level = level
            child.stopping.set()
            self._tell(child)

    def replace(self) -> None:
        """Replace each child by a new process, one after the other; one that does not become ready ends that."""
        self._replacing.set()

    def send(self, number: int) -> None:
        """Pass a signal on that does not stop, such as SIGQUIT."""
        for child in self._keepers:
            if child.process is not None and child.process.returncode is None:
                child.process.send_signal(number)

    def kill(self) -> None:
        """End what is alive, at once."""
        for child in {*self._children, *self._keepers}:
            self._kill_one(child)

    def _kill_one(self, child: Child) -> None:
        if child.process is not None and child.process.returncode is None:
            logger.error("child %d (pid %d) did not end in time: killed", child.number, child.process.pid)
            child.killed = True
            child.process.kill()

    def _start(self, child: Child, group: asyncio.TaskGroup) -> asyncio.Task[None]:
        keeper = self._keepers[child] = group.create_task(self._keep(child), name=f"asyncjobs child {child.number}")
        keeper.add_done_callback(lambda _: self._keepers.pop(child))
        self._stop_one(child, self._level)
        return keeper

    async def _roll(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._replacing.wait()
            self._replacing.clear()
            logger.info("replacing %d worker processes, one after the other", len(self._children))
            for place in range(len(self._children)):
                if self._level or not await self._replace_one(place, group):
                    break

    async def _replace_one(self, place: int, group: asyncio.TaskGroup) -> bool:
        """Give a child's place to a new one once that is ready; return whether it is."""
        old = self._children[place]
        new = Child(old.number, old.share, on_trial=True)
        keeper = self._start(new, group)
        ready = asyncio.ensure_future(new.ready.wait())
        await asyncio.wait([ready, keeper], timeout=READY_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if keeper.done() or not new.ready.is_set():
            logger.error("the new child %d has not become ready: the old processes go on", new.number)
            self._kill_one(new)
            return False
        new.on_trial = False
        self._children[place] = new
        self._stop_one(old, 1)
        if (leaving := self._keepers.get(old)) is not None:
            await asyncio.wait([leaving], timeout=self._shutdown_timeout + LAST_CALL)
            self._kill_one(old)
            await asyncio.wait([leaving])
        logger.info("child %d was replaced", new.number)
        return True

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while not child.stopping.is_set():
            begun = loop.time()
            worker = uuid4()
            try:
                code = await self._run_one(child, worker)
            except OSError as error:
                logger.warning("child %d cannot be started: %s", child.number, error)
                code = 1
            await self._bury_worker(child, worker, code)
            if self._is_over(child, code):
                return
            if loop.time() - begun > STEADY:
                pause = FIRST_PAUSE
            child.deaths += 1
            logger.warning("child %d ended (%s); starting it again in %g s", child.number, spell(code), pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await child.stopping.wait()
            pause = min(pause * 2, LONGEST_PAUSE)

    def _is_over(self, child: Child, code: int) -> bool:
        """Whether a child that ended stays ended."""
        if child.stopping.is_set() or child.on_trial:
            return True
        if code in START_FAILURES and not child.ready.is_set():
            logger.critical("child %d cannot start: it ended (%s); stopping all", child.number, spell(code))
            self._code = code
            self.stop(1)
            return True
        return code == 0 and self._ends_alone

    async def _run_one(self, child: Child, worker: UUID) -> int:
        """Run one process in a child's place; return how it ended."""
        ours, theirs = socket.socketpair()
        introduce(ours, worker=worker, share=child.share, url=self._url, imports_here=not sys.flags.safe_path)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            with theirs:
                child.process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, WORKER_LINK: str(theirs.fileno())},
                )
            child.link = ours
            logger.info("child %d started: pid %d, worker %s", child.number, child.process.pid, worker)
            loop.add_reader(ours, self._heard, child)
            if child.level:
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
            child.ready.set()

    def _tell(self, child: Child) -> None:
        if child.link is not None:
            with contextlib.suppress(OSError):  # it has just ended
                child.link.send(bytes([child.level]))

    async def _bury_worker(self, child: Child, worker: UUID, code: int) -> None:
        limit = BURY_LIMIT
        if self._deadline is not None:
            # Stopping: the end must not wait for a database that does not answer.
            limit = min(max(self._deadline.when() - asyncio.get_running_loop().time(), 0.1), 1.0)
        try:
            async with asyncio.timeout(limit):
                await self._bury(worker, spell(code), child.killed or (child.stopping.is_set() and code in IN_ORDER))
        except Exception as error:
            logger.warning("the death of child %d could not be written, its lease runs out by itself: %s",
                           child.number, error or "no answer in time")  # fmt: skip


def introduce(link: socket.socket, *, worker: UUID, share: int | None, url: str, imports_here: bool) -> None:
    """Tell a child, as the first thing on its link, who it is and where the database is.

    Args:
        link: The parent's end.
        worker: Its id.
        share: Of the pools; None: all.
        url: Of the database.
        imports_here: Whether modules of the working directory are imported.
    """
    said = {"worker": str(worker), "share": share, "url": url, "imports_here": imports_here}
    text = json.dumps(said).encode()
    link.sendall(_SIZE.pack(len(text)) + text)


def _read(link: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := link.recv(size - len(found))):
        found += piece
    return found


class Link:
    """A child's end of the link to its supervisor; without a supervisor it does nothing."""

    def __init__(self) -> None:
        self.worker_id: UUID | None = None
        self.share: int | None = None
        self.url: str | None = None
        """Of the database; None: the settings say."""
        self.imports_here = not sys.flags.safe_path
        """Whether modules of the working directory are to be imported."""
        self._socket: socket.socket | None = None
        # Taken out: what jobs start is no child of the supervisor.
        if (descriptor := os.environ.pop(WORKER_LINK, None)) is not None:
            self._socket = socket.socket(fileno=int(descriptor))
            forks.keep_descriptor(self._socket.fileno())
            out_of_memory.be_ended_before_parent()
            self._be_introduced(self._socket)

    def _be_introduced(self, link: socket.socket) -> None:
        [size] = _SIZE.unpack(_read(link, _SIZE.size))
        said = json.loads(_read(link, size))
        self.worker_id, self.share, self.url = UUID(said["worker"]), said["share"], said["url"]
        self.imports_here = said["imports_here"]

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
