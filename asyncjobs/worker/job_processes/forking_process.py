"""The forking process: it imports the modules that define jobs, once, and forks a child process for each attempt."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from asyncjobs.definitions import registry
from asyncjobs.definitions.definition import Definition
from asyncjobs.modules.guarding import unguarded
from asyncjobs.operating_system import forks
from asyncjobs.operating_system.child_processes import command
from asyncjobs.settings import Settings
from asyncjobs.tasks.services import Services
from asyncjobs.worker.job_processes.channel import Channel

logger = logging.getLogger("asyncjobs.worker")

FORKING = "asyncjobs.processes.forking"
"""The module that the forking process runs."""
START_TIMEOUT = 60.0
"""Seconds that importing the modules may take."""
STOP_TIMEOUT = 2.0
AGAIN_AFTER = 60.0
"""Seconds until the forking process is started again after it was killed, or was too slow, at its start."""
NUMBER = struct.Struct("!Q")
"""The number of a child, sent with the request for it: the worker and the forking process name it by that."""


class CannotFork(Exception):
    """No process could be made for an attempt, which has not started; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that the forking process must know to run jobs as this process would.

    Attributes:
        path: Directories in which modules are found.
        modules: Modules that define the kinds known here.
        url: The database, for jobs that enqueue or await.
        settings: The settings of this process.
        log_level: The least level of log records that are sent back.
        refusal: Why no job can be run there, known before any import; empty: no such reason is known.
    """

    path: Sequence[str]
    modules: Sequence[str]
    url: str
    settings: Settings
    log_level: int
    refusal: str = ""


def recipe(url: str, settings: Settings) -> Recipe:
    """Return what the forking process must know, as of now."""
    # Jobs of programs that cannot be imported run in this process alone.
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
    """Whether there is such a module: a name given to `exec` would fail, and with it the imports of all others."""
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


class ForkingProcess:
    """The process that forks the processes of attempts; started when the first is needed, and again when it has ended.

    Args:
        url: The database.
        settings: The settings of this process.
        services: The scope of the task that listens to it.

    Attributes:
        kinds: Kinds that its modules have defined.
        on_up: Called when it has started.
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
        self.kinds: frozenset[str] = frozenset()
        self.on_up: Callable[[], object] = lambda: None

    @property
    def is_up(self) -> bool:
        """Whether the forking process runs, so that an attempt gets its process within milliseconds."""
        return self._process is not None and self._process.returncode is None and self._control is not None

    @property
    def available(self) -> bool:
        """Whether processes can be made; False for a while after the forking process could not be started."""
        return asyncio.get_running_loop().time() >= self._again_at

    def may_run(self, definition: Definition) -> bool:
        """Whether a kind is defined in child processes, as far as is known before the first one."""
        return definition.source.origin.importable and (not self.is_up or definition.kind in self.kinds)

    def fork(self) -> tuple[Channel, int, asyncio.Future[int | None]]:
        """Ask for a process; return the channel to it, its number, and the future of its exit code.

        Raises:
            CannotFork: The forking process is gone.
        """
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

    def kill(self, number: int) -> None:
        """Have a child killed by the forking process; the pid that the child itself sends is not trusted for that."""
        if self._control is not None:
            self._services.start(self._control.send("kill", number), name="kill")

    async def ready(self) -> None:
        """Start the forking process unless it runs.

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
                    )
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
                # Modules that cannot be imported stay so; a machine that is short of memory or time may recover.
                self._again_at = math.inf if what == "failed" else asyncio.get_running_loop().time() + AGAIN_AFTER
                raise CannotFork(f"this job cannot be run in a process of its own: {why}")
            self._control, self.kinds = control, frozenset(answer[1])
            logger.debug("the forking process is ready: pid %d", self._process.pid)
            self._exits = {}
            self._services.start(self._listen(control, self._exits), name="forking process")
            self.on_up()

    async def _listen(self, control: Channel, exits: dict[int, asyncio.Future[int | None]]) -> None:
        """Take in the exit codes of children."""
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
                    waiting.set_result(None)  # the exit code is unknown: the parent is gone

    def close(self) -> None:
        """End the forking process; it kills its children, or if it is gone, they end themselves."""
        if self._requests is not None:
            with contextlib.suppress(OSError):
                self._requests.shutdown(socket.SHUT_RDWR)  # processes forked from this one may hold the socket open
            self._requests.close()
            self._requests = None
        self._control = None

    async def ended(self) -> None:
        """Wait until the forking process has ended after `close`; kill it if it takes too long."""
        if self._process is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._process = None
