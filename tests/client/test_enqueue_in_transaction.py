"""Enqueue in the caller's own transaction: the job exists if and only if that commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from callers import WAYS, Caller, Opens, engine_on
from client_jobs import double, live, row, rows
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from asyncjobs import AsyncJobs, JobNotFound
from tests.support.processes import PATIENCE


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def opens(request: pytest.FixtureRequest) -> Opens:
    return request.param


# One of each family: what the others of it add is how they begin, and how rows come back.
FAMILIES = ["asyncpg", "session on asyncpg", "session on psycopg", "connection on asyncpg", "psycopg"]


@pytest.fixture(params=FAMILIES)
def caller(request: pytest.FixtureRequest, url: str, complete: Callable[[Any], Any]) -> Iterator[Caller]:
    opened = WAYS[request.param](url)
    yield complete(opened.__aenter__())
    complete(opened.__aexit__(None, None, None))


class Refused(Exception):
    """What a caller raises to have its own transaction undone."""


class TestEveryKindOfConnection:
    async def test_committed_the_job_is_there_and_rolled_back_it_never_was(
        self, client: AsyncJobs, connection: asyncpg.Connection, opens: Opens, url: str
    ) -> None:
        kept, gone = double(1), double(2)
        async with opens(url) as caller:
            # The first statement on a new connection: SQLAlchemy's asyncpg dialect has not begun yet.
            assert await kept.enqueue(connection=caller.connection) is kept
            assert kept.disposition == "enqueued"
            assert await live(connection) == 0
            await caller.commit()
        assert await row(connection, kept) is not None
        async with opens(url) as caller:
            await gone.enqueue(connection=caller.connection)
            await caller.rollback()
        assert await rows(connection) == 1
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(JobNotFound, match="rolled back"):
                await gone

    async def test_it_goes_the_way_of_the_callers_own_rows(
        self, client: AsyncJobs, connection: asyncpg.Connection, caller: Caller
    ) -> None:
        await connection.execute("create table own (n int)")
        await caller.execute("insert into own values (1)")
        await double(1).enqueue(connection=caller.connection)
        await caller.execute("insert into own values (2)")
        await caller.rollback()
        assert await connection.fetchval("select count(*) from own") == 0
        assert await live(connection) == 0

    async def test_a_savepoint_that_is_rolled_back_takes_only_its_own_jobs(
        self, client: AsyncJobs, connection: asyncpg.Connection, caller: Caller
    ) -> None:
        outer, inner, released = double(1), double(2), double(3)
        await outer.enqueue(connection=caller.connection)
        with suppress(Refused):
            async with caller.savepoint():
                await inner.enqueue(connection=caller.connection)
                raise Refused
        async with caller.savepoint():
            await released.enqueue(connection=caller.connection)
        await caller.commit()
        assert await row(connection, inner) is None
        assert await live(connection) == 2

    async def test_everything_that_was_set_arrives(
        self, client: AsyncJobs, connection: asyncpg.Connection, opens: Opens, url: str
    ) -> None:
        at = datetime.now(UTC).replace(microsecond=123_456) + timedelta(days=400)
        timed = double(1).set(queue="low", priority=-9, at=at.astimezone())
        delayed = double(2).set(wait=timedelta(hours=1))
        async with opens(url) as caller:
            for each in (timed, delayed):
                await each.enqueue(connection=caller.connection)
                assert each.state == "scheduled"
            await caller.commit()
        found = await row(connection, timed)
        assert (found["queue"], found["priority"], found["run_at"], found["args"]) == ("low", -9, at, '{"number":1}')
        found = await row(connection, delayed)
        ahead = found["run_at"] - await connection.fetchval("select clock_timestamp()")
        assert timedelta(minutes=59) < ahead <= timedelta(hours=1)

    async def test_the_same_object_twice_makes_one_row(
        self, client: AsyncJobs, connection: asyncpg.Connection, caller: Caller
    ) -> None:
        made = double(1)
        for _ in range(2):
            await made.enqueue(connection=caller.connection)
        await caller.commit()
        assert (await live(connection), made.disposition) == (1, "enqueued")

    async def test_a_waiting_worker_runs_it_at_the_commit_and_not_before(
        self, make_jobs: Callable[..., AsyncJobs], caller: Caller
    ) -> None:
        async with make_jobs(dispatcher={"polling_interval": 60}).running() as jobs:
            await (await double(0).enqueue()).result(timeout=PATIENCE)  # the worker is up, and its next poll far away
            made = double(21)
            await jobs.enqueue(made, connection=caller.connection)
            with pytest.raises(JobNotFound):
                await made
            await caller.commit()
            assert await made.result(timeout=PATIENCE) == 42


async def test_a_raw_connection_of_a_session_would_have_kept_the_row(
    client: AsyncJobs, connection: asyncpg.Connection, url: str
) -> None:
    """Why the session itself is used, and never its driver's connection: before the first statement no transaction is."""
    engine = engine_on(url, "asyncpg")
    async with AsyncSession(engine) as session:
        driver = (await (await session.connection()).get_raw_connection()).driver_connection
        assert not driver.is_in_transaction()
        await double(1).enqueue(connection=session)
        assert driver.is_in_transaction()
        await session.rollback()
    await engine.dispose()
    assert await live(connection) == 0


class TestNotices:
    @pytest.fixture
    def heard(self, connection: asyncpg.Connection, complete: Callable[[Any], Any]) -> list[str]:
        payloads: list[str] = []
        complete(connection.add_listener("asyncjobs_ready", lambda *given: payloads.append(given[3])))
        return payloads

    async def _settled(self, connection: asyncpg.Connection) -> None:
        """Notices come in order: once one of our own is back, all before it are."""
        back = asyncio.Event()
        await connection.add_listener("back", lambda *_: back.set())
        await connection.execute("select pg_notify('back', '')")
        await back.wait()

    async def test_there_are_none_before_the_commit_and_one_a_queue_after_it(
        self, client: AsyncJobs, connection: asyncpg.Connection, heard: list[str], url: str
    ) -> None:
        async with WAYS["asyncpg"](url) as caller:
            for number in range(100):
                queue = "even" if number % 2 == 0 else "odd"
                await double(number).set(queue=queue).enqueue(connection=caller.connection)
            await self._settled(connection)
            assert heard == []
            await caller.commit()
        await self._settled(connection)
        assert sorted(heard) == ["0 even", "0 odd"]

    async def test_there_are_none_after_a_rollback(
        self, client: AsyncJobs, connection: asyncpg.Connection, heard: list[str], url: str
    ) -> None:
        async with WAYS["session on asyncpg"](url) as caller:
            await double(1).enqueue(connection=caller.connection)
            await caller.rollback()
        await self._settled(connection)
        assert heard == []


async def test_other_statements_of_the_session_still_work_after_an_enqueue(
    client: AsyncJobs, connection: asyncpg.Connection, url: str
) -> None:
    engine = engine_on(url, "psycopg")
    async with AsyncSession(engine) as session, session.begin():
        await double(1).enqueue(connection=session)
        assert (await session.execute(text("select 41 + 1"))).scalar_one() == 42
    await engine.dispose()
    assert await live(connection) == 1


async def test_many_callers_in_transactions_of_their_own_at_once(
    client: AsyncJobs, connection: asyncpg.Connection, url: str
) -> None:
    async def one(number: int) -> None:
        async with WAYS["asyncpg"](url) as caller:
            await double(number).enqueue(connection=caller.connection)
            await (caller.commit() if number % 2 else caller.rollback())

    await asyncio.gather(*(one(number) for number in range(20)))
    found: list[Any] = await connection.fetch("select args from asyncjobs.job")
    assert {each["args"] for each in found} == {f'{{"number":{number}}}' for number in range(1, 20, 2)}
