"""Transactions around a user's code, with a statement of ours at the end: isolated steps."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

import asyncpg

from asyncjobs.db import poolers
from asyncjobs.db.connecting import Connection, connect
from asyncjobs.db.errors import is_of_session, translating
from asyncjobs.db.lent_connections import NOT_YOURS, RESET, UNLOCK, LentConnection, clean, lent, take_back
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.through_sqlalchemy import noting_rollbacks, wrapped
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, InvalidStep
from asyncjobs.tasks.shielding import shielded

T = TypeVar("T")

MARK = "asyncjobs.isolated"
"""A setting local to the transaction: if it is gone at the end, the user's code has ended our transaction."""
PREPARED = "asyncjobs_unlock"
"""The name of a prepared statement of ours in such a session."""
LOST_IN_A_ROW = 2
"""Losses of an idle session in a row after which the cause is taken to be a limit of the server."""
KEPT = 10.0
"""Seconds that a connection is kept after an isolated step for the next."""
PROBE_TIMEOUT = 5.0
"""Seconds for asking the server about its limits after a session has ended."""
_ENDS_OF_LINKS = ("08", "53", "57P", "58")
"""Classes of SQLSTATE after which the server ends the connection, so that it is not known whether a commit took effect."""
_LIMIT = """
select min(setting::float8) / 1000 from pg_catalog.pg_settings
where name in ('idle_in_transaction_session_timeout', 'transaction_timeout') and setting <> '0'
"""
"""Seconds after which the server ends a session whose transaction is idle, or takes too long; null: never."""

MOST_TRIES = 5
"""Tries of a transaction that the server undoes: at SERIALIZABLE it may undo one without a real conflict."""
_UNDONE = ("40001", "40P01")


def _state(error: Exception | None) -> str:
    """Return the SQLSTATE of a driver's error, or of the one that SQLAlchemy has wrapped; empty: it has none."""
    return getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None) or ""


class IsolatedConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that sets `MARK` at the start of a transaction, and may clean the session at its end.

    Neither takes a round trip of its own: one for the cleaning would cost a fifth of a step.
    """

    is_closed_by_code = False
    """Whether the user's code has closed it; ours only terminates connections."""
    is_cleaned = False
    """Whether the end of a transaction also cleans the session."""
    _is_prepared = False

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:
        """Execute; see `Connection.execute`."""
        if query == "BEGIN;":
            query = f"BEGIN; set local {MARK} = 'on'"
            if not self._is_prepared and poolers.is_own(self):
                # Prepared, since planning takes 60 of the 80 µs that the server needs for the cleaning.
                query += f"; prepare {PREPARED} as {UNLOCK}"
                self._is_prepared = True
        elif self.is_cleaned and query in ("COMMIT;", "ROLLBACK;"):
            query += RESET.replace(UNLOCK, f"execute {PREPARED}") if self._is_prepared else RESET
        return str(await super().execute(query, *arguments, timeout=timeout))

    async def close(self, *, timeout: float | None = None) -> None:
        """Close it; see `Connection.close`."""
        self.is_closed_by_code = self.is_closed_by_code or not self.is_closed()
        await super().close(timeout=timeout)


def isolated_sessions(url: str, *, size: int, deadline: float) -> Sessions:
    """Return sessions for transactions around a user's code, with the role's own settings, on which that code relies."""
    return Sessions(
        url,
        size=size,
        name="asyncjobs isolated steps",
        deadline=deadline,
        keep=KEPT,
        connection_class=IsolatedConnection,
        are_lent=True,
    )


class Transaction(Generic[T]):
    """Runs `body` and then `last` in one transaction: both or neither.

    Args:
        body: Called with the connection.
        last: Called with the result of `body`; returns whether to commit, and whether the transaction is still the one that
            was begun.
        sessions: `isolated_sessions`; their deadline bounds `last` and the commit, which nothing cancels.
        through_sqlalchemy: Whether `body` gets SQLAlchemy's connection; the connection is ended afterwards.
        cleans: Whether to clean the session afterwards, which `body` may have changed.
        lost_before: Earlier tries in a row whose session was lost.
    """

    def __init__(
        self,
        body: Callable[[Any], Awaitable[T]],
        last: Callable[[Connection, T], Awaitable[tuple[bool, bool]]] | None = None,
        *,
        sessions: Sessions,
        through_sqlalchemy: bool = False,
        cleans: bool = False,
        lost_before: int = 0,
    ) -> None:
        self._body = body
        self._lost_before = lost_before
        self._last = last
        self._sessions = sessions
        self._through_sqlalchemy = through_sqlalchemy
        self._cleans = cleans
        self._is_cleaning = False
        self.value: T | None = None
        """The result of `body`."""
        self.committing = False
        """Whether the transaction may have been committed."""
        self.refused = False
        """Whether `last` has refused the commit, so that the transaction was rolled back."""
        self.error: Exception | None = None
        """The error of `body`, or of the server at the commit: the user's, though it may be an error of asyncpg."""

    async def run_on(self, sessions: Sessions) -> None:
        """Run the transaction on one of the sessions; run it again if the server has undone it because of another one.

        Raises:
            DatabaseUnavailable: See `run`; or there was no connection.
        """
        for tries in range(1, MOST_TRIES + 1):
            await sessions.run(self.run, endless=True)
            if _state(self.error) not in _UNDONE or tries == MOST_TRIES:
                return
            await asyncio.sleep(random.random() * 0.01 * 2**tries)  # else two transactions would conflict again
            self.value, self.committing, self.error = None, False, None

    async def run(self, connection: Connection) -> None:
        """Run the transaction once, on a connection.

        Raises:
            DatabaseUnavailable: The link broke, and not by the user's code.
            Exception: The driver's error for that. If `committing` is set, the transaction may be committed.
        """
        begun = asyncio.get_running_loop().time()
        transaction = connection.transaction()
        await transaction.start()
        async with self._given(connection) as given:
            try:
                self.value = await self._perform(given, connection, transaction)
                await self._end(connection, transaction, self.value)
            except Exception as error:
                self.error = error
                if self.committing:
                    await clean(connection)
                    raise
                has_ended = connection.is_closed()
                await self._roll_back(connection, transaction, given)
                if not has_ended and await _is_read_only(connection, error):
                    connection.terminate()
                    raise DatabaseUnavailable(f"this session of the database takes no writes: {error}") from error
                if has_ended:
                    self.error = await self._reason(connection, error, asyncio.get_running_loop().time() - begun)

    async def _perform(self, given: Any, connection: Connection, transaction: Any) -> T:
        if self._through_sqlalchemy:
            return await self._perform_through_sqlalchemy(given, connection)
        try:
            value = await self._body(given)
        finally:
            if isinstance(given, LentConnection):
                take_back(given, connection, transaction)  # before the cleaning: no change may come after that
        if not connection.is_closed() and not connection.is_in_transaction():
            raise InvalidStep(_ENDED)
        return value

    async def _perform_through_sqlalchemy(self, given: Any, connection: Any) -> T:
        sync_connection = given.sync_connection
        try:
            with noting_rollbacks(given) as rolled_back:
                value = await self._body(given)
        finally:
            connection.is_closed_by_code = connection.is_closed_by_code or sync_connection.closed
        if sync_connection.closed or connection.is_closed_by_code:
            raise InvalidStep(NOT_YOURS)
        if rolled_back or (not connection.is_closed() and not connection.is_in_transaction()):
            raise InvalidStep(_ENDED)
        await given.commit()  # commits its savepoint alone
        return value

    @contextlib.asynccontextmanager
    async def _given(self, connection: Connection) -> AsyncIterator[Any]:
        if self._through_sqlalchemy:
            async with wrapped(connection) as given:
                yield given
        else:
            with lent(connection) as given:
                yield given

    async def _roll_back(self, connection: Connection, transaction: Any, given: Any) -> None:
        """Roll back; if that cannot be done, since a statement of the user goes on, end the session."""
        if self._through_sqlalchemy:
            with contextlib.suppress(Exception):
                await given.rollback()
        try:
            if connection.is_in_transaction():
                await self._finish(connection, transaction.rollback)
                return
        except Exception:  # a statement of the user's goes on there, or the link is broken
            connection.terminate()
        # The user's code has ended the transaction by SQL. asyncpg does not know that: its next one would be a savepoint.
        connection.terminate()

    async def _reason(self, connection: Connection, error: Exception, seconds: float) -> Exception:
        """Return the step's error if its code has ended the session, by closing it or by a limit of the server.

        asyncpg does not read the message of a server that ends an idle session. So it is taken for a limit if the step took
        longer than that, or if its session was lost again and again while the database answers.

        Raises:
            DatabaseUnavailable: The session was lost for another reason.
        """
        if getattr(connection, "is_closed_by_code", False):
            return InvalidStep(NOT_YOURS)
        try:
            limit = await self._server_limit()
        except DatabaseError as unavailable:
            raise DatabaseUnavailable(f"no answer from the database: {error}") from unavailable
        was_idle = isinstance(error, asyncpg.InterfaceError)  # else it was in the middle of a statement
        if (limit is None or seconds < limit) and not (was_idle and self._lost_before >= LOST_IN_A_ROW):
            raise DatabaseUnavailable(f"no answer from the database: {error}") from error
        allowed = "" if limit is None else f", which allows {limit:.3g} s"
        ended = DatabaseError(
            f"the session of an isolated step was ended after {seconds:.3g} s, by a limit of the server such as "
            f"idle_in_transaction_session_timeout{allowed}: do what takes long in a step before it"
        )
        ended.__cause__ = error
        return ended

    async def _server_limit(self) -> float | None:
        """Return the seconds after which the server ends such a session; None: never.

        Raises:
            DatabaseError: The server does not answer.
        """
        probe = await connect(self._sessions.url, name="asyncjobs isolated steps", timeout=PROBE_TIMEOUT)
        try:
            with translating():
                async with asyncio.timeout(PROBE_TIMEOUT):
                    limit: float | None = await probe.fetchval(_LIMIT)
                    return limit
        finally:
            probe.terminate()

    async def _end(self, connection: Connection, transaction: Any, value: T) -> None:
        self.committing = True
        self._sessions.limit(connection)
        try:
            await shielded(self._commit(connection, transaction, value))
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The user's code is the cause: a deferred constraint, a serialization failure, an error that it has swallowed,
            # or a statement that still goes on, beside which asyncpg sends nothing.
            state = getattr(error, "sqlstate", None) or ""
            # In one message with the commit, the cleaning may be what was refused.
            unsure = self._is_cleaning and isinstance(error, asyncpg.PostgresError) and state not in _UNDONE
            self.committing = unsure or connection.is_closed() or state.startswith(_ENDS_OF_LINKS)
            raise

    async def _commit(self, connection: Connection, transaction: Any, value: T) -> None:
        if self._last is None:
            held, is_ours = (
                True,
                await connection.fetchval(f"select pg_catalog.current_setting('{MARK}', true)") == "on",
            )
        else:
            held, is_ours = await self._last(connection, value)
        if held and not is_ours:
            self.committing = False
            raise InvalidStep(_ENDED)
        if held:
            await self._finish(connection, transaction.commit)
        else:
            self.refused = True
            await self._finish(connection, transaction.rollback)

    async def _finish(self, connection: Connection, end: Callable[[], Awaitable[None]]) -> None:
        """End the transaction; clean the session in the same message."""
        self._is_cleaning = connection.is_cleaned = self._cleans
        try:
            await end()
        finally:
            connection.is_cleaned = False
        self._is_cleaning = False


async def _is_read_only(connection: Connection, error: Exception) -> bool:
    """Whether an error came since all transactions of the session are read-only."""
    if not is_of_session(error) or connection.is_closed():
        return False
    return bool(await connection.fetchval("select pg_catalog.current_setting('transaction_read_only')") == "on")


_ENDED = (
    "an isolated step has ended its transaction itself, by COMMIT or ROLLBACK: what it did so far stands or is gone, and "
    "the step is not recorded; leave both to the step, and use savepoints inside it"
)
