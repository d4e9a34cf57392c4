"""Sessions: operations on a few connections, each with a hard deadline.

asyncpg's pool is not used: on a link that swallows packets a task inside `pool.acquire()` cannot be cancelled and
`pool.close()` hangs, and its reset of each released connection costs a round trip, which would slow a single-row enqueue.
Here an operation that is cancelled, times out or breaks ends its connection with `terminate()`, and the next opens another.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

import asyncpg

from asyncjobs.db.errors import LINK_ERRORS, is_deadlock, is_of_session, translated
from asyncjobs.db.pool import HEAD_START, Pool
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable

if TYPE_CHECKING:
    from asyncjobs.metrics.counting import Histogram

T = TypeVar("T")

RESOLUTION = 0.1
"""Seconds between looks for operations past their deadline."""
DEADLINE = 30.0
"""Seconds for one operation, unless another deadline is given."""
MOST_DEADLOCKS = 3
"""Times that an operation which a deadlock has rolled back is done again."""
UNPROVED = 60.0
"""Seconds after which an idle connection is tested before its use: firewalls forget silent ones."""
PROOF = 3.0
"""Seconds for the answer to that test; then another connection is opened."""


class Runs(Protocol):
    """Runs operations on connections: sessions, or a lane of them."""

    async def run(self, operation: Callable[[asyncpg.Connection], Awaitable[T]], *, deadline: float | None = None) -> T:
        """Run `operation`; see `Sessions.run`."""
        ...


class Sessions:
    """Up to `size` connections to one database, opened when needed, used by one operation at a time.

    Args:
        url: A PostgreSQL URL.
        deadline: Seconds for an operation, the wait for a connection included.
        size, name, settings, keep, least, grow_after, head_start, connection_class, are_lent: See `Pool`.

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
        self.times: Histogram | None = None
        """Told of the seconds that each operation has taken, the wait for a connection included; None: nobody asks."""
        self._in_use: dict[asyncpg.Connection, float] = {}
        self._watch_timer: asyncio.TimerHandle | None = None

    async def run(
        self,
        operation: Callable[[asyncpg.Connection], Awaitable[T]],
        *,
        deadline: float | None = None,
        endless: bool = False,
    ) -> T:
        """Run `operation` on a connection, and return its result.

        Args:
            operation: Called with the connection.
            deadline: Seconds for it, the wait for the connection included; None: the sessions' own deadline.
            endless: It runs a user's code without a limit of time: the deadline is for the connection alone.

        Raises:
            DatabaseUnavailable: There was no connection, the link broke, or the deadline has passed. Whether the statement
                took effect is unknown.
            DatabaseError: The server refused.
            NotOpen: The sessions are closed.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        seconds = self.deadline if deadline is None else deadline
        end = begun + seconds
        is_last, deadlocks = endless, 0
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
                # Refused because of the session, before anything was done: done once more, except for a user's code. So is
                # what was rolled back for the locks of others.
                deadlocks += is_deadlock(error)
                if is_last or not (is_of_session(error) or (is_deadlock(error) and deadlocks <= MOST_DEADLOCKS)):
                    raise found from error
                is_last = is_of_session(error)
            else:
                self.pool.note(answered=True)
                if self.times is not None and not endless:
                    self.times.observe(loop.time() - begun)
                return result
            finally:
                del self._in_use[connection]
                self.pool.release(connection, clean=clean)

    def _judge(
        self, connection: asyncpg.Connection, error: Exception, *, seconds: float, since: float
    ) -> tuple[bool, DatabaseError]:
        """Return whether a connection is still good after an operation has failed, and the error to raise.

        Args:
            connection: The connection.
            error: The operation's error. It is an AttributeError when the connection was ended between two messages of one
                statement: asyncpg has no protocol then. Let through, it would end the service that called.
            seconds: The deadline of the operation.
            since: The loop's time since which the connection was idle before.
        """
        now = asyncio.get_running_loop().time()
        answered = isinstance(error, asyncpg.PostgresError) and not connection.is_closed()
        at_fault = is_of_session(error)
        self.pool.note(answered=answered and not at_fault)
        if at_fault or not answered:  # connections that were opened before, or idle for as long, may fail, too
            self.pool.end_idle(math.inf if at_fault else since)
        # asyncpg calls the end of a connection that we ended a PostgresError too.
        if not answered and now >= self._in_use[connection]:
            late = f"the database did not answer within {seconds:.3g} s; the connection was ended"
            found: DatabaseError = DatabaseUnavailable(late)
        else:
            found = translated(error, url=self.url)
        # A FATAL error, the last message before the server ends the link, is no refusal of the statement.
        found.refused = answered and getattr(error, "severity_en", None) in (None, "ERROR")
        return answered and not at_fault and not connection.is_in_transaction(), _begun(found)

    async def _proves(self, connection: asyncpg.Connection) -> bool:
        """Return whether a connection answers after it was idle for long; else end it, and others idle for as long."""
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
        """Give an endless operation a deadline from now on: the user's code in it is over."""
        self._in_use[connection] = asyncio.get_running_loop().time() + self.deadline

    def unlimit(self, connection: asyncpg.Connection) -> None:
        """Take the deadline of an endless operation away: a user's code goes on in it."""
        self._in_use[connection] = math.inf

    def _watch(self, connection: asyncpg.Connection, end: float) -> None:
        """End the connection at `end` unless it is given back by then.

        One timer serves all operations, at most `RESOLUTION` late: a timer for each would cost 35 µs on uvloop, a sixth of
        an insert with its commit.
        """
        self._in_use[connection] = end
        if self._watch_timer is None:
            self._watch_timer = asyncio.get_running_loop().call_later(RESOLUTION, self._end_overdue)

    def _end_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        for connection, end in list(self._in_use.items()):
            if loop.time() >= end:
                connection.terminate()
        self._watch_timer = loop.call_later(RESOLUTION, self._end_overdue) if self._in_use else None

    def close(self) -> None:
        """End every connection at once; operations under way fail with `DatabaseUnavailable`. Waits for no answer."""
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        self.pool.close()


async def check_writable(connection: asyncpg.Connection) -> None:
    """Raise ReadOnlySQLTransactionError if the transactions of this session are read-only."""
    if await connection.fetchval("select pg_catalog.current_setting('transaction_read_only')") == "on":
        raise asyncpg.ReadOnlySQLTransactionError("the database takes no writes: its transactions are read-only")


def _begun(error: DatabaseError) -> DatabaseError:
    if isinstance(error, DatabaseUnavailable):
        error.begun = True
    return error
