"""Every kind of connection that a caller may have a transaction on, behind one small face."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import psycopg
from psycopg import rows
from sqlalchemy import text
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool


class Caller:
    """A connection, and how its owner speaks SQL and ends transactions on it."""

    def __init__(self, connection: Any, execute: Any, commit: Any, rollback: Any, savepoint: Any) -> None:
        self.connection = connection
        self.execute = execute
        self.commit = commit
        self.rollback = rollback
        self.savepoint = savepoint
        """An async context manager around a nested transaction, rolled back by an exception."""


Opens = Callable[[str], AbstractAsyncContextManager[Caller]]


@asynccontextmanager
async def by_asyncpg(url: str) -> AsyncIterator[Caller]:
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    yield Caller(connection, connection.execute, transaction.commit, transaction.rollback, connection.transaction)
    await connection.close()


@asynccontextmanager
async def by_asyncpg_pool(url: str) -> AsyncIterator[Caller]:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield Caller(connection, connection.execute, transaction.commit, transaction.rollback, connection.transaction)


def engine_on(url: str, driver: str) -> AsyncEngine:
    return create_async_engine(url.replace("postgresql://", f"postgresql+{driver}://", 1), poolclass=NullPool)


class OwnSyncSession(Session):
    """Inside an `OwnSession`."""

    def execute(self, *_: Any, **__: Any) -> Any:
        raise DeprecationWarning("use exec()")


class OwnSession(AsyncSession):
    """As SQLModel's, and many an application's: not SQLAlchemy's own, with an `execute` that is not for use any more."""

    sync_session_class = OwnSyncSession

    async def execute(self, *_: Any, **__: Any) -> Any:
        raise DeprecationWarning("use exec()")

    async def exec(self, statement: Any) -> Any:
        return await self.run_sync(Session.execute, statement)


def by_session(driver: str, kind: type[AsyncSession] = AsyncSession) -> Opens:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Caller]:
        engine = engine_on(url, driver)
        async with kind(engine) as session:
            yield _of_sqlalchemy(session)
        await engine.dispose()

    return opened


@asynccontextmanager
async def by_scoped_session(url: str) -> AsyncIterator[Caller]:
    engine = engine_on(url, "asyncpg")
    scoped = async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: 1)
    yield _of_sqlalchemy(scoped)
    await scoped.remove()
    await engine.dispose()


def by_sqlalchemy_connection(driver: str) -> Opens:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Caller]:
        engine = engine_on(url, driver)
        async with engine.connect() as connection:
            yield _of_sqlalchemy(connection)
        await engine.dispose()

    return opened


def _of_sqlalchemy(connection: AsyncSession | AsyncConnection | async_scoped_session[Any]) -> Caller:
    async def execute(statement: str) -> None:
        await (connection.exec if isinstance(connection, OwnSession) else connection.execute)(text(statement))

    return Caller(connection, execute, connection.commit, connection.rollback, connection.begin_nested)


def by_psycopg(**options: Any) -> Opens:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Caller]:
        async with await psycopg.AsyncConnection.connect(url, **options) as connection:
            yield Caller(connection, connection.execute, connection.commit, connection.rollback, connection.transaction)

    return opened


WAYS: dict[str, Opens] = {
    "asyncpg": by_asyncpg,
    "asyncpg from a pool": by_asyncpg_pool,
    "session on asyncpg": by_session("asyncpg"),
    "session on psycopg": by_session("psycopg"),
    "session of an own class": by_session("asyncpg", OwnSession),
    "scoped session": by_scoped_session,
    "connection on asyncpg": by_sqlalchemy_connection("asyncpg"),
    "connection on psycopg": by_sqlalchemy_connection("psycopg"),
    "psycopg": by_psycopg(),
    "psycopg, dict rows": by_psycopg(row_factory=rows.dict_row),
    "psycopg, scalar rows": by_psycopg(row_factory=rows.scalar_row),
    "psycopg, rows of a class": by_psycopg(row_factory=rows.kwargs_row(lambda **row: tuple(row.values()))),
    "psycopg, raw cursors": by_psycopg(cursor_factory=psycopg.AsyncRawCursor),
}
