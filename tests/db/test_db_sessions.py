"""Sessions: a hard deadline on every use, no connection lost, none held by one caller against the others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from asyncjobs import DatabaseError, DatabaseUnavailable, NotOpen, PermissionDenied, SchemaMismatch
from asyncjobs.db.sessions import Sessions
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so
from tests.support.proxy import Proxy

Make = Callable[..., Sessions]


async def one(connection: asyncpg.Connection) -> int:
    return await connection.fetchval("select 1")


def sleeping(seconds: float) -> Callable[[asyncpg.Connection], Any]:
    return lambda connection: connection.fetchval("select pg_sleep($1)", seconds)


class TestConnections:
    async def test_one_is_opened_when_it_is_needed_and_used_again(self, make: Make) -> None:
        sessions = make()
        assert sessions.pool.statistics == (0, 0)
        pids = {await sessions.run(lambda c: c.fetchval("select pg_backend_pid()")) for _ in range(5)}
        assert len(pids) == 1
        assert sessions.pool.statistics == (1, 1)

    async def test_never_more_than_its_size(self, make: Make, connection: asyncpg.Connection) -> None:
        sessions, under_way, all_taken = make(3), 0, asyncio.Event()

        async def operation(used: asyncpg.Connection) -> None:
            nonlocal under_way
            under_way += 1
            if under_way == 3:
                all_taken.set()
            await all_taken.wait()
            await sleeping(0.005)(used)

        await asyncio.gather(*(sessions.run(operation) for _ in range(30)))
        assert sessions.pool.statistics == (3, 3)
        count = "select count(*) from pg_stat_activity where application_name = 'sessions under test'"
        assert await connection.fetchval(count) == 3

    async def test_each_has_the_settings_and_the_name(self, make: Make) -> None:
        sessions = make(settings={"enable_seqscan": "off", "lock_timeout": "200ms"})
        read = "select current_setting('enable_seqscan'), current_setting('lock_timeout'), current_setting('application_name')"
        assert tuple(await sessions.run(lambda c: c.fetchrow(read))) == ("off", "200ms", "sessions under test")

    async def test_one_that_was_ended_while_it_was_idle_is_not_used(
        self, make: Make, connection: asyncpg.Connection
    ) -> None:
        sessions = make()
        pid = await sessions.run(lambda c: c.fetchval("select pg_backend_pid()"))
        await connection.execute("select pg_terminate_backend($1)", pid)
        await until_so(sessions.pool._idle[0].is_closed)
        assert await sessions.run(one) == 1
        assert sessions.pool.statistics == (1, 1)


class TestErrors:
    @pytest.mark.parametrize(
        ("statement", "error", "message"),
        [
            ("select 1 / 0", DatabaseError, "division by zero .SQLSTATE 22012"),
            ("select 'x'::int", DatabaseError, "SQLSTATE 22P02"),
            ("select * from asyncjobs.nothing", SchemaMismatch, "asyncjobs db migrate"),
            ("select asyncjobs.nothing()", SchemaMismatch, "asyncjobs db migrate"),
            ("set statement_timeout = '10ms'; select pg_sleep(5)", DatabaseUnavailable, "statement timeout"),
            ("do $$ begin raise sqlstate '40001'; end $$", DatabaseUnavailable, "40001|serialization|raise"),
            ("do $$ begin raise sqlstate '42501'; end $$", PermissionDenied, "^42501$"),
        ],
    )
    async def test_the_servers_are_translated_and_the_connection_is_kept(
        self, make: Make, statement: str, error: type[Exception], message: str
    ) -> None:
        sessions = make()
        with pytest.raises(error, match=message) as raised:
            await sessions.run(lambda c: c.execute(statement))
        assert isinstance(raised.value.__cause__, asyncpg.PostgresError)
        assert sessions.pool.statistics == (1, 1)

    async def test_the_message_tells_nothing_of_the_row(self, make: Make) -> None:
        statement = "insert into asyncjobs.worker (id, backend_pid, lease, about) values (gen_random_uuid(), null, '1 s', 'secret')"
        with pytest.raises(DatabaseError) as raised:
            await make().run(lambda c: c.execute(statement))
        assert "backend_pid" in str(raised.value)
        assert "secret" not in str(raised.value)

    async def test_a_value_that_the_driver_cannot_encode_is_no_broken_link(self, make: Make) -> None:
        sessions = make()
        with pytest.raises(DatabaseError, match="invalid input") as raised:
            await sessions.run(lambda c: c.fetchval("select $1::int", "many"))
        assert not isinstance(raised.value, DatabaseUnavailable)
        assert sessions.pool.statistics == (1, 1)

    async def test_a_transaction_that_was_left_open_ends_its_connection(self, make: Make) -> None:
        sessions = make()
        with pytest.raises(DatabaseError):
            await sessions.run(lambda c: c.execute("begin; select 1 / 0"))
        assert sessions.pool.statistics == (0, 0)
        assert await sessions.run(one) == 1

    async def test_the_operations_own_error_is_raised_as_it_is(self, make: Make) -> None:
        async def operation(connection: asyncpg.Connection) -> None:
            raise KeyError("mine")

        sessions = make()
        with pytest.raises(KeyError, match="mine"):
            await sessions.run(operation)
        assert await sessions.run(one) == 1

    @pytest.mark.parametrize("broken", ["cut", "terminated"])
    async def test_a_link_that_breaks_in_the_middle_is_unavailable_and_said_to_have_begun(
        self, make: Make, proxy: Proxy, proxied_url: str, connection: asyncpg.Connection, broken: str
    ) -> None:
        sessions = make(url=proxied_url)
        running = asyncio.ensure_future(sessions.run(sleeping(60)))
        how = "pg_terminate_backend(pid)" if broken == "terminated" else "true"
        await until(
            connection, f"select {how} from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
        )
        if broken == "cut":
            proxy.cut()
        with pytest.raises(DatabaseUnavailable) as raised:
            await running
        assert raised.value.begun

    async def test_one_that_cannot_be_opened_has_not_begun(self, make: Make, proxy: Proxy, proxied_url: str) -> None:
        proxy.refuse()
        sessions = make(url=proxied_url)
        with pytest.raises(DatabaseUnavailable) as raised:
            await sessions.run(one)
        assert not raised.value.begun
        assert sessions.pool.statistics == (0, 0)
        await proxy.heal()
        assert await sessions.run(one) == 1


class TestDeadlines:
    async def test_a_frozen_link_ends_with_it_and_the_connection_goes(
        self, make: Make, proxy: Proxy, proxied_url: str
    ) -> None:
        sessions = make(url=proxied_url, deadline=0.3)
        assert await sessions.run(one, deadline=10) == 1
        proxy.freeze()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(DatabaseUnavailable, match=r"did not answer within 0\.3 s") as raised:
                await sessions.run(one)
        assert raised.value.begun
        assert sessions.pool.statistics == (0, 0)
        proxy.thaw()
        assert await sessions.run(one, deadline=10) == 1

    async def test_connecting_counts(self, make: Make, proxy: Proxy, proxied_url: str) -> None:
        proxy.freeze()
        sessions = make(url=proxied_url, deadline=0.3)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(DatabaseUnavailable):
                await sessions.run(one)
        assert sessions.pool.statistics == (0, 0)

    async def test_one_use_may_have_its_own(self, make: Make) -> None:
        sessions = make(deadline=3600)
        await sessions.run(one)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(DatabaseUnavailable, match=r"within 0\.2 s"):
                await sessions.run(sleeping(3600), deadline=0.2)

    async def test_all_busy_is_said_so_and_what_to_raise(self, make: Make) -> None:
        sessions = make(1, deadline=30)
        busy = asyncio.ensure_future(sessions.run(sleeping(60)))
        await asyncio.sleep(0)
        with pytest.raises(DatabaseUnavailable, match=r"all 1 connections were busy.*database_connections") as raised:
            await sessions.run(one, deadline=0.1)
        assert not raised.value.begun
        busy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await busy
        assert await sessions.run(one) == 1


class TestCancellation:
    async def test_in_the_middle_of_a_statement_it_ends_the_connection_at_once(
        self, make: Make, proxy: Proxy, proxied_url: str
    ) -> None:
        sessions = make(url=proxied_url, deadline=3600)
        await sessions.run(one)
        proxy.freeze()  # not even the end of it can be told to the server
        running = asyncio.ensure_future(sessions.run(one))
        await asyncio.sleep(0)
        running.cancel()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(asyncio.CancelledError):
                await running
        assert sessions.pool.statistics == (0, 0)

    async def test_a_thousand_races_of_taking_giving_back_and_cancelling_lose_no_connection(self, make: Make) -> None:
        """F41"""
        sessions = make(3, deadline=10)
        chance = random.Random(41)
        cancelled = 0

        async def use() -> None:
            await sessions.run(one)

        async def race() -> bool:
            task = asyncio.ensure_future(use())
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            hit = task.cancel()
            ended = (await asyncio.gather(task, return_exceptions=True))[0]
            assert ended is None or isinstance(ended, asyncio.CancelledError)
            assert hit or ended is None
            return isinstance(ended, asyncio.CancelledError)

        for _ in range(50):
            cancelled += sum(await asyncio.gather(*(race() for _ in range(20))))
        assert cancelled > 300
        opened, idle = sessions.pool.statistics
        assert opened == idle <= 3
        assert (sessions.pool._openers, len(sessions.pool._waiting), sessions._in_use) == ([], 0, {})
        assert await asyncio.gather(*(sessions.run(one) for _ in range(10))) == [1] * 10

    @pytest.mark.parametrize("clean", [True, False])
    async def test_what_was_given_to_a_waiter_that_gives_up_goes_to_the_next(self, make: Make, clean: bool) -> None:
        sessions = make(1, deadline=10)
        waiting: list[asyncio.Future[int]] = []

        async def operation(connection: asyncpg.Connection) -> None:
            while len(sessions.pool._waiting) < 2:
                await asyncio.sleep(0)
            # After the connection is given to the first in line, and before that one can take it.
            asyncio.get_running_loop().call_soon(waiting[0].cancel)
            if not clean:
                raise KeyError

        first = asyncio.ensure_future(sessions.run(operation))
        await asyncio.sleep(0)
        waiting += [asyncio.ensure_future(sessions.run(one)) for _ in range(2)]
        await asyncio.gather(first, return_exceptions=True)
        async with asyncio.timeout(PATIENCE):
            assert await waiting[1] == 1
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        assert sessions.pool.statistics == (1, 1)


class TestFairness:
    async def test_a_caller_in_a_tight_loop_starves_nobody(self, make: Make) -> None:
        sessions = make(1, deadline=10)
        stop = False

        async def hog() -> None:
            while not stop:
                await sessions.run(one)

        hogging = asyncio.ensure_future(hog())
        await sessions_busy(sessions)
        async with asyncio.timeout(PATIENCE):
            assert [await sessions.run(one) for _ in range(20)] == [1] * 20
        stop = True
        await hogging

    async def test_those_who_wait_are_served_in_the_order_in_which_they_came(self, make: Make) -> None:
        sessions = make(1)
        served: list[int] = []

        async def use(number: int) -> None:
            async def operation(connection: asyncpg.Connection) -> None:
                served.append(number)
                await connection.fetchval("select 1")

            await sessions.run(operation)

        await asyncio.gather(*(use(number) for number in range(20)))
        assert served == list(range(20))

    async def test_when_connections_break_the_waiting_go_on_with_new_ones(
        self, make: Make, proxy: Proxy, proxied_url: str
    ) -> None:
        sessions = make(2, url=proxied_url, deadline=10)
        waiting = [asyncio.ensure_future(sessions.run(sleeping(0.05))) for _ in range(8)]
        await proxy.wait_until(lambda: len(proxy.names()) == 2)
        proxy.cut()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert sum(isinstance(end, DatabaseUnavailable) for end in ends) <= 2
        assert sessions.pool.statistics == (2, 2)


class TestClosing:
    async def test_what_is_in_flight_fails_and_who_waits_is_told(self, make: Make) -> None:
        sessions = make(1, deadline=3600)
        flying = asyncio.ensure_future(sessions.run(sleeping(3600)))
        waiting = [asyncio.ensure_future(sessions.run(one)) for _ in range(3)]
        await sessions_busy(sessions)
        sessions.close()
        async with asyncio.timeout(PATIENCE):
            ends = await asyncio.gather(flying, *waiting, return_exceptions=True)
        assert isinstance(ends[0], DatabaseUnavailable)
        assert [type(end) for end in ends[1:]] == [NotOpen] * 3
        with pytest.raises(NotOpen, match="open it again"):
            await sessions.run(one)

    async def test_a_connection_that_is_just_being_opened_is_not_kept(
        self, make: Make, proxy: Proxy, proxied_url: str
    ) -> None:
        proxy.drop_messages("Z")  # the server has let it in, and it does not know yet
        sessions = make(url=proxied_url)
        running = asyncio.ensure_future(sessions.run(one))
        await proxy.wait_until(lambda: proxy.counts["dropped"] > 0)
        sessions.close()
        with pytest.raises(NotOpen):
            await running
        await proxy.wait_until(lambda: not proxy.names())


async def sessions_busy(sessions: Sessions) -> None:
    await until_so(lambda: sessions._in_use)
