"""Connections for SQLAlchemy: one of our asyncpg connections as an `AsyncConnection`, in the same transaction."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any

from asyncjobs.db.connecting import Connection
from asyncjobs.exceptions import DatabaseUnavailable

_given: ContextVar[Connection] = ContextVar("asyncjobs_connection")


@contextlib.asynccontextmanager
async def wrapped(connection: Connection) -> AsyncIterator[Any]:
    """Yield a connection as SQLAlchemy's, and end it after the block.

    SQLAlchemy's transaction becomes a savepoint in the one that asyncpg has begun, so that its commit commits nothing yet.

    Raises:
        DatabaseUnavailable: The link broke before the block.
    """
    token = _given.set(connection)
    try:
        opened = await _engine().connect()
    except Exception as error:
        if connection.is_closed():  # whatever the error: SQLAlchemy's first statement, for the server's version, failed
            raise DatabaseUnavailable(f"no answer from the database: {error}") from error
        raise
    finally:
        _given.reset(token)
    try:
        yield opened
    finally:
        connection.terminate()  # first, so that the rest does not wait for an answer
        with contextlib.suppress(Exception):
            await opened.invalidate()
            await opened.close()


@cache
def _engine() -> Any:
    """Return the one engine for all: it holds no connection, and its first connect takes some milliseconds more."""
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    async def creator() -> Connection:
        return _given.get()

    engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)

    def invalidated(connection: Any, _record: Any, error: BaseException | None) -> None:
        if error is None:  # by the user's code; else SQLAlchemy has seen that the link is broken
            connection.driver_connection.is_closed_by_code = True

    event.listen(engine.sync_engine, "invalidate", invalidated)
    return engine


@contextlib.contextmanager
def noting_rollbacks(opened: Any) -> Iterator[list[bool]]:
    """Yield a list that has an entry once the code inside the block has rolled back, not only to a savepoint of its own."""
    from sqlalchemy import event

    found: list[bool] = []

    def rolled_back(_connection: Any) -> None:
        found.append(True)

    event.listen(opened.sync_connection, "rollback", rolled_back)
    try:
        yield found
    finally:
        event.remove(opened.sync_connection, "rollback", rolled_back)
