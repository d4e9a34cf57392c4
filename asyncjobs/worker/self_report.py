"""What a worker says of itself: with its beats, to probes, and in metrics."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any

from asyncjobs.definitions import registry
from asyncjobs.metrics.counting import WorkerFigures
from asyncjobs.values import codec
from asyncjobs.version import VERSION
from asyncjobs.worker.lease import worker_report
from asyncjobs.worker.parts import Parts
from asyncjobs.worker.watching.waits import Counts

QUIET = "it was told to be quiet, in the dashboard"


class SelfReport:
    """The state of one worker, as it is now.

    Args:
        parts: The worker's services.
        ready: Set while it claims jobs.
        stopping: Set when it is to stop.
    """

    def __init__(self, parts: Parts, ready: asyncio.Event, stopping: asyncio.Event) -> None:
        self._parts = parts
        self._ready = ready
        self._stopping = stopping
        self._lag: float | None = None
        self._waits: dict[str, Counts] = {}
        self._figures_until = 0.0

    def about(self) -> str:
        """Return what is stored of the worker when it registers."""
        return codec.dumps(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "version": VERSION,
                "pools": [
                    {"queues": list(pool.queues), "concurrency": pool.concurrency} for pool in self._parts.served
                ],
                "kinds": registry.all_names(),
                "aliases": {each.kind: each.aliases for each in registry.all_definitions() if each.aliases},
                "recurring": self._parts.declaration.version,
            }
        )

    def beat(self) -> str:
        """Return what is stored with a beat; from any thread."""
        # What changes all the time is taken every few seconds: each change writes the whole row of the worker.
        now = time.monotonic()
        if now >= self._figures_until:
            self._figures_until = now + worker_report.FIGURES_FOR
            self._lag, self._waits = self._parts.watchdog.longest_lag(), self._parts.executor.waits.recent()
        return worker_report.write(
            draining=self._stopping.is_set(),
            stuck=self._parts.executor.stuck(),
            blocked=self._parts.watchdog.blocks(),
            claims_nothing=self._parts.claims_nothing or (QUIET if self._parts.lease.quiet else ""),
            left_out=self._parts.recurring.left_out.values(),
            lag=self._lag,
            waits=self._waits,
        )

    def figures(self) -> WorkerFigures:
        """Return what is measured of the worker."""
        return WorkerFigures(
            pools=[(pool.number, pool.concurrency, pool.running) for pool in self._parts.pools],
            ready=not self.readiness()[0],
            listening=not self._parts.listener.deaf,
            unwritten=self._parts.ledger.unwritten,
            loop_blocked=self._parts.watchdog.blocked_for(),
            rescued=self._parts.janitor.rescued,
        )

    def readiness(self) -> tuple[list[str], dict[str, Any]]:
        """Return why no jobs are claimed here now, a sentence each, and facts to show; from any thread."""
        lease, claims_nothing = self._parts.lease, self._parts.claims_nothing
        problems = [
            *(["it stops"] if self._stopping.is_set() else []),
            *(["it does not claim jobs yet"] if not self._ready.is_set() and not self._stopping.is_set() else []),
            *(["its lease is over"] if lease.worker is not None and lease.over else []),
            *([f"the lease could not be renewed: {lease.trouble}"] if lease.trouble else []),
            *([claims_nothing] if claims_nothing else []),
        ]
        return problems, {
            "worker": None if lease.worker is None else str(lease.worker),
            "lease": None if lease.worker is None else round(max(lease.ends_in, 0.0), 3),
            "notices": "polled" if self._parts.listener.deaf else "heard",
            "running": self._parts.executor.running,
        }
