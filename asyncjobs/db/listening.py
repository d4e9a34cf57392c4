"""The listener: one connection that only runs LISTEN, and is tested again and again.

Over a half-open link or behind a pooler in transaction mode, notices are lost without a sign: no error, no closed
connection, `pg_listening_channels()` even shows the channel. The only test is end to end: a notice must arrive, and if none
does, the listener sends one. It wakes all listeners of the database, so one is enough for all: when a hundred listeners
sent one each, they were woken 2,000 times a second. A listener that hears nothing ("deaf") is replaced, and until one
hears, everything works by polling, slower. Behind a known pooler in transaction mode nothing listens: the LISTEN would stay
on another client's session.

Anybody may send notices, and to read 100,000 a second takes a third of a core. So a crowd of notices is not read: the
connection is ended, which drops the rest, and for a while subscribers look every `LOOK_EVERY` seconds instead.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import asyncpg
from asyncpg import Connection

from asyncjobs.db import poolers
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import translating
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.tasks.services import Services

logger = logging.getLogger("asyncjobs.listener")

READY = "asyncjobs_ready"
"""Jobs became ready. Payload: the least seq to look from, a space, the queue."""
DUE = "asyncjobs_due"
"""A job is due within the timekeepers' look-ahead. No payload."""
LIMITS = "asyncjobs_limits"
"""A limit's state has changed: a job may pass it. No payload."""
RECURRING = "asyncjobs_recurring"
"""A schedule was added or changed. No payload."""
PAUSES = "asyncjobs_pauses"
"""A queue or a kind was paused or resumed. No payload."""
DONE = "asyncjobs_done"
"""Awaited jobs are final. Payload: the beginnings of their ids, separated by commas."""

LIVE = "asyncjobs_live"
"""Jobs have shown progress or sent items. Payload: the beginnings of their ids, separated by commas."""

BATCHES = "asyncjobs_batches"
"""Jobs of batches have ended by hand. No payload."""

CANCEL = "asyncjobs_cancel"
"""A running job was asked to be cancelled. Payload: the id of its worker."""

TEST = "asyncjobs_test"
"""A listener tests whether notices are heard. No payload."""

TEST_EVERY = 5.0
TEST_TIMEOUT = 5.0
"""Seconds without a notice after which a test notice is sent, and seconds after which that counts as lost."""
LONGEST_PAUSE = 10.0
CROWD, CROWD_WITHIN = 2_000, 0.1
"""More than `CROWD` notices within `CROWD_WITHIN` seconds are a crowd. Commits that notify wait for each other in the whole
server, so that our own come to some hundred in that time."""
CROWD_PAUSE = 1.0
"""Seconds without listening after the first crowd; doubled after each further one."""
LOOK_EVERY = 0.1
"""Seconds between two looks meanwhile."""


TOO_MANY = f"more than {CROWD:,} notices came within {CROWD_WITHIN:g} s"


class _Counting(asyncpg.Connection):  # type: ignore[misc]
    """A connection that ends itself when notices come too fast: each costs a callback of the loop that also runs jobs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_crowd: Callable[[], object] = lambda: None
        self._counted = 0
        self._since = 0.0

    def _process_notification(self, pid: int, channel: str, payload: str) -> None:
        # Called by asyncpg for each notice. It is private: if it is renamed, there is no bound on notices.
        if self._counted > CROWD:
            return
        self._counted += 1
        if self._counted > CROWD:
            now = self._loop.time()
            since, self._since = self._since, now
            if now - since < CROWD_WITHIN:
                self._transport.pause_reading()  # else the loop reads megabytes of notices in one turn
                self._loop.call_soon(self._transport.abort)
                self._loop.call_soon(self.on_crowd)
                return
            self._counted = 0
        super()._process_notification(pid, channel, payload)


class Listener:
    """Listens on channels over a connection of its own, and calls subscribers.

    Args:
        url: The database.
        test_every: Seconds without a notice after which a test notice is sent, and seconds until that counts as lost.
    """

    def __init__(self, url: str, *, test_every: float = TEST_EVERY) -> None:
        self._url = url
        self._test_every = test_every
        self._callbacks: dict[str, list[Callable[[str], None]]] = {}
        self._on_hearing: list[Callable[[], None]] = []
        self._heard = asyncio.Event()
        self._heard_at = 0.0
        self._settled = asyncio.Event()
        self._changed = asyncio.Event()
        self._started = False
        self._crowd = False
        self._crowds = asyncio.Event()
        self._looking_until = 0.0
        self.deaf = True
        """True until a test notice has come back, and again when one does not."""

    def subscribe(self, channel: str, callback: Callable[[str], None]) -> None:
        """Call `callback` with the payload of every notice on `channel`. It must not block and must not raise."""
        if channel not in self._callbacks:
            self._changed.set()
        self._callbacks.setdefault(channel, []).append(callback)

    def unsubscribe(self, channel: str, callback: Callable[[str], None]) -> None:
        """Remove a subscription."""
        self._callbacks[channel].remove(callback)

    def on_hearing(self, callback: Callable[[], None]) -> None:
        """Call `callback`, which looks, when notices may have been missed: each time LISTEN has begun, and after a crowd."""
        self._on_hearing.append(callback)

    def off_hearing(self, callback: Callable[[], None]) -> None:
        """Remove a callback of `on_hearing`."""
        self._on_hearing.remove(callback)

    def start(self, services: Services) -> None:
        """Start listening, once; further calls do nothing."""
        if not self._started:
            self._started = True
            services.start(self._run(), name="listener")
            services.start(self._keep_looking(), name="looks of the listener")

    async def settled(self) -> None:
        """Wait until the first attempt to listen has succeeded or failed."""
        await self._settled.wait()

    async def _run(self) -> None:
        pause = 0.0
        while not poolers.gives_transactions(self._url):
            try:
                await self._listen()
            except DatabaseError as error:
                pause = self._next_pause(pause)
                logger.warning("no notices are heard, polling meanwhile: %s", TOO_MANY if self._crowd else error)
                self._crowd = False
            self.deaf = True
            self._settled.set()
            # With jitter: after a restart of the database not all listeners come back at once.
            await asyncio.sleep(pause * (0.5 + random.random()))
        logger.warning(
            "a pooler in transaction mode stands before the database: no notices come through it, so this process polls; "
            "point database_url at the database itself, or at a port in session mode"
        )
        self._settled.set()

    def _next_pause(self, last: float) -> float:
        if self._crowd:
            pause = min(max(last * 2, CROWD_PAUSE), LONGEST_PAUSE)
            self._looking_until = asyncio.get_running_loop().time() + 2 * pause + TEST_TIMEOUT
            self._crowds.set()
            return pause
        return 0.05 if not self.deaf else min(max(last * 2, 0.1), LONGEST_PAUSE)

    def _look(self) -> None:
        for callback in list(self._on_hearing):
            try:
                callback()
            except Exception:
                logger.exception("a subscriber failed to look for missed notices: the listener goes on")

    async def _keep_looking(self) -> None:
        """Have subscribers look again and again after a crowd, until it is known to be over."""
        loop = asyncio.get_running_loop()
        while True:
            await self._crowds.wait()
            self._crowds.clear()
            while loop.time() < self._looking_until:
                self._look()
                await asyncio.sleep(LOOK_EVERY)

    async def _listen(self) -> None:
        """Connect and listen until the link breaks or a test notice is lost; then raise DatabaseUnavailable."""
        connection = await connect(self._url, name="asyncjobs listener", connection_class=_Counting)
        if not poolers.is_own(connection):
            connection.terminate()
            return
        connection.on_crowd = self._crowded
        # One event for both that end a wait: a broken link, and a new channel.
        connection.add_termination_listener(lambda _: self._changed.set())
        try:
            with translating():
                listening: set[str] = set()
                while True:
                    self._changed.clear()
                    if connection.is_closed():
                        raise DatabaseUnavailable("the listening connection was closed")
                    if new := {TEST, *self._callbacks} - listening:
                        await self._begin(connection, new)
                        listening |= new
                    elif not await self._hears_others():
                        await self._prove(connection)
        finally:
            connection.terminate()

    async def _hears_others(self) -> bool:
        """Return False when no notice has come for a while, True when the link or the channels have changed."""
        loop = asyncio.get_running_loop()
        # With jitter: one listener sends the test notice, and the others hear it.
        silence = self._test_every * (0.75 + random.random() / 2)
        while (left := self._heard_at + silence - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                continue
            return True
        return False

    async def _begin(self, connection: Connection, channels: set[str]) -> None:
        """LISTEN, test it, then have subscribers look once: notices before that were not heard."""
        async with asyncio.timeout(TEST_TIMEOUT):
            for channel in channels:
                await connection.add_listener(channel, self._notified)
        await self._prove(connection)
        self.deaf = False
        self._settled.set()
        self._look()

    async def _prove(self, connection: Connection) -> None:
        self._heard.clear()
        limit = min(self._test_every, TEST_TIMEOUT)
        try:
            async with asyncio.timeout(limit):
                await connection.fetch("select pg_notify($1, '')", TEST)
                await self._heard.wait()
        except TimeoutError:
            raise DatabaseUnavailable(
                f"a notice of our own did not come back within {limit:.3g} s: the link is broken, or a pooler in "
                "transaction mode stands between; point the worker at the database itself"
            ) from None

    def _crowded(self) -> None:
        self._crowd = True
        self._heard.set()  # the test notice will not come back
        self._changed.set()

    def _notified(self, _connection: Connection, _pid: int, channel: str, payload: str) -> None:
        self._heard.set()
        self._heard_at = asyncio.get_running_loop().time()
        for callback in self._callbacks.get(channel, ()):
            try:
                callback(payload)
            except Exception:
                # Anybody may send any payload: the listener goes on whatever it does.
                logger.exception("a notice on %s could not be handled, and is ignored: %.100r", channel, payload)
