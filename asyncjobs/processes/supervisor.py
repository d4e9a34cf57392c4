"""Worker processes, kept alive by one that runs no jobs; see `asyncjobs.processes.link`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

from asyncjobs.db import workers
from asyncjobs.db.sessions import Sessions
from asyncjobs.operating_system.child_processes import spell
from asyncjobs.probes.relay import Asking
from asyncjobs.processes.link import GO_ON, QUIET, READY, WORKER_LINK, introduce
from asyncjobs.tasks.shielding import shielded

logger = logging.getLogger("asyncjobs.supervisor")

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


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """What is started in each place, and how long it may take to end.

    Attributes:
        command: What a child runs.
        url: The database, which is told over the link: an environment is handed on to what jobs start.
        shutdown_timeout: What the children give their jobs.
        imports_here: Whether modules of the working directory are imported.
        own_session: Whether each leads a session: a terminal's Ctrl-C then comes to the supervisor alone.
        log: Where they write, appended to; None: where the supervisor does.
        relays: Whether they can be asked how they are.
    """

    command: Sequence[str]
    url: str
    shutdown_timeout: float
    imports_here: bool = not sys.flags.safe_path
    own_session: bool = False
    log: Path | None = None
    relays: bool = False


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
        self.relay: Asking | None = None
        """Over which its process is asked how it is."""
        self.ready = asyncio.Event()
        """Set once any process here has claimed jobs."""
        self.listens = False
        """Whether its process is ready, and hears what it is told over the link."""
        self.claims = False
        """Whether it claims jobs now."""
        self.level = 0
        """How far its process was told to stop."""
        self.leaving = False
        """Whether the place is given up: no other process follows."""
        self.told = asyncio.Event()
        """Set once its process is to stop."""
        self.deadline: asyncio.TimerHandle | None = None
        """At which its process is killed."""
        self.killed = False
        """Whether its process was killed as it did not stop in time."""
        self.deaths = 0
        """Processes that died here, one soon after the other."""


class Next(NamedTuple):
    """What follows on the death of a child's process."""

    pause: float | None = None
    """Seconds until another one is started in its place; None: none is."""
    code: int | None = None
    """The exit code with which all are stopped; None: the others go on."""


class KeepRunning:
    """What a death means where children are to run for ever: another one is started, after a pause that grows.

    Args:
        ends_alone: A child that ends with code 0 has nothing left to do; otherwise somebody stopped it by hand, and it is
            started again.
    """

    def __init__(self, *, ends_alone: bool) -> None:
        self._ends_alone = ends_alone

    def __call__(self, child: Child, code: int) -> Next:
        """Return what follows on the exit code of its process, negative for a signal."""
        if code in START_FAILURES and not child.ready.is_set():
            logger.critical("child %d cannot start: it ended (%s); stopping all", child.number, spell(code))
            return Next(code=code)
        if code == 0 and self._ends_alone:
            return Next()
        pause = min(FIRST_PAUSE * 2 ** min(child.deaths - 1, 10), LONGEST_PAUSE)
        logger.warning("child %d ended (%s); starting it again in %g s", child.number, spell(code), pause)
        return Next(pause)


class Supervisor:
    """Starts children, starts them again, and stops them.

    Args:
        spec: What a child is.
        on_death: Decides what follows on the death of a process that was not told to stop.
        shares: One for each child: its share of the pools; None: all of them.
        on_ready: Called each time a process claims jobs.
        on_replaced: Called when what `replace` has begun is over, well or not.
    """

    def __init__(
        self,
        spec: ChildSpec,
        on_death: Callable[[Child, int], Next],
        *,
        shares: Sequence[int | None] = (None,),
        on_ready: Callable[[Child], object] = lambda _: None,
        on_replaced: Callable[[], object] = lambda: None,
    ) -> None:
        self._spec = spec
        self._on_death = on_death
        self._on_ready = on_ready
        self._on_replaced = on_replaced
        self._children = [Child(number, share) for number, share in enumerate(shares, 1)]
        self._keepers: dict[Child, asyncio.Task[None]] = {}
        """Of the children in their places, and of those that leave theirs or are to get one."""
        self._level = 0
        self._replacing = asyncio.Event()
        self._code = 0
        self._sessions = Sessions(spec.url, size=1, name="asyncjobs supervisor", deadline=BURY_LIMIT)

    @property
    def children(self) -> list[Child]:
        """The places, from child 1 on."""
        return self._children

    async def run(self) -> int:
        """Keep every child running until `stop`, or until all have ended by themselves; return the exit code.

        Cancelled, it stops them first: none runs when this has returned.
        """
        return await shielded(self._run(), on_cancel=partial(self.stop, 1))

    async def _run(self) -> int:
        try:
            async with asyncio.TaskGroup() as group:
                for child in self._children:
                    self._start(child, group)
                rolling = group.create_task(self._roll(group), name="asyncjobs replacing")
                while self._keepers:
                    await asyncio.wait(self._keepers.values(), return_when=asyncio.FIRST_COMPLETED)
                rolling.cancel()
        finally:
            for child in {*self._children, *self._keepers}:
                self._kill(child)
            self._sessions.close()
        return self._code

    def stop(self, level: int) -> None:
        """Tell the children to stop (1), or to stop now (2); whoever is alive a while after is killed."""
        self._level = max(level, self._level)
        for child in self._keepers:
            self._leave(child, level)
        self._let_go_on()

    def restart(self) -> None:
        """Stop the process of each child, and start another as soon as it has ended, or at once where none runs."""
        for child in self._keepers:
            self._ask(child, 1)

    def replace(self) -> None:
        """Replace each child by a new process, one after the other; one that does not become ready ends that."""
        self._replacing.set()

    def send(self, number: int) -> None:
        """Pass a signal on that does not stop, such as SIGQUIT."""
        for child in self._keepers:
            if child.process is not None and child.process.returncode is None:
                child.process.send_signal(number)

    def _leave(self, child: Child, level: int) -> None:
        """Give a place up: its process stops, and no other follows."""
        child.leaving = child.leaving or level > 0
        self._ask(child, level)

    def _ask(self, child: Child, level: int) -> None:
        """Tell the process in a place to stop, and kill it when it does not in time."""
        if level <= child.level:
            return
        child.level = level
        child.told.set()
        self._tell(child, level)
        loop = asyncio.get_running_loop()
        limit = LAST_CALL + (self._spec.shutdown_timeout if level == 1 else 0)
        if child.deadline is None or child.deadline.when() > loop.time() + limit:
            if child.deadline is not None:
                child.deadline.cancel()
            child.deadline = loop.call_later(limit, self._kill, child)

    def _kill(self, child: Child) -> None:
        if child.process is not None and child.process.returncode is None:
            logger.error("child %d (pid %d) did not end in time: killed", child.number, child.process.pid)
            child.killed = True
            child.process.kill()

    def _start(self, child: Child, group: asyncio.TaskGroup) -> asyncio.Task[None]:
        keeper = self._keepers[child] = group.create_task(self._keep(child), name=f"asyncjobs child {child.number}")
        keeper.add_done_callback(lambda _: self._keepers.pop(child))
        self._leave(child, self._level)
        return keeper

    async def _roll(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._replacing.wait()
            self._replacing.clear()
            logger.info("replacing %d worker processes, one after the other", len(self._children))
            for place in range(len(self._children)):
                if self._level or not await self._replace_one(place, group):
                    break
            self._on_replaced()

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
            self._kill(new)
            return False
        new.on_trial = False
        self._children[place] = new
        self._leave(old, 1)
        if (leaving := self._keepers.get(old)) is not None:
            await asyncio.wait([leaving])
        logger.info("child %d was replaced", new.number)
        return True

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        while not child.leaving:
            begun, worker = loop.time(), uuid4()
            if child.deadline is not None:
                child.deadline.cancel()  # of one that was told while nothing ran here
            child.level, child.deadline, child.killed = 0, None, False
            child.told.clear()
            try:
                code = await self._run_one(child, worker)
            except OSError as error:
                logger.warning("child %d cannot be started: %s", child.number, error)
                code = 1
            await self._bury(child, worker, code)
            if child.leaving or child.on_trial:
                return
            if child.told.is_set():
                continue
            child.deaths = 1 if loop.time() - begun > STEADY else child.deaths + 1
            following = self._on_death(child, code)
            if following.code is not None:
                self._code = following.code
                self.stop(1)
            if following.pause is None:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(following.pause):
                    await child.told.wait()

    async def _run_one(self, child: Child, worker: UUID) -> int:
        """Run one process in a child's place; return how it ended."""
        ours, theirs = socket.socketpair()
        spec, loop = self._spec, asyncio.get_running_loop()
        asking, asked = socket.socketpair() if spec.relays else (None, None)
        introduce(
            ours,
            worker=worker,
            share=child.share,
            url=spec.url,
            imports_here=spec.imports_here,
            relay=None if asked is None else asked.fileno(),
        )
        ours.setblocking(False)
        with ours, contextlib.ExitStack() as stack:
            stack.enter_context(theirs)
            if asking is not None and asked is not None:
                stack.enter_context(asked)
                child.relay = Asking(asking)
            log = None if spec.log is None else stack.enter_context(spec.log.open("ab"))
            child.process = await asyncio.create_subprocess_exec(
                *spec.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno(), *([] if asked is None else [asked.fileno()])],
                start_new_session=spec.own_session,
                env={**os.environ, WORKER_LINK: str(theirs.fileno())},
            )
            stack.close()
            child.link = ours
            logger.info("child %d started: pid %d, worker %s", child.number, child.process.pid, worker)
            loop.add_reader(ours, self._heard, child)
            if child.level:
                self._tell(child, child.level)  # asked to stop while it was being started
            try:
                return await child.process.wait()
            finally:
                child.link, child.listens, child.claims = None, False, False
                if child.relay is not None:
                    child.relay.close()
                    child.relay = None
                loop.remove_reader(ours)
                if child.deadline is not None:
                    child.deadline.cancel()
                self._let_go_on()

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
        if READY in said:
            child.listens = child.claims = True
            child.ready.set()
            self._on_ready(child)
        if QUIET in said:
            child.claims = False
            self._let_go_on()

    def _let_go_on(self) -> None:
        """Let those go on that claim no more, to give back what they have; when all stop, not before the last of them.

        Else another one claims what was just given back, and gives it back once more.
        """
        if not self._level or not any(child.claims for child in self._keepers):
            for child in self._keepers:
                if child.listens and not child.claims:
                    self._tell(child, GO_ON)

    def _tell(self, child: Child, word: int) -> None:
        if child.link is not None:
            with contextlib.suppress(OSError):  # it has just ended
                child.link.send(bytes([word]))
            if not child.listens and child.process is not None and child.process.returncode is None:
                child.process.terminate()  # it may be importing what it is to run, for as long as that takes

    async def _bury(self, child: Child, worker: UUID, code: int) -> None:
        """Declare the worker of a reaped process dead and say how it ended, so that its jobs are rescued at once.

        When it was told to stop they are given back unspent.
        """
        limit = BURY_LIMIT
        if self._level and child.deadline is not None:
            # The end must not wait for a database that does not answer.
            limit = min(max(child.deadline.when() - asyncio.get_running_loop().time(), 0.1), 1.0)
        write = workers.release if child.killed or (child.level and code in IN_ORDER) else workers.end
        try:
            async with asyncio.timeout(limit):
                await self._sessions.run(lambda connection: write(connection, worker, spell(code)))
        except Exception as error:
            logger.warning("the death of child %d could not be written, its lease runs out by itself: %s",
                           child.number, error or "no answer in time")  # fmt: skip
