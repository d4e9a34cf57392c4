"""`asyncjobs run` as a supervisor: of several workers, or of one that runs changed code anew."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence

from asyncjobs.cli.command_database import database_url
from asyncjobs.cli.reloading import Reloading
from asyncjobs.db import checking, migrating, reading
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import translating
from asyncjobs.exceptions import AsyncJobsError
from asyncjobs.operating_system.child_processes import command
from asyncjobs.processes.signals import Signals
from asyncjobs.processes.supervisor import ChildSpec, KeepRunning, Supervisor
from asyncjobs.processes.worker_process import Plan, refuse_standby
from asyncjobs.settings import Pool
from asyncjobs.terminal.exits import code_of, describe

logger = logging.getLogger("asyncjobs.supervisor")

MARGIN = 2.5
"""Seconds after `shutdown_timeout` at which the supervisor itself ends; its children have ended or were killed by then."""


def shares(pools: Sequence[Pool], processes: int | None) -> list[int | None]:
    """Return the share of each child; one alone needs no supervisor.

    Args:
        pools: Those that are served, each with its number of processes.
        processes: Every pool in so many; None: as the pools say.
    """
    if processes is not None:
        return [None] * processes
    most = max(pool.processes for pool in pools)
    return list(range(1, most + 1)) if most > 1 else [None]


class Supervising:
    """This process as the supervisor of children that work.

    Args:
        plan: What a single worker would do.
        arguments: The words after `asyncjobs` with which a child does that.
        shares: One for each child.
        reloading: Says when the code has changed; None: nobody looks.
    """

    def __init__(
        self,
        plan: Plan,
        arguments: Sequence[str],
        shares: Sequence[int | None] = (None,),
        *,
        reloading: Reloading | None = None,
    ) -> None:
        self._plan = plan
        self._arguments = arguments
        self._shares = shares
        self._reloading = reloading
        self._supervisor: Supervisor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signals = Signals(
            plan.settings.shutdown_timeout,
            self._children,
            margin=MARGIN,
            on_quit=self._pass_quit_on,
            on_hangup=self._replace,
        )

    def run(self) -> int:
        """Supervise until stopped; return the exit code."""
        self._signals.install()
        return asyncio.run(self._main())

    async def _main(self) -> int:
        loop = self._loop = asyncio.get_running_loop()
        opening = asyncio.current_task()
        try:
            # While the database is being opened there is nothing to stop but that.
            self._signals.on_level(lambda _: loop.call_soon_threadsafe(opening.cancel) if opening else None)
            async with database_url(self._plan.settings) as url:
                if self._plan.settings.database_url and self._reloading is None:
                    await self._prepare(url)
                return await self._supervise(url)
        except AsyncJobsError as error:
            for line in describe(error):
                logger.critical("%s", line)
            return code_of(error)
        except asyncio.CancelledError:
            return 0

    async def _prepare(self, url: str) -> None:
        """Migrate if that is asked for; what every child would fail with is said here, and once."""
        connection = await connect(url, name="asyncjobs start")
        try:
            with translating(url):
                refuse_standby(await reading.server(connection))
                made = await migrating.migrate(connection) if self._plan.migrate else []
                for migration in made:
                    logger.info("applied %s", migration)
                await checking.check(connection)
        finally:
            connection.terminate()

    async def _supervise(self, url: str) -> int:
        spec = ChildSpec(
            command=command("asyncjobs", *self._arguments, write_bytecode=self._reloading is None),
            url=url,
            shutdown_timeout=self._plan.settings.shutdown_timeout,
            own_session=self._reloading is not None,
        )
        on_death = self._reloading or KeepRunning(ends_alone=self._plan.burst)
        supervisor = self._supervisor = Supervisor(spec, on_death, shares=self._shares)
        loop = asyncio.get_running_loop()
        self._signals.on_level(lambda level: loop.call_soon_threadsafe(supervisor.stop, level))
        if self._reloading is not None:
            async with self._reloading.watching(supervisor.restart):
                return await supervisor.run()
        logger.info("supervising %d worker processes", len(self._shares))
        return await supervisor.run()

    def _children(self) -> list[str]:
        if self._supervisor is None:
            return []
        return [f"child {c.number} (pid {c.process.pid})" for c in self._supervisor.children if c.process is not None]

    def _replace(self) -> None:
        logger.info("received SIGHUP")
        if self._supervisor is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._supervisor.replace)

    def _pass_quit_on(self) -> None:
        if self._supervisor is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._supervisor.send, signal.SIGQUIT)
