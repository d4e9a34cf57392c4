"""Notices that come faster than anything of ours sends them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
import pytest_asyncio

from asyncjobs.db import listening
from asyncjobs.db.listening import CANCEL, CROWD, READY, TEST, Listener
from asyncjobs.tasks.services import Services

FLOOD = "select count(pg_notify('asyncjobs_ready', '1 q' || i)) from generate_series(1, $1::int) as i"


@pytest_asyncio.fixture(loop_scope="session")  # on the loop of its tests, which is the connection's
async def services() -> AsyncIterator[Services]:
    scope = Services()
    yield scope
    await scope.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_crowd_of_notices_is_left_unread_and_looked_behind_and_then_notices_are_heard_again(
    url: str,
    connection: asyncpg.Connection,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(listening, "CROWD_WITHIN", 30)  # however slowly they come here
    heard: list[str] = []
    asked: list[str] = []
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    listener = Listener(url)
    listener.subscribe(READY, heard.append)
    listener.subscribe(CANCEL, asked.append)
    listener.on_hearing(look)
    listener.start(services)
    await until(lambda: not listener.deaf)
    begun = looks
    await connection.fetch(FLOOD, 20 * CROWD)
    await until(lambda: listener.deaf)
    await until(lambda: looks > begun + 3)
    assert len(heard) <= 3 * CROWD
    await until(lambda: not listener.deaf)
    await connection.fetch("select pg_notify('asyncjobs_cancel', 'after it')")
    await until(lambda: asked == ["after it"])
    assert "more than 2,000 notices" in caplog.text


async def test_as_many_notices_as_are_heard_one_by_one_are_no_crowd(
    url: str, connection: asyncpg.Connection, services: Services
) -> None:
    heard: list[str] = []
    listener = Listener(url)
    listener.subscribe(READY, heard.append)
    listener.start(services)
    await until(lambda: not listener.deaf)
    await connection.fetch(FLOOD, CROWD)
    await until(lambda: len(heard) == CROWD)


async def test_of_several_listeners_one_asks_and_all_hear_it(
    url: str, connection: asyncpg.Connection, services: Services
) -> None:
    listeners = [Listener(url, test_every=0.4) for _ in range(8)]
    for listener in listeners:
        listener.start(services)
    await until(lambda: not any(listener.deaf for listener in listeners))
    asked: list[float] = []
    await connection.add_listener(TEST, lambda *_: asked.append(time.monotonic()))
    await until(lambda: len(asked) >= 12)
    # At most one after each 0.3 s of silence, or a few that have not heard of each other; on their own it would be 20 a second.
    assert asked[11] - asked[0] > 1
    assert not any(listener.deaf for listener in listeners)


async def test_whoever_fails_to_look_keeps_nobody_from_hearing(
    url: str, connection: asyncpg.Connection, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise KeyError("mine")

    heard, looked = asyncio.Event(), asyncio.Event()
    listener = Listener(url)
    listener.on_hearing(fails)
    listener.on_hearing(looked.set)
    listener.subscribe("news", lambda _: heard.set())
    listener.start(services)
    async with asyncio.timeout(30):
        await looked.wait()
        await connection.execute("notify news")
        await heard.wait()
    assert not listener.deaf
    assert "a subscriber failed to look" in caplog.text
