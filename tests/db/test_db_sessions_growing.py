"""Sessions that grow when they are waited for and shrink when nobody uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import asyncpg
import pytest

from asyncjobs import DatabaseUnavailable
from asyncjobs.db import pool
from asyncjobs.db.sessions import Sessions
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so
from tests.support.proxy import TOO_MANY_CLIENTS, Proxy

Make = Callable[..., Sessions]
LONG, SHORT = 600.0, 0.001
"""Patience that is never over, and that is over at once."""
OPEN = "select count(*) from pg_stat_activity where application_name = 'sessions under test' and datname = current_database()"


async def pid(connection: asyncpg.Connection) -> int:
    return await connection.fetchval("select pg_backend_pid()")


class Held:
    """A use that goes on until it is let go."""

    def __init__(self, sessions: Sessions) -> None:
        self._begun, self._over = asyncio.Event(), asyncio.Event()
        self._task = asyncio.ensure_future(sessions.run(self._use))

    async def _use(self, connection: asyncpg.Connection) -> int:
        found = await pid(connection)
        self._begun.set()
        await self._over.wait()
        return found

    async def __aenter__(self) -> Self:
        await self._begun.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.let_go()

    async def let_go(self) -> int:
        self._over.set()
        return await self._task


async def test_what_is_soon_free_is_waited_for_and_no_other_is_opened(
    make: Make, connection: asyncpg.Connection
) -> None:
    sessions = make(5, grow_after=LONG)
    async with Held(sessions) as held:
        waiting = asyncio.ensure_future(sessions.run(pid))
        for _ in range(20):  # time enough to open one
            assert await connection.fetchval(OPEN) == 1
        assert await held.let_go() == await waiting
    assert sessions.pool.statistics == (1, 1)


async def test_when_it_is_waited_for_too_long_another_is_opened(make: Make) -> None:
    sessions = make(2, grow_after=SHORT)
    async with Held(sessions) as held:
        other = await sessions.run(pid)
        assert sessions.pool.statistics == (2, 1)
        assert await held.let_go() != other


async def test_uses_that_wait_again_and_again_have_another_opened_however_briefly_they_wait(make: Make) -> None:
    sessions = make(2, grow_after=LONG, head_start=0)
    # All come at once: the first has one opened, and the others wait in line.
    async with Held(sessions), asyncio.timeout(PATIENCE):
        assert len(await asyncio.gather(*(sessions.run(pid) for _ in range(20)))) == 20
    assert sessions.pool.statistics == (2, 2)


async def test_the_first_is_alone_for_its_head_start_however_many_wait(
    make: Make, connection: asyncpg.Connection
) -> None:
    sessions = make(5, grow_after=SHORT, head_start=LONG)
    async with Held(sessions) as held:
        waiting = [asyncio.ensure_future(sessions.run(pid)) for _ in range(20)]
        for _ in range(20):  # time enough to open one
            assert await connection.fetchval(OPEN) == 1
        mine = await held.let_go()
        assert set(await asyncio.gather(*waiting)) == {mine}
    assert sessions.pool.statistics == (1, 1)


async def test_the_first_is_opened_once_however_many_want_it(make: Make, connection: asyncpg.Connection) -> None:
    sessions = make(5, grow_after=LONG)
    assert len(set(await asyncio.gather(*(sessions.run(pid) for _ in range(3))))) == 1
    assert await connection.fetchval(OPEN) == 1


@pytest.mark.parametrize("refusal", [TOO_MANY_CLIENTS, None], ids=["full", "unreachable"])
async def test_where_no_other_can_be_had_those_who_wait_take_turns_and_nobody_fails(
    make: Make, proxy: Proxy, proxied_url: str, refusal: tuple[str, str] | None
) -> None:
    sessions = make(5, url=proxied_url, grow_after=SHORT)
    async with Held(sessions) as held:
        proxy.refuse(lambda _: True, *([refusal] if refusal else []))
        waiting = [asyncio.ensure_future(sessions.run(pid)) for _ in range(10)]
        await proxy.wait_until(lambda: proxy.counts["refused"] >= 1)
        mine = await held.let_go()
        assert set(await asyncio.gather(*waiting)) == {mine}
    assert sessions.pool.statistics == (1, 1)


async def test_who_waits_is_not_refused_while_the_connection_is_on_its_way_to_another(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def refused(*_: object, **_how: object) -> asyncpg.Connection:
        asked.set()
        await answered.wait()
        raise DatabaseUnavailable("no answer")

    made = make(2, grow_after=SHORT)
    async with Held(made) as held, asyncio.timeout(PATIENCE):
        monkeypatch.setattr(pool, "connect", refused)
        monkeypatch.setattr(pool, "AFTER_REFUSAL", 0)
        waiting = [asyncio.ensure_future(made.run(pid)) for _ in range(2)]
        await asked.wait()
        answered.set()  # the opener goes on after the connection is handed to the first, and before that one has it
        mine = await held.let_go()
        assert await asyncio.gather(*waiting) == [mine, mine]


async def test_what_nobody_uses_is_ended_but_for_the_least(make: Make, connection: asyncpg.Connection) -> None:
    sessions = make(3, grow_after=SHORT, keep=0.05, least=1)
    async with Held(sessions), Held(sessions), Held(sessions):
        assert await connection.fetchval(OPEN) == 3
    await until(connection, OPEN.replace("count(*)", "count(*) = 1"))
    assert sessions.pool.statistics == (1, 1)
    sessions.pool.keep_at_least(0)
    await until(connection, OPEN.replace("count(*)", "count(*) = 0"))
    assert sessions.pool.statistics == (0, 0)


async def test_one_that_was_given_up_for_want_of_use_is_waited_for_where_the_server_is_full(
    make: Make, proxy: Proxy, proxied_url: str
) -> None:
    sessions = make(2, url=proxied_url, keep=0.01)
    await sessions.run(pid)
    await until_so(lambda: sessions.pool.statistics == (0, 0))
    proxy.refuse(lambda _: True, TOO_MANY_CLIENTS)
    waiting = asyncio.ensure_future(sessions.run(pid))
    await proxy.wait_until(lambda: proxy.counts["refused"] >= 2)
    assert not waiting.done()
    await proxy.heal()
    async with asyncio.timeout(PATIENCE):
        assert await waiting
    await until_so(lambda: sessions.pool.statistics == (0, 0))
    proxy.refuse(lambda _: True, TOO_MANY_CLIENTS)
    with pytest.raises(DatabaseUnavailable, match="gave no connection in"):
        await sessions.run(pid, deadline=0.3)


async def test_one_that_never_was_there_is_refused_at_once(make: Make, proxy: Proxy, proxied_url: str) -> None:
    sessions: Any = make(2, url=proxied_url)
    proxy.refuse(lambda _: True, TOO_MANY_CLIENTS)
    with pytest.raises(DatabaseUnavailable, match="too many clients"):
        await sessions.run(pid)
