"""Uses of a few connections, each with a hard deadline.

Not asyncpg's pool: on a link that swallows packets a task inside `pool.acquire()` cannot be cancelled and `pool.close()`
hangs, and its reset of each released connection costs a round trip that a single-row enqueue would pay. Here a use that
is cancelled, times out or breaks ends its connection with `terminate()`, and the next use opens another.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import asyncpg

from asyncjobs.db.errors import LINK_ERRORS, is_of_session, translated
from asyncjobs.db.pool import HEAD_START, Pool
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable

T = TypeVar("T")

RESOLUTION = 0.1
"""Seconds between looks for uses past their deadline."""
DEADLINE = 30.0
"""Seconds that one use of a connection may take unless it says otherwise."""
UNPROVED = 60.0
"""Seconds after which an idle connection is not taken for whole any more: firewalls forget those that are silent."""
PROOF = 3.0
"""Seconds in which such a one must answer, or another is opened."""


class Runs(Protocol):
    """What runs operations on connections: sessions, or a share of them."""

    async def run(self, operation: Callable[[asyncpg.Connection], Awaitable[T]], *, deadline: float | None = None) -> T:
        """Run `operation`; see `Sessions.run`."""
        ...


class Sessions:
    """Up to `size` connections to one database, opened when needed, used one operation at a time.

    Args:
        url: A PostgreSQL URL.
        deadline: Seconds that an operation may take, waiting for a free connection included.
        size, name, settings, keep, least, grow_after, head_start, connection_class, are_lent: As `Pool` takes them.

    Attributes:
        pool: The connections.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        name: str,
        settings: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
        keep: float = math.inf,
        least: int = 0,
        grow_after: float = 0.0,
        head_start: float = HEAD_START,
        connection_class: type[asyncpg.Connection] = asyncpg.Connection,
        are_lent: bool = False,
    ) -> None:
        self.url = url
        self.deadline = deadline
        self.pool = Pool(
            url,
            size=size,
            name=name,
            settings=settings,
            timeout=deadline,
            keep=keep,
            least=least,
            grow_after=grow_after,
            head_start=head_start,
            connection_class=connection_class,
            are_lent=are_lent,
        )
        self._in_use: dict[asyncpg.Connection, float] = {}
        self._watchman: asyncio.TimerHandle | None = None

    async def run(
        self,
        operation: Callable[[asyncpg.Connection], Awaitable[T]],
        *,
        deadline: float | None = None,
        endless: bool = False,
    ) -> T:
        """Run `operation` on a connection and return what it returns.

        Args:
            operation: Given the connection.
            deadline: Seconds that it may take, waiting for the connection included; None: the sessions' own.
            endless: It runs a user's code, and may take as long as that does: the deadline is for the connection alone.

        Raises:
            DatabaseUnavailable: No connection, a broken link, or no end within the deadline. Whether the statement took
                effect is then unknown.
            DatabaseError: The server refused.
            NotOpen: After `close`.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        seconds = self.deadline if deadline is None else deadline
        end = begun + seconds
        is_last = endless
        while True:
            connection = self.pool.take_idle()
            is_forgotten = connection is not None and begun - self.pool.idle_since(connection) > UNPROVED
            if connection is not None and is_forgotten and not await self._proves(connection):
                connection = None
            if connection is None:
                connection = await self.pool.acquire(end, endless=endless)
            since = self.pool.idle_since(connection)
            clean = False
            self._watch(connection, math.inf if endless else end)
            try:
                result = await operation(connection)
                clean = True
            except (asyncpg.PostgresError, AttributeError, *LINK_ERRORS) as error:
                if isinstance(error, AttributeError) and not connection.is_closed():
                    raise
                clean, found = self._judge(connection, error, seconds=seconds, since=since)
                # Refused for the session's sake, before anything was done; a user's code is not for us to repeat.
                if is_last or not is_of_session(error):
                    raise found from error
                is_last = True
            else:
                self.pool.note(answered=True)
                return result
            finally:
                del self._in_use[connection]
                self.pool.release(connection, clean=clean)

    def _judge(
        self, connection: asyncpg.Connection, error: Exception, *, seconds: float, since: float
    ) -> tuple[bool, DatabaseError]:
        """Return whether a connection on which an operation has failed is still good, and what the caller is told.

        Args:
            connection: The one.
            error: What it raised. A connection that is ended between two messages of one statement has lost its protocol,
                and asyncpg trips over the None: an AttributeError, which as such would end the service that asked.
            seconds: That the use might take.
            since: Since when the connection was idle before.
        """
        now = asyncio.get_running_loop().time()
        answered = isinstance(error, asyncpg.PostgresError) and not connection.is_closed()
        at_fault = is_of_session(error)
        self.pool.note(answered=answered and not at_fault)
        if at_fault or not answered:  # and so may be all that were opened, or idle, for as long
            self.pool.end_idle(math.inf if at_fault else since)
        # asyncpg calls the end of a connection that we ended a PostgresError too.
        if not answered and now >= self._in_use[connection]:
            late = f"the database did not answer within {seconds:.3g} s; the connection was ended"
            found: DatabaseError = DatabaseUnavailable(late)
        else:
            found = translated(error, url=self.url)
        # What is sent last over a link that the server ends is an answer, too.
        found.refused = answered and getattr(error, "severity_en", None) in (None, "ERROR")
        return answered and not at_fault and not connection.is_in_transaction(), _begun(found)

    async def _proves(self, connection: asyncpg.Connection) -> bool:
        """Return whether a connection answers that was idle for long; else it is ended, and those idle as long with it."""
        since = self.pool.idle_since(connection)
        self._watch(connection, asyncio.get_running_loop().time() + PROOF)
        answered = False
        try:
            await connection.execute("select")
            answered = True
        except (asyncpg.PostgresError, AttributeError, *LINK_ERRORS):
            self.pool.end_idle(since)
        finally:
            del self._in_use[connection]
            if not answered:
                self.pool.release(connection, clean=False)
        return answered

    def limit(self, connection: asyncpg.Connection) -> None:
        """End an endless use `deadline` seconds from now: the user's code in it is over."""
        self._in_use[connection] = asyncio.get_running_loop().time() + self.deadline

    def unlimit(self, connection: asyncpg.Connection) -> None:
        """Have an endless use be one again: a user's code goes on in it."""
        self._in_use[connection] = math.inf

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

    def close(self) -> None:
        """End every connection at once; what is in flight fails with `DatabaseUnavailable`. Needs no answer."""
        if self._watchman is not None:
            self._watchman.cancel()
        self.pool.close()


async def check_writable(connection: asyncpg.Connection) -> None:
    """Raise, in a session whose transactions are read-only, what the server says to a write there."""
    if await connection.fetchval("select pg_catalog.current_setting('transaction_read_only')") == "on":
        raise asyncpg.ReadOnlySQLTransactionError("the database takes no writes: its transactions are read-only")


def _begun(error: DatabaseError) -> DatabaseError:
    if isinstance(error, DatabaseUnavailable):
        error.begun = True
    return error
