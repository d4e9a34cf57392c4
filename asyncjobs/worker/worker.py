"""A worker: its services started in order, and stopped."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

from asyncjobs import logs
from asyncjobs.db import queue_figures
from asyncjobs.db.listening import Listener
from asyncjobs.db.rows import Pulse
from asyncjobs.definitions import registry
from asyncjobs.metrics.counting import Metrics
from asyncjobs.performing.exits_of_tasks import guarded_tasks
from asyncjobs.records.claimed import Claimed
from asyncjobs.settings import Pool as PoolSettings
from asyncjobs.settings import Settings
from asyncjobs.tasks.services import Services
from asyncjobs.worker.burst import nothing_left
from asyncjobs.worker.lease.keeper import Keeper
from asyncjobs.worker.limits.configured import unlimited
from asyncjobs.worker.parts import Parts
from asyncjobs.worker.self_report import SelfReport
from asyncjobs.worker.slots.pools import unserved
from asyncjobs.worker.stopping import LAST_WRITES, Stopping
from asyncjobs.worker.watching.probes import Outside, Probes

logger = logging.getLogger("asyncjobs.worker")

NOBODY = Outside()


class Worker:
    """Runs jobs on this event loop until it is asked to stop.

    Args:
        url: The database.
        settings: Pools, times and limits.
        listener: A listener that is not started yet.
        services: The scope in which the listener and other services run.
        pools: The settings' pools that this process serves, narrowed or not; None: all.
        worker_id: Chosen by a supervisor; None: random.
        share: The number of this process among those of each pool, from 1; None: all pools run here.
        middleware: Runs around every job, the outermost first.
        on_claim: Called with each batch of claimed jobs.
        on_quiet: Awaited when it stops and claims no more, before it gives anything back.
        metrics: Counts what happens here; None: nobody asks, until `count`.
        outside: What asks after this worker.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        listener: Listener,
        services: Services,
        *,
        pools: Sequence[PoolSettings] | None = None,
        worker_id: UUID | None = None,
        share: int | None = None,
        middleware: Sequence[Any] = (),
        on_claim: Callable[[Sequence[Claimed]], None] | None = None,
        on_quiet: Callable[[], Awaitable[object]] | None = None,
        metrics: Metrics | None = None,
        outside: Outside = NOBODY,
    ) -> None:
        self.ready = asyncio.Event()
        """Set once jobs are claimed."""
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._services = services
        self._on_quiet = on_quiet
        self._metrics: Metrics | None = None
        self.parts = Parts(
            url,
            settings,
            [pool for pool in pools or settings.pools if share is None or share <= pool.processes],
            listener,
            services,
            middleware=middleware,
            on_claim=on_claim,
            pulses=outside != NOBODY or metrics is not None,
        )
        self.lease = self.parts.lease
        self._report = SelfReport(self.parts, self.ready, self._stop)
        self.probes = Probes(self.parts.watchdog, settings.loop_dead, self._report.readiness, lambda: self._metrics)
        if metrics is not None:
            self.count(metrics)
        self.keeper = Keeper(
            url,
            self.lease,
            about=self._report.about(),
            host=socket.gethostname(),
            first_id=worker_id,
            report=self._report.beat,
            needed=self.parts.executor.outlasts,
            on_beat=self._on_beat,
            on_cut_off=self._on_cut_off,
            on_lost=self._on_lost,
            beside=self.probes.beside(outside),
        )

    def count(self, metrics: Metrics) -> None:
        """Have metrics count what happens here from now on."""
        self._metrics = self.parts.executor.metrics = metrics
        metrics.worker = self._report.figures
        self.parts.watchdog.lags = metrics.loop_lag
        self.parts.shared.times = metrics.of_worker

    @property
    def held_up_for(self) -> float:
        """Seconds for which nothing was claimed, for want of connections or since no end could be stored."""
        return max(self.parts.connections.trouble.seconds, self.parts.ledger.trouble.seconds)

    @property
    def running(self) -> int:
        """Jobs that run here now."""
        return self.parts.executor.running

    def stop(self) -> None:
        """Stop claiming, let running jobs finish for `shutdown_timeout`, then cancel and release them."""
        self._stop.set()
        self.parts.job_processes.stopping.set()
        if self.running:
            self.keeper.beat_now()  # `status` is to show at once that this worker drains

    def stop_now(self) -> None:
        """Stop, and cancel running jobs at once."""
        self.stop()
        self._stop_now.set()

    async def run(self, *, burst: bool = False) -> None:
        """Run until `stop`; with `burst`, until nothing is left to do.

        Raises:
            DatabaseError: The worker could not register.
        """
        logs.speak_up()
        settings = self.parts.settings
        self.parts.executor.runs_in = asyncio.current_task()
        keeper = self._services.start(self.keeper.run(), name="keeper")
        stopping = Stopping(self.parts, self._services, keeper)
        watchdog = self._services.start(self.parts.watchdog.run(), name="watchdog")
        connections = self._services.start(self.parts.connections.run(), name="connections")
        try:
            await self._unless_over(self.keeper.registered(), keeper)
            await self._connected(keeper)
            for sentence in (*unserved(settings.pools, registry.all_definitions()), *unlimited(settings)):
                logger.warning("%s", sentence)
            with guarded_tasks(), self.parts.listening():
                async with asyncio.TaskGroup() as group:
                    dispatcher = group.create_task(self.parts.dispatcher.run(), name="asyncjobs dispatcher")
                    others = [
                        group.create_task(service.run(), name=f"asyncjobs {type(service).__name__.lower()}")
                        for service in self.parts.run_in_group
                    ]
                    if self._metrics is not None:
                        figures = queue_figures.keep(self.parts.keeping_house, self._metrics)
                        others.append(group.create_task(figures, name="asyncjobs figures of queues"))
                    self.ready.set()
                    await self._until_stopped(keeper, burst=burst)
                    self.parts.dispatcher.stop()
                    await asyncio.wait([dispatcher], timeout=LAST_WRITES)
                    if self._stop.is_set() and self._on_quiet is not None:
                        await self._on_quiet()
                    await stopping.let_finish(self._stop_now)
                    for task in (dispatcher, *others):
                        task.cancel()
        finally:
            self.ready.clear()
            await stopping.end()
            if self._metrics is not None and self._metrics.worker == self._report.figures:
                self._metrics.worker = None
            watchdog.cancel()
            connections.cancel()

    async def _unless_over(self, waiting: Coroutine[Any, Any, object], keeper: asyncio.Task[None]) -> None:
        """Await a coroutine; raise the keeper's error if that ends first, since no job may run without a lease."""
        awaited = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait([awaited, keeper], return_when=asyncio.FIRST_COMPLETED)
            if not awaited.done():
                keeper.result()
            await awaited
        finally:
            awaited.cancel()

    async def _connected(self, keeper: asyncio.Task[None]) -> None:
        """Wait until the connections that a claim requires are open, or until `stop`."""

        async def connected() -> None:
            waits = [asyncio.ensure_future(event.wait()) for event in (self.parts.connections.complete, self._stop)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

        await self._unless_over(connected(), keeper)

    async def _until_stopped(self, keeper: asyncio.Task[None], *, burst: bool) -> None:
        stopped = asyncio.ensure_future(self._stop.wait())
        done = asyncio.ensure_future(nothing_left(self.parts)) if burst else stopped
        try:
            await asyncio.wait([stopped, done, keeper], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            done.cancel()
        if keeper.done() and not self._stop.is_set():
            keeper.result()  # raises the keeper's error: no job may run without a lease

    def _on_beat(self, pulse: Pulse) -> None:
        self.parts.wakeups.alive, self.parts.wakeups.rank = pulse.alive, pulse.rank
        if pulse.quiet != self.lease.quiet:
            self.lease.quiet = pulse.quiet
            logger.warning(
                "this worker %s, as it was told by hand", "claims nothing" if pulse.quiet else "claims again"
            )
            self.parts.dispatcher.look_at_all()
            self.keeper.beat_now()  # others are to see it at once

    def _on_cut_off(self) -> None:
        if self.lease.cut_off and self.parts.executor.let_go():
            logger.error(
                "the database has not answered for %g s: other workers may run this worker's jobs by now; "
                "they are cancelled here, and given back without an attempt spent as soon as it answers",
                self.lease.seconds,
            )

    def _on_lost(self) -> None:
        self.parts.executor.drop_waiting()
        self.parts.executor.cancel_all("lease_lost")
        self.parts.wakeups.wake()
