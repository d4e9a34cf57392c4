"""A unique key that another open transaction holds: who waits for it in vain is told for whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from callers import WAYS
from client_jobs import rows

from asyncjobs import AsyncJobs, Batch, DatabaseUnavailable, Job, Limit, Unique, chain, enqueue_all, job
from asyncjobs.client import enqueueing
from asyncjobs.db import inserts, sql, unique_key_holders
from asyncjobs.db.connecting import connect
from asyncjobs.db.rows import NewJob
from asyncjobs.definitions.ids import new_id
from tests.support.asking import until, until_blocked
from tests.support.roles import apply_roles

SHORT = "50ms"
KEY = "unique.held_by_others(account_id) 5"
ROW = NewJob(new_id(), "unique.held_by_others", "default", 0, '{"account_id": 5}', order='{"unique": {"key": "k"}}')


@job(kind="unique.held_by_others", unique=Unique(by=("account_id",)))
async def once(account_id: int) -> None: ...


@job(kind="unique.newest_of_others", unique=Unique(by=("account_id",), on_conflict="replace"))
async def newest(account_id: int) -> None: ...


@job(kind="unique.limit_of_others", concurrency=Limit(1))
async def limited() -> None: ...


@asynccontextmanager
async def holding(url: str, held: Job[Any], name: str = "nightly report") -> AsyncIterator[asyncpg.Connection]:
    """An open transaction of somebody's, in which a job is enqueued."""
    holder = await asyncpg.connect(url, server_settings={"application_name": name})
    transaction = holder.transaction()
    await transaction.start()
    try:
        await held.enqueue(connection=holder)
        yield holder
    finally:
        holder.terminate()


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What bounds the waits of our own connections does so soon."""
    read = sql.read
    monkeypatch.setattr(enqueueing, "KEY_WAIT", 0.05)
    monkeypatch.setattr(
        sql,
        "read",
        lambda name: read(name).replace("'25s'", f"'{SHORT}'").replace("$10::text", f"coalesce('{SHORT}', $10)"),
    )


def said_of(holder: asyncpg.Connection) -> str:
    return (
        rf"^nothing was enqueued: the unique key '{key_of(KEY)}' was not to be had within lock_timeout, held by pid "
        rf"{holder.get_server_pid()} \(application nightly report, user postgres, idle in transaction, its transaction open since "
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\)\. Have that transaction committed or rolled back and enqueue again, or raise lock_timeout$"
    )


def key_of(key: str) -> str:
    return key.replace("(", r"\(").replace(")", r"\)")


@pytest.mark.parametrize("way", WAYS)
async def test_in_a_callers_transaction_key_and_session_are_named(
    client: AsyncJobs, url: str, connection: asyncpg.Connection, way: str
) -> None:
    late = once(5)
    async with holding(url, once(5)) as holder, WAYS[way](url) as caller:
        await caller.execute(f"set local lock_timeout = '{SHORT}'")
        with pytest.raises(DatabaseUnavailable, match=said_of(holder)):
            await late.enqueue(connection=caller.connection)
        await caller.rollback()
    assert late.disposition is None
    await until_alone(connection)
    await late.enqueue()
    assert late.disposition == "enqueued"


async def until_alone(connection: asyncpg.Connection) -> None:
    """Wait until no transaction of the test's is open any more."""
    open_ones = "select from pg_stat_activity where datname = current_database() and state like 'idle in tr%'"
    await until(connection, f"select not exists ({open_ones})")


@pytest.mark.usefixtures("bounded")
class TestOnOurOwnConnections:
    async def test_one_is_answered_before_its_connection_is_given_up_and_nothing_comes_after(
        self, client: AsyncJobs, url: str, connection: asyncpg.Connection
    ) -> None:
        async with holding(url, once(5)) as holder:
            with pytest.raises(DatabaseUnavailable, match=said_of(holder)):
                await once(5).enqueue()
        await until_alone(connection)
        assert await rows(connection) == 0

    async def test_of_many_the_one_that_is_held_is_named(self, client: AsyncJobs, url: str) -> None:
        async with holding(url, once(5)) as holder:
            for enqueue in (
                lambda: enqueue_all(once(n) for n in range(10)),
                lambda: Batch("ten").add_all([once(n) for n in range(10)]).enqueue(),
                lambda: Batch("of a generator").add_all(once(n) for n in range(10)).enqueue(),
                lambda: chain(once(3), once(5)).enqueue(),
            ):
                with pytest.raises(DatabaseUnavailable, match=said_of(holder)):
                    await enqueue()

    async def test_so_are_those_of_a_batch_and_of_a_chain_in_a_callers_transaction(
        self, client: AsyncJobs, url: str
    ) -> None:
        async with holding(url, once(5)) as holder:
            for made in (Batch("ten").add_all([once(n) for n in range(10)]), chain(once(3), once(5))):
                async with WAYS["asyncpg"](url) as caller:
                    await caller.execute(f"set local lock_timeout = '{SHORT}'")
                    with pytest.raises(DatabaseUnavailable, match=said_of(holder)):
                        await made.enqueue(connection=caller.connection)


async def test_those_that_wait_leave_the_clients_connections_to_others(
    make_jobs: Callable[..., AsyncJobs], database_url: str
) -> None:
    async with make_jobs(database_connections=2), holding(database_url, once(5)) as holder:
        waiting = [asyncio.ensure_future(once(5).enqueue()) for _ in range(4)]
        await asyncio.sleep(0)
        await once(6).enqueue()
        assert not any(each.done() for each in waiting)
        await holder.execute("rollback")
        stored = await asyncio.gather(*waiting)
    assert sorted(each.disposition or "" for each in stored) == ["duplicate"] * 3 + ["enqueued"]


async def test_a_lock_timeout_of_the_role_bounds_them(
    make_jobs: Callable[..., AsyncJobs],
    database_url: str,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(enqueueing, "KEY_WAIT", float("inf"))
    urls = await apply_roles(database_url)
    here = await connection.fetchval("select current_database()")
    await connection.execute(f"alter role aj_web in database {here} set lock_timeout = '{SHORT}'")
    async with make_jobs(database_url=urls["web"]), holding(database_url, once(5)) as holder:
        with pytest.raises(DatabaseUnavailable, match=rf"held by pid {holder.get_server_pid()} "):
            await once(5).enqueue()


async def test_what_bounds_the_waits_of_our_connections_leaves_a_bound_that_there_is(
    connection: asyncpg.Connection,
) -> None:
    given = "select current_setting('lock_timeout')"
    for before, after in (("0", "25s"), ("7s", "7s")):
        async with connection.transaction():
            await connection.execute(f"set local lock_timeout = '{before}'")
            await inserts.enqueue_ordered(connection, [ROW])
            assert await connection.fetchval(given) == after
    assert await connection.fetchval(given) == "0"


async def test_whoever_may_not_see_the_holders_state_is_told_the_rest(
    make_jobs: Callable[..., AsyncJobs], database_url: str
) -> None:
    urls = await apply_roles(database_url)
    async with make_jobs(), holding(database_url, once(5)) as holder, make_jobs(database_url=urls["web"]) as web:
        said = f"held by pid {holder.get_server_pid()} (application nightly report, user postgres, in a state that this login may"
        async with WAYS["asyncpg"](urls["web"]) as caller:
            await caller.execute(f"set local lock_timeout = '{SHORT}'")
            with pytest.raises(DatabaseUnavailable) as raised:
                await web.enqueue(once(5), connection=caller.connection)
    assert f"{said} not see). Have" in str(raised.value)


async def test_of_a_line_of_several_the_one_at_its_head_is_named(
    client: AsyncJobs, url: str, connection: asyncpg.Connection
) -> None:
    await newest(5).set(wait=3600).enqueue()
    async with holding(url, once(1)) as holder, WAYS["asyncpg"](url) as second:
        await holder.execute("select from asyncjobs.job for update")
        in_line = asyncio.ensure_future(newest(5).enqueue(connection=second.connection))
        await until_blocked(connection)
        async with WAYS["asyncpg"](url) as third:
            await third.execute(f"set local lock_timeout = '{SHORT}'")
            with pytest.raises(DatabaseUnavailable, match=rf"held by pid {holder.get_server_pid()} \([^;]*$"):
                await newest(5).enqueue(connection=third.connection)
        in_line.cancel()
        await asyncio.wait([in_line])


async def test_a_table_that_is_locked_is_not_taken_for_the_key(client: AsyncJobs, url: str) -> None:
    holder = await asyncpg.connect(url)
    await holder.execute("begin; lock table asyncjobs.job in exclusive mode")
    async with WAYS["asyncpg"](url) as caller:
        await caller.execute(f"set local lock_timeout = '{SHORT}'")
        with pytest.raises(
            DatabaseUnavailable, match=r"the table asyncjobs\.job was not to be had .* held by pid \d+ \(no application"
        ):
            await once(5).enqueue(connection=caller.connection)
    holder.terminate()


async def test_a_key_that_is_free_by_then_is_said_to_be(
    client: AsyncJobs, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with holding(url, once(5)) as holder, WAYS["asyncpg"](url) as caller:

        async def connect_later(*given: Any, **options: Any) -> asyncpg.Connection:
            if not holder.is_closed():
                await holder.execute("rollback")
                holder.terminate()
            return await connect(*given, **options)

        monkeypatch.setattr(unique_key_holders, "connect", connect_later)
        await caller.execute(f"set local lock_timeout = '{SHORT}'")
        with pytest.raises(DatabaseUnavailable, match=f"'{key_of(KEY)}' was held .* free by now; enqueue again$"):
            await once(5).enqueue(connection=caller.connection)


async def test_where_nobody_can_be_asked_the_key_is_named_all_the_same(
    client: AsyncJobs, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: Any, **__: Any) -> asyncpg.Connection:
        raise DatabaseUnavailable("sorry, too many clients already")

    monkeypatch.setattr(unique_key_holders, "connect", refused)
    async with holding(url, once(5)), WAYS["asyncpg"](url) as caller:
        await caller.execute(f"set local lock_timeout = '{SHORT}'")
        with pytest.raises(
            DatabaseUnavailable, match=f"'{key_of(KEY)}' .* cannot be named, as no connection was to be had"
        ):
            await once(5).enqueue(connection=caller.connection)


@pytest.mark.parametrize("way", ["asyncpg", "session on psycopg", "psycopg"])
async def test_a_job_without_a_key_that_waits_for_another_thing_is_told_the_servers_first_line_alone(
    client: AsyncJobs, url: str, way: str
) -> None:
    async with holding(url, limited()), WAYS[way](url) as caller:
        await caller.execute(f"set local lock_timeout = '{SHORT}'")
        with pytest.raises(DatabaseUnavailable, match="^canceling statement due to lock timeout$"):
            await limited().enqueue(connection=caller.connection)
        await caller.rollback()
