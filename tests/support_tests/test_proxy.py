import asyncio
import contextlib
import socket
import time

import asyncpg
import psycopg
import pytest

from tests.support import asking
from tests.support.processes import PATIENCE, until
from tests.support.proxy import STARTING_UP, Proxy, named

SESSION = "select from pg_stat_activity where application_name = $1"
LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError)


@contextlib.asynccontextmanager
async def connected(proxy, name="client"):
    connection = await asyncpg.connect(proxy.url(), server_settings={"application_name": name}, timeout=PATIENCE)
    try:
        yield connection
    finally:
        connection.terminate()


@pytest.fixture
def proxied(shared_url):
    return lambda: Proxy.in_front_of(shared_url)


async def test_all_of_a_session_passes_through(proxied):
    async with proxied() as proxy, connected(proxy) as connection:
        assert await connection.fetchval("select 40 + $1::int", 2) == 42
        big = "x" * 3_000_000
        assert await connection.fetchval("select $1::text", big) == big
        await connection.execute("create temp table rows (n int)")
        await connection.copy_records_to_table("rows", records=[(n,) for n in range(5000)])
        assert await connection.fetchval("select sum(n) from rows") == 12497500
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("select 1 / 0")
        assert proxy.names() == ["client"]
        assert proxy.counts["connections"] == proxy.counts["to_server:startup"] == 1


async def test_libpq_with_its_tls_and_gss_questions_passes_too(proxied):
    async with proxied() as proxy:
        async with await psycopg.AsyncConnection.connect(proxy.url() + "?application_name=libpq") as connection:
            cursor = await connection.execute("select 1")
            assert await cursor.fetchone() == (1,)
            assert proxy.names() == ["libpq"]


async def test_a_cancel_request_passes(proxied):
    async with proxied() as proxy, connected(proxy) as connection:
        with pytest.raises(TimeoutError):
            await connection.execute("select pg_sleep(3600)", timeout=0.2)
        assert await connection.fetchval("select 1", timeout=PATIENCE) == 1


async def test_a_frozen_link_is_silent_and_open_and_goes_on_when_thawed(proxied):
    async with proxied() as proxy, connected(proxy) as connection:
        await connection.fetchval("select 1")
        proxy.freeze()
        asked = asyncio.create_task(connection.fetchval("select 5"))
        assert not (await asyncio.wait([asked], timeout=0.3))[0]
        assert not connection.is_closed()
        proxy.thaw()
        assert await asyncio.wait_for(asked, PATIENCE) == 5


async def test_a_slow_link_brings_everything_later_in_its_order_and_becomes_quick_again(proxied):
    async with proxied() as proxy, connected(proxy) as connection:
        proxy.delay = 0.2
        began = time.monotonic()
        rows = await connection.fetch("select n from generate_series(1, 3000) as n")
        assert [row["n"] for row in rows] == list(range(1, 3001))
        assert time.monotonic() - began > 0.4  # there and back, for each of the messages that wait for an answer
        proxy.delay = 0.0
        assert await connection.fetchval("select 5") == 5


async def test_a_new_connection_to_a_frozen_server_hears_nothing_from_the_first_byte(proxied):
    async with proxied() as proxy:
        proxy.freeze()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        proxy.thaw()
        assert await asyncio.wait_for(reader.read(1), PATIENCE) == b"N"
        writer.close()


async def test_only_the_chosen_connections_freeze_those_to_come_included(proxied):
    async with (
        proxied() as proxy,
        connected(proxy, "app listener") as listener,
        connected(proxy, "app ledger") as ledger,
    ):
        proxy.freeze(named("listener"))
        assert await ledger.fetchval("select 1") == 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listener.fetchval("select 1"), 0.2)
        with pytest.raises(TimeoutError):
            await asyncpg.connect(proxy.url(), server_settings={"application_name": "second listener"}, timeout=0.3)
        async with connected(proxy, "app claimer") as claimer:
            assert await claimer.fetchval("select 1") == 1


@pytest.mark.parametrize("farewell", [True, False])
async def test_the_server_does_not_miss_a_client_that_went_behind_a_frozen_link(proxied, shared_url, farewell):
    own = await asyncpg.connect(shared_url)
    try:
        async with proxied() as proxy:
            async with connected(proxy, "gone") as connection:
                [link] = proxy._links
                proxy.freeze()
                if not farewell:
                    connection._transport.abort()
            assert await until(lambda: link._reader.at_eof() or link._reader.exception() is not None)
            assert await own.fetch(SESSION, "gone")
            assert not link._upstream.is_closing()
            proxy.thaw()
            await asking.until(own, f"select not exists ({SESSION})", "gone")
    finally:
        await own.close()


async def test_a_cut_is_a_reset(proxied):
    async with proxied() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.wait_until(lambda: proxy.counts["connections"] == 1)
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), PATIENCE)
        writer.close()
        async with connected(proxy, "a") as first, connected(proxy, "b") as second:
            assert proxy.cut(named("a")) == 1
            with pytest.raises(LOST):
                await first.fetchval("select 1")
            assert await second.fetchval("select 1") == 1


async def test_refusing_closes_the_port_for_new_connections_and_keeps_the_live(proxied):
    async with proxied() as proxy, connected(proxy) as connection:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=2).close()
        assert await connection.fetchval("select 1") == 1
        await proxy.accept()
        async with connected(proxy) as another:
            assert await another.fetchval("select 1") == 1


async def test_chosen_connections_are_refused_with_the_servers_own_words(proxied):
    async with proxied() as proxy:
        proxy.refuse(named("worker"), STARTING_UP)
        with pytest.raises(asyncpg.CannotConnectNowError):
            await asyncpg.connect(proxy.url(), server_settings={"application_name": "worker"}, timeout=PATIENCE)
        async with connected(proxy, "web") as connection:
            assert await connection.fetchval("select 1") == 1
        proxy.refuse(named("worker"))
        assert proxy.counts["refused"] == 1


async def test_dropped_notifications_leave_the_rest_working(proxied):
    async with proxied() as proxy, connected(proxy) as connection:
        heard = asyncio.Queue()
        await connection.add_listener("news", lambda *arguments: heard.put_nowait(arguments[3]))
        deaf = proxy.drop_messages("A")
        await connection.execute("notify news, 'lost'")
        await asyncio.wait_for(deaf.fired.wait(), PATIENCE)
        await proxy.heal()
        await connection.execute("notify news, 'heard'")
        assert await asyncio.wait_for(heard.get(), PATIENCE) == "heard"
        assert proxy.counts["dropped"] == 1


async def test_a_lost_reply_leaves_the_commit_done(proxied, shared_url):
    own = await asyncpg.connect(shared_url)
    await own.execute("drop table if exists lost; create table lost (n int)")
    try:
        async with proxied() as proxy:
            async with connected(proxy) as connection:
                fault = proxy.hold_replies_after("commit")
                with pytest.raises(LOST):
                    async with connection.transaction():
                        await connection.execute("insert into lost values (1)")
                assert fault.fired.is_set()
            async with connected(proxy) as connection:  # a prepared statement that commits itself
                insert = await connection.prepare("insert into lost values ($1)")
                await insert.fetch(2)
                proxy.hold_replies_after("insert into lost")
                with pytest.raises(LOST):
                    await insert.fetch(3)
            async with connected(proxy) as connection:
                proxy.hold_replies_after("copy")
                with pytest.raises(LOST):
                    await connection.copy_records_to_table("lost", records=[(4,), (5,)])
            assert proxy.counts["lost_replies"] == 3
        assert [row[0] for row in await own.fetch("select n from lost order by n")] == [1, 2, 3, 4, 5]
    finally:
        await own.close()


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
async def test_a_connection_can_be_cut_after_every_single_message(proxied, shared_url, direction):
    own = await asyncpg.connect(shared_url)
    await own.execute("drop table if exists swept; create table swept (n int)")

    async def work(proxy, n):
        try:
            connection = await asyncpg.connect(
                proxy.url() + "?sslmode=disable", timeout=PATIENCE
            )  # prefer: asyncpg tries twice
            try:
                async with connection.transaction():
                    await connection.execute("insert into swept values ($1)", n)
            finally:
                connection.terminate()
        finally:
            await proxy.wait_until(lambda: proxy.names() == [])

    try:
        async with proxied() as proxy:
            await work(proxy, 0)
            messages = proxy.counts[direction]
            assert messages > 5
            for k in range(1, messages + 1):
                trap = proxy.cut_after(k, direction)
                with contextlib.suppress(*LOST):
                    await work(proxy, k)
                await asyncio.wait_for(trap.fired.wait(), PATIENCE)
                await proxy.heal()
            assert proxy.counts["cut"] == messages
        assert await own.fetchval("select count(*) from swept where n = 1") == 0
    finally:
        await own.close()


async def test_the_end_of_the_proxy_ends_every_connection_even_frozen_ones(proxied, shared_url):
    async with proxied() as proxy:
        left_over = await asyncpg.connect(proxy.url(), server_settings={"application_name": "left over"})
        proxy.freeze()
    own = await asyncpg.connect(shared_url)
    await asking.until(own, f"select not exists ({SESSION})", "left over")
    await own.close()
    left_over.terminate()
