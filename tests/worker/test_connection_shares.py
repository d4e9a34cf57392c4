"""Lanes: shares of a worker's connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from asyncjobs import DatabaseUnavailable
from asyncjobs.db.sessions import Sessions
from asyncjobs.worker.connection_shares import ConnectionShare


@pytest.fixture
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    """Room for three."""
    made = Sessions(database_url, size=3, name="lanes", grow_after=0.001)
    yield made
    made.close()


class Use:
    """What goes on until it is let go."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.begun, self.over = asyncio.Event(), asyncio.Event()

    async def __call__(self, _connection: asyncpg.Connection) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.set()
        await self.over.wait()
        self.running -= 1


async def test_what_goes_on_in_one_holds_up_no_other(sessions: Sessions) -> None:
    use = Use()
    many = [asyncio.ensure_future(ConnectionShare(sessions, 2).run(use)) for _ in range(1)]
    lane = ConnectionShare(sessions, 1)
    await use.begun.wait()
    many += [asyncio.ensure_future(lane.run(use)) for _ in range(5)]
    await asyncio.sleep(0)  # they are all in line
    assert await ConnectionShare(sessions, 1).run(lambda connection: connection.fetchval("select 1")) == 1
    use.over.set()
    await asyncio.gather(*many)
    assert use.most == 2


async def test_a_wait_in_line_counts_for_the_deadline_and_gives_its_place_up(sessions: Sessions) -> None:
    lane, use = ConnectionShare(sessions, 1), Use()
    first = asyncio.ensure_future(lane.run(use))
    await use.begun.wait()
    with pytest.raises(DatabaseUnavailable, match=r"under way for 0\.05 s"):
        await lane.run(use, deadline=0.05)
    use.over.set()
    await first
    assert await lane.run(lambda connection: connection.fetchval("select 1")) == 1


async def test_one_that_fails_gives_its_turn_back(sessions: Sessions) -> None:
    async def fails(_connection: asyncpg.Connection) -> None:
        raise KeyError("mine")

    lane = ConnectionShare(sessions, 1)
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            await lane.run(fails)


async def test_one_that_is_cancelled_at_the_very_moment_of_its_turn_passes_it_on(sessions: Sessions) -> None:
    lane, use = ConnectionShare(sessions, 1), Use()
    first = asyncio.ensure_future(lane.run(use))
    await use.begun.wait()
    second, third = (asyncio.ensure_future(lane.run(use)) for _ in range(2))
    await asyncio.sleep(0)  # both are in line
    use.over.set()
    asyncio.get_running_loop().call_soon(second.cancel)  # after the first has ended, before the second goes on
    async with asyncio.timeout(60):
        await asyncio.gather(first, third)
    assert second.cancelled() and use.most == 1
