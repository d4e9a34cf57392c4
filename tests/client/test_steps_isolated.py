"""Isolated steps, through a worker: what they do and that they are done commit together, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from asyncjobs import AsyncJobs, DatabaseUnavailable, Job, JobFailed, Retry, attribute, retry_on, step
from asyncjobs.db import through_sqlalchemy
from asyncjobs.db.connecting import connect
from tests.support.asking import until, until_blocked
from tests.support.processes import PATIENCE

ran: list[str] = []
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def effects(connection: asyncpg.Connection, complete: Callable[[Any], Any]) -> None:
    """A table of the user's own."""
    ran.clear()
    gates.clear()
    gates.update(arrived=asyncio.Event(), open=asyncio.Event())
    complete(
        connection.execute(
            "create table effect (job uuid, n integer, unique (job, n) deferrable initially deferred); create table locked"
            " (n int); insert into locked values (1), (2)"
        )
    )


async def insert(connection: Any, job_id: Any, n: int) -> None:
    if isinstance(connection, AsyncConnection):
        await connection.execute(text("insert into effect values (:job, :n)"), {"job": job_id, "n": n})
    else:
        await connection.execute("insert into effect values ($1, $2)", job_id, n)


async def divide(connection: Any) -> None:
    await connection.execute(text("select 1 / 0") if isinstance(connection, AsyncConnection) else "select 1 / 0")


async def inserted(connection: asyncpg.Connection) -> list[int]:
    return [row["n"] for row in await connection.fetch("select n from effect order by n")]


async def at_gate() -> None:
    gates["arrived"].set()
    await gates["open"].wait()


async def code(me: Any, how: str, connection: Any) -> str:
    ran.append(how)
    first = len(ran) == 1
    me.total += 1
    await insert(connection, me.id, len(ran))
    match how:
        case "fails once" if first:
            raise ValueError
        case "signals once" if first:
            raise Retry(wait=0)
        case "breaks a constraint at its commit":
            await insert(connection, me.id, len(ran))
        case "swallows an error":
            with contextlib.suppress(asyncpg.PostgresError, sqlalchemy.exc.DBAPIError):
                await divide(connection)
        case "divides by zero":
            await divide(connection)
        case "waits":
            await at_gate()
        case "waits once" if first:
            await at_gate()
        case "ends its transaction":
            await connection.execute(text("commit") if isinstance(connection, AsyncConnection) else "commit")
        case "close" | "invalidate" | "rollback":
            await getattr(connection, how)()
        case "commits itself":
            await connection.commit()
            raise ValueError
    return how


class OnAsyncpg(Job, kind="isolated.OnAsyncpg"):
    how: str
    total: int = attribute(default=0)

    @step(isolated=True, retry=retry_on(ValueError, wait=0))
    async def work(self, connection: asyncpg.Connection) -> str:
        return await code(self, self.how, connection)

    @step
    async def after(self) -> None:
        ran.append("after")

    async def perform(self) -> int:
        await self.run_steps()
        return self.total


class OnSqlalchemy(Job, kind="isolated.OnSqlalchemy"):
    how: str
    total: int = attribute(default=0)

    @step(isolated=True, retry=retry_on(ValueError, wait=0))
    async def work(self, connection: AsyncConnection) -> str:
        assert isinstance(connection, AsyncConnection)
        return await code(self, self.how, connection)

    @step
    async def after(self) -> None:
        ran.append("after")

    async def perform(self) -> int:
        await self.run_steps()
        return self.total


BOTH = pytest.mark.parametrize("of", [OnAsyncpg, OnSqlalchemy], ids=["asyncpg", "SQLAlchemy"])


@pytest.mark.parametrize(
    ("how", "said"),
    [("close", "ended by nobody"), ("invalidate", "ended by nobody"), ("rollback", "by COMMIT or ROLLBACK")],
)
async def test_that_ends_sqlalchemy_s_connection_or_transaction_fails_and_says_so(
    jobs: AsyncJobs, connection: asyncpg.Connection, how: str, said: str
) -> None:
    made = await OnSqlalchemy(how=how).enqueue()
    with pytest.raises(JobFailed, match=said) as failed:
        await made.result(timeout=20)
    assert failed.value.error_type.endswith(".InvalidStep") and ran == [how]
    assert await inserted(connection) == []


@BOTH
class TestOnEither:
    async def test_effect_checkpoint_and_attributes_commit_together(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, of: Any
    ) -> None:
        made = await of(how="").enqueue()
        assert await made.result(timeout=20) == 1
        assert await inserted(connection) == [1] and ran == ["", "after"]
        [steps] = await connection.fetch("select steps::json->0->>'state' as state, progress from asyncjobs.finished")
        assert (steps["state"], steps["progress"]) == ("succeeded", '{"total":1}')

    @pytest.mark.parametrize("how", ["fails once", "signals once"])
    async def test_an_error_rolls_both_back(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, of: Any, how: str
    ) -> None:
        assert await (await of(how=how).enqueue()).result(timeout=20) == 1
        assert await inserted(connection) == [2] and ran == [how, how, "after"]

    @pytest.mark.parametrize(
        ("how", "error"),
        [
            ("breaks a constraint at its commit", "duplicate key value"),
            ("swallows an error", "current transaction is aborted"),
            ("divides by zero", "division by zero"),
        ],
    )
    async def test_an_error_of_the_users_own_statements_is_of_its_own_class(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, of: Any, how: str, error: str
    ) -> None:
        made = await of(how=how).enqueue()
        with pytest.raises(JobFailed) as failed:
            await made.result(timeout=20)
        assert error in str(failed.value) and not failed.value.error_type.startswith("asyncjobs.")
        assert await inserted(connection) == [] and ran == [how]

    async def test_that_ends_its_transaction_itself_is_not_recorded_and_says_so(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, of: Any
    ) -> None:
        made = await of(how="ends its transaction").enqueue()
        with pytest.raises(JobFailed) as failed:
            await made.result(timeout=20)
        assert "by COMMIT or ROLLBACK" in str(failed.value) and failed.value.error_type.endswith(".InvalidStep")
        assert await inserted(connection) == [1] and (await made.status()).steps == []

    async def test_whose_lease_is_lost_meanwhile_has_done_nothing(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, of: Any
    ) -> None:
        made = await of(how="waits once").enqueue()
        await gates["arrived"].wait()
        await connection.execute(
            "update asyncjobs.job set state = 1, fence = nextval('asyncjobs.fence_seq'), worker = null where id = $1",
            made.id,
        )
        gates["open"].set()
        assert await made.result(timeout=20) == 1
        assert await inserted(connection) == [2]

    async def test_that_is_cancelled_has_done_nothing_and_gives_its_connection_back(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, of: Any
    ) -> None:
        made = await of(how="waits").enqueue()
        await gates["arrived"].wait()
        await made.cancel("enough")
        await until(connection, "select exists (select from asyncjobs.finished where state = 7)")
        assert await inserted(connection) == []
        idle = "select not exists (select from pg_stat_activity where state like 'idle in%' and datname = current_database())"
        await until(connection, idle)

    async def test_whose_connection_breaks_runs_again_with_its_attempt_unspent(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, of: Any
    ) -> None:
        made = await of(how="waits once").enqueue()
        await gates["arrived"].wait()
        assert await connection.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'asyncjobs isolated steps'"
        )
        gates["open"].set()
        assert await made.result(timeout=20) == 1
        assert await inserted(connection) == [2] and ran == ["waits once", "waits once", "after"]
        status = await made.status()
        assert status.attempt == 1
        assert [error.message.partition("connection")[0] for error in status.errors] == [
            "was interrupted without progress: an isolated step lost its "
        ]

    async def test_here_and_now_it_is_a_transaction_of_the_open_client(
        self, client: AsyncJobs, connection: asyncpg.Connection, of: Any
    ) -> None:
        assert await of(how="fails once").perform_now() == 1
        assert await inserted(connection) == [2]


async def test_a_commit_of_sqlalchemys_own_commits_nothing_yet(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    made = await OnSqlalchemy(how="commits itself").enqueue()
    with pytest.raises(JobFailed):
        await made.result(timeout=20)
    assert await inserted(connection) == []


class Blocked(Job, kind="isolated.Blocked"):
    @step(isolated=True)
    async def work(self, connection: asyncpg.Connection) -> None:
        ran.append("work")
        await connection.execute("select from locked where n = 1 for update")

    @step
    async def after(self) -> None: ...


async def test_a_deadlock_is_the_users_to_retry(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    made = await Deadlocked().enqueue()
    async with connection.transaction():
        await connection.execute("select from locked where n = 2 for update")
        await gates["arrived"].wait()
        gates["open"].set()
        await connection.execute("set local deadlock_timeout = '1min'; select from locked where n = 1 for update")
    await made.result(timeout=20)
    assert ran == ["DeadlockDetectedError", "work"]


class Deadlocked(Job, kind="isolated.Deadlocked"):
    @step(isolated=True, retry=retry_on(asyncpg.DeadlockDetectedError, wait=0))
    async def work(self, connection: asyncpg.Connection) -> None:
        await connection.execute("set local deadlock_timeout = '50ms'; select from locked where n = 1 for update")
        await at_gate()
        try:
            await connection.execute("select from locked where n = 2 for update")
        except asyncpg.PostgresError as error:
            ran.append(type(error).__name__)
            raise
        ran.append("work")


async def test_a_lock_of_the_users_keeps_neither_a_cancel_nor_other_jobs_waiting(
    jobs: AsyncJobs, connection: asyncpg.Connection, url: str
) -> None:
    other = await connect(url, is_lent=True)
    async with connection.transaction():
        await connection.execute("select from locked where n = 1 for update")
        made = await Blocked().enqueue()
        await until_blocked(other)
        assert await (await OnAsyncpg(how="").enqueue()).result(timeout=20) == 1
        await made.cancel("enough")
        await until(other, "select exists (select from asyncjobs.finished where state = 7)")
    other.terminate()


async def test_what_a_step_began_and_the_job_did_not_finish_is_not_asked_of_the_effect_again(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    class Continued(OnAsyncpg, kind="isolated.Continued"):
        @step
        async def after(self) -> None:
            ran.append("after")
            if self.attempt == 1:
                raise Retry(wait=0)

    await (await Continued(how="").enqueue()).result(timeout=20)
    assert await inserted(connection) == [1] and ran == ["", "after", "after"]


async def test_a_link_that_breaks_before_sqlalchemy_has_it_is_a_lost_link(url: str) -> None:
    through_sqlalchemy._engine.cache_clear()  # a first connection asks the server for its version
    connection = await connect(url, is_lent=True)
    connection.terminate()
    with pytest.raises(DatabaseUnavailable):
        async with through_sqlalchemy.wrapped(connection):
            pass


class Lax(Job, kind="isolated.Lax"):
    async def perform(self) -> list[Any]:
        async def count(connection: Any) -> int:
            return "5"  # type: ignore[return-value]

        return [await self.step("count", step(isolated=True)(count))]


async def test_its_value_is_the_stored_one_in_its_first_run_too(jobs: AsyncJobs) -> None:
    assert await (await Lax().enqueue()).result(timeout=PATIENCE) == [5]
