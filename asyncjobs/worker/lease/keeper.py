"""The keeper: it renews this worker's lease from a thread, with an event loop and a connection of its own.

So a job that blocks the worker's event loop does not cost the worker its lease: nothing on that loop takes part in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from asyncjobs.db import workers
from asyncjobs.db.connecting import Connection
from asyncjobs.db.errors import is_silence
from asyncjobs.db.rows import Pulse
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.tasks.retrying import LONGEST_PAUSE, Backoff
from asyncjobs.tasks.services import Services

logger = logging.getLogger("asyncjobs.worker")

BEATS_A_LEASE = 20
"""A beat every 1.5 s of a 30 s lease. A worker whose session is gone is buried after a sixth of the lease, so a few beats
may fail."""


class Lease:
    """The lease of this worker; `worker` is its id, None while it holds none and must not claim."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.worker: UUID | None = None
        self.renewed_at = -math.inf
        """When the last beat that succeeded was sent, by this machine's monotonic clock."""
        self.silent = False
        """Whether the last beat got no answer at all, not even that the database is away."""
        self.trouble = ""
        """Why the last beat failed; empty when it did not."""
        self.quiet = False
        """Whether somebody has told this worker to claim nothing."""

    @property
    def ends_in(self) -> float:
        """Seconds until others may bury the worker; negative once that time has passed."""
        return self.renewed_at + self.seconds - time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the lease is not held, or was renewed so long ago that others may bury the worker."""
        return self.worker is None or self.ends_in <= 0

    @property
    def cut_off(self) -> bool:
        """Whether the lease ran out without an answer: others may reach the database, and run this worker's jobs by now."""
        return self.worker is not None and self.silent and self.over


class Keeper:
    """Registers the worker and beats, in a thread.

    Args:
        url: The database.
        lease: Gets the worker's id when it is registered, and None when the lease is lost.
        about: JSON text shown by `status`.
        host: This machine's name, kept with the jobs that die with this process.
        first_id: The id of the first registration, when a supervisor chose it; None: random.
        report: Returns the worker's report, JSON text of plain ASCII; written with a beat when it has changed. Called from
            the thread.
        needed: Returns whether jobs that nothing can end run under the lease: then the lease outlasts `run`, until they or
            the process end. Called from the thread.
        on_beat: Called on the worker's loop after each beat.
        on_cut_off: Called on the worker's loop when the lease has run out without an answer of the database, once or more
            often. Not when the database or its machine says that it is away: then it is away for other workers, too.
        on_lost: Called on the worker's loop when the lease is lost: its jobs are run by other workers.
        beside: Coroutine functions that run on the thread's loop as long as that, so that they go on while a job blocks the
            worker's.
    """

    def __init__(
        self,
        url: str,
        lease: Lease,
        *,
        about: str,
        host: str,
        first_id: UUID | None = None,
        report: Callable[[], str],
        needed: Callable[[], bool],
        on_beat: Callable[[Pulse], None],
        on_cut_off: Callable[[], None],
        on_lost: Callable[[], None],
        beside: Sequence[Callable[[], Coroutine[Any, Any, object]]] = (),
    ) -> None:
        self._lease = lease
        self._about = about
        self._host = host
        self._next_id = first_id
        self._report = report
        self._reported: str | None = None
        self._mute = False
        """Whether a report has failed before."""
        self._needed = needed
        self._on_beat = on_beat
        self._on_cut_off = on_cut_off
        self._on_lost = on_lost
        self._beside = beside
        self._end_of_lease: asyncio.TimerHandle | None = None
        self._url = url
        self._owner = asyncio.get_running_loop()
        self.unregistered: DatabaseError | None = None
        """Why the last attempt to register failed."""
        self._registered: asyncio.Future[None] = self._owner.create_future()
        self._ended: asyncio.Future[None] = self._owner.create_future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._wake: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._sessions: Sessions | None = None
        self._is_over = False
        """Whether the lease was given up for good."""

    async def run(self) -> None:
        """Beat until cancelled; the thread has ended when this returns, unless the lease is still needed."""
        thread = threading.Thread(target=self._thread, name="asyncjobs keeper", daemon=True)
        thread.start()
        try:
            await asyncio.shield(self._ended)
            if self._failure is not None:
                raise self._failure
        finally:
            self._stopping = True
            if self._loop is not None and not self._ended.done():
                self.beat_now()
                if not self._needed():
                    await asyncio.wait([self._ended], timeout=2)

    def beat_now(self) -> None:
        """Beat at once: the worker has something to report that cannot wait."""
        if self._loop is not None and self._wake is not None:
            with contextlib.suppress(RuntimeError):  # the thread has ended, and closed its loop
                self._loop.call_soon_threadsafe(self._wake.set)

    def give_back(self, timeout: float) -> None:
        """Give back unspent the jobs under the lease, and end it, since this process ends. Blocks; from another thread.

        Args:
            timeout: Seconds to wait. If the database does not answer in time, the jobs are rescued as after a death.
        """
        if self._loop is None or self._loop.is_closed():
            return
        giving = asyncio.run_coroutine_threadsafe(self._give_back(timeout), self._loop)
        try:
            giving.result(timeout)
        except Exception as error:
            giving.cancel()
            logger.warning(
                "running jobs could not be given back, and run elsewhere once the lease is over: %s",
                error or "no answer in time",
            )

    def _gave_back(self) -> bool:
        return self._is_over

    async def _give_back(self, timeout: float) -> None:
        self._is_over = True
        worker, self._lease.worker = self._lease.worker, None
        if worker is not None and self._sessions is not None:
            await self._sessions.run(lambda connection: workers.release(connection, worker), deadline=timeout)

    async def registered(self) -> None:
        """Wait until the worker has a lease.

        Raises:
            DatabaseError: It cannot have one, for a reason that will not pass.
        """
        await asyncio.shield(self._registered)

    def _thread(self) -> None:
        try:
            asyncio.run(self._beat_for_ever())
        except BaseException as error:
            self._failure = error
            logger.exception("the thread that renews the lease ended with an error: this worker ends")
        self._tell(lambda: _settle(self._ended))

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            self._owner.call_soon_threadsafe(callback)
        except RuntimeError:
            return  # the worker's loop is closed: there is nobody left to tell

    async def _beat_for_ever(self) -> None:
        self._wake, self._loop = asyncio.Event(), asyncio.get_running_loop()
        interval = self._lease.seconds / BEATS_A_LEASE
        # A beat on a link that has gone silent is waited for: TCP delivers it when the link is back. If we ended the
        # session, the worker would be buried after a sixth of the lease instead of the whole.
        deadline = self._lease.seconds * 0.6
        # The role's own limits would end a beat that waits for a lock or a busy server, and with it the lease.
        limits = dict.fromkeys(("statement_timeout", "lock_timeout"), f"{deadline * 1000:.0f}ms")
        sessions = self._sessions = Sessions(
            self._url, size=1, name="asyncjobs keeper", settings=limits, deadline=deadline
        )
        # After a restart of the database the first worker back may bury others a fifth of a lease later. With this longest
        # pause, less than that passes between an attempt to connect and the end of the next.
        backoff = Backoff(logger, "renewing the lease", longest=min(self._lease.seconds / 20, LONGEST_PAUSE))
        services = Services()
        for make in self._beside:
            services.start(make(), name="probes")
        try:
            while not self._stopping or self._needed():
                try:
                    await self._beat(sessions)
                    backoff.succeeded()
                    self._lease.trouble = ""
                except DatabaseError as error:
                    self._lease.trouble = str(error)
                    self._look_at_the_end_of_the_lease(error)
                    if not self._registered.done():
                        self.unregistered = error
                        # An unavailable database may come back, as on a busy machine; callers set how long they wait.
                        if not isinstance(error, DatabaseUnavailable):
                            self._tell(partial(self._fail_registration, error))
                    await backoff.failed(error)
                    continue
                await self._pause(interval)
        finally:
            sessions.close()
            await services.close()

    def _look_at_the_end_of_the_lease(self, error: DatabaseError) -> None:
        """Have the worker told at the moment when the lease ends, and not when the next beat fails."""
        self._lease.silent = is_silence(error)
        if self._lease.silent and self._lease.worker is not None and self._end_of_lease is None:
            loop = asyncio.get_running_loop()
            self._end_of_lease = loop.call_later(max(self._lease.ends_in, 0), self._lease_ended)

    def _lease_ended(self) -> None:
        self._end_of_lease = None
        if self._lease.cut_off:
            self._tell(self._on_cut_off)

    async def _pause(self, seconds: float) -> None:
        assert self._wake is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _beat(self, sessions: Sessions) -> None:
        await sessions.run(_nothing, deadline=max(self._lease.seconds / 10, 0.5))  # connects, when it has to
        if self._gave_back():
            return
        worker = self._lease.worker
        if worker is None:
            worker, self._next_id = self._next_id or uuid4(), None
            await sessions.run(
                lambda connection: workers.register(
                    connection,
                    worker,
                    lease=self._lease.seconds,
                    about=self._about,
                    host=self._host,
                    quiet=self._lease.quiet,
                )
            )
            self._lease.worker, self._reported = worker, None
            self._tell(lambda: _settle(self._registered))
        news = self._news()
        sent_at = time.monotonic()
        pulse = await sessions.run(lambda connection: workers.beat(connection, worker, report=news))
        if pulse is not None:
            self._reported = news or self._reported
            self._lease.renewed_at = sent_at
            self._lease.silent = False
            self._tell(lambda: self._on_beat(pulse))
            return
        if self._gave_back():
            return
        # Emptied here, in the thread: from this moment on nothing is claimed under a dead worker's id.
        self._lease.worker = None
        logger.error(
            "this worker was declared dead, since its beats did not arrive in time: its jobs are cancelled here and run "
            "elsewhere"
        )
        self._tell(self._on_lost)
        await self._beat(sessions)

    def _news(self) -> str | None:
        """Return the report if it has changed. The lease does not depend on it: errors are logged, the first alone."""
        try:
            report = self._report()
        except Exception:
            if not self._mute:
                logger.exception("this worker's report failed: `asyncjobs status` shows its last one")
            self._mute = True
            return None
        return None if report == self._reported else report

    def _fail_registration(self, error: DatabaseError) -> None:
        if not self._registered.done():
            self._registered.set_exception(error)


async def _nothing(_connection: Connection) -> None: ...


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
