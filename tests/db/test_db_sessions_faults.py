"""Sessions that are at fault themselves, that were idle for long, and that cannot be had: what their pool makes of them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from asyncjobs import DatabaseUnavailable
from asyncjobs.db import sessions as module
from asyncjobs.db.sessions import Sessions, check_writable
from asyncjobs.db.transactions import Transaction, isolated_sessions
from tests.support.processes import until_so
from tests.support.proxy import TOO_MANY_CLIENTS, Proxy

Make = Callable[..., Sessions]


async def one(connection: asyncpg.Connection) -> int:
    return await connection.fetchval("select 1")


async def pid(connection: asyncpg.Connection) -> int:
    return await connection.fetchval("select pg_backend_pid()")


async def write(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "create table if not exists public.written (n integer); insert into public.written values (1)"
    )


async def open_all(sessions: Sessions) -> list[int]:
    """Have as many connections as there may be; their pids."""
    turns = asyncio.Barrier(sessions.pool.size)

    async def together(connection: asyncpg.Connection) -> int:
        await turns.wait()
        return await pid(connection)

    return list(await asyncio.gather(*(sessions.run(together) for _ in range(sessions.pool.size))))


class TestASessionAtFault:
    async def test_one_that_became_read_only_is_replaced_with_those_beside_it_and_the_call_is_done(
        self, make: Make
    ) -> None:
        sessions = make(3)
        await open_all(sessions)
        for _ in range(3):
            await sessions.run(lambda c: c.execute("set default_transaction_read_only = on"))
        await sessions.run(write)
        assert sessions.pool.statistics == (1, 1)

    async def test_one_that_has_lost_its_prepared_statements_is_replaced(self, make: Make) -> None:
        sessions = make()
        before = await sessions.run(pid)
        await sessions.run(lambda c: c.execute("deallocate all"))
        assert await sessions.run(pid) != before

    async def test_one_that_has_another_ones_prepared_statement_is_replaced(self, make: Make) -> None:
        sessions = make()
        await sessions.run(one)
        met = []

        async def collides(connection: asyncpg.Connection) -> int:
            met.append(await pid(connection))
            if len(met) == 1:
                await connection.execute("do $$ begin raise sqlstate '42P05'; end $$")
            return met[-1]

        assert await sessions.run(collides) == met[1] != met[0]

    async def test_where_every_session_is_so_it_is_said_and_none_is_kept(
        self, make: Make, connection: asyncpg.Connection, database_url: str
    ) -> None:
        name = urlsplit(database_url).path.strip("/")
        await connection.execute(f"alter database {name} set default_transaction_read_only = on")
        sessions = make()
        for operation in (write, check_writable):
            with pytest.raises(DatabaseUnavailable, match="read-only"):
                await sessions.run(operation)
            assert sessions.pool.statistics == (0, 0)
            assert sessions.pool._fails
        await connection.execute(f"alter database {name} reset default_transaction_read_only")
        await sessions.run(write)
        assert sessions.pool.unanswered == 0

    async def test_what_runs_a_users_code_is_not_repeated(self, make: Make) -> None:
        sessions, calls = make(), []

        async def operation(connection: asyncpg.Connection) -> None:
            calls.append(1)
            await connection.execute("do $$ begin raise sqlstate '25006'; end $$")

        with pytest.raises(DatabaseUnavailable):
            await sessions.run(operation, endless=True)
        assert (len(calls), sessions.pool.statistics) == (1, (0, 0))


async def test_what_a_deadlock_has_rolled_back_is_done_again(make: Make) -> None:
    sessions, both, tries = make(2), asyncio.Barrier(2), [0, 0]

    async def lock(n: int) -> None:
        async def in_turn(connection: asyncpg.Connection) -> None:
            tries[n] += 1
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock($1)", n)
                if tries[n] == 1:
                    await both.wait()
                await connection.execute("select pg_advisory_xact_lock($1)", 1 - n)

        await sessions.run(in_turn)

    await asyncio.gather(lock(0), lock(1))
    assert sorted(tries) == [1, 2]


class TestAnIsolatedStepOnSuchASession:
    @pytest.fixture
    async def isolated(self, database_url: str) -> AsyncIterator[Sessions]:
        sessions = isolated_sessions(database_url, size=1, deadline=20)
        yield sessions
        sessions.close()

    async def test_finds_no_database_and_the_session_is_ended(self, isolated: Sessions) -> None:
        await isolated.run(lambda c: c.execute("set default_transaction_read_only = on"))
        with pytest.raises(DatabaseUnavailable, match="takes no writes"):
            await isolated.run(Transaction(write, sessions=isolated).run, endless=True)
        assert isolated.pool.statistics == (0, 0)
        transaction = Transaction(write, sessions=isolated)
        await isolated.run(transaction.run, endless=True)
        assert transaction.error is None

    async def test_keeps_its_own_error_if_it_made_its_own_transaction_read_only(self, isolated: Sessions) -> None:
        async def body(connection: asyncpg.Connection) -> None:
            await connection.execute("set transaction read only")
            await write(connection)

        transaction = Transaction(body, sessions=isolated)
        await isolated.run(transaction.run, endless=True)
        assert isinstance(transaction.error, asyncpg.ReadOnlySQLTransactionError)
        assert isolated.pool.statistics == (1, 1)


@contextmanager
def forgotten(*pids: int) -> Iterator[None]:
    """Sessions from which no answer comes, as if a firewall on the way had forgotten them."""
    for number in pids:
        os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        for number in pids:
            os.kill(number, signal.SIGCONT)


def age(sessions: Sessions, seconds: float = module.UNPROVED + 1) -> None:
    """Make as if idle connections had been so for longer."""
    for connection in sessions.pool._idle:
        sessions.pool._all[connection] -= seconds


class TestIdleConnections:
    async def test_one_that_does_not_prove_itself_costs_its_user_nothing_and_those_idle_as_long_are_ended(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PROOF", 0.5)
        sessions = make(3)
        pids = await open_all(sessions)
        with forgotten(*pids):
            age(sessions)
            assert await sessions.run(pid) not in pids
            assert sessions.pool.statistics == (1, 1)

    async def test_one_that_answers_is_used(self, make: Make) -> None:
        sessions = make()
        before = await sessions.run(pid)
        age(sessions)
        assert await sessions.run(pid) == before

    async def test_when_one_breaks_in_use_those_idle_for_longer_are_ended(self, make: Make) -> None:
        sessions = make(3)
        pids = await open_all(sessions)
        with forgotten(*pids), pytest.raises(DatabaseUnavailable):
            await sessions.run(one, deadline=0.3)
        assert sessions.pool.statistics == (0, 0)

    async def test_what_is_not_kept_is_ended_when_nobody_uses_it(self, make: Make) -> None:
        sessions = make(3, keep=0.05)
        await open_all(sessions)
        await until_so(lambda: sessions.pool.statistics == (0, 0))
        assert await sessions.run(one) == 1

    async def test_links_over_tcp_are_kept_alive(self, make: Make, proxied_url: str) -> None:
        def options(connection: asyncpg.Connection) -> list[int]:
            transport = connection._transport.get_extra_info("socket")
            with socket.socket(fileno=os.dup(transport.fileno())) as peer:
                idle = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                return [peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), idle]

        async def asked(connection: asyncpg.Connection) -> list[int]:
            return options(connection)

        assert await make(url=proxied_url).run(asked) == [1, 30]


class TestConnectionsThatCannotBeHad:
    @pytest.fixture
    async def limited_url(self, connection: asyncpg.Connection, proxied_url: str) -> AsyncIterator[str]:
        """The database's, for a role that may have two connections."""
        await connection.execute("create role of_two login password 'x' connection limit 2")
        parts = urlsplit(proxied_url)
        yield urlunsplit(parts._replace(netloc=f"of_two:x@{parts.netloc.rpartition('@')[2]}"))
        await connection.execute("drop role of_two")

    async def test_who_is_refused_one_waits_for_one_that_falls_free(self, make: Make, limited_url: str) -> None:
        sessions = make(5, url=limited_url)
        naps = (sessions.run(lambda c: c.fetchval("select 1 from pg_sleep(0.1)")) for _ in range(8))
        assert await asyncio.gather(*naps) == [1] * 8
        assert sessions.pool.statistics == (2, 2)
        sessions.close()

    async def test_where_all_that_come_at_once_are_refused_one_is_tried_alone(
        self, make: Make, proxy: Proxy, proxied_url: str
    ) -> None:
        sessions, left = make(3, url=proxied_url), [None] * 3
        proxy.refuse(lambda _: bool(left) and left.pop() is None, TOO_MANY_CLIENTS)
        assert await asyncio.gather(*(sessions.run(one) for _ in range(3))) == [1] * 3
        assert proxy.counts["refused"] == 3
        sessions.close()

    async def test_where_none_of_the_pool_is_in_use_the_refusal_is_said(self, make: Make, limited_url: str) -> None:
        others, sessions = make(2, url=limited_url), make(url=limited_url)
        await open_all(others)
        with pytest.raises(DatabaseUnavailable, match="too many connections"):
            await sessions.run(one)
        others.close()
        sessions.close()

    async def test_who_waits_for_a_connection_that_never_opens_takes_one_that_falls_free(
        self, make: Make, proxy: Proxy, proxied_url: str
    ) -> None:
        sessions = make(2, url=proxied_url, deadline=20)
        let_go = asyncio.Event()
        first = asyncio.ensure_future(sessions.run(lambda _: let_go.wait()))
        await until_so(lambda: bool(sessions._in_use))
        proxy.freeze(lambda name: name != "")  # a pooler whose pool is empty lets the next in, and has it wait
        frozen = proxy.counts["connections"]
        second = asyncio.ensure_future(sessions.run(pid_without_asking))
        await proxy.wait_until(lambda: proxy.counts["connections"] > frozen)
        let_go.set()
        async with asyncio.timeout(10):
            assert await second
        await first


async def pid_without_asking(connection: asyncpg.Connection) -> int:
    return int(connection.get_server_pid())
