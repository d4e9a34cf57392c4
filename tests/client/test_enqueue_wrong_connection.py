"""B36: connections that cannot carry an enqueue are refused by name, and nothing else is touched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from callers import WAYS, Caller, engine_on
from client_jobs import double, live
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from asyncjobs import AsyncJobs, InvalidConnection, NotEnqueued, SchemaMismatch
from tests.support.asking import until_blocked
from tests.support.processes import PATIENCE

TRANSACTIONS = ["asyncpg", "asyncpg from a pool", "session on asyncpg", "session on psycopg", "psycopg"]


@asynccontextmanager
async def refused(client: AsyncJobs, connection: asyncpg.Connection, given: Any, *words: str) -> AsyncIterator[None]:
    """Enqueue on `given`; it is refused, nothing is written, the client's own connections and the job are as before."""
    sessions = client._client()._sessions
    before = sessions.pool.statistics
    made = double(1)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(InvalidConnection) as raised:
            await made.enqueue(connection=given)
    for word in ("connection=", *words):
        assert word in str(raised.value)
    assert sessions.pool.statistics == before
    assert await live(connection) == 0
    with pytest.raises(NotEnqueued):
        await made
    yield
    await made.set(queue="elsewhere").enqueue()
    assert await live(connection) == 1


@pytest.fixture(params=TRANSACTIONS)
def caller(request: pytest.FixtureRequest, url: str, complete: Callable[[Any], Any]) -> Iterator[Caller]:
    opened = WAYS[request.param](url)
    caller = complete(opened.__aenter__())
    yield caller
    with suppress(Exception):
        complete(caller.rollback())
    complete(opened.__aexit__(None, None, None))


class TestTransactions:
    async def test_a_failed_one(self, client: AsyncJobs, connection: asyncpg.Connection, caller: Caller) -> None:
        with pytest.raises(Exception, match="division by zero"):
            await caller.execute("select 1 / 0")
        async with refused(client, connection, caller.connection, "failed transaction", "roll it back"):
            await caller.rollback()

    async def test_a_read_only_one(self, client: AsyncJobs, connection: asyncpg.Connection, caller: Caller) -> None:
        await caller.execute("set transaction read only")
        async with refused(client, connection, caller.connection, "read-only"):
            await caller.rollback()


class TestClosed:
    async def test_an_asyncpg_connection(self, client: AsyncJobs, connection: asyncpg.Connection, url: str) -> None:
        other = await asyncpg.connect(url)
        await other.close()
        async with refused(client, connection, other, "closed"):
            pass

    async def test_an_asyncpg_connection_that_is_back_in_its_pool(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
            async with pool.acquire() as other:
                pass
            async with refused(client, connection, other, "released"):
                pass

    async def test_a_psycopg_connection(self, client: AsyncJobs, connection: asyncpg.Connection, url: str) -> None:
        other = await psycopg.AsyncConnection.connect(url)
        await other.close()
        async with refused(client, connection, other, "closed"):
            pass

    async def test_an_sqlalchemy_connection(self, client: AsyncJobs, connection: asyncpg.Connection, url: str) -> None:
        engine = engine_on(url, "asyncpg")
        other = await engine.connect()
        await other.close()
        async with refused(client, connection, other):
            pass
        await engine.dispose()

    async def test_one_whose_server_process_was_ended(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        async with WAYS["session on asyncpg"](url) as caller:
            await caller.execute("select 1")
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'"
            )
            made = double(1)
            with pytest.raises(Exception, match=r"connection|terminat"):
                await made.enqueue(connection=caller.connection)
            with suppress(Exception):
                await caller.rollback()
        assert await live(connection) == 0


class TestWrongKinds:
    @pytest.mark.parametrize("wrong", ["postgresql:///x", 5, object(), True, double, [], asyncio.Event])
    async def test_what_is_no_connection(self, client: AsyncJobs, connection: asyncpg.Connection, wrong: Any) -> None:
        async with refused(client, connection, wrong, "give an asyncpg connection", "AsyncSession"):
            pass

    async def test_psycopgs_synchronous_connection_and_cursors(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        def opened() -> Any:
            return psycopg.connect(url)

        other = await asyncio.to_thread(opened)
        async with refused(client, connection, other, "psycopg's Connection", "AsyncConnection"):
            pass
        await connection.execute("truncate asyncjobs.job")
        async with refused(client, connection, other.cursor(), "psycopg's Cursor"):
            pass
        other.close()

    async def test_sqlalchemys_synchronous_ones_and_engines(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        sync_engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
        async_engine = engine_on(url, "asyncpg")
        with sync_engine.connect() as sync_connection, Session(sync_engine) as session:
            for wrong in (sync_connection, session, sync_engine, async_engine, sqlalchemy.text("select 1")):
                async with refused(client, connection, wrong, "SQLAlchemy's", type(wrong).__name__):
                    pass
                await connection.execute("truncate asyncjobs.job")
        sync_engine.dispose()
        await async_engine.dispose()

    async def test_an_asyncpg_pool(self, client: AsyncJobs, connection: asyncpg.Connection, url: str) -> None:
        async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
            async with refused(client, connection, pool, "Pool"):
                pass


class TestElsewhere:
    @pytest.mark.parametrize("kind", ["asyncpg", "session"])
    async def test_a_connection_of_another_event_loop(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str, kind: str
    ) -> None:
        opened, done = threading.Event(), threading.Event()
        found: list[Any] = []

        async def elsewhere() -> None:
            if kind == "asyncpg":
                other = await asyncpg.connect(url)
                found.append(other)
            else:
                engine = engine_on(url, "asyncpg")
                other = AsyncSession(engine)
                await other.execute(sqlalchemy.text("select 1"))
                found.append(other)
            opened.set()
            await asyncio.to_thread(done.wait)
            with suppress(Exception):
                await other.close()

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        try:
            await asyncio.to_thread(opened.wait)
            async with refused(client, connection, found[0], "loop"):
                pass
        finally:
            done.set()
            await asyncio.to_thread(thread.join)

    async def test_one_that_does_something_else_just_now(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        other = await asyncpg.connect(url)
        await connection.execute("select pg_advisory_lock(1)")
        busy = asyncio.ensure_future(other.execute("select pg_advisory_lock(1)"))
        await until_blocked(connection)
        async with refused(client, connection, other, "another operation"):
            await connection.execute("select pg_advisory_unlock(1)")
            await busy
        await other.close()

    async def test_a_database_without_the_schema(self, client: AsyncJobs, server: Any) -> None:
        other = await asyncpg.connect(server.url("postgres"))
        made = double(1)
        with pytest.raises(SchemaMismatch, match="asyncjobs db migrate"):
            await made.enqueue(connection=other)
        await other.close()
        await made.enqueue()


async def test_what_the_callers_own_data_refuses_is_not_called_a_wrong_connection(client: AsyncJobs, url: str) -> None:
    """A job that somebody else's uncommitted transaction is making: the caller's lock timeout is the caller's."""
    made = double(1)
    async with WAYS["asyncpg"](url) as first, WAYS["asyncpg"](url) as second:
        await made.enqueue(connection=first.connection)
        await second.execute("set local lock_timeout = '50ms'")
        with pytest.raises(Exception, match="lock timeout") as raised:
            await made.enqueue(connection=second.connection)
        assert not isinstance(raised.value, InvalidConnection)
        await second.rollback()
        await first.commit()
