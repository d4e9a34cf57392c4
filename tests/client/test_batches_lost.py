"""Batches and chains over a link that breaks, by a login that only enqueues, and on every driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import psycopg
import pytest
from client_jobs import double, live
from order_jobs import begin, glue, note, settled, with_callbacks
from sqlalchemy.ext.asyncio import create_async_engine

from asyncjobs import AsyncJobs, Batch, DatabaseError, EnqueueOutcomeUnknown, chain
from tests.support.proxy import Proxy, named
from tests.support.roles import apply_roles

CLIENT = named("asyncjobs client")
BATCH = named("asyncjobs batch")
MADE = (
    "select (select count(*) from asyncjobs.batch), (select count(*) from asyncjobs.job where kind <> 'client.double')"
)


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    begin()


@pytest.fixture
async def far(make_jobs: Callable[..., AsyncJobs], proxied_url: str) -> AsyncIterator[AsyncJobs]:
    """A client on the other side of the proxy."""
    async with make_jobs(database_url=proxied_url) as jobs:
        await double(0).enqueue()
        yield jobs


async def test_a_commit_whose_answer_is_lost_stores_it_once(
    far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
) -> None:
    lost = proxy.hold_replies_after("COMMIT", where=CLIENT)
    batch = Batch().add_all([note(str(n)) for n in range(150)])
    await batch.enqueue()
    assert lost.fired.is_set()
    await batch.enqueue()
    assert tuple(await connection.fetchrow(MADE)) == (1, 150)


async def test_what_never_arrived_is_stored_at_the_second_try(
    far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
) -> None:
    batch = Batch().add(note("a"))
    proxy.hold_replies_after("begin_batch", where=CLIENT)
    with pytest.raises(DatabaseError):
        await batch.enqueue()
    assert tuple(await connection.fetchrow(MADE)) == (0, 0)
    await proxy.heal()
    await batch.enqueue()
    assert tuple(await connection.fetchrow(MADE)) == (1, 1)


async def test_without_any_answer_the_outcome_is_unknown_and_enqueueing_again_settles_it(
    far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
) -> None:
    proxy.hold_replies_after("COMMIT", where=CLIENT)
    proxy.hold_replies_after("begin_batch", where=CLIENT, times=2)

    async def each() -> AsyncIterator[Any]:
        yield note("a")

    batch = Batch().add(note("b"))
    storing = asyncio.ensure_future(batch.enqueue())
    with pytest.raises((EnqueueOutcomeUnknown, DatabaseError)):
        await storing
    await proxy.heal()
    await batch.enqueue()
    assert tuple(await connection.fetchrow(MADE)) == (1, 1)


async def test_an_iterable_that_is_used_up_by_a_link_that_broke_is_said_to_be(
    far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
) -> None:
    async def each() -> AsyncIterator[Any]:
        yield note("a")
        proxy.cut(BATCH)
        yield note("b")

    batch = Batch().add_all(each())
    with pytest.raises(DatabaseError):
        await batch.enqueue()
    with pytest.raises(Exception, match="make a new batch"):
        await batch.enqueue()
    assert tuple(await connection.fetchrow(MADE)) == (0, 0)


async def test_a_chain_is_sent_again_and_stored_once(
    far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
) -> None:
    lost = proxy.hold_replies_after("enqueue_given", where=CLIENT)
    chained = await chain(note("a"), glue(chain.previous), note("c")).enqueue()
    assert lost.fired.is_set()
    assert await live(connection) == 4
    await chained.enqueue()
    assert await connection.fetchval("select count(*) from asyncjobs.link") == 2


async def test_a_login_that_only_enqueues_stores_and_awaits_them(
    make_jobs: Callable[..., AsyncJobs], database_url: str, connection: asyncpg.Connection
) -> None:
    urls = await apply_roles(database_url)
    async with make_jobs(database_url=urls["runner"]).running(), make_jobs(database_url=urls["web"]) as web:
        batch = with_callbacks().add(Batch().add(note("a"))).add_all([note(str(n)) for n in range(600)])
        await batch.enqueue()
        assert (await batch.result(timeout=20)).by_state == {"succeeded": 601}
        assert (await web.get_batch(batch.id)).id == batch.id
        assert await (await chain(note("a"), glue(chain.previous, "b")).enqueue()) == "ab"
        assert (await (await Batch().enqueue())).over
        await settled(connection, batch)


@pytest.mark.parametrize("driver", ["sqlalchemy", "psycopg"])
async def test_on_a_caller_s_connection_of_another_driver(
    client: AsyncJobs, url: str, connection: asyncpg.Connection, driver: str
) -> None:
    def made() -> tuple[Batch, Any]:
        return with_callbacks().add(note("a"), Batch()), chain(note("b"), glue(chain.previous))

    batch, chained = made()
    if driver == "psycopg":
        async with await psycopg.AsyncConnection.connect(url) as mine:
            await batch.enqueue(connection=mine)
            await chained.enqueue(connection=mine)
            assert await live(connection) == 0
    else:
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
        async with engine.begin() as mine:
            await batch.enqueue(connection=mine)
            await chained.enqueue(connection=mine)
            assert await live(connection) == 0
        await engine.dispose()
    assert tuple(await connection.fetchrow(MADE)) == (2, 3)
    assert await connection.fetchval("select settled from asyncjobs.batch where parent is not null")
