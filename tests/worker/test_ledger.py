"""The ledger: what it writes, what one bad end does to the others, and what happens when an answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from asyncjobs.db.connecting import PINNED_PLANS, connect
from asyncjobs.db.rows import Finish, Reschedule, State
from asyncjobs.db.sessions import Sessions
from asyncjobs.defining.identity import new_id
from asyncjobs.worker.ledger import Ledger
from tests.support.asking import until

WORKER = uuid4()


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    sessions = Sessions(database_url, size=1, name="test ledger", settings={**PINNED_PLANS, "lock_timeout": "50ms"})
    ledger = Ledger(sessions, lambda: None)
    running = asyncio.ensure_future(ledger.run())
    yield ledger
    running.cancel()
    sessions.close()


async def running_jobs(connection: asyncpg.Connection, count: int) -> list[tuple[UUID, int]]:
    held = [(new_id(), fence) for fence in range(1, count + 1)]
    await connection.executemany(
        "insert into asyncjobs.job (id, fence, kind, state, worker, attempt) values ($1, $2, 'k', 2, $3, 1)",
        [(job_id, fence, WORKER) for job_id, fence in held],
    )
    return held


def succeeded(job_id: UUID, fence: int, *, result: str | None = None, days: int = 7) -> Finish:
    return Finish(job_id, fence, State.succeeded, result, None, None, days)


async def test_one_end_that_the_database_refuses_harms_only_itself(
    ledger: Ledger, connection: asyncpg.Connection
) -> None:
    held = await running_jobs(connection, 50)
    for number, (job_id, fence) in enumerate(held):
        ledger.finish(succeeded(job_id, fence, result='"bad \x00"' if number == 17 else '"good"'))
    async with asyncio.timeout(20):
        await ledger.drained()
    rows = await connection.fetch("select id, state, errors from asyncjobs.finished")
    states = {row["id"]: row["state"] for row in rows}
    assert len(states) == 50
    assert [number for number, (job_id, _) in enumerate(held) if states[job_id] == State.failed] == [17]
    assert await connection.fetchval("select count(*) from asyncjobs.job") == 0


TAKES_NO_GIGABYTE = """
create function refuse() returns trigger language plpgsql as
  'begin raise exception ''out of memory'' using errcode = ''54000''; end';
create trigger refuse before insert on asyncjobs.finished for each row when (new.steps like '%gigabyte%') execute function refuse();
"""
"""As it says of one that is there, after minutes."""


async def test_an_end_that_the_database_refuses_twice_is_written_without_steps_and_attributes(
    ledger: Ledger, connection: asyncpg.Connection
) -> None:
    held = await running_jobs(connection, 3)
    (too_much, fence), (_, _), (small, _) = held
    await connection.execute("update asyncjobs.job set progress = '{}' where id = any($1)", [too_much, small])
    await connection.executemany(
        "insert into asyncjobs.step (job, n, name, state, attempt, started_at, result)"
        " values ($1, 1, $2, 'succeeded', 1, now(), '1')",
        [(too_much, "more than a gigabyte"), (small, "one")],
    )
    await connection.execute(TAKES_NO_GIGABYTE)
    for job_id, its_fence in held:
        ledger.finish(succeeded(job_id, its_fence, result="1"))
    async with asyncio.timeout(60):
        await ledger.drained()
    rows = {row["id"]: row for row in await connection.fetch("select * from asyncjobs.finished")}
    assert {row["id"]: row["state"] == State.failed for row in rows.values()} == {
        job_id: job_id == too_much for job_id, _ in held
    }
    assert (rows[too_much]["steps"], rows[too_much]["progress"], rows[too_much]["result"]) == (None, None, None)
    assert "out of memory" in rows[too_much]["errors"] and "one" in rows[small]["steps"]
    assert await connection.fetchval("select count(*) from asyncjobs.job") == 0
    assert await connection.fetchval("select count(*) from asyncjobs.step") == 0
    assert fence == rows[too_much]["fence"]


async def test_an_end_with_a_stale_fence_writes_nothing(ledger: Ledger, connection: asyncpg.Connection) -> None:
    ((job_id, fence),) = await running_jobs(connection, 1)
    ledger.finish(succeeded(job_id, fence + 1))
    async with asyncio.timeout(20):
        await ledger.drained()
    assert ledger.lost == 1
    assert await connection.fetchval("select state from asyncjobs.job") == State.running
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 0


async def test_an_end_written_twice_is_no_lost_lease(ledger: Ledger, connection: asyncpg.Connection) -> None:
    ((job_id, fence),) = await running_jobs(connection, 1)
    for _ in range(2):
        ledger.finish(succeeded(job_id, fence))
        async with asyncio.timeout(20):
            await ledger.drained()
    assert ledger.lost == 0
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 1


async def test_a_day_of_the_history_that_is_missing_is_made(ledger: Ledger, connection: asyncpg.Connection) -> None:
    ((job_id, fence),) = await running_jobs(connection, 1)
    ledger.finish(succeeded(job_id, fence, days=40))
    async with asyncio.timeout(20):
        await ledger.drained()
    days = await connection.fetchval(
        "select expires_on - (clock_timestamp() at time zone 'UTC')::date from asyncjobs.finished"
    )
    assert 40 <= days <= 71  # beyond a month a day is rounded up to the end of its month


async def test_a_released_job_is_ready_again_and_was_not_charged(
    ledger: Ledger, connection: asyncpg.Connection
) -> None:
    ((job_id, fence),) = await running_jobs(connection, 1)
    ledger.reschedule(Reschedule(job_id, fence))
    async with asyncio.timeout(20):
        await ledger.drained()
    row = await connection.fetchrow("select state, attempt, fence, worker from asyncjobs.job")
    assert tuple(row) == (State.ready, 0, -fence, None)


async def test_an_end_that_the_database_takes_in_no_form_harms_only_itself(
    ledger: Ledger, connection: asyncpg.Connection
) -> None:
    refused, *good = await running_jobs(connection, 5)
    await connection.execute(
        "create function refuse() returns trigger language plpgsql as "
        "$$ begin raise exception 'not this one' using errcode = '23514'; end $$; "
        f"create trigger refuse before insert on asyncjobs.finished for each row when (new.id = '{refused[0]}') "
        "execute function refuse()"
    )
    for end in (refused, *good):
        ledger.finish(succeeded(*end))
    async with asyncio.timeout(20):
        await ledger.drained()
    rows = await connection.fetch("select id from asyncjobs.finished order by id")
    assert [row["id"] for row in rows] == [job_id for job_id, _ in good]


async def test_a_row_that_somebody_holds_locked_holds_up_only_itself(
    ledger: Ledger, connection: asyncpg.Connection, database_url: str
) -> None:
    locked, *others = await running_jobs(connection, 20)
    somebody = await connect(database_url, is_lent=True)
    async with somebody.transaction():
        await somebody.fetch("select from asyncjobs.job where id = $1 for update", locked[0])
        for end in (locked, *others):
            ledger.finish(succeeded(*end))
        await until(connection, "select count(*) = $1 from asyncjobs.finished", len(others))
    async with asyncio.timeout(20):
        await ledger.drained()
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 20
    somebody.terminate()
