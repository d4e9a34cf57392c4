"""A small pool of connections, in which every use has a hard deadline.

Not asyncpg's pool: on a link that swallows packets a task inside `pool.acquire()` cannot be cancelled and `pool.close()`
hangs, and its reset of each released connection costs a round trip that a single-row enqueue would pay. Here a use that
is cancelled, times out or breaks ends its connection with `terminate()`, and the next use opens another.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import TypeVar

import asyncpg

from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import LINK_ERRORS, translated
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, NotOpen

T = TypeVar("T")

RESOLUTION = 0.1
"""Seconds between looks for uses past their deadline."""
AFTER_REFUSAL = 0.05
"""Seconds between a connection that was refused and the error that says so."""
DEADLINE = 30.0
"""Seconds that one use of a connection may take unless it says otherwise."""


class Sessions:
    """Up to `size` connections to one database, opened when needed, used one operation at a time.

    Args:
        url: A PostgreSQL URL.
        size: The largest number of connections.
        name: Shown as `application_name`.
        settings: Session settings of every connection.
        deadline: Seconds that an operation may take, waiting for a free connection included.
        connection_class: Of the connections.
        are_lent: Whether a user's code is to have them; see `connect`.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        name: str,
        settings: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
        connection_class: type[asyncpg.Connection] = asyncpg.Connection,
        are_lent: bool = False,
    ) -> None:
        self.url = url
        self.size = size
        self.deadline = deadline
        self._name = name
        self._settings = settings
        self._connection_class = connection_class
        self._are_lent = are_lent
        self._idle: list[asyncpg.Connection] = []
        self._all: set[asyncpg.Connection] = set()
        self._in_use: dict[asyncpg.Connection, float] = {}
        self._watchman: asyncio.TimerHandle | None = None
        self._opening = 0
        self._waiting: deque[asyncio.Future[asyncpg.Connection | None]] = deque()
        self._finishing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._answered_at = time.monotonic()
        self._fails = False
        """Whether the last use found no database that answers."""

    @property
    def unanswered(self) -> float:
        """Seconds since the database has answered; 0 unless the last use found that it does not."""
        return self.quiet_for if self._fails else 0.0

    @property
    def quiet_for(self) -> float:
        """Seconds since the last answer."""
        return time.monotonic() - self._answered_at

    def _note(self, *, answered: bool) -> None:
        if answered:
            self._answered_at = time.monotonic()
        self._fails = not answered

    async def run(
        self,
        operation: Callable[[asyncpg.Connection], Awaitable[T]],
        *,
        deadline: float | None = None,
        endless: bool = False,
        after: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
    ) -> T:
        """Run `operation` on a connection and return what it returns.

        Args:
            operation: Given the connection.
            deadline: Seconds that it may take, waiting for the connection included; None: the sessions' own.
            endless: It runs a user's code, and may take as long as that does: the deadline is for the connection alone.
            after: What is still to be done to the connection before anybody else gets it; nobody waits for that.

        Raises:
            DatabaseUnavailable: No connection, a broken link, or no end within the deadline. Whether the statement took
                effect is then unknown.
            DatabaseError: The server refused.
            NotOpen: After `close`.
        """
        seconds = self.deadline if deadline is None else deadline
        loop = asyncio.get_running_loop()
        connection = self._take_idle()
        if connection is None:
            started = loop.time()
            connection = await self._acquire(seconds)
            seconds = max(seconds - (loop.time() - started), 0.001)
        clean = False
        self._watch(connection, math.inf if endless else loop.time() + seconds)
        try:
            result = await operation(connection)
            clean = True
            self._note(answered=True)
        except (asyncpg.PostgresError, AttributeError, *LINK_ERRORS) as error:
            if isinstance(error, AttributeError) and not connection.is_closed():
                raise
            # A connection that is ended between two messages of one statement has lost its protocol, and asyncpg trips
            # over the None: an AttributeError, which as such would end the service that asked.
            answered = isinstance(error, asyncpg.PostgresError) and not connection.is_closed()
            clean = answered and not connection.is_in_transaction()
            self._note(answered=answered)
            late = f"the database did not answer within {seconds:.3g} s; the connection was ended"
            # asyncpg calls the end of a connection that we ended a PostgresError too.
            overdue = not answered and loop.time() >= self._in_use[connection]
            raise _begun(DatabaseUnavailable(late) if overdue else translated(error, url=self.url)) from error
        finally:
            del self._in_use[connection]
            if clean and after is not None:
                self._release_after(connection, after)
            else:
                self._release(connection, clean=clean)
        return result

    def _release_after(
        self, connection: asyncpg.Connection, after: Callable[[asyncpg.Connection], Awaitable[None]]
    ) -> None:
        async def finish() -> None:
            try:
                await after(connection)
            finally:
                self._release(connection, clean=not connection.is_closed())

        # In a context of its own: it is no part of the job that has used the connection.
        task = asyncio.get_running_loop().create_task(finish(), name="asyncjobs reset", context=Context())
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    def limit(self, connection: asyncpg.Connection) -> None:
        """End an endless use `deadline` seconds from now: the user's code in it is over."""
        self._in_use[connection] = asyncio.get_running_loop().time() + self.deadline

    def _watch(self, connection: asyncpg.Connection, end: float) -> None:
        """Have the connection ended at `end` unless it is back by then.

        One timer for all uses, at most `RESOLUTION` late: one of its own for each costs 35 µs on uvloop, a sixth of an
        insert and its commit.
        """
        self._in_use[connection] = end
        if self._watchman is None:
            self._watchman = asyncio.get_running_loop().call_later(RESOLUTION, self._end_overdue)

    def _end_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        for connection, end in list(self._in_use.items()):
            if loop.time() >= end:
                connection.terminate()
        self._watchman = loop.call_later(RESOLUTION, self._end_overdue) if self._in_use else None

    def _take_idle(self) -> asyncpg.Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._all.discard(connection)
        return None

    def _check_open(self) -> None:
        if self._closed:
            raise NotOpen("this AsyncJobs is closed: open it again before using it")

    async def _acquire(self, seconds: float) -> asyncpg.Connection:
        """Return a new connection, or wait in line for one that falls free when `size` are in use."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self._check_open()
        if len(self._all) + self._opening < self.size:
            self._opening += 1
            return await self._open(seconds)
        turn: asyncio.Future[asyncpg.Connection | None] = loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(end):
                connection = await turn
        except BaseException as error:
            self._leave_line(turn)
            if isinstance(error, TimeoutError):
                raise DatabaseUnavailable(
                    f"all {self.size} connections were busy for {seconds:.3g} s; raise database_connections"
                ) from error
            raise
        if connection is not None and connection.is_closed():
            self._all.discard(connection)
            self._opening += 1
        elif connection is not None:
            return connection
        return await self._open(end - loop.time())

    def _leave_line(self, turn: asyncio.Future[asyncpg.Connection | None]) -> None:
        """Pass on what was given to a waiter at the very moment in which it gave up."""
        if not turn.done():
            turn.cancel()
        elif not turn.cancelled():
            connection = turn.result()
            if connection is None:
                self._opening -= 1
                self._give_place()
            else:
                self._release(connection, clean=True)

    async def _open(self, seconds: float) -> asyncpg.Connection:
        """Open a connection in a place that was counted in `_opening` already."""
        try:
            self._check_open()
            connection = await connect(
                self.url,
                name=self._name,
                settings=self._settings,
                is_lent=self._are_lent,
                timeout=max(seconds, 0.001),
                connection_class=self._connection_class,
            )
            try:
                self._check_open()
            except NotOpen:
                connection.terminate()
                raise
        except BaseException as error:
            self._opening -= 1
            self._give_place()
            if isinstance(error, DatabaseUnavailable):
                self._note(answered=False)
                # A socket that is gone refuses without a turn of the loop: who tries again at once would hold the loop.
                await asyncio.sleep(AFTER_REFUSAL)
            raise
        self._opening -= 1
        self._all.add(connection)
        return connection

    def _release(self, connection: asyncpg.Connection, *, clean: bool) -> None:
        if not clean or self._closed or connection.is_closed():
            connection.terminate()
            self._all.discard(connection)
            self._give_place()
            return
        # Handed to the first in line, not laid where anybody finds it: a caller in a tight loop would take it again before
        # the one who waits gets a turn of the loop, every time.
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._idle.append(connection)

    def _give_place(self) -> None:
        """Let the first in line open a connection of its own, if there is room for one."""
        while self._waiting and (self._closed or len(self._all) + self._opening < self.size):
            turn = self._waiting.popleft()
            if not turn.done():
                self._opening += 1
                turn.set_result(None)

    @property
    def statistics(self) -> tuple[int, int]:
        """Connections open, and how many of these are idle."""
        return len(self._all), len(self._idle)

    def close(self) -> None:
        """End every connection at once; what is in flight fails with `DatabaseUnavailable`. Needs no answer."""
        self._closed = True
        if self._watchman is not None:
            self._watchman.cancel()
        for connection in self._all:
            connection.terminate()
        self._idle.clear()
        self._all.clear()
        self._give_place()


def _begun(error: DatabaseError) -> DatabaseError:
    if isinstance(error, DatabaseUnavailable):
        error.begun = True
    return error
