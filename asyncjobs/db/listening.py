"""The listener: one connection that does nothing but LISTEN, and proves again and again that it hears.

A half-open link and a transaction pooler are silently deaf: no error, no closed connection, `pg_listening_channels()`
even shows the channel. So the only proof is end to end: a notice must come, and where none does we send one. It wakes all
listeners of the database, so they share it: a hundred that each sent their own were woken 2,000 times a second.
A deaf listener is replaced, and until one hears, everything works by polling, slower. Behind a pooler that is known to give
sessions by the transaction nothing listens: the LISTEN would stay on a session that is others'.

Anybody may NOTIFY, and 100,000 notices a second take a third of a core to read alone. A crowd of them is left unread: the
connection is ended, which drops what it has not delivered, and everybody looks every `LOOK_EVERY` seconds for a while.
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
"""Something was noted at a limit: somebody may pass it. No payload."""
RECURRING = "asyncjobs_recurring"
"""Something recurs that did not, or recurs otherwise. No payload."""
PAUSES = "asyncjobs_pauses"
"""Something was paused or resumed. No payload."""
DONE = "asyncjobs_done"
"""Awaited jobs are final. Payload: their ids, separated by commas."""

BATCHES = "asyncjobs_batches"
"""Jobs of batches have ended by hand. No payload."""

CANCEL = "asyncjobs_cancel"
"""A running job was asked to be cancelled. Payload: its id."""

TEST = "asyncjobs_test"
"""Somebody asks whether notices are heard. No payload."""

TEST_EVERY = 5.0
TEST_TIMEOUT = 5.0
"""Seconds without a notice after which one is sent, and until that counts as lost."""
LONGEST_PAUSE = 10.0
CROWD, CROWD_WITHIN = 2_000, 0.1
"""More notices than `CROWD` within so many seconds are not listened to. Commits that notify wait for each other in all of
the server, and come to some hundred in that time."""
CROWD_PAUSE = 1.0
"""Seconds for which a crowd is not listened to, the first time; then twice as long."""
LOOK_EVERY = 0.1
"""Seconds between two looks meanwhile."""


TOO_MANY = f"more than {CROWD:,} notices came within {CROWD_WITHIN:g} s"


class _Counting(asyncpg.Connection):  # type: ignore[misc]
    """A connection that ends itself when notices come too fast: each costs a callback of the loop, and the loop has jobs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_crowd: Callable[[], object] = lambda: None
        self._counted = 0
        self._since = 0.0

    def _process_notification(self, pid: int, channel: str, payload: str) -> None:
        # Called by asyncpg's protocol for each; without that, all are heard.
        if self._counted > CROWD:
            return
        self._counted += 1
        if self._counted > CROWD:
            now = self._loop.time()
            since, self._since = self._since, now
            if now - since < CROWD_WITHIN:
                self._transport.pause_reading()  # else the loop reads megabytes of them in one turn
                self._loop.call_soon(self._transport.abort)
                self._loop.call_soon(self.on_crowd)
                return
            self._counted = 0
        super()._process_notification(pid, channel, payload)


class Listener:
    """Listens on channels over a connection of its own and calls back.

    Args:
        url: Of the database.
        name: Shown as `application_name`.
        test_every: Seconds without a notice after which one is sent; a lost one takes as long again to be noticed.
    """

    def __init__(self, url: str, *, name: str = "asyncjobs listener", test_every: float = TEST_EVERY) -> None:
        self._url = url
        self._name = name
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
        """True until a notice of our own came back, and again when one does not."""

    def subscribe(self, channel: str, callback: Callable[[str], None]) -> None:
        """Call `callback` with the payload of every notice on `channel`. It must not block and must not raise."""
        if channel not in self._callbacks:
            self._changed.set()
        self._callbacks.setdefault(channel, []).append(callback)

    def unsubscribe(self, channel: str, callback: Callable[[str], None]) -> None:
        """Call `callback` no more."""
        self._callbacks[channel].remove(callback)

    def on_hearing(self, callback: Callable[[], None]) -> None:
        """Call `callback` when notices may have been missed, so that it looks: each time LISTEN has begun, and meanwhile."""
        self._on_hearing.append(callback)

    def off_hearing(self, callback: Callable[[], None]) -> None:
        """Call `callback` no more."""
        self._on_hearing.remove(callback)

    def start(self, services: Services) -> None:
        """Begin, once; further calls do nothing."""
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
                logger.warning("the listener is deaf, polling meanwhile: %s", TOO_MANY if self._crowd else error)
                self._crowd = False
            self.deaf = True
            self._settled.set()
            # Jitter: after a restart of the database not all listeners come back at once.
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
                logger.exception("who listens could not look: the listener goes on")

    async def _keep_looking(self) -> None:
        """Look again and again while a crowd is not listened to, and until it is known that it is over."""
        loop = asyncio.get_running_loop()
        while True:
            await self._crowds.wait()
            self._crowds.clear()
            while loop.time() < self._looking_until:
                self._look()
                await asyncio.sleep(LOOK_EVERY)

    async def _listen(self) -> None:
        """Connect, listen, and stay until the link breaks or proves deaf; then DatabaseUnavailable is raised."""
        connection = await connect(self._url, name=self._name, connection_class=_Counting)
        if not poolers.is_own(connection):
            connection.terminate()
            return
        connection.on_crowd = self._crowded
        # One event for all that may end a pause: a broken link, a new channel.
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
        """Wait until no notice has come for a while, which is False, or something has changed."""
        loop = asyncio.get_running_loop()
        # Jitter: one listener asks, and the others hear it.
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
        """LISTEN, prove it, then have everybody look once: what was notified before was not heard."""
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
        self._heard.set()  # it will not come back
        self._changed.set()

    def _notified(self, _connection: Connection, _pid: int, channel: str, payload: str) -> None:
        self._heard.set()
        self._heard_at = asyncio.get_running_loop().time()
        for callback in self._callbacks.get(channel, ()):
            try:
                callback(payload)
            except Exception:
                # Anybody may NOTIFY anything; whatever a payload does to us, the listener lives.
                logger.exception("a notice on %s was not understood: %.100r", channel, payload)
