"""What the database refuses of some jobs, or somebody holds locked, through a worker: the others run and end all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, current_job, enqueue_all, job
from asyncjobs.db import sql
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import lacks_day
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.worker.connections import shared_sessions
from tests.support.asking import until

gate = asyncio.Event()


@job(kind="refusals.gated")
async def gated() -> int:
    """One that ends when the test lets it."""
    await gate.wait()
    return 1


@job(kind="refusals.steps")
async def two_steps(n: int) -> int:
    steps = current_job()
    return await steps.step("one", nothing, n) + await steps.step("two", nothing, n)


async def nothing(n: int) -> int:
    return n


@job(kind="refusals.for_event")
async def for_event() -> Any:
    return await current_job().wait_for("approved", key=7)


@pytest.fixture(autouse=True)
def closed() -> None:
    global gate
    gate = asyncio.Event()


def many(make_jobs: Any) -> Any:
    return make_jobs(pools=[{"queues": ["*"], "concurrency": 150}]).running()


async def test_while_the_rows_of_a_hundred_running_jobs_are_locked_new_jobs_run_and_end(
    make_jobs: Any, connection: asyncpg.Connection, database_url: str
) -> None:
    somebody = await connect(database_url)
    async with many(make_jobs), asyncio.timeout(60):
        locked = [gated() for _ in range(100)]
        await enqueue_all(locked)
        await until(connection, "select count(*) = 100 from asyncjobs.job where state = 2")
        async with somebody.transaction():
            await somebody.fetch("select from asyncjobs.job for no key update")
            gate.set()
            for n in range(3):
                assert await (await two_steps(n).enqueue()) == 2 * n
                assert await (await gated().enqueue()) == 1
            assert await connection.fetchval("select count(*) from asyncjobs.job where state = 2") == 100
        assert await asyncio.gather(*locked) == [1] * 100
    assert await connection.fetchval("select max(attempt) from asyncjobs.finished") == 1
    somebody.terminate()


async def test_while_an_event_is_held_by_an_open_transaction_jobs_with_steps_run_and_end(
    make_jobs: Any, connection: asyncpg.Connection, database_url: str
) -> None:
    somebody = await connect(database_url)
    async with many(make_jobs), asyncio.timeout(60):
        async with somebody.transaction():
            await somebody.execute("select asyncjobs.emit('approved', '7', '1')")
            waiting = [for_event() for _ in range(100)]
            await enqueue_all(waiting)
            await until(connection, "select count(*) = 100 from asyncjobs.job where state = 2")
            for n in range(5):
                assert await (await two_steps(n).enqueue()) == 2 * n
        await until(connection, "select count(*) = 99 from asyncjobs.job where state = 3")
        await connection.execute("select asyncjobs.emit('approved', '7', '1')")
        assert await asyncio.gather(*waiting) == [1] * 100
    somebody.terminate()


async def test_a_worker_claims_on_while_the_database_refuses_the_ends_of_one_kind(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    gate.set()
    await connection.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this kind'; end $$; "
        "create trigger refuse before delete on asyncjobs.job for each row when (old.kind = 'refusals.gated') "
        "execute function refuse()"
    )
    async with asyncio.timeout(60):
        refused = [await gated().enqueue() for _ in range(30)]
        for n in range(5):
            assert await (await two_steps(n).enqueue()) == 2 * n
        await until(connection, "select count(*) = 30 from asyncjobs.job where state = 2")
        await connection.execute("drop trigger refuse on asyncjobs.job")
        assert await asyncio.gather(*refused) == [1] * 30
    assert await connection.fetchval("select max(attempt) from asyncjobs.finished") == 1


async def test_whoever_cancels_a_job_whose_row_is_locked_waits_no_longer_than_who_retries_it(
    connection: asyncpg.Connection,
) -> None:
    found = await connection.fetch(
        "select proname, array_to_string(proconfig, ' ') as config from pg_proc "
        "where pronamespace = 'asyncjobs'::regnamespace and proname in ('cancel', 'cancel_each', 'retry', 'discard')"
    )
    assert {row["proname"] for row in found if "lock_timeout=5s" in row["config"]} == {
        "cancel",
        "cancel_each",
        "retry",
        "discard",
    }


ENDED = (
    "insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, attempt, priority, state, crashes, kind, queue, args) "
    "values (gen_random_uuid(), 1, clock_timestamp()::date + {days}, now(), 1, 0, 4, 0, 'k', 'q', '{{}}')"
)
RAISED = "do $$ begin raise exception 'keine Partition' using errcode = '23514', schema = 'asyncjobs', table = 'finished'; end $$"


@pytest.mark.parametrize(
    ("statement", "lacks"), [(ENDED.format(days=3000), True), (RAISED, True), (ENDED.format(days=3), False)]
)
async def test_a_day_without_a_partition_is_told_by_fields_and_not_by_text(
    connection: asyncpg.Connection, database_url: str, statement: str, lacks: bool
) -> None:
    await connection.execute("alter table asyncjobs.finished add constraint mine check (kind <> 'k')")
    sessions = Sessions(database_url, size=1, name="test")
    with pytest.raises(DatabaseError) as refused:
        await sessions.run(lambda connection: connection.execute(statement))
    assert lacks_day(refused.value) is lacks
    sessions.close()


async def test_a_process_that_freezes_in_a_transaction_keeps_its_locks_for_its_lease_and_no_longer(
    connection: asyncpg.Connection, database_url: str
) -> None:
    locks = "select pg_advisory_xact_lock(7)"
    sessions = shared_sessions(database_url, seconds=0.5)
    has_locked = asyncio.Event()

    async def freeze(ours: asyncpg.Connection) -> None:
        async with ours.transaction():
            await ours.execute(locks)
            has_locked.set()
            await asyncio.Event().wait()

    frozen = asyncio.ensure_future(sessions.run(freeze, endless=True))  # nothing here ends it either
    await has_locked.wait()
    await connection.execute(locks)
    frozen.cancel()
    with pytest.raises(DatabaseUnavailable):
        await frozen
    sessions.close()


async def test_who_freezes_while_it_changes_schedules_holds_up_the_others_for_half_a_minute(
    connection: asyncpg.Connection,
) -> None:
    bound = "select current_setting('idle_in_transaction_session_timeout')"
    async with connection.transaction():
        await connection.fetchval(sql.read("lock_recurring"))
        assert await connection.fetchval(bound) == "30s"
    assert await connection.fetchval(bound) == "0"
