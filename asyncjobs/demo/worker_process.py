"""The demo's worker: a process that runs `asyncjobs run`, started again when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import asyncjobs
from asyncjobs.processes.supervisor import READY, WORKER_LINK, introduce

MOST_DEATHS = 5
"""Of workers, before the demo gives up."""
START_LIMIT = 30.0
"""Seconds for a worker to be ready; it gives up by itself before."""
STOP_LIMIT = 5.0
"""Seconds for a worker to end when it is asked to; more than `shutdown_timeout` and what it promises to need."""
TAIL = 15  # lines


class WorkerGone(Exception):
    """No worker can be kept alive; `tail` is the end of its log."""

    def __init__(self, why: str, tail: str) -> None:
        self.tail = tail
        super().__init__(why)


class WorkerProcess:
    """Keeps a worker process at work: when one dies, another follows.

    Args:
        modules: What defines its jobs.
        environment: Its settings.
        url: The database.
        log: Where it writes; appended to.
        bury: Told the id of a worker that died, so that its jobs run again at once and not after its lease.
        on_ready: Called with a worker's pid when it claims jobs.
        on_death: Called with what to say of a death.
    """

    def __init__(
        self,
        *modules: str,
        environment: Mapping[str, str],
        url: str,
        log: Path,
        bury: Callable[[UUID], Awaitable[object]],
        on_ready: Callable[[int], object],
        on_death: Callable[[str], object],
    ) -> None:
        # -P: neither the working directory nor what lies in it takes part.
        self._command = [sys.executable, "-P", "-m", "asyncjobs", "run", *modules]
        self._environment = {**importable(), **environment}
        self._url = url
        self._log = log
        self._bury = bury
        self._on_ready = on_ready
        self._on_death = on_death
        self.ready = asyncio.Event()
        """Set once the first worker claims jobs."""
        self.deaths = 0

    async def run(self) -> None:
        """Keep a worker running until cancelled; none runs when this has returned.

        Raises:
            WorkerGone: It cannot be started, or has died too often.
        """
        while True:
            worker, was_ready = uuid4(), asyncio.Event()
            code = await self._run_one(worker, was_ready)
            how = spell(code)
            self.deaths += 1
            if code >= 0 and not was_ready.is_set():
                raise WorkerGone(f"the worker process ended {how} before it was ready", self.tail())
            if self.deaths >= MOST_DEATHS:
                raise WorkerGone(f"the worker process died {self.deaths} times, now {how}", self.tail())
            self._on_death(f"the worker process ended {how}: another one takes its jobs over")
            await self._bury(worker)

    async def _run_one(self, worker: UUID, was_ready: asyncio.Event) -> int:
        """Run a process to its end, or end it when cancelled; return its exit code, minus the signal that ended it."""
        ours, theirs = socket.socketpair()
        introduce(ours, worker=worker, share=None, url=self._url, imports_here=False)
        with ours, theirs, self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                # Out of the terminal's reach: at ^C the client decides what happens, and in which order.
                start_new_session=True,
                # When the client is killed `ours` closes, and the worker stops.
                env={**self._environment, WORKER_LINK: str(theirs.fileno())},
            )
            theirs.close()
            try:
                await self._until_ready(ours, process.pid, was_ready)
                return await process.wait()
            finally:
                await end(process)

    async def _until_ready(self, link: socket.socket, pid: int, was_ready: asyncio.Event) -> None:
        link.setblocking(False)
        try:
            async with asyncio.timeout(START_LIMIT):
                said = await asyncio.get_running_loop().sock_recv(link, 1)
        except TimeoutError:
            raise WorkerGone(f"the worker process was not ready within {START_LIMIT:g} s", self.tail()) from None
        except ConnectionError:
            return  # it is gone
        if said == READY:
            was_ready.set()
            self.ready.set()
            self._on_ready(pid)

    def tail(self) -> str:
        """Return the last lines of the log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-TAIL:])


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process: asked first, killed when it does not listen; it is gone, and reaped, when this returns."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGCONT)  # one that was stopped hears nothing else
    process.terminate()
    try:
        async with asyncio.timeout(STOP_LIMIT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def importable() -> dict[str, str]:
    """Return an environment in which a process finds this very package, and no setting of another project."""
    kept = without_settings(os.environ)
    root = str(Path(asyncjobs.__file__).parents[1])
    if Path(root) == Path.cwd():  # run out of a checkout, which need not be installed
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return kept


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out every variable that would lead asyncjobs or its driver to another database, or to other settings."""
    ours = ("ASYNCJOBS_PG_BIN", "ASYNCJOBS_LOG_LEVEL")
    return {
        name: value for name, value in environment.items() if name in ours or not name.startswith(("ASYNCJOBS_", "PG"))
    }


def spell(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
