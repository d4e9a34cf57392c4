"""The ledger: what it writes, what one bad end does to the others, and what happens when an answer is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from asyncjobs.db.connecting import PINNED_PLANS, connect
from asyncjobs.db.rows import Finish, RatePause, Reschedule, State
from asyncjobs.db.sessions import Sessions
from asyncjobs.definitions.ids import new_id
from asyncjobs.worker.writing.ledger import Ledger
from tests.support.asking import until, until_blocked
from tests.support.processes import PATIENCE
from tests.support.sweeps import slowly

WORKER = uuid4()


@contextlib.asynccontextmanager
async def writing(url: str) -> AsyncIterator[Ledger]:
    sessions = Sessions(url, size=1, name="test ledger", settings={**PINNED_PLANS, "lock_timeout": "50ms"})
    ledger = Ledger(sessions, lambda: None)
    running = asyncio.ensure_future(ledger.run())
    yield ledger
    running.cancel()
    sessions.close()


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    async with writing(database_url) as ledger:
        yield ledger


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
        ledger.end(succeeded(job_id, fence, result='"bad \x00"' if number == 17 else '"good"'))
    async with asyncio.timeout(PATIENCE):
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
        ledger.end(succeeded(job_id, its_fence, result="1"))
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
    ledger.end(succeeded(job_id, fence + 1))
    async with asyncio.timeout(PATIENCE):
        await ledger.drained()
    assert ledger.lost == 1
    assert await connection.fetchval("select state from asyncjobs.job") == State.running
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 0


async def test_an_end_written_twice_is_no_lost_lease(ledger: Ledger, connection: asyncpg.Connection) -> None:
    ((job_id, fence),) = await running_jobs(connection, 1)
    for _ in range(2):
        ledger.end(succeeded(job_id, fence))
        async with asyncio.timeout(PATIENCE):
            await ledger.drained()
    assert ledger.lost == 0
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 1


async def test_a_rate_pauses_also_where_the_database_refuses_a_value_of_the_end(
    ledger: Ledger, connection: asyncpg.Connection
) -> None:
    (first, fence), (second, other) = await running_jobs(connection, 2)
    ledger.end(Finish(first, fence, State.failed, None, "bad \x00", None, 7, pauses=(RatePause("one", 60.0),)))
    ledger.reschedule(Reschedule(second, other, 5.0, "bad \x00", spent=True, pauses=(RatePause("two", 60.0),)))
    await drained(ledger)
    noted = (
        "select key from asyncjobs.limit_note where not_before > clock_timestamp() + interval '30 seconds' order by key"
    )
    assert [row["key"] for row in await connection.fetch(noted)] == ["one", "two"]


async def test_a_day_of_the_history_that_is_missing_is_made(ledger: Ledger, connection: asyncpg.Connection) -> None:
    ((job_id, fence),) = await running_jobs(connection, 1)
    ledger.end(succeeded(job_id, fence, days=40))
    async with asyncio.timeout(PATIENCE):
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
    async with asyncio.timeout(PATIENCE):
        await ledger.drained()
    row = await connection.fetchrow("select state, attempt, fence, worker from asyncjobs.job")
    assert tuple(row) == (State.ready, 0, -fence, None)


async def drained(ledger: Ledger) -> None:
    async with asyncio.timeout(PATIENCE):
        await ledger.drained()


def refusing(job_id: UUID, what: str) -> str:
    """A trigger of the owner's that takes no end of one job."""
    return (
        f"create function refuse() returns trigger language plpgsql as $$ begin {what}; return old; end $$; "
        f"create trigger refuse before delete on asyncjobs.job for each row when (old.id = '{job_id}') "
        "execute function refuse()"
    )


REFUSALS = {
    "an exception": "raise exception 'not this one'",
    "a check": "raise exception 'not this one' using errcode = '23514'",
    "a full disk": "raise exception 'could not extend file' using errcode = '53100'",
    "a table that is read-only": "raise exception 'permission denied' using errcode = '42501'",
    "a failed serialization": "raise exception 'could not serialize access' using errcode = '40001'",
    "an end of the session": "perform pg_terminate_backend(pg_backend_pid())",
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_an_end_that_the_database_refuses_waits_until_it_takes_it_and_the_others_go_on(
    ledger: Ledger, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    refused, *good = await running_jobs(connection, 20)
    late = good.pop()
    await connection.execute(refusing(refused[0], REFUSALS[what]))
    for end in (refused, *good):
        ledger.end(succeeded(*end, result="1"))
    await until(connection, "select count(*) = $1 from asyncjobs.finished", len(good))
    ledger.end(succeeded(*late))
    await until(connection, "select count(*) = $1 from asyncjobs.finished", len(good) + 1)
    assert ledger.holds() == {refused[0]}
    await connection.execute("drop trigger refuse on asyncjobs.job")
    await drained(ledger)
    row = await connection.fetchrow("select state, result from asyncjobs.finished where id = $1", refused[0])
    assert tuple(row) == (State.succeeded, "1")
    assert ledger.lost == 0
    assert len([record for record in caplog.records if "other jobs go on" in record.message]) == 1


async def test_a_role_that_may_no_longer_write_to_the_history_gives_jobs_back_and_keeps_the_ends(
    connection: asyncpg.Connection, database_url: str
) -> None:
    role = f"writer_{uuid4().hex}"
    await connection.execute(
        f"create role {role}; grant usage on schema asyncjobs to {role}; "
        f"grant all on all tables in schema asyncjobs to {role}; grant all on all sequences in schema asyncjobs to {role}; "
        f"grant all on all routines in schema asyncjobs to {role}; "
        f"revoke insert on asyncjobs.finished from {role}"
    )
    held = await running_jobs(connection, 20)
    async with writing(f"{database_url}{'&' if '?' in database_url else '?'}role={role}") as ledger:
        for end in held[:10]:
            ledger.end(succeeded(*end))
        for end in held[10:]:
            ledger.reschedule(Reschedule(*end))
        await until(connection, "select count(*) = 10 from asyncjobs.job where state = 1")
        assert ledger.holds() == {job_id for job_id, _ in held[:10]}
        await connection.execute(f"grant insert on asyncjobs.finished to {role}")
        await drained(ledger)
    assert await connection.fetchval("select count(*) from asyncjobs.finished where state = 4") == 10
    await connection.execute(f"drop owned by {role}; drop role {role}")


async def test_of_many_ends_that_are_refused_for_one_reason_one_line_is_logged(
    ledger: Ledger, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    held = await running_jobs(connection, 60)
    await connection.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not these'; end $$; "
        "create trigger refuse before delete on asyncjobs.job for each row when (old.fence % 2 = 0) "
        "execute function refuse()"
    )
    for end in held:
        ledger.end(succeeded(*end))
    await until(connection, "select count(*) = 30 from asyncjobs.finished")
    await connection.execute("drop trigger refuse on asyncjobs.job")
    await drained(ledger)
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 60
    assert len([record for record in caplog.records if "not these" in record.message]) == 1


async def test_rows_that_somebody_holds_locked_hold_up_only_themselves(
    ledger: Ledger, connection: asyncpg.Connection, database_url: str
) -> None:
    held = await running_jobs(connection, 125)
    locked, others, late = held[:100], held[100:120], held[120:]
    somebody = await connect(database_url, is_lent=True)
    async with somebody.transaction():
        await somebody.fetch("select from asyncjobs.job where fence <= 100 for no key update")
        for end in locked[:50]:
            ledger.end(succeeded(*end))
        for end in locked[50:]:
            ledger.reschedule(Reschedule(*end))
        for end in others:
            ledger.end(succeeded(*end))
        await until(connection, "select count(*) = 20 from asyncjobs.finished")
        for count, end in enumerate(late, 21):
            ledger.end(succeeded(*end))
            await until(connection, "select count(*) = $1 from asyncjobs.finished", count)
        assert ledger.holds() == {job_id for job_id, _ in locked}
    await drained(ledger)
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 75
    assert await connection.fetchval("select count(*) from asyncjobs.job where state = 1") == 50
    assert ledger.lost == 0
    somebody.terminate()


async def test_a_locked_row_whose_fence_is_another_when_it_is_let_go_is_a_lost_lease(
    ledger: Ledger, connection: asyncpg.Connection, database_url: str
) -> None:
    ((job_id, fence),) = await running_jobs(connection, 1)
    somebody = await connect(database_url)
    async with somebody.transaction():
        await somebody.execute("update asyncjobs.job set fence = 1000")
        ledger.end(succeeded(job_id, fence))
        await until_blocked(connection)
        await until(connection, "select count(*) = 0 from pg_stat_activity where wait_event_type = 'Lock'")
        assert ledger.lost == 0
    await drained(ledger)
    assert ledger.lost == 1
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 0
    somebody.terminate()


NO_RIGHT = """
create or replace function asyncjobs.make_partitions(until date) returns integer language plpgsql as
  'begin raise exception ''permission denied'' using errcode = ''42501''; end'
"""
CANNOT_BE_MADE = {
    "somebody has the lock": ("lock table asyncjobs.migration in share mode", 60),
    "it fails": (NO_RIGHT, 60),
    "it is too far": ("select", 9_000),
}


@pytest.mark.parametrize("why", ["somebody has the lock", *slowly("it fails", "it is too far")])
async def test_a_day_of_the_history_that_cannot_be_made_holds_up_only_the_ends_that_need_it(
    ledger: Ledger, connection: asyncpg.Connection, database_url: str, why: str
) -> None:
    statement, days = CANNOT_BE_MADE[why]
    held = await running_jobs(connection, 20)
    somebody = await connect(database_url)
    transaction = somebody.transaction()
    await transaction.start()
    await somebody.execute(statement)
    if why == "it fails":
        await transaction.commit()
    for number, end in enumerate(held[:-1]):
        ledger.end(succeeded(*end, days=days if number % 3 == 0 else 7))
    await until(connection, "select count(*) = 12 from asyncjobs.finished")
    ledger.end(succeeded(*held[-1]))
    await until(connection, "select count(*) = 13 from asyncjobs.finished")
    if why == "somebody has the lock":
        await transaction.rollback()
        await drained(ledger)
        assert await connection.fetchval("select count(*) from asyncjobs.finished where state = 4") == 20
    somebody.terminate()


async def test_the_only_end_that_needs_a_day_is_written_once_the_day_can_be_made(
    ledger: Ledger, connection: asyncpg.Connection, database_url: str
) -> None:
    [alone, other] = await running_jobs(connection, 2)
    somebody = await connect(database_url)
    async with somebody.transaction():
        await somebody.execute("lock table asyncjobs.migration in share mode")
        ledger.end(succeeded(*alone, days=60))
        ledger.end(succeeded(*other))
        await until(connection, "select count(*) = 1 from asyncjobs.finished")
        await until_blocked(connection)
    await drained(ledger)
    assert await connection.fetchval("select count(*) from asyncjobs.finished where state = 4") == 2
    somebody.terminate()


async def test_while_somebody_holds_a_day_of_the_history_locked_ends_of_other_days_are_written(
    ledger: Ledger, connection: asyncpg.Connection, database_url: str
) -> None:
    held = await running_jobs(connection, 21)
    day = await connection.fetchval("select to_char((clock_timestamp() at time zone 'UTC')::date + 7, 'YYYYMMDD')")
    somebody = await connect(database_url)
    async with somebody.transaction():
        await somebody.execute(f"lock table asyncjobs.finished_{day} in share mode")
        for number, end in enumerate(held[:20]):
            ledger.end(succeeded(*end, days=7 if number % 2 else 3))
        await until(connection, "select count(*) = 10 from asyncjobs.finished")
        ledger.end(succeeded(*held[20], days=3))
        await until(connection, "select count(*) = 11 from asyncjobs.finished")
    await drained(ledger)
    assert await connection.fetchval("select count(*) from asyncjobs.finished where state = 4") == 21
    assert ledger.lost == 0
    somebody.terminate()


async def test_what_is_refused_is_written_when_the_worker_stops_if_the_database_takes_it_by_then(
    ledger: Ledger, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    refused, other = await running_jobs(connection, 2)
    await connection.execute(refusing(refused[0], REFUSALS["an exception"]))
    for end in (refused, other):
        ledger.end(succeeded(*end))
    await until(connection, "select count(*) = 1 from asyncjobs.finished")
    await ledger.write_out(0.2)
    assert "the ends of 1 attempts could not be written" in caplog.text
    await connection.execute("drop trigger refuse on asyncjobs.job")
    await ledger.write_out(20)
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 2
