"""One worker process: its event loop, its start within 15 s, its end in time."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from asyncjobs.db import migrating, poolers, reading
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import translating
from asyncjobs.definitions import registry
from asyncjobs.exceptions import AsyncJobsError, DatabaseUnavailable
from asyncjobs.opening import Opened, open_client
from asyncjobs.probes.listening import listen
from asyncjobs.probes.service_manager import ServiceManager
from asyncjobs.processes.signals import MARGIN, STOP_NOW, Signals, leave
from asyncjobs.settings import Pool, Settings
from asyncjobs.settings.urls import safe_database_url
from asyncjobs.terminal import tls
from asyncjobs.terminal.exits import FAILED, OK, UNHEALTHY, code_of, describe
from asyncjobs.worker.watching.probes import Outside
from asyncjobs.worker.worker import Worker

logger = logging.getLogger("asyncjobs.process")

START_LIMIT = 8.0
"""Seconds from opening the database to claiming jobs: an orchestrator must learn soon that a start hangs."""
EMBEDDED_LIMIT = 90.0
"""The same for the embedded server, which may have to be made first, and for `--migrate`."""
YOUNG_OBJECTS = 10_000
"""Allocations between two looks for garbage; Python's 700 take a twentieth of the rate at which no-op jobs are drained."""
MOST_STOPS = 50
STEADY = 1.0
"""How often callbacks of jobs may stop the event loop in a row, each time within so many seconds."""
GIVE_BACK_LIMIT = 0.45
"""Seconds for giving back what is left when this process has to end."""
CLOSE_LIMIT = 5.0
"""Seconds for everything that comes after the work."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a worker process is to do.

    Attributes:
        pools: What it serves of those of the settings.
        worker_id: Chosen by the supervisor; None: random.
        share: Which of the pools' processes this is, from 1; None: it runs all pools.
        on_ready: Called once jobs are claimed.
        on_quiet: Awaited when it stops and claims none any more, before it gives any back.
        supervisor: The socket over which the supervisor asks how this is; None: it does not.
        service_manager: What has started this process; None: there is none.
    """

    settings: Settings
    pools: tuple[Pool, ...]
    burst: bool = False
    migrate: bool = False
    worker_id: UUID | None = None
    share: int | None = None
    on_ready: Callable[[], object] = lambda: None
    on_quiet: Callable[[], Awaitable[object]] | None = None
    supervisor: socket.socket | None = None
    service_manager: ServiceManager | None = None


class Process:
    """A worker on this thread's event loop, from opening the database to the exit code."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._worker: Worker | None = None
        self._opening: asyncio.Task[Any] | None = None
        self._stopping = False
        self._address = safe_database_url(plan.settings.database_url)
        self.signals = Signals(
            plan.settings.shutdown_timeout,
            self._running,
            # One that has a supervisor takes its word for it.
            on_hangup=None if plan.worker_id is None else lambda: None,
            give_back=self._give_back,
        )

    def run(self) -> int:
        """Work until stopped; return the exit code. Ends the process itself when jobs are left that cannot be ended."""
        self.signals.install()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            code = self._run_whatever_stops_it(runner.get_loop())
        if threads := lasting_threads():
            logger.error("threads do not end, this process ends under them: %s", ", ".join(threads))
            leave(code)
        return code

    def _run_whatever_stops_it(self, loop: asyncio.AbstractEventLoop) -> int:
        """Run to the end on a loop that a job's callback may stop: what was about to run there is kept, and goes on."""
        working = loop.create_task(self._main(), name="asyncjobs worker process")
        stops, begun = 0, 0.0
        while stops < MOST_STOPS:
            try:
                begun = time.monotonic()
                return loop.run_until_complete(working)
            except (SystemExit, KeyboardInterrupt, RuntimeError) as stopping:
                if working.done() or loop.is_closed():
                    raise
                stops = 1 if time.monotonic() - begun > STEADY else stops + 1
                jobs = ", ".join(self._running()) or "none"
                logger.exception(
                    "a callback has stopped the event loop (%s), which goes on; running jobs: %s",
                    type(stopping).__name__, jobs,
                )  # fmt: skip
        # Without giving back what runs: it is charged with a crash where it is rescued, else it would stop every worker.
        logger.critical("callbacks stop the event loop again and again: this process ends")
        leave(FAILED)
        raise AssertionError

    async def _main(self) -> int:
        stack = AsyncExitStack()
        code = await self._work_until_stopped(stack)
        if self._worker is not None:
            logger.info("stopped: %d jobs ended here", self._worker.parts.ledger.finished)
        if left := self._running():
            # Closing the loop would wait for them, for ever.
            logger.error(
                "%d jobs ignore their cancellation, this process ends under them: %s", len(left), "; ".join(left)
            )
            leave(code, self._give_back)
        self.signals.end_within(CLOSE_LIMIT, code, "something keeps this process from ending")
        await stack.aclose()
        return code

    async def _work_until_stopped(self, stack: AsyncExitStack) -> int:
        try:
            await self._work(stack)
        except AsyncJobsError as error:
            for line in describe(error):
                logger.critical("%s%s", line, f" (database: {self._address})" if self._address else "")
            return code_of(error)
        except Exception:
            logger.exception("the worker crashed")
            return FAILED
        return OK

    async def _work(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        is_quick = self._settings.database_url and not self._plan.migrate
        limit = START_LIMIT if is_quick else EMBEDDED_LIMIT
        begun = loop.time()
        # Twice: what does not end when it is cancelled is ended with the process.
        self.signals.end_within(limit + 1, UNHEALTHY, f"no start within {limit:g} s: the database does not answer")
        self.signals.on_level(partial(self._told_to_stop, loop))
        self._opening = loop.create_task(self._open(stack), name="asyncjobs opening")
        await asyncio.wait([self._opening], timeout=limit)
        if not self._opening.done():
            self._opening.cancel()
            raise self._silence(limit)
        if self._stopping:
            return
        opened, server = self._opening.result()
        plan, listening = self._plan, None
        if self._settings.http and plan.worker_id is None:  # else the supervisor answers for this
            listening = stack.enter_context(listen(self._settings.http))
        if listening is not None or (self._settings.http and plan.supervisor is not None):
            opened.measure(probed=True)
        self._worker = worker = opened.make_worker(
            pools=self._plan.pools,
            worker_id=self._plan.worker_id,
            share=self._plan.share,
            on_quiet=self._plan.on_quiet,
            outside=Outside(listening, plan.supervisor, plan.service_manager),
        )
        running = loop.create_task(worker.run(burst=self._plan.burst), name="asyncjobs worker")
        ready = loop.create_task(worker.ready.wait())
        left = max(limit - (loop.time() - begun), 1)
        await asyncio.wait([running, ready], timeout=left, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if worker.ready.is_set():
            self._is_ready(opened, worker, server)
        elif not running.done():
            running.cancel()
            if reason := worker.parts.connections.trouble.reason:
                raise DatabaseUnavailable(
                    f"{reason}; this worker claims nothing before it has them all: raise the limit, or start fewer workers "
                    "(`asyncjobs doctor` says how many these need)"
                )
            raise worker.keeper.unregistered or self._silence(limit)
        await running

    async def _open(self, stack: AsyncExitStack) -> tuple[Opened, reading.Server]:
        if self._settings.database_url:
            logger.debug("connecting to %s", self._address)
            poolers.assume(self._settings.database_url, self._settings.pooler)
            connection = await connect(
                self._settings.database_url,
                name="asyncjobs start",
                settings={"statement_timeout": f"{START_LIMIT:g}s"},  # the role's own is meant for what it does all day
                timeout=START_LIMIT - 1,
            )
            try:
                with translating(self._settings.database_url):
                    server = await reading.server(connection)
                    refuse_standby(server)
                    if self._plan.migrate:
                        for migration in await migrating.migrate(connection):
                            logger.info("applied %s", migration)
            finally:
                connection.terminate()
        opened = await open_client(self._settings, stack)
        self._address = safe_database_url(opened.url)
        return opened, await opened.sessions.run(reading.server)

    def _is_ready(self, opened: Opened, worker: Worker, server: reading.Server) -> None:
        self.signals.go_on()
        if warning := tls.warning(server, opened.url):
            logger.warning("%s", warning)
        pools = [f"{'+'.join(pool.queues)} x {pool.concurrency}" for pool in worker.parts.served]
        kinds = len(registry.all_definitions())
        if not kinds:
            logger.warning(
                "no kinds of job are defined here: name modules, as in `asyncjobs run app.jobs`, or set imports"
            )
        logger.info(
            "ready: worker %s, pools %s, %d kinds, PostgreSQL %s at %s (%s)",
            worker.lease.worker,
            ", ".join(pools),
            kinds,
            server.version,
            self._address,
            tls.state(server, opened.url),
            extra={"worker": str(worker.lease.worker), "pools": pools, "kinds": kinds, "database": self._address},
        )
        # What the imports made lives as long as this process: it need not be looked at again and again for garbage.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, 20, 20)
        self._plan.on_ready()
        if self._plan.service_manager is not None:
            self._plan.service_manager.ready()

    def _told_to_stop(self, loop: asyncio.AbstractEventLoop, level: int) -> None:
        """Stop, as a signal has asked; in its thread, so that the service manager hears of it whatever blocks the loop."""
        if self._plan.service_manager is not None:
            self._plan.service_manager.stopping(self._settings.shutdown_timeout + MARGIN + CLOSE_LIMIT)
        loop.call_soon_threadsafe(self._stop, level)

    def _stop(self, level: int) -> None:
        self._stopping = True
        if self._worker is None:
            if self._opening is not None:
                self._opening.cancel()
        elif level >= STOP_NOW:
            self._worker.stop_now()
        else:
            self._worker.stop()

    def _silence(self, limit: float) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"the database did not let this worker start within {limit:g} s: is the address right, and is it PostgreSQL "
            "that answers there?"
        )

    def _give_back(self) -> None:
        if self._worker is not None:
            self._worker.keeper.give_back(GIVE_BACK_LIMIT)

    def _running(self) -> list[str]:
        """Return a line for each job that runs; asked from the signal thread, while the loop may change the jobs."""
        while self._worker is not None:
            try:
                return [f"{job.kind} {job.id} attempt {job.attempt}" for job in self._worker.parts.executor.left()]
            except RuntimeError:
                continue  # the dictionary changed meanwhile
        return []


def refuse_standby(server: reading.Server) -> None:
    """Refuse a server that takes no writes.

    Raises:
        DatabaseUnavailable: It is a standby, or read-only by its settings.
    """
    if server.standby:
        raise DatabaseUnavailable("this server is a standby, which takes no writes: point database_url at the primary")
    if server.read_only:
        raise DatabaseUnavailable(
            f"transactions are read-only here (default_transaction_read_only of database {server.database} "
            f"or role {server.role}): a worker must write"
        )


def lasting_threads(seconds: float = 0.3) -> list[str]:
    """Return the names of the threads that would keep this process alive, after waiting for them a moment."""
    end = time.monotonic() + seconds
    found = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    for thread in found:
        thread.join(max(end - time.monotonic(), 0))
    return [thread.name for thread in found if thread.is_alive()]


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's where it is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
