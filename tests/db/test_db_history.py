"""The history: a partition a day, made ahead and dropped when its day is over, whoever reads meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date, timedelta

import asyncpg
import pytest
from db_rows import claim, make_worker, pinned, put, succeeded

from asyncjobs import AsyncJobs, job
from asyncjobs.db import jobs, reading
from tests.support.processes import PATIENCE
from tests.support.sweeps import slowly

pytestmark = pytest.mark.usefixtures("database_url")  # whose partitions are made and dropped

PAST = date(2020, 1, 1)


@job(kind="history.kept_long", retention=timedelta(days=3650))
async def kept_long() -> int:
    return 1


async def partitions(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        """select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
           where i.inhparent = 'asyncjobs.finished'::regclass order by 1"""
    )
    return [row["relname"].removeprefix("finished_") for row in rows]


async def today(connection: asyncpg.Connection) -> date:
    return await connection.fetchval("select (clock_timestamp() at time zone 'UTC')::date")


async def make_past(connection: asyncpg.Connection, *days: date) -> None:
    """Partitions of days that are over, with a row in each."""
    for day in days:
        name = f"finished_{day:%Y%m%d}"
        await connection.execute(
            f"""create table asyncjobs.{name} partition of asyncjobs.finished
                  for values from ('{day}') to ('{day + timedelta(days=1)}');
                insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, attempt, priority, state, crashes,
                                                kind, queue, args)
                select gen_random_uuid(), 1, '{day}', now(), 1, 0, 4, 0, 'k', 'q', '{{}}'"""
        )


class TestMaking:
    async def test_every_day_from_today_on(self, connection: asyncpg.Connection) -> None:
        start = await today(connection)
        await jobs.make_partitions(connection, 20)
        assert await partitions(connection) == [f"{start + timedelta(days=n):%Y%m%d}" for n in range(21)]
        assert await reading.days_ahead(connection) == 21

    async def test_again_there_is_nothing_left_to_make(self, connection: asyncpg.Connection) -> None:
        assert await jobs.make_partitions(connection, 20) > 0
        assert await jobs.make_partitions(connection, 20) == 0

    async def test_a_day_that_was_left_out_is_made(self, connection: asyncpg.Connection) -> None:
        await jobs.make_partitions(connection, 20)
        missing = f"{await today(connection) + timedelta(days=5):%Y%m%d}"
        await connection.execute(f"drop table asyncjobs.finished_{missing}")
        assert await reading.days_ahead(connection) == 5
        assert await jobs.make_partitions(connection, 20) == 1
        assert missing in await partitions(connection)

    @pytest.mark.slow
    async def test_ten_years_take_a_month_of_days_and_then_one_a_month(self, connection: asyncpg.Connection) -> None:
        await jobs.make_partitions(connection, 3_660)
        made = [date(int(name[:4]), int(name[4:6]), int(name[6:])) for name in await partitions(connection)]
        start = await today(connection)
        assert made[:35] == [start + timedelta(days=n) for n in range(35)]
        assert all((day + timedelta(days=1)).day == 1 for day in made[35:])
        assert 119 <= len(made[35:]) <= 121
        assert made[-1] >= start + timedelta(days=3_660)

    async def test_two_at_once_make_each_day_once(self, connection: asyncpg.Connection, database_url: str) -> None:
        sessions = [await pinned(database_url) for _ in range(4)]
        made = (jobs.make_partitions(session, 30) for session in sessions)
        counts = await asyncio.gather(*made, return_exceptions=True)
        assert {type(count) for count in counts} <= {
            int,
            asyncpg.LockNotAvailableError,
        }  # who comes late may look later
        assert (
            sum(count for count in counts if isinstance(count, int)) + await jobs.make_partitions(connection, 30)
            == 31 - 11
        )  # eleven by the migration
        for session in sessions:
            session.terminate()

    async def test_a_reader_of_the_history_is_not_in_the_way(
        self, connection: asyncpg.Connection, worker_session: asyncpg.Connection
    ) -> None:
        async with worker_session.transaction():
            await worker_session.fetch("select count(*) from asyncjobs.finished")
            assert await jobs.make_partitions(connection, 20) > 0


class TestRetention:
    @pytest.mark.parametrize("days", [0, 1, 31, 32, 365, *slowly(7, 33, 60, 3_650)])
    async def test_there_is_a_partition_for_every_end_a_job_may_have(
        self, connection: asyncpg.Connection, worker_session: asyncpg.Connection, days: int
    ) -> None:
        await jobs.make_partitions(connection, days + 3)
        worker = await make_worker(connection)
        await put(connection, 1)
        [claimed] = await claim(worker_session, worker)
        assert await jobs.finish(worker_session, [succeeded(claimed, days=days)]) == 1
        expires = await connection.fetchval("select expires_on from asyncjobs.finished")
        asked = await today(connection) + timedelta(days=days)
        if days <= 31:
            assert expires == asked
        else:
            assert asked <= expires < asked + timedelta(days=31)
            assert (expires + timedelta(days=1)).day == 1

    @pytest.mark.slow
    async def test_a_kind_that_is_kept_for_ten_years_is_stored_at_once(self, jobs: AsyncJobs) -> None:
        assert await (await kept_long().enqueue()).result(timeout=PATIENCE) == 1

    async def test_a_kind_that_appears_later_is_stored_too(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs().running():

            @job(kind="history.appears_later", retention=timedelta(days=200))
            async def appears_later() -> int:
                return 2

            assert await (await appears_later().enqueue()).result(timeout=PATIENCE) == 2


class TestDropping:
    async def test_days_that_are_over_go_and_today_stays(self, connection: asyncpg.Connection) -> None:
        before = await partitions(connection)
        await make_past(connection, PAST, PAST + timedelta(days=1), await today(connection) - timedelta(days=1))
        assert await jobs.drop_expired(connection) == 3
        assert await partitions(connection) == before
        assert before[0] == f"{await today(connection):%Y%m%d}"
        assert await jobs.drop_expired(connection) == 0

    async def test_a_reader_of_that_day_is_left_in_peace_and_the_day_goes_later(
        self, connection: asyncpg.Connection, worker_session: asyncpg.Connection
    ) -> None:
        await make_past(connection, PAST)
        transaction = worker_session.transaction(isolation="repeatable_read")
        await transaction.start()
        assert (
            await worker_session.fetchval(f"select count(*) from asyncjobs.finished where expires_on = '{PAST}'") == 1
        )
        async with asyncio.timeout(PATIENCE):
            assert await jobs.drop_expired(connection) == 0
        assert (
            await worker_session.fetchval(f"select count(*) from asyncjobs.finished where expires_on = '{PAST}'") == 1
        )
        await transaction.rollback()
        assert await jobs.drop_expired(connection) == 1

    async def test_a_reader_of_the_history_keeps_the_tables_and_not_the_space(
        self, connection: asyncpg.Connection, worker_session: asyncpg.Connection
    ) -> None:
        days = [PAST + timedelta(days=n) for n in range(3)]
        await make_past(connection, *days)
        transaction = worker_session.transaction()
        await transaction.start()
        await worker_session.fetch(
            "lock table only asyncjobs.finished in access share mode"
        )  # as a query on another day does
        async with asyncio.timeout(PATIENCE):
            assert await jobs.drop_expired(connection) == 0
        for day in days:
            assert await connection.fetchval(f"select count(*) from asyncjobs.finished_{day:%Y%m%d}") == 0
        await transaction.rollback()
        assert await jobs.drop_expired(connection) == 3

    async def test_finishing_is_not_held_up_by_a_drop_that_waits_for_a_reader(
        self, connection: asyncpg.Connection, worker_session: asyncpg.Connection, database_url: str
    ) -> None:
        await make_past(connection, *(PAST + timedelta(days=n) for n in range(5)))
        reader = await pinned(database_url)
        transaction = reader.transaction()
        await transaction.start()
        await reader.fetch("select count(*) from asyncjobs.finished")
        worker = await make_worker(connection)
        await put(connection, 50)
        dropping = asyncio.ensure_future(jobs.drop_expired(connection))
        await worker_session.execute("set statement_timeout = '1s'")
        for claimed in await claim(worker_session, worker, 50):
            assert await jobs.finish(worker_session, [succeeded(claimed)]) == 1
        assert await dropping == 0
        await transaction.rollback()
        reader.terminate()

    async def test_tables_of_other_people_that_look_alike_stay(self, connection: asyncpg.Connection) -> None:
        await connection.execute("create table asyncjobs.finished_20200101 (id int); create table finished_20200102 ()")
        assert await jobs.drop_expired(connection) == 0
        assert await connection.fetchval("select to_regclass('asyncjobs.finished_20200101') is not null")
