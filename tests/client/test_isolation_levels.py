"""Isolation levels that are not the usual one: of the database, and of a caller's transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text

from asyncjobs import AsyncJobs, DatabaseUnavailable, Job, JobFailed, attribute, job
from asyncjobs.db.transactions import MOST_TRIES

HIGHER = ["repeatable_read", "serializable"]
BY_ID = "select asyncjobs.enqueue('isolation.charge', '{\"n\": 1}', id => $1)"
runs: list[Any] = []


@job(kind="isolation.charge")
async def charge(n: int) -> int:
    runs.append(n)
    return n


@pytest.fixture(autouse=True)
def fresh() -> None:
    runs.clear()


@pytest.mark.parametrize("level", HIGHER)
async def test_an_id_that_may_have_been_enqueued_since_the_transaction_began_is_refused(
    jobs: AsyncJobs, connection: asyncpg.Connection, level: Any
) -> None:
    transaction = connection.transaction(isolation=level)
    await transaction.start()
    await connection.fetchval("select count(*) from pg_class")
    first = charge(1)
    await first.enqueue()
    assert await first.result(timeout=20) == 1
    with pytest.raises(asyncpg.SerializationError, match="enqueue it in a READ COMMITTED transaction"):
        await connection.fetchval(BY_ID, first.id)
    await transaction.rollback()
    async with connection.transaction(isolation=level):  # here it is seen to have ended
        assert await connection.fetchval(BY_ID, first.id) == first.id
    assert await connection.fetchval("select count(*) from asyncjobs.job") == 0


@pytest.mark.parametrize("level", HIGHER)
async def test_new_jobs_and_those_without_an_id_are_enqueued_at_every_level(
    client: AsyncJobs, connection: asyncpg.Connection, level: Any
) -> None:
    async with connection.transaction(isolation=level):
        made = charge(1)
        await client.enqueue(made, connection=connection)
        await client.enqueue(made, connection=connection)  # it is seen to be there
        assert await connection.fetchval("select asyncjobs.enqueue('isolation.charge')")
    assert await connection.fetchval("select count(*) from asyncjobs.job") == 2


async def test_a_job_object_that_was_sent_before_is_refused_where_it_cannot_be_seen(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    await connection.fetchval("select 1")
    made = charge(1)
    await jobs.enqueue(made)
    await made.result(timeout=20)
    with pytest.raises(DatabaseUnavailable, match="READ COMMITTED"):
        await jobs.enqueue(made, connection=connection)
    await transaction.rollback()


async def test_an_id_of_the_callers_own_is_enqueued_once_in_read_committed(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    mine = uuid4()
    for _ in range(2):
        assert await connection.fetchval(BY_ID, mine) == mine
    assert await (await jobs.get(mine)).result(timeout=20) == 1
    await connection.fetchval(BY_ID, mine)
    assert runs == [1]


async def test_our_sessions_are_read_committed_whatever_the_database_says(
    connection: asyncpg.Connection, make_jobs: Callable[..., AsyncJobs]
) -> None:
    name = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {name} set default_transaction_isolation = 'serializable'")

    async def level(session: Any) -> str:
        return str(await session.fetchval("show transaction_isolation"))

    async with make_jobs().running() as running:
        await running.enqueue(charge(1))
        assert await running._in_use().sessions.run(level) == "read committed"
        worker = running._worker
        for sessions in (
            worker.parts.ledger._sessions,
            worker.parts.dispatcher._sessions,
            worker.parts.recorder.sessions,
        ):
            assert await sessions.run(level) == "read committed"
        assert await worker.parts.recorder.isolated.run(level) == "serializable", "a step's own code has the role's"


class Undone(Job, kind="isolation.undone"):
    """Its isolated step is undone so often by the server, as if for the sake of another transaction."""

    sqlstate: str
    times: int
    by_sqlalchemy: bool = False
    total: int = attribute(default=0)

    async def code(self, connection: Any) -> int:
        self.total += 1
        runs.append(self.attempt)
        if not self.by_sqlalchemy:
            await connection.execute("insert into effect values ($1)", self.total)
        if len(runs) <= self.times:
            raise_it = f"do $$ begin raise exception 'undone' using errcode = '{self.sqlstate}'; end $$"
            await connection.execute(text(raise_it) if self.by_sqlalchemy else raise_it)
        return self.total

    async def perform(self) -> int:
        return int(await self.step("code", self.code, isolated=True))


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_an_isolated_step_that_the_server_has_undone_runs_again_before_anybody_is_told(
    jobs: AsyncJobs, connection: asyncpg.Connection, state: str
) -> None:
    await connection.execute("create table effect (n int)")
    made = await jobs.enqueue(Undone(sqlstate=state, times=2))
    assert await made.result(timeout=20) == 1, "what it had made of its attributes was undone as well"
    assert runs == [1, 1, 1]
    assert await connection.fetchval("select array_agg(n) from effect") == [1]
    status = await made.status()
    assert (status.attempt, list(status.errors)) == (1, [])


async def test_so_does_perform_now(client: AsyncJobs, connection: asyncpg.Connection) -> None:
    await connection.execute("create table effect (n int)")
    assert await Undone(sqlstate="40001", times=2).perform_now() == 1
    assert await connection.fetchval("select array_agg(n) from effect") == [1]


async def test_it_is_the_jobs_error_when_that_goes_on(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    await connection.execute("create table effect (n int)")
    made = await jobs.enqueue(Undone(sqlstate="40001", times=100))
    with pytest.raises(JobFailed, match="undone"):
        await made.result(timeout=20)
    assert runs == [1] * MOST_TRIES


async def test_other_errors_are_the_jobs_at_once(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    await connection.execute("create table effect (n int)")
    made = await jobs.enqueue(Undone(sqlstate="22012", times=100))
    with pytest.raises(JobFailed, match="undone"):
        await made.result(timeout=20)
    assert runs == [1]
