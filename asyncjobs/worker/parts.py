"""The services of a worker: each is made with those that it needs, and told what the others find."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from asyncjobs.db.listening import BATCHES, CANCEL, DUE, LIMITS, PAUSES, READY, RECURRING, Listener
from asyncjobs.db.transactions import isolated_sessions
from asyncjobs.definitions import registry
from asyncjobs.jobs.declared_schedules import declared
from asyncjobs.performing.attempt import Attempt
from asyncjobs.records.claimed import Claimed
from asyncjobs.settings import Pool as PoolSettings
from asyncjobs.settings import Settings
from asyncjobs.tasks.services import Services
from asyncjobs.worker.claiming.dispatcher import MOST_CLAIMS, Dispatcher
from asyncjobs.worker.claiming.wakeups import Wakeups
from asyncjobs.worker.connection_shares import ConnectionShare
from asyncjobs.worker.connections import Connections, shared_sessions
from asyncjobs.worker.duties.batch_finisher import BatchFinisher
from asyncjobs.worker.duties.canceller import Canceller
from asyncjobs.worker.duties.janitor import Janitor
from asyncjobs.worker.duties.recurring import Recurring
from asyncjobs.worker.duties.timekeeper import Timekeeper
from asyncjobs.worker.job_processes.job_processes import JobProcesses
from asyncjobs.worker.lease.keeper import Lease
from asyncjobs.worker.limits.admission import Admission
from asyncjobs.worker.running.executor import Executor
from asyncjobs.worker.slots.pauses import Pauses
from asyncjobs.worker.slots.pools import Pool
from asyncjobs.worker.watching.watchdog import Watchdog
from asyncjobs.worker.writing.ledger import Ledger
from asyncjobs.worker.writing.live_writer import LiveWriter
from asyncjobs.worker.writing.step_recorder import MOST_ISOLATED, StepWriter


class Parts:
    """The parts of one worker, made and not started.

    Args:
        url: The database.
        settings: Times and limits.
        served: The settings of the pools that this process runs.
        listener: A listener that is not started yet.
        services: The scope in which processes of jobs are followed.
        middleware: Runs around every job, the outermost first.
        on_claim: Called with each batch of claimed jobs.
        pulses: Whether the watchdog looks for a dead event loop even where blocks are not reported.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        served: Sequence[PoolSettings],
        listener: Listener,
        services: Services,
        *,
        middleware: Sequence[Any],
        on_claim: Callable[[Sequence[Claimed]], None] | None,
        pulses: bool,
    ) -> None:
        self.settings = settings
        self.served = served
        self.declaration = declared(settings)
        self.lease = Lease(settings.lease)
        self.pools = [Pool(n, pool, settings.dispatcher.batch_size) for n, pool in enumerate(served, 1)]
        self.wakeups = Wakeups(self.pools)
        self.listener = listener
        self._services = services
        self.shared = shared_sessions(url, settings.lease)
        # A long rescue must not make the timekeeper late.
        claiming, self.keeping_house = ConnectionShare(self.shared, MOST_CLAIMS), ConnectionShare(self.shared, 2)
        self.batch_finisher = BatchFinisher(self.keeping_house, lambda: self.wakeups.rank)
        self.ledger = Ledger(ConnectionShare(self.shared, 1), self.wakeups.wake, self.batch_finisher.ended)
        self.job_processes = JobProcesses(url, settings, services)
        self.isolated = isolated_sessions(url, size=MOST_ISOLATED, deadline=settings.lease)
        self.connections = Connections(self.shared, self.isolated, self.wakeups.wake)
        self.recorder = StepWriter(
            ConnectionShare(self.shared, 1),
            self.isolated,
            self._on_lease_lost,
            most=settings.max_recorded,
            room=self.connections.complete,
        )
        self.live = LiveWriter(ConnectionShare(self.shared, 1), self._on_lease_lost)
        self.pauses = Pauses(
            self.keeping_house,
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
        self.canceller = Canceller(self.keeping_house, self.lease, self.executor, settings.dispatcher.polling_interval)
        self.timekeeper = Timekeeper(self.keeping_house, lambda: self.wakeups.rank)
        self.admission = Admission(
            self.keeping_house, lambda: self.wakeups.rank, settings.limits if settings.has_config else None
        )
        self.recurring = Recurring(
            self.keeping_house,
            self.declaration,
            self.lease,
            lambda: self.wakeups.rank,
            lambda: listener.deaf,
        )
        self.executor.use(self.admission)
        kept = [settings.retention, *(d.options.retention or 0 for d in registry.all_definitions())]
        self.janitor = Janitor(
            self.keeping_house,
            self.lease,
            lambda: self.wakeups.alive,
            retention=max(kept),
            on_rescue=self._on_rescue,
        )
        self.watchdog = Watchdog(settings.loop_warning, self.executor.attempt_of, pulses=pulses)
        self.run_in_group = (
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
        """The services that run from the first claim to the last, beside the dispatcher."""
        self._subscriptions = (
            (READY, self.wakeups.notified),
            (DUE, self.timekeeper.notified),
            (LIMITS, self.admission.notified),
            (RECURRING, self.recurring.notified),
            (BATCHES, self.batch_finisher.notified),
            (PAUSES, self.pauses.notified),
            (CANCEL, self.canceller.notified),
        )

    @property
    def claims_nothing(self) -> str:
        """Why nothing can be claimed, for want of connections or since no end can be stored; else empty."""
        return self.connections.trouble.reason or self.ledger.trouble.reason

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Have the services hear notices, until the block ends."""
        for channel, notified in self._subscriptions:
            self.listener.subscribe(channel, notified)
        self.listener.on_hearing(self.look_at_everything)
        self.listener.start(self._services)
        try:
            yield
        finally:
            for channel, notified in self._subscriptions:
                self.listener.unsubscribe(channel, notified)
            self.listener.off_hearing(self.look_at_everything)

    def look_at_everything(self) -> None:
        """Have every service look once, as though a notice had come."""
        for pool in self.pools:
            pool.may_have_more = True
        self.wakeups.needs_look = True
        self.wakeups.wake()
        self.timekeeper.notified()
        self.admission.notified()
        self.recurring.notified()
        self.batch_finisher.notified()
        self.pauses.ask()

    def close_sessions(self) -> None:
        """Close the connections, the keeper's aside."""
        self.shared.close()
        self.isolated.close()

    def _on_lease_lost(self, attempt: Attempt) -> None:
        self.executor.cancel(attempt, "lease_lost")

    def _on_pause(self) -> None:
        for pool in self.pools:
            pool.paused = self.pauses.queues
        self.executor.release_paused()

    def _on_resume(self) -> None:
        for pool in self.pools:
            pool.paused = self.pauses.queues
        self.dispatcher.look_at_all()

    def _on_rescue(self) -> None:
        self.wakeups.expect_suspects()
        self.batch_finisher.notified()  # the dead worker may have ended the last job of a batch
