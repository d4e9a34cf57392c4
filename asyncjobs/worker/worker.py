"""A worker: its services assembled, started in order, and stopped in two phases."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from asyncjobs import logs
from asyncjobs.db import queue_figures, workers
from asyncjobs.db.connecting import PINNED_PLANS, Connection
from asyncjobs.db.listening import BATCHES, CANCEL, DUE, LIMITS, PAUSES, READY, RECURRING, Listener
from asyncjobs.db.rows import Pulse
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.transactions import isolated_sessions
from asyncjobs.definitions import registry
from asyncjobs.exceptions import DatabaseError
from asyncjobs.jobs.declared_schedules import declared
from asyncjobs.metrics.counting import Metrics, WorkerFigures
from asyncjobs.performing.exits_of_tasks import guarded_tasks
from asyncjobs.records.claimed import Claimed
from asyncjobs.settings import Pool as PoolSettings
from asyncjobs.settings import Settings
from asyncjobs.tasks.services import Services
from asyncjobs.values import codec
from asyncjobs.version import VERSION
from asyncjobs.worker.claiming.dispatcher import MOST_CLAIMS, Dispatcher
from asyncjobs.worker.claiming.wakeups import Wakeups
from asyncjobs.worker.connection_shares import ConnectionShare
from asyncjobs.worker.connections import GROW_AFTER, SHARED, Connections
from asyncjobs.worker.duties.batch_finisher import BatchFinisher
from asyncjobs.worker.duties.canceller import Canceller
from asyncjobs.worker.duties.janitor import Janitor
from asyncjobs.worker.duties.recurring import Recurring
from asyncjobs.worker.duties.timekeeper import Timekeeper
from asyncjobs.worker.job_processes.job_processes import JobProcesses
from asyncjobs.worker.lease import worker_report
from asyncjobs.worker.lease.keeper import Keeper, Lease
from asyncjobs.worker.limits.admission import Admission
from asyncjobs.worker.limits.configured import unlimited
from asyncjobs.worker.running.executor import Executor
from asyncjobs.worker.slots.pauses import Pauses
from asyncjobs.worker.slots.pools import Pool, unserved
from asyncjobs.worker.watching.probes import Outside, Probes
from asyncjobs.worker.watching.waits import Counts
from asyncjobs.worker.watching.watchdog import Watchdog
from asyncjobs.worker.writing.ledger import Ledger
from asyncjobs.worker.writing.live_writer import LiveWriter
from asyncjobs.worker.writing.step_recorder import MOST_ISOLATED, StepWriter

logger = logging.getLogger("asyncjobs.worker")

NOBODY = Outside()
QUIET = "it was told to be quiet, in the dashboard"
LOOK_AGAIN = 0.2
"""Seconds between looks for jobs of dead workers, before a burst ends."""
LAST_WRITES = 2.0
"""Seconds, at the very end, for the last ends of jobs to be written, and then for the end of the worker."""


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
        self._settings = settings
        self._url = url
        self._listener = listener
        self._services = services
        self._declaration = declared(settings)
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._on_quiet = on_quiet
        self.ready = asyncio.Event()
        """Set once jobs are claimed."""
        self.lease = Lease(settings.lease)
        self.served = [pool for pool in pools or settings.pools if share is None or share <= pool.processes]
        """The settings of the pools that this process runs."""
        self.pools = [Pool(n, pool, settings.dispatcher.batch_size) for n, pool in enumerate(self.served, 1)]
        self.wakeups = Wakeups(self.pools)
        self._shared = self._sessions()
        # A long rescue must not make the timekeeper late.
        claiming, self._keeping_house = ConnectionShare(self._shared, MOST_CLAIMS), ConnectionShare(self._shared, 2)
        self.batch_finisher = BatchFinisher(self._keeping_house, lambda: self.wakeups.rank)
        self.ledger = Ledger(ConnectionShare(self._shared, 1), self.wakeups.wake, self.batch_finisher.ended)
        self.job_processes = JobProcesses(url, settings, services)
        self._isolated = isolated_sessions(url, size=MOST_ISOLATED, deadline=settings.lease)
        self.connections = Connections(self._shared, self._isolated, self.wakeups.wake)
        self.recorder = StepWriter(
            ConnectionShare(self._shared, 1),
            self._isolated,
            lambda attempt: self.executor.cancel(attempt, "lease_lost"),
            most=settings.max_recorded,
            room=self.connections.complete,
        )
        self.live = LiveWriter(
            ConnectionShare(self._shared, 1), lambda attempt: self.executor.cancel(attempt, "lease_lost")
        )
        self.pauses = Pauses(
            self._keeping_house,
            settings.dispatcher.polling_interval,
            on_pause=self._on_pause,
            on_resume=self._on_resume,
        )
        self.executor = Executor(
            self.pools,
            self.ledger,
            retention=settings.retention,
            middleware=middleware,
            cleanup_timeout=settings.cleanup_timeout,
            max_interruptions=settings.max_interruptions,
            version_grace=settings.version_grace,
            log_jobs=settings.log_jobs,
            isolate_suspects=settings.isolate_suspects,
            job_processes=self.job_processes,
            writer=self.recorder,
            live=self.live,
            on_room=self.wakeups.wake,
            on_crash=self.wakeups.expect_suspects,
            pauses=self.pauses,
        )
        self.dispatcher = Dispatcher(
            pools=self.pools,
            sessions=claiming,
            executor=self.executor,
            ledger=self.ledger,
            lease=self.lease,
            is_connected=lambda: self.connections.are_complete,
            wakeups=self.wakeups,
            polling_interval=settings.dispatcher.polling_interval,
            has_rates=lambda: self.admission.has_rates,
            pauses=self.pauses,
            on_claim=on_claim,
        )
        self.canceller = Canceller(self._keeping_house, self.lease, self.executor, settings.dispatcher.polling_interval)
        self.timekeeper = Timekeeper(self._keeping_house, lambda: self.wakeups.rank)
        self.admission = Admission(
            self._keeping_house, lambda: self.wakeups.rank, settings.limits if settings.has_config else None
        )
        self.recurring = Recurring(
            self._keeping_house,
            self._declaration,
            self.lease,
            lambda: self.wakeups.rank,
            lambda: listener.deaf,
        )
        self.executor.use(self.admission)
        kept = [settings.retention, *(d.options.retention or 0 for d in registry.all_definitions())]
        self.janitor = Janitor(
            self._keeping_house,
            self.lease,
            lambda: self.wakeups.alive,
            retention=max(kept),
            on_rescue=self._on_rescue,
        )
        self._metrics: Metrics | None = None
        asked = outside != NOBODY or metrics is not None
        self.watchdog = Watchdog(settings.loop_warning, self.executor.attempt_of, pulses=asked)
        self.probes = Probes(self.watchdog, settings.loop_dead, self.readiness, lambda: self._metrics)
        if metrics is not None:
            self.count(metrics)
        self._lag: float | None = None
        self._waits: dict[str, Counts] = {}
        self._figures_until = 0.0
        self.keeper = Keeper(
            url,
            self.lease,
            about=self._about(),
            host=socket.gethostname(),
            first_id=worker_id,
            report=self._report,
            needed=self.executor.outlasts,
            on_beat=self._on_beat,
            on_cut_off=self._on_cut_off,
            on_lost=self._on_lost,
            beside=self.probes.beside(outside),
        )

    def _sessions(self) -> Sessions:
        # The role's own statement_timeout may be too short for a month of partitions, which would then be tried for ever.
        # With ours, a statement that was given up at the deadline ends on the server, too. The lock_timeout is short, since
        # other services may wait for the connection.
        seconds = self._settings.lease
        limits = {"statement_timeout": f"{seconds * 1000:.0f}ms", "lock_timeout": "200ms"}
        return Sessions(
            self._url,
            size=SHARED,
            name="asyncjobs worker",
            settings=PINNED_PLANS | limits,
            deadline=seconds,
            keep=seconds / 2,
            least=1,
            grow_after=GROW_AFTER,
        )

    def _about(self) -> str:
        return codec.dumps(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "version": VERSION,
                "pools": [{"queues": list(pool.queues), "concurrency": pool.concurrency} for pool in self.served],
                "kinds": registry.all_names(),
                "recurring": self._declaration.version,
            }
        )

    def _report(self) -> str:
        # What changes all the time is taken every few seconds: each change writes the whole row of the worker.
        now = time.monotonic()
        if now >= self._figures_until:
            self._figures_until = now + worker_report.FIGURES_FOR
            self._lag, self._waits = self.watchdog.longest_lag(), self.executor.waits.recent()
        return worker_report.write(
            draining=self._stop.is_set(),
            stuck=self.executor.stuck(),
            blocked=self.watchdog.blocks(),
            claims_nothing=self.connections.trouble.reason
            or self.ledger.trouble.reason
            or (QUIET if self.lease.quiet else ""),
            left_out=self.recurring.left_out.values(),
            lag=self._lag,
            waits=self._waits,
        )

    def count(self, metrics: Metrics) -> None:
        """Have metrics count what happens here from now on."""
        self._metrics = self.executor.metrics = metrics
        metrics.worker = self._figures
        self.watchdog.lags = metrics.loop_lag
        self._shared.times = metrics.of_worker

    def _figures(self) -> WorkerFigures:
        return WorkerFigures(
            pools=[(pool.number, pool.concurrency, pool.running) for pool in self.pools],
            ready=not self.readiness()[0],
            listening=not self._listener.deaf,
            unwritten=self.ledger.unwritten,
            loop_blocked=self.watchdog.blocked_for(),
            rescued=self.janitor.rescued,
        )

    def readiness(self) -> tuple[list[str], dict[str, Any]]:
        """Return why no jobs are claimed here now, a sentence each, and facts to show; from any thread."""
        lease, claims_nothing = self.lease, self.connections.trouble.reason or self.ledger.trouble.reason
        problems = [
            *(["it stops"] if self._stop.is_set() else []),
            *(["it does not claim jobs yet"] if not self.ready.is_set() and not self._stop.is_set() else []),
            *(["its lease is over"] if lease.worker is not None and lease.over else []),
            *([f"the lease could not be renewed: {lease.trouble}"] if lease.trouble else []),
            *([claims_nothing] if claims_nothing else []),
        ]
        return problems, {
            "worker": None if lease.worker is None else str(lease.worker),
            "lease": None if lease.worker is None else round(max(lease.ends_in, 0.0), 3),
            "notices": "polled" if self._listener.deaf else "heard",
            "running": self.running,
        }

    @property
    def held_up_for(self) -> float:
        """Seconds for which nothing was claimed, for want of connections or since no end could be stored."""
        return max(self.connections.trouble.seconds, self.ledger.trouble.seconds)

    @property
    def running(self) -> int:
        """Jobs that run here now."""
        return self.executor.running

    def stop(self) -> None:
        """Stop claiming, let running jobs finish for `shutdown_timeout`, then cancel and release them."""
        self._stop.set()
        self.job_processes.stopping.set()
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
        self.executor.runs_in = asyncio.current_task()
        keeper = self._services.start(self.keeper.run(), name="keeper")
        watchdog = self._services.start(self.watchdog.run(), name="watchdog")
        connections = self._services.start(self.connections.run(), name="connections")
        try:
            await self._unless_over(self.keeper.registered(), keeper)
            await self._connected(keeper)
            for sentence in (*unserved(self._settings.pools, registry.all_definitions()), *unlimited(self._settings)):
                logger.warning("%s", sentence)
            with guarded_tasks(), self._listening():
                async with asyncio.TaskGroup() as group:
                    dispatcher = group.create_task(self.dispatcher.run(), name="asyncjobs dispatcher")
                    others = [
                        group.create_task(service.run(), name=f"asyncjobs {type(service).__name__.lower()}")
                        for service in (
                            self.ledger,
                            self.recorder,
                            self.live,
                            self.canceller,
                            self.janitor,
                            self.timekeeper,
                            self.admission,
                            self.recurring,
                            self.batch_finisher,
                            self.pauses,
                        )
                    ]
                    if self._metrics is not None:
                        figures = queue_figures.keep(self._keeping_house, self._metrics)
                        others.append(group.create_task(figures, name="asyncjobs figures of queues"))
                    self.ready.set()
                    await self._until_stopped(keeper, burst=burst)
                    self.dispatcher.stop()
                    await asyncio.wait([dispatcher], timeout=LAST_WRITES)
                    if self._stop.is_set() and self._on_quiet is not None:
                        await self._on_quiet()
                    await self._let_finish()
                    for task in (dispatcher, *others):
                        task.cancel()
        finally:
            self.ready.clear()
            await self._end(keeper)
            if self._metrics is not None and self._metrics.worker == self._figures:
                self._metrics.worker = None
            watchdog.cancel()
            connections.cancel()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        self._listener.subscribe(READY, self.wakeups.notified)
        self._listener.subscribe(DUE, self.timekeeper.notified)
        self._listener.subscribe(LIMITS, self.admission.notified)
        self._listener.subscribe(RECURRING, self.recurring.notified)
        self._listener.subscribe(BATCHES, self.batch_finisher.notified)
        self._listener.subscribe(PAUSES, self.pauses.notified)
        self._listener.subscribe(CANCEL, self.canceller.notified)
        self._listener.on_hearing(self._look_at_everything)
        self._listener.start(self._services)
        try:
            yield
        finally:
            self._listener.unsubscribe(READY, self.wakeups.notified)
            self._listener.unsubscribe(DUE, self.timekeeper.notified)
            self._listener.unsubscribe(LIMITS, self.admission.notified)
            self._listener.unsubscribe(RECURRING, self.recurring.notified)
            self._listener.unsubscribe(BATCHES, self.batch_finisher.notified)
            self._listener.unsubscribe(PAUSES, self.pauses.notified)
            self._listener.unsubscribe(CANCEL, self.canceller.notified)
            self._listener.off_hearing(self._look_at_everything)

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
            waits = [asyncio.ensure_future(event.wait()) for event in (self.connections.complete, self._stop)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

        await self._unless_over(connected(), keeper)

    async def _until_stopped(self, keeper: asyncio.Task[None], *, burst: bool) -> None:
        stopped = asyncio.ensure_future(self._stop.wait())
        done = asyncio.ensure_future(self._nothing_left()) if burst else stopped
        try:
            await asyncio.wait([stopped, done, keeper], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            done.cancel()
        if keeper.done() and not self._stop.is_set():
            keeper.result()  # raises the keeper's error: no job may run without a lease

    async def _nothing_left(self) -> None:
        await self.recurring.begun.wait()
        await self.timekeeper.promote()
        while True:
            await self.dispatcher.found_nothing()
            await self.executor.idle()
            await self.ledger.drained()
            await self.admission.look()  # jobs that have ended may let others pass
            await self.batch_finisher.look(at_once=True)
            self._look_at_everything()
            await asyncio.sleep(0)
            await self.dispatcher.found_nothing()
            if self.executor.running or self.executor.imminent() or await self.dispatcher.claim_suspects():
                continue
            if not await self._keeping_house.run(self._is_anything_left):
                return
            # Jobs of a dead worker may be left: it is declared dead only after a while without beats.
            await asyncio.sleep(LOOK_AGAIN)

    async def _is_anything_left(self, connection: Connection) -> bool:
        queues = sorted({queue for pool in self.pools for queue in pool.queues(self.dispatcher.known_queues)})
        return await workers.anything_left(connection, queues, sorted({*registry.all_names()} - self.pauses.kinds))

    async def _let_finish(self) -> None:
        """Phase one of stopping: jobs that have not started or wait for others are given back, the rest may finish."""
        waiting = self.executor.stop()
        if waiting:
            logger.info("stopping: %d jobs that wait for other jobs are given back", waiting)
        if running := self.executor.running - waiting:
            logger.info("stopping: %d jobs may finish within %g s", running, self._settings.shutdown_timeout)
        now = asyncio.ensure_future(self._stop_now.wait())
        idle = asyncio.ensure_future(self.executor.idle())
        await asyncio.wait([now, idle], timeout=self._settings.shutdown_timeout, return_when=asyncio.FIRST_COMPLETED)
        now.cancel()
        idle.cancel()

    async def _end(self, keeper: asyncio.Task[None]) -> None:
        """Phase two of stopping, also after an error: running jobs are cancelled and given back, then the lease ends."""
        self.executor.stop()
        # Cancelled jobs record their steps before they are given back; the recorder ends when the sessions are closed.
        self._services.start(self.recorder.run(), name="last steps")
        self._services.start(self.live.run(), name="last items of streams")
        if self.executor.running:
            logger.warning("cancelling %d jobs: they are released and run elsewhere", self.executor.running)
            self.executor.cancel_all("shutdown")
            idle = asyncio.ensure_future(self.executor.idle())
            await asyncio.wait([idle], timeout=min(self._settings.cleanup_timeout, LAST_WRITES))
            idle.cancel()
        await self._write_out()
        self.executor.close()
        for claimed in self.executor.left():
            logger.error(
                "%s %s ignores its cancellation: it runs nowhere else until it ends, or this process does",
                claimed.kind,
                claimed.id,
            )
        if self.executor.running:
            await self._spare()
            self._services.start(self._outlast(keeper), name="lease of jobs that ignore their cancellation")
        else:
            await self._give_up_lease(keeper)

    async def _spare(self) -> None:
        """Have no crash charged to the jobs that go on when this process ends: a web server's ends for its own reasons."""
        worker = self.lease.worker
        with contextlib.suppress(DatabaseError):
            if worker is not None:
                await self._keeping_house.run(partial(workers.spare, worker=worker), deadline=LAST_WRITES)

    async def _write_out(self) -> None:
        try:
            await self.ledger.write_out(LAST_WRITES)
            with contextlib.suppress(TimeoutError, DatabaseError):  # else another worker looks, or the next that starts
                async with asyncio.timeout(LAST_WRITES):
                    await self.batch_finisher.look(at_once=True)
        except Exception:
            # Perhaps the error that ended the worker. The lease must end all the same: else its jobs are not rescued.
            logger.exception("the ends of the last attempts could not be written: these jobs run again elsewhere")

    async def _outlast(self, keeper: asyncio.Task[None]) -> None:
        try:
            await self.executor.idle()
            await self._write_out()
            await self._give_up_lease(keeper)
        finally:
            self.job_processes.forking.close()
            self._close_sessions()  # also when the client is closed first: then the keeper's thread alone goes on

    async def _give_up_lease(self, keeper: asyncio.Task[None]) -> None:
        self.job_processes.forking.close()
        await self.job_processes.forking.ended()
        worker, self.lease.worker = self.lease.worker, None
        keeper.cancel()
        await asyncio.wait([keeper], timeout=LAST_WRITES)
        if worker is not None:
            try:
                await self._keeping_house.run(partial(workers.end, worker=worker), deadline=LAST_WRITES)
            except DatabaseError as error:
                logger.warning("this worker could not end its lease, which runs out by itself: %s", error)
        self._close_sessions()

    def _close_sessions(self) -> None:
        self._shared.close()
        self._isolated.close()

    def _on_pause(self) -> None:
        for pool in self.pools:
            pool.paused = self.pauses.queues
        self.executor.release_paused()

    def _on_resume(self) -> None:
        for pool in self.pools:
            pool.paused = self.pauses.queues
        self.dispatcher.look_at_all()

    def _on_beat(self, pulse: Pulse) -> None:
        self.wakeups.alive, self.wakeups.rank = pulse.alive, pulse.rank
        if pulse.quiet != self.lease.quiet:
            self.lease.quiet = pulse.quiet
            logger.warning(
                "this worker %s, as it was told by hand", "claims nothing" if pulse.quiet else "claims again"
            )
            self.dispatcher.look_at_all()
            self.keeper.beat_now()  # others are to see it at once

    def _on_cut_off(self) -> None:
        if self.lease.cut_off and self.executor.let_go():
            logger.error(
                "the database has not answered for %g s: other workers may run this worker's jobs by now; "
                "they are cancelled here, and given back without an attempt spent as soon as it answers",
                self.lease.seconds,
            )

    def _on_lost(self) -> None:
        self.executor.drop_waiting()
        self.executor.cancel_all("lease_lost")
        self.wakeups.wake()

    def _on_rescue(self) -> None:
        self.wakeups.expect_suspects()
        self.batch_finisher.notified()  # the dead worker may have ended the last job of a batch

    def _look_at_everything(self) -> None:
        for pool in self.pools:
            pool.may_have_more = True
        self.wakeups.needs_look = True
        self.wakeups.wake()
        self.timekeeper.notified()
        self.admission.notified()
        self.recurring.notified()
        self.batch_finisher.notified()
        self.pauses.ask()
