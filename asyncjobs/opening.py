"""Opening: a client with its connections, and on request a worker, on the database of the settings or a private one."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from contextlib import AsyncExitStack, ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncjobs.client import job_rows
from asyncjobs.client.client import Client
from asyncjobs.client.liveness import feel
from asyncjobs.db import checking, migrating, poolers
from asyncjobs.db.connecting import PINNED_PLANS
from asyncjobs.db.listening import Listener
from asyncjobs.db.sessions import Sessions
from asyncjobs.definitions import registry
from asyncjobs.exceptions import InvalidSettings
from asyncjobs.modules.importing import import_object
from asyncjobs.performing import open_clients
from asyncjobs.settings.config_file import PRIVATE_IN
from asyncjobs.tasks.services import Services

if TYPE_CHECKING:
    from asyncjobs.metrics.counting import Metrics
    from asyncjobs.settings import Settings
    from asyncjobs.worker.worker import Worker

logger = logging.getLogger("asyncjobs")

PULSES_A_LEASE = 4
"""Times in a lease that an idle client asks the database whether it answers."""


class Opened:
    """An open client, which jobs use until the stack is left; connections are opened when they are needed.

    Args:
        url: The database.
        settings: The settings in force.
        stack: Closes the client.
        middleware: Runs around every job, inside the middleware of the settings.
    """

    def __init__(self, url: str, settings: Settings, stack: AsyncExitStack, middleware: tuple[Any, ...] = ()) -> None:
        self.url = url
        self.settings = settings
        poolers.assume(url, settings.pooler)
        stack.enter_context(registry.prefixed(settings.kind_prefix))
        self.also_closed = ExitStack()
        """What others close with the client."""
        stack.callback(self.also_closed.close)
        everything = (*map(import_object, settings.middleware), *middleware)
        self.sessions = Sessions(
            url,
            size=settings.database_connections,
            name="asyncjobs client",
            settings=PINNED_PLANS,
            keep=settings.lease / 2,
            least=1,
        )
        stack.callback(self.sessions.close)
        self.services = Services()
        stack.push_async_callback(self.services.close)
        self.listener = Listener(url, test_every=min(settings.lease / 6, 5.0))
        self.client = Client(
            self.sessions,
            self.listener,
            self.services,
            retention=settings.retention,
            middleware=everything,
            max_depths={queue: limits.max_depth for queue, limits in settings.queues.items()},
        )
        stack.callback(open_clients.push(self.client))
        stack.callback(self.client.threads.close)
        stack.callback(self._stop_counting)
        self.metrics: Metrics | None = None
        """Counts what happens here; None: nobody asks."""
        self._figures: asyncio.Task[None] | None = None
        self._pulse: asyncio.Task[None] | None = None

    def keep_asking(self) -> None:
        """Ask the database now and then whether it answers, while this is open and has no worker."""
        every = self.settings.lease / PULSES_A_LEASE
        self._pulse = self.services.start(feel(self.sessions, every=every), name="pulse")

    def measure(self, metrics: Metrics | None = None, *, probed: bool = False) -> None:
        """Have what happens here counted, if anybody looks.

        Args:
            metrics: What an application has registered; None: it has not.
            probed: Whether `/metrics` is answered here.
        """
        if self.metrics is not None:
            return
        if metrics is None and probed and find_spec("prometheus_client") is None:
            logger.warning(
                "/metrics has nothing to show without prometheus_client: pip install 'asyncjobs-pg[prometheus]'"
            )
            probed = False
        has_meters = False
        if "opentelemetry.metrics" in sys.modules:
            from asyncjobs.metrics import opentelemetry

            has_meters = opentelemetry.is_configured()
        if metrics is None and (probed or has_meters):
            from asyncjobs.metrics.counting import Metrics

            metrics = Metrics()
        if metrics is not None:
            if has_meters:
                opentelemetry.show(metrics)
            self.count(metrics)

    def count(self, metrics: Metrics) -> None:
        """Have metrics count what this client does from now on, and show the queues; on its loop."""
        from asyncjobs.db import queue_figures

        self.metrics = metrics
        self.sessions.times = metrics.of_client
        job_rows.on_enqueued = metrics.enqueued
        self._figures = self.services.start(queue_figures.keep(self.sessions, metrics), name="figures of queues")

    def _stop_counting(self) -> None:
        if self.metrics is not None and job_rows.on_enqueued == self.metrics.enqueued:
            job_rows.on_enqueued = None

    def make_worker(self, **given: Any) -> Worker:
        """Return a worker beside this client, not started; `given` are arguments of `Worker`."""
        from asyncjobs.worker.worker import Worker

        # The worker knows whether the database answers. And a connection of every idle worker's client would add up.
        for task in (self._pulse, self._figures):  # its own connections read the figures, too
            if task is not None:
                task.cancel()
        self.sessions.pool.keep_at_least(0)
        context = contextvars.copy_context()
        context.run(open_clients.own, self.client)  # its jobs use this client, whatever else is opened in this process
        return context.run(
            Worker,
            self.url,
            self.settings,
            self.listener,
            self.services,
            middleware=self.client.middleware,
            metrics=self.metrics,
            **given,
        )


async def open_client(
    settings: Settings,
    stack: AsyncExitStack,
    middleware: tuple[Any, ...] = (),
    *,
    metrics: Metrics | None = None,
) -> Opened:
    """Open a client on the database of the settings; if they name none, start a private PostgreSQL for it.

    `metrics`: see `Opened.measure`.

    Raises:
        InvalidSettings: They name none, in an environment other than development and test.
        SchemaMismatch: The database has no schema, or another version's.
        DatabaseUnavailable: The database cannot be reached.
    """
    opened = Opened(settings.database_url or await _start_private(settings, stack), settings, stack, middleware)
    await opened.sessions.run(checking.check if settings.database_url else migrating.migrate)
    opened.measure(metrics)
    opened.keep_asking()
    return opened


def private_directory(settings: Settings) -> Path | None:
    """Return the directory of the project's private server; None when the settings name a database.

    Raises:
        InvalidSettings: They name none, in an environment other than development and test.
    """
    from asyncjobs.embedded import project_directory

    if settings.database_url:
        return None
    if settings.environment not in PRIVATE_IN:
        problem = (
            f"database_url is not set for environment {settings.environment!r}: set it, for example by "
            "ASYNCJOBS_DATABASE_URL; a private PostgreSQL is for development only"
        )
        raise InvalidSettings([problem])
    return project_directory(settings.source.parent if settings.source else Path.cwd())


async def _start_private(settings: Settings, stack: AsyncExitStack) -> str:
    from asyncjobs.embedded import EmbeddedPostgres

    directory = private_directory(settings)
    assert directory is not None
    server = await stack.enter_async_context(EmbeddedPostgres(directory))
    logger.info("using a private PostgreSQL in %s (for development; set database_url for production)", directory)
    return server.url("asyncjobs")
