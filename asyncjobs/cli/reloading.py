"""`asyncjobs run --reload`: a worker that is started again whenever the code changes, for development."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from asyncjobs.cli.command_database import database_url
from asyncjobs.exceptions import AsyncJobsError, InvalidOption
from asyncjobs.operating_system.interpreter import command
from asyncjobs.processes.supervisor import WORKER_LINK, introduce
from asyncjobs.settings import Settings
from asyncjobs.terminal.exits import code_of, describe

logger = logging.getLogger("asyncjobs.reload")

ENDINGS = (".py", ".toml")
"""Of the files whose change counts."""
MARGIN = 3.0
"""Seconds after `shutdown_timeout` at which a worker is killed that does not end."""


class Reloading:
    """This process as one that watches, and keeps a worker running on the code as it is.

    Args:
        settings: In force.
        arguments: The words after `asyncjobs` with which a worker works.
        directory: Watched, with all that is in it.

    Raises:
        InvalidOption: The library that watches is not installed.
    """

    def __init__(self, settings: Settings, arguments: Sequence[str], directory: Path) -> None:
        if importlib.util.find_spec("watchfiles") is None:
            raise InvalidOption("--reload needs watchfiles: pip install 'asyncjobs-pg[reload]'")
        self._settings = settings
        self._command = command("asyncjobs", *arguments)
        self._directory = directory
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._worker: asyncio.subprocess.Process | None = None

    def run(self) -> int:
        """Watch until stopped; return the exit code."""
        return asyncio.run(self._main())

    async def _main(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped)
        try:
            async with database_url(self._settings) as url:
                watching = loop.create_task(self._watch())
                try:
                    return await self._keep_running(url)
                finally:
                    self._stop.set()
                    await watching
        except AsyncJobsError as error:
            for line in describe(error):
                logger.critical("%s", line)
            return code_of(error)

    def _stopped(self) -> None:
        """Pass each signal on: the second one cancels the jobs."""
        self._stop.set()
        if self._worker is not None and self._worker.returncode is None:
            self._worker.terminate()

    async def _watch(self) -> None:
        from watchfiles import awatch

        def counts(_change: object, path: str) -> bool:
            parts = Path(path).relative_to(self._directory).parts
            return path.endswith(ENDINGS) and not any(part.startswith(".") or part == "__pycache__" for part in parts)

        logger.info("watching %s", self._directory)
        async for changes in awatch(self._directory, watch_filter=counts, stop_event=self._stop):
            changed = sorted(str(Path(path).relative_to(self._directory)) for _, path in changes)
            logger.info("changed: %s", ", ".join(changed[:5]) + (" …" if len(changed) > 5 else ""))
            self._changed.set()

    async def _keep_running(self, url: str) -> int:
        while not self._stop.is_set():
            self._changed.clear()
            code = await self._run_one(url)
            if self._stop.is_set() or (code == 0 and not self._changed.is_set()):
                return code
            if not self._changed.is_set():
                logger.error("the worker ended with code %d: it is started again when the code changes", code)
                await self._either(self._changed, self._stop)
        return 0

    async def _run_one(self, url: str) -> int:
        """Run a worker until it ends, or end it when the code changes; return its exit code."""
        ours, theirs = socket.socketpair()
        introduce(ours, worker=uuid4(), share=None, url=url, imports_here=not sys.flags.safe_path)
        with ours:
            with theirs:
                link = str(theirs.fileno())
                self._worker = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    # Out of the terminal's reach: Ctrl-C comes here, and is passed on.
                    start_new_session=True,
                    # When this process is killed, `ours` closes, and the worker stops.
                    env={**os.environ, WORKER_LINK: link},
                )
            worker = self._worker
            if self._stop.is_set():
                worker.terminate()
            ended = asyncio.ensure_future(worker.wait())
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait([ended, changed], return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    worker.terminate()
                    await asyncio.wait([ended], timeout=self._settings.shutdown_timeout + MARGIN)
            finally:
                changed.cancel()
                if worker.returncode is None:
                    worker.kill()
            return await ended

    async def _either(self, *events: asyncio.Event) -> None:
        tasks = [asyncio.ensure_future(event.wait()) for event in events]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
