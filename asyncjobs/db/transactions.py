"""A transaction around a user's code, with a statement of ours at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import asyncpg

from asyncjobs.db.connecting import Connection
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.through_sqlalchemy import wrapped
from asyncjobs.defining.uncut import uncut
from asyncjobs.exceptions import DatabaseUnavailable, InvalidStep

T = TypeVar("T")

_ENDS_OF_LINKS = ("08", "53", "57P", "58")
"""Classes of SQLSTATE after which the server ends the connection, or does not know itself what has become of it."""


class Transaction(Generic[T]):
    """Runs `body` and then `last` in one transaction: both or neither.

    Args:
        body: Given the connection.
        last: Given what `body` returned; returns whether that is to be committed.
        sessions: Of the connection; `last` and the commit, which nothing else cuts, may take as long as their deadline.
        through_sqlalchemy: Whether `body` is given SQLAlchemy's connection.
    """

    def __init__(
        self,
        body: Callable[[Any], Awaitable[T]],
        last: Callable[[Connection, T], Awaitable[bool]] | None = None,
        *,
        sessions: Sessions,
        through_sqlalchemy: bool = False,
    ) -> None:
        self._body = body
        self._last = last
        self._sessions = sessions
        self._through_sqlalchemy = through_sqlalchemy
        self.value: T | None = None
        """What `body` returned."""
        self.committing = False
        """Whether it may have been committed."""
        self.refused = False
        """Whether `last` said no, and it was rolled back."""
        self.error: Exception | None = None
        """What `body` raised, or the server at the commit: a user's own, though it may be an error of asyncpg's."""

    async def run(self, connection: Connection) -> None:
        """Run it.

        Raises:
            DatabaseUnavailable: The link is broken.
            Exception: The driver's, that too. With `committing`, it may be done.
        """
        transaction = connection.transaction()
        await transaction.start()
        if not self._through_sqlalchemy:
            await self._run(connection, transaction, connection)
            return
        async with wrapped(connection) as through:
            await self._run(connection, transaction, through)

    async def _run(self, connection: Connection, transaction: Any, given: Any) -> None:
        try:
            self.value = await self._body(given)
            if not connection.is_closed() and not connection.is_in_transaction():
                raise InvalidStep(
                    "an isolated step has ended its transaction itself, by COMMIT or ROLLBACK: what it did so far stands or "
                    "is gone, and the step is not recorded; leave both to the step, and use savepoints inside it"
                )
            if given is not connection:
                await given.commit()  # of its savepoint
            await self._end(connection, transaction, self.value)
        except Exception as error:
            if self.committing:
                raise
            self.error = error
            if given is not connection:
                with contextlib.suppress(Exception):
                    await given.rollback()
            if not connection.is_closed() and connection.is_in_transaction():
                await transaction.rollback()
            if connection.is_closed():  # whatever the user's code, or SQLAlchemy, has made of that
                raise DatabaseUnavailable(f"no answer from the database: {error}") from error

    async def _end(self, connection: Connection, transaction: Any, value: T) -> None:
        self.committing = True
        self._sessions.limit(connection)
        try:
            await uncut(self._commit(connection, transaction, value))
        except asyncpg.PostgresError as error:
            # It is the user's: a deferred constraint, a serialization failure, an error that his code has swallowed.
            self.committing = connection.is_closed() or (error.sqlstate or "").startswith(_ENDS_OF_LINKS)
            raise

    async def _commit(self, connection: Connection, transaction: Any, value: T) -> None:
        if self._last is None or await self._last(connection, value):
            await transaction.commit()
        else:
            self.refused = True
            await transaction.rollback()
