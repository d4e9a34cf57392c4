"""Queues of patterns: so many at a time, in turn."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import pytest

from asyncjobs import AsyncJobs, job
from asyncjobs.db.connecting import PINNED_PLANS, connect
from asyncjobs.worker.claiming import queue_turns
from asyncjobs.worker.claiming.queue_turns import Turns
from tests.support.asking import until

FILL = (
    "insert into asyncjobs.job (id, kind, queue) select gen_random_uuid(), $1, 'q' || to_char(i, 'FM000000') "
    "from generate_series(1, $2::int) as i"
)


@job(kind="turns.quick")
async def quick() -> int:
    return 1


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_turns, "AT_ONCE", 3)


@pytest.mark.usefixtures("few")
async def test_each_queue_has_its_turn_and_then_the_first_again(connection: asyncpg.Connection) -> None:
    await connection.execute(FILL, "nobody.knows", 7)
    looking = Turns()
    seen = []
    for is_over in (False, False, True, False):
        await looking.look(connection)
        seen.append([int(name[1:]) for name in looking.names])
        assert looking.is_over is is_over
    assert seen == [[1, 2, 3], [4, 5, 6], [7], [1, 2, 3]]


@pytest.mark.usefixtures("few")
async def test_a_queue_with_news_is_looked_at_until_it_has_nothing_more(connection: asyncpg.Connection) -> None:
    await connection.execute(FILL, "nobody.knows", 7)
    looking = Turns()
    looking.told("news")
    for _ in range(2):
        await looking.look(connection)
        assert "news" in looking.names
    looking.exhausted("news")
    await looking.look(connection)
    assert "news" not in looking.names
    for n in range(100):
        looking.told(f"flood{n}")
    await looking.look(connection)
    assert len(looking.names) <= 2 * queue_turns.AT_ONCE


@pytest.mark.usefixtures("few")
async def test_a_job_is_found_behind_many_queues_without_a_notice_and_a_burst_ends_after_a_whole_turn(
    connection: asyncpg.Connection, make_jobs: Callable[..., AsyncJobs]
) -> None:
    await connection.execute(FILL, "nobody.knows", 40)
    await connection.execute(
        "insert into asyncjobs.job (id, kind, queue) values (gen_random_uuid(), 'turns.quick', 'z')"
    )
    async with make_jobs() as jobs:
        await jobs._in_use().make_worker().run(burst=True)
    assert await connection.fetchval("select count(*) from asyncjobs.finished where state = 4") == 1
    assert await connection.fetchval("select count(*) from asyncjobs.job") == 40


async def test_no_look_and_no_claim_takes_in_more_than_so_many_queues(
    connection: asyncpg.Connection, database_url: str, make_jobs: Callable[..., AsyncJobs]
) -> None:
    await connection.execute(FILL, "nobody.knows", 3 * queue_turns.AT_ONCE)
    session = await connect(database_url, settings=PINNED_PLANS)
    looking = Turns()
    await looking.look(session)
    session.terminate()
    assert len(looking.names) == queue_turns.AT_ONCE
    async with make_jobs().running() as jobs:
        made = await jobs.enqueue(quick().set(queue="zz"))
        assert await made.result(timeout=20) == 1
        await until(connection, "select count(*) = 0 from asyncjobs.job where queue = 'zz'")
        assert len(jobs._worker.parts.dispatcher.known_queues) <= 2 * queue_turns.AT_ONCE
