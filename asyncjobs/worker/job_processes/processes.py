"""Attempts in processes of their own: jobs that have killed processes before, and those that ask for it.

A forking process is started when the first one is needed. It imports the modules that define jobs, once, and forks for each
attempt, or for each group of suspects (10 ms; a fresh interpreter takes 300 and more). The child runs the attempt whole,
policies and hooks included, and sends back what is to be written; lease, slot and ledger stay here. So a child that dies
harms its own jobs alone, it is seen what it died of, and it can be killed: with all that it has started, since each leads a
process group of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from asyncjobs.definitions import registry
from asyncjobs.definitions.definition import Definition
from asyncjobs.logs import arrived
from asyncjobs.modules.guarding import unguarded
from asyncjobs.operating_system import forks
from asyncjobs.operating_system.exit_codes import spell
from asyncjobs.operating_system.interpreter import command
from asyncjobs.performing.attempt import Attempt
from asyncjobs.settings import Settings
from asyncjobs.tasks.services import Services
from asyncjobs.worker.job_processes.channel import Channel
from asyncjobs.worker.job_processes.groups import Group
from asyncjobs.worker.job_processes.sent_outcomes import End, NoEnd, heard
from asyncjobs.worker.job_processes.shared import Line, Shared

logger = logging.getLogger("asyncjobs.worker")

FORKING = "asyncjobs.processes.forking"
"""The module that the forking process runs."""
START_TIMEOUT = 60.0
"""Seconds that importing the modules may take."""
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
STOP_TIMEOUT = 2.0
AGAIN_AFTER = 60.0
"""Seconds until the forking process is tried again that was killed, or late, at its start."""
NUMBER = struct.Struct("!Q")
"""What an attempt's process is called between the worker and the forking process, with the request for it."""


class ChildDied(Exception):
    """The process of an attempt ended without saying how the attempt did; the message says how the process did.

    Args:
        how: The message.
        together: How many attempts have run there, this one included.
    """

    def __init__(self, how: str, *, together: int = 1) -> None:
        super().__init__(how)
        self.together = together


class CannotFork(Exception):
    """There is no process for an attempt, and nothing of it was run; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the forking process must know to run jobs as this one would.

    Attributes:
        path: Where modules are found.
        modules: Those that define the kinds known here.
        url: The database, for jobs that enqueue or await.
        settings: In force here.
        log_level: Least level of log records that are sent back.
        refusal: Why none can be run there, known before anything is imported; empty: nothing is known.
    """

    path: Sequence[str]
    modules: Sequence[str]
    url: str
    settings: Settings
    log_level: int
    refusal: str = ""


def recipe(url: str, settings: Settings) -> Recipe:
    """Return what the forking process must know, as of now."""
    # Those of programs that cannot be imported run in this process alone.
    found = dict.fromkeys(d.source.origin for d in registry.all_definitions() if d.source.origin.importable)
    origins = [origin for origin in found if origin.path or _is_module(origin.name)]
    modules = dict.fromkeys([*settings.imports, *(origin.name for origin in origins)])
    path = dict.fromkeys([*sys.path, *(origin.path for origin in origins if origin.path)])
    level = logging.getLogger().getEffectiveLevel()
    return Recipe(
        path=list(path),
        modules=list(modules),
        url=url,
        settings=settings,
        log_level=level,
        refusal=next(filter(None, map(unguarded, origins)), ""),
    )


def _is_module(name: str) -> bool:
    """Whether there is a module: a name that `exec` was given would keep all the others from being imported."""
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


class JobProcesses:
    """Runs attempts in processes of their own.

    Args:
        url: The database.
        settings: In force here.
        services: The scope of what listens to the processes.
    """

    def __init__(self, url: str, settings: Settings, services: Services) -> None:
        self._url = url
        self._settings = settings
        self._services = services
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._control: Channel | None = None
        self._requests: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._exits: dict[int, asyncio.Future[int | None]] = {}
        self._again_at = -math.inf
        self.stopping = asyncio.Event()
        """Set once the worker stops."""
        self.kinds: frozenset[str] = frozenset()
        """What importing the modules has defined in the forking process."""
        self.on_up: Callable[[], object] = lambda: None
        """Called when the forking process has been started."""

    @property
    def is_up(self) -> bool:
        """Whether the forking process is running, and an attempt would have its process within milliseconds."""
        return self._process is not None and self._process.returncode is None and self._control is not None

    @property
    def available(self) -> bool:
        """Whether processes can be had; not when the forking process could not be started a while ago."""
        return asyncio.get_running_loop().time() >= self._again_at

    def may_run(self, definition: Definition) -> bool:
        """Whether a kind is defined in the processes to be had, as far as that is known before the first."""
        return definition.source.origin.importable and (not self.is_up or definition.kind in self.kinds)

    async def run(self, attempt: Attempt, group: Group | None, *, grace: float) -> End:
        """Run an attempt in a process of its own, or of its group, and return what is to be written about it.

        A cancellation is passed on, and after `grace` seconds the process is killed.

        Raises:
            ChildDied: It ended by itself, and not by ending the attempt.
            CannotFork: It could not be made, for now or, when `available` is false, at all.
            asyncio.CancelledError: The attempt was cancelled, and its process killed before it had answered.
        """
        await self.ready()
        if group is not None and group.most > 1:
            return await self._run_among(group, attempt, grace)
        channel, number, exit_code = self._fork()
        try:
            await channel.send("run", attempt.claimed)
            return await self._follow(channel, attempt, grace, number, exit_code)
        finally:
            channel.close()

    async def _run_among(self, group: Group, attempt: Attempt, grace: float) -> End:
        """Run an attempt in the process of its group, as the first or as a further one."""
        if group.process is None or group.process.over:
            group.process = Shared(*self._fork(), self._services, _log)
        process = group.process
        line = process.join()
        try:
            await line.send("run", attempt.claimed)
            return await self._follow(line, attempt, grace, process.number, process.exit_code)
        except ChildDied as died:
            if process.joined == 1:
                raise
            raise ChildDied(
                f"{died} among {process.joined} suspects there; not charged to it: it runs again among fewer, or alone",
                together=process.joined,
            ) from None
        finally:
            process.leave(line)

    def _fork(self) -> tuple[Channel, int, asyncio.Future[int | None]]:
        """Ask for a process; return the channel to it, its number, and what will hold how it ended."""
        ours, theirs = socket.socketpair()
        number, exits = next(self._numbers), self._exits
        exit_code = exits[number] = asyncio.get_running_loop().create_future()
        exit_code.add_done_callback(lambda _: exits.pop(number, None))
        with theirs:
            try:
                assert self._requests is not None
                socket.send_fds(self._requests, [NUMBER.pack(number)], [theirs.fileno()])
            except OSError as error:
                ours.close()
                exit_code.cancel()
                raise CannotFork(f"the forking process is gone: {error}") from error
        return Channel(ours), number, exit_code

    async def _follow(
        self,
        channel: Channel | Line,
        attempt: Attempt,
        grace: float,
        number: int,
        exit_code: asyncio.Future[int | None],
    ) -> End:
        """Take a child's messages in until it has answered or is gone."""
        loop = asyncio.get_running_loop()
        pid: int | None = None
        killing: asyncio.TimerHandle | None = None
        attempt.on_stop = lambda: self._services.start(channel.send("stop"), name="stop")
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
                    killing = await self._pass_on(channel, attempt, grace, number)
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
                            self._kill(number)  # cancelled before it was there
                    case ["log", record]:
                        _log(record)
                    case ["give_slot_back"]:
                        attempt.give_slot_back()
                    case ["take_slot"]:
                        try:
                            await attempt.take_slot()
                        except asyncio.CancelledError:
                            killing = await self._pass_on(channel, attempt, grace, number)
                        await channel.send("slot")
                    case ["end", end]:
                        return heard(end, attempt.claimed)
                    case _:
                        break
            how = "" if pid is None else await self._how(pid, attempt, number, exit_code)
        except NoEnd as no_end:
            self._kill(number)
            raise ChildDied(f"its process told an end that is refused: {no_end}") from None
        except BaseException:
            self._kill(number)
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

    async def _pass_on(
        self, channel: Channel | Line, attempt: Attempt, grace: float, number: int
    ) -> asyncio.TimerHandle:
        """Tell a child that its attempt was cancelled; return what kills it after `grace` seconds."""
        if attempt.cancel_reason is None:
            raise asyncio.CancelledError  # nobody's who may: a task is cancelled from outside the worker
        if attempt.cancel_reason == "shutdown":
            grace = min(grace, SHUTDOWN_GRACE)
        killing = asyncio.get_running_loop().call_later(grace, self._kill, number)
        await channel.send("cancel", attempt.cancel_reason)
        return killing

    async def _how(self, pid: int, attempt: Attempt, number: int, exit_code: asyncio.Future[int | None]) -> str:
        """Return how a child ended that says nothing more; a stop that came to it first cancels the attempt."""
        where = f"its process {pid} on {socket.gethostname()}"
        await asyncio.wait([exit_code], timeout=REAP_TIMEOUT)
        if not exit_code.done():
            self._kill(number)
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
                await self.stopping.wait()
        return self.stopping.is_set()

    def _kill(self, number: int) -> None:
        """Have a child killed by its parent, who alone knows its process; what it says of that is not believed."""
        if self._control is not None:
            self._services.start(self._control.send("kill", number), name="kill")

    # The forking process

    async def ready(self) -> None:
        """Have the forking process running.

        Raises:
            CannotFork: It could not be started.
        """
        async with self._starting:
            if self.is_up:
                return
            self.close()
            ours, theirs = socket.socketpair()
            requests, taken = socket.socketpair()
            with theirs, taken:
                try:
                    self._process = await asyncio.create_subprocess_exec(
                        *command(FORKING, str(theirs.fileno()), str(taken.fileno())),
                        stdin=subprocess.DEVNULL,
                        pass_fds=[theirs.fileno(), taken.fileno()],
                    )  # fmt: skip
                except OSError as error:
                    ours.close()
                    requests.close()
                    raise CannotFork(f"the forking process cannot be started now: {error}") from error
            self._requests = requests
            forks.keep_descriptor(requests.fileno())
            control = Channel(ours)
            await control.send("recipe", recipe(self._url, self._settings))
            try:
                async with asyncio.timeout(START_TIMEOUT):
                    answer = await control.receive()
            except TimeoutError:
                answer = ["late", f"its modules were not imported within {START_TIMEOUT:g} s"]
            if answer is None or answer[0] != "ready":
                control.close()
                self.close()
                what, why = answer or ["ended", "the forking process ended at once"]
                # That its modules cannot be imported stays so; a machine short of memory or time may be so no more.
                self._again_at = math.inf if what == "failed" else asyncio.get_running_loop().time() + AGAIN_AFTER
                raise CannotFork(f"this job cannot be run in a process of its own: {why}")
            self._control, self.kinds = control, frozenset(answer[1])
            logger.debug("the forking process is ready: pid %d", self._process.pid)
            self._exits = {}
            self._services.start(self._listen(control, self._exits), name="forking process")
            self.on_up()

    async def _listen(self, control: Channel, exits: dict[int, asyncio.Future[int | None]]) -> None:
        """Take in how children ended."""
        try:
            while (message := await control.receive()) is not None:
                match message:
                    case ["exit", int() as number, int() as code]:
                        if (waiting := exits.get(number)) is not None and not waiting.done():
                            waiting.set_result(code)
        finally:
            control.close()
            if self._control is control:
                self._control = None
            for waiting in exits.values():
                if not waiting.done():
                    waiting.set_result(None)  # nobody is left who could tell

    def close(self) -> None:
        """End the forking process; its children are killed by it, or by their own watch when it cannot any more."""
        if self._requests is not None:
            with contextlib.suppress(OSError):
                self._requests.shutdown(socket.SHUT_RDWR)  # whatever was forked from this process meanwhile
            self._requests.close()
            self._requests = None
        self._control = None

    async def ended(self) -> None:
        """Wait until the forking process has ended after `close`, or make it end."""
        if self._process is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._process = None


def _log(fields: Any) -> None:
    """Log what a job has logged in its process, as its logger here would; a record or a handler that raises harms nobody."""
    with contextlib.suppress(Exception):
        found = arrived(fields)
        logger = logging.getLogger(found.name)
        if logger.isEnabledFor(found.levelno):
            logger.handle(found)
