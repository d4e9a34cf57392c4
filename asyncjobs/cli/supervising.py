"""`asyncjobs run` as a supervisor: of several workers, or of one that runs changed code anew."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from asyncjobs.cli.command_database import database_url
from asyncjobs.cli.reloading import Reloading
from asyncjobs.db import checking, migrating, reading
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import translating
from asyncjobs.exceptions import AsyncJobsError
from asyncjobs.operating_system.child_processes import command
from asyncjobs.probes.listening import listen
from asyncjobs.probes.responder import Responder
from asyncjobs.processes.signals import Signals
from asyncjobs.processes.supervisor import Child, ChildSpec, KeepRunning, Supervisor
from asyncjobs.processes.supervisor_probes import SupervisorProbes
from asyncjobs.processes.worker_process import Plan, refuse_standby
from asyncjobs.settings import Pool
from asyncjobs.tasks.services import Services
from asyncjobs.terminal.exits import code_of, describe
from asyncjobs.worker.watching.probes import feed

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
        self._service_manager = plan.service_manager
        self._was_ready = False
        """Whether all children have been ready."""
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
            relays=bool(self._plan.settings.http or self._service_manager),
        )
        on_death = self._reloading or KeepRunning(ends_alone=self._plan.burst)
        supervisor = self._supervisor = Supervisor(
            spec, on_death, shares=self._shares, on_ready=self._one_is_ready, on_replaced=self._is_ready
        )
        self._signals.on_level(partial(self._told_to_stop, asyncio.get_running_loop(), supervisor))
        async with self._probed(supervisor):
            if self._reloading is not None:
                async with self._reloading.watching(supervisor.restart):
                    return await supervisor.run()
            logger.info("supervising %d worker processes", len(self._shares))
            return await supervisor.run()

    @asynccontextmanager
    async def _probed(self, supervisor: Supervisor) -> AsyncIterator[None]:
        """Answer probes, and feed the watchdog of the service manager, for all children."""
        probes, manager = (
            SupervisorProbes(lambda: supervisor.children, self._plan.settings.loop_dead),
            self._service_manager,
        )
        async with AsyncExitStack() as stack:
            services = Services()
            stack.push_async_callback(services.close)
            if self._plan.settings.http:
                listening = stack.enter_context(listen(self._plan.settings.http))
                services.start(Responder(probes.answers).serve(listening), name="probes")
            if manager is not None and manager.watchdog is not None:
                services.start(feed(manager, manager.watchdog, probes.livez), name="watchdog of the service manager")
            yield

    def _one_is_ready(self, _child: Child) -> None:
        if self._supervisor is None or self._was_ready:
            return  # one that was started again or takes another's place: only `on_replaced` ends a reload
        self._was_ready = all(child.ready.is_set() for child in self._supervisor.children)
        if self._was_ready:
            self._is_ready()

    def _is_ready(self) -> None:
        if self._service_manager is not None:
            self._service_manager.ready()

    def _told_to_stop(self, loop: asyncio.AbstractEventLoop, supervisor: Supervisor, level: int) -> None:
        if self._service_manager is not None:
            self._service_manager.stopping(self._plan.settings.shutdown_timeout + MARGIN)
        loop.call_soon_threadsafe(supervisor.stop, level)

    def _children(self) -> list[str]:
        if self._supervisor is None:
            return []
        return [f"child {c.number} (pid {c.process.pid})" for c in self._supervisor.children if c.process is not None]

    def _replace(self) -> None:
        logger.info("received SIGHUP")
        if self._supervisor is not None and self._loop is not None:
            if self._service_manager is not None:
                self._service_manager.reloading()
            self._loop.call_soon_threadsafe(self._supervisor.replace)

    def _pass_quit_on(self) -> None:
        if self._supervisor is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._supervisor.send, signal.SIGQUIT)
