"""A transaction around a user's code, with a statement of ours at its end."""

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
from asyncjobs.db.lending import NOT_YOURS, RESET, UNLOCK, LentConnection, clean, lent, take_back
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.through_sqlalchemy import wrapped
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, InvalidStep
from asyncjobs.tasks.shielding import shielded

T = TypeVar("T")

MARK = "asyncjobs.isolated"
"""A setting that is local to the transaction: without it at the end, the user's code has ended that and begun another."""
PREPARED = "asyncjobs_unlock"
"""The name of a statement of ours in such a session."""
LOST_IN_A_ROW = 2
"""Times after which a session that was ended while it was idle is taken for ended by a limit, and not for lost."""
KEPT = 10.0
"""Seconds that a connection is kept after an isolated step for the next."""
PROBE_TIMEOUT = 5.0
"""Seconds for asking the server about its limits after a session has ended."""
_ENDS_OF_LINKS = ("08", "53", "57P", "58")
"""Classes of SQLSTATE after which the server ends the connection, or does not know itself what has become of it."""
_LIMIT = """
select min(setting::float8) / 1000 from pg_catalog.pg_settings
where name in ('idle_in_transaction_session_timeout', 'transaction_timeout') and setting <> '0'
"""
"""Seconds after which the server ends a session whose transaction is idle, or takes too long; null: never."""


MOST_TRIES = 5
"""Times that a transaction is tried which the server undoes: at SERIALIZABLE it may undo one that conflicts with none."""
_UNDONE = ("40001", "40P01")


def _state(error: Exception | None) -> str:
    """Return the SQLSTATE of a driver's error, or of the one that SQLAlchemy has wrapped; empty: it has none."""
    return getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None) or ""


class IsolatedConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose transactions bear a mark from their beginning, and may clean the session at their end.

    Neither costs a round trip of its own: one for the cleaning alone would be a fifth of a step.
    """

    is_closed_by_code = False
    """Whether somebody has closed it; we do not, we terminate."""
    is_cleaned = False
    """Whether the end of a transaction cleans the session, too."""
    _is_prepared = False

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:
        """Execute; see `Connection.execute`."""
        if query == "BEGIN;":
            query = f"BEGIN; set local {MARK} = 'on'"
            if not self._is_prepared and poolers.is_own(self):
                # To plan it anew takes 60 of the 80 µs that the cleaning takes the server.
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
    """Return connections for transactions around a user's code: with the role's own settings, which that relies on."""
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
        body: Given the connection.
        last: Given what `body` returned; returns whether that is to be committed, and whether the transaction is still the
            one that was begun.
        sessions: `isolated_sessions`; `last` and the commit, which nothing else cuts, may take as long as their deadline.
        through_sqlalchemy: Whether `body` is given SQLAlchemy's connection, which ends it.
        cleans: Whether `body` may change the session, which others are to have after it.
        lost_before: How often in a row it was tried before, and its session lost.
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
        """What `body` returned."""
        self.committing = False
        """Whether it may have been committed."""
        self.refused = False
        """Whether `last` said no, and it was rolled back."""
        self.error: Exception | None = None
        """What `body` raised, or the server at the commit: a user's own, though it may be an error of asyncpg's."""

    async def run_on(self, sessions: Sessions) -> None:
        """Run it on one of the sessions, and again if the server has undone it for another's sake: it has done nothing then.

        Raises:
            DatabaseUnavailable: See `run`; no connection.
        """
        for tries in range(1, MOST_TRIES + 1):
            await sessions.run(self.run, endless=True)
            if _state(self.error) not in _UNDONE or tries == MOST_TRIES:
                return
            await asyncio.sleep(random.random() * 0.01 * 2**tries)  # else two that undo each other do so again
            self.value, self.committing, self.error = None, False, None

    async def run(self, connection: Connection) -> None:
        """Run it.

        Raises:
            DatabaseUnavailable: The link is broken, and the user's code has not broken it.
            Exception: The driver's, that too. With `committing`, it may be done, `error` or not.
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
                if not has_ended and await _is_spoilt(connection, error):
                    connection.terminate()
                    raise DatabaseUnavailable(f"this session of the database takes no writes: {error}") from error
                if has_ended:
                    self.error = await self._reason(connection, error, asyncio.get_running_loop().time() - begun)

    async def _perform(self, given: Any, connection: Connection, transaction: Any) -> T:
        try:
            value = await self._body(given)
        finally:
            if isinstance(given, LentConnection):
                take_back(given, connection, transaction)  # before it is cleaned: nobody is to change it after that
        if not connection.is_closed() and not connection.is_in_transaction():
            raise InvalidStep(_ENDED)
        if self._through_sqlalchemy:
            await given.commit()  # of its savepoint
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
        """Roll back, or end a session on which that cannot be done: something of the user's goes on there."""
        if self._through_sqlalchemy:
            with contextlib.suppress(Exception):
                await given.rollback()
        try:
            if connection.is_in_transaction():
                await self._finish(connection, transaction.rollback)
                return
        except Exception:  # a statement of the user's goes on there, or it has no link any more
            connection.terminate()
        # Ended by somebody else, of which asyncpg does not know: its next transaction would be a savepoint in none.
        connection.terminate()

    async def _reason(self, connection: Connection, error: Exception, seconds: float) -> Exception:
        """Return the step's error when its code has had the session ended, by closing it or by the server's limits.

        asyncpg reads no last word of a server that ends an idle session: that the step took longer than the limit must do,
        or that it has come to the same end again and again while the database answers.

        Raises:
            DatabaseUnavailable: It was lost.
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
        """Return seconds after which the server ends such a session.

        Raises:
            DatabaseError: It does not answer.
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
            # It is the user's: a deferred constraint, a serialization failure, an error that his code has swallowed; or
            # a statement of his that still goes on, beside which asyncpg sends nothing.
            state = getattr(error, "sqlstate", None) or ""
            # In one message with the commit, it may be the cleaning that was refused.
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
        """End the transaction, and clean the session in the same message."""
        self._is_cleaning = connection.is_cleaned = self._cleans
        try:
            await end()
        finally:
            connection.is_cleaned = False
        self._is_cleaning = False


async def _is_spoilt(connection: Connection, error: Exception) -> bool:
    """Whether it is the session that refused something of a transaction: all its transactions are read-only."""
    if not is_of_session(error) or connection.is_closed():
        return False
    return bool(await connection.fetchval("select pg_catalog.current_setting('transaction_read_only')") == "on")


_ENDED = (
    "an isolated step has ended its transaction itself, by COMMIT or ROLLBACK: what it did so far stands or is gone, and "
    "the step is not recorded; leave both to the step, and use savepoints inside it"
)
