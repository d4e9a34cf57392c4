"""Sessions that are lent to isolated steps: what one job does to one is met by no other, and what breaks it fails that job alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, Job, JobFailed, retry_on, step
from asyncjobs.db import lent_connections, transactions
from asyncjobs.db.connecting import connect
from tests.support.asking import until

kept: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def effects(connection: asyncpg.Connection, complete: Callable[[Any], Any]) -> None:
    kept.clear()
    complete(connection.execute("create table effect (n integer)"))


CHANGES = {
    "a setting": "select set_config('app.tenant', '42', false)",
    "a time-out": "set statement_timeout = '7s'",
    "a search path": "set search_path = pg_catalog",
    "a temporary table": "create temporary table scratch (n int)",
    "a lock": "select pg_advisory_lock(77)",
    "a channel": "listen something",
    "a cursor": "declare held cursor with hold for select 1",
}
LOOK = """
select coalesce(current_setting('app.tenant', true), '') || current_setting('statement_timeout') || current_setting('search_path')
       || array(select pg_listening_channels())::text || array(select name from pg_cursors)::text
       || (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())
       || (select count(*) from pg_class where relname = 'scratch')
"""


class Changes(Job, kind="lent.Changes"):
    statement: str

    @step(isolated=True)
    async def change(self, connection: asyncpg.Connection) -> None:
        await connection.execute(self.statement)


class Looks(Job, kind="lent.Looks"):
    @step(isolated=True)
    async def look(self, connection: asyncpg.Connection) -> list[str]:
        return [str(connection.get_server_pid()), str(await connection.fetchval(LOOK))]

    async def perform(self) -> list[str]:
        return await self.step("look", self.look)


async def looked(jobs: AsyncJobs) -> tuple[str, str]:
    pid, seen = await (await Looks().enqueue()).result(timeout=20)
    return pid, seen


@pytest.mark.parametrize("what", CHANGES)
async def test_what_a_step_does_to_its_session_is_not_met_by_the_next_job_on_it(jobs: AsyncJobs, what: str) -> None:
    before = await looked(jobs)
    await (await Changes(statement=CHANGES[what]).enqueue()).result(timeout=20)
    assert await looked(jobs) == before


class Codecs(Job, kind="lent.Codecs"):
    @step(isolated=True)
    async def change(self, connection: asyncpg.Connection) -> None:
        await connection.set_type_codec(
            "json", schema="pg_catalog", encoder=str, decoder=lambda _: "decoded by another"
        )


class Reads(Job, kind="lent.Reads"):
    @step(isolated=True)
    async def read(self, connection: asyncpg.Connection) -> str:
        return str(await connection.fetchval("select '{}'::json"))

    async def perform(self) -> str:
        return await self.step("read", self.read)


async def test_what_a_step_does_to_the_connection_itself_ends_that(jobs: AsyncJobs) -> None:
    await (await Codecs().enqueue()).result(timeout=20)
    assert await (await Reads().enqueue()).result(timeout=20) == "{}"


class Keeps(Job, kind="lent.Keeps"):
    """Lays aside what it was given."""

    how: str

    @step(isolated=True)
    async def keep(self, connection: asyncpg.Connection) -> None:
        kept["connection"] = connection
        kept["statement"] = await connection.prepare("insert into effect values (7)")
        kept["transaction"] = connection.transaction()
        if self.how == "raises":
            raise ValueError


@pytest.mark.parametrize("how", ["returns", "raises"])
async def test_a_connection_that_is_kept_refuses_after_its_step(
    jobs: AsyncJobs, connection: asyncpg.Connection, how: str
) -> None:
    with contextlib.suppress(JobFailed):
        await (await Keeps(how=how).enqueue()).result(timeout=20)
    for use in (
        lambda: kept["connection"].execute("insert into effect values (7)"),
        lambda: kept["statement"].fetch(),
        lambda: kept["transaction"].start(),
    ):
        with pytest.raises(asyncpg.InterfaceError):
            await use()
    await looked(jobs)
    assert await connection.fetchval("select count(*) from effect") == 0


class LeavesBehind(Job, kind="lent.LeavesBehind"):
    @step(isolated=True)
    async def insert(self, connection: asyncpg.Connection) -> None:
        async def later() -> None:
            await connection.execute("select pg_sleep(0.2); insert into effect values (8)")

        kept["task"] = asyncio.ensure_future(later())
        await asyncio.sleep(0)


async def test_a_statement_that_a_step_leaves_behind_fails_its_job_and_is_in_nobodys_transaction(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    with pytest.raises(JobFailed, match="another operation is in progress"):
        await (await LeavesBehind().enqueue()).result(timeout=20)
    await looked(jobs)
    await asyncio.wait([kept["task"]])
    assert kept["task"].exception() is not None
    assert await connection.fetchval("select count(*) from effect") == 0


class Breaks(Job, kind="lent.Breaks"):
    how: str

    @step(isolated=True)
    async def work(self, connection: asyncpg.Connection) -> None:
        await connection.execute("insert into effect values (1)")
        match self.how:
            case "COMMIT":
                await connection.execute("commit")
            case "COMMIT, BEGIN":
                await connection.execute("commit")
                await connection.execute("begin")
            case "COMMIT, BEGIN at once":
                await connection.execute("commit; begin")
            case "ROLLBACK, BEGIN":
                await connection.execute("rollback; begin")
            case "two at once":
                await asyncio.gather(*(connection.fetchval("select pg_sleep(0.01)") for _ in range(3)))
            case "close":
                await connection.close()
            case "terminate":
                connection.terminate()
            case "a statement's time":
                await connection.execute("set local statement_timeout = 20; select pg_sleep(5)")


ERRORS = {
    "COMMIT": "InvalidStep",
    "COMMIT, BEGIN": "InvalidStep",
    "COMMIT, BEGIN at once": "InvalidStep",
    "ROLLBACK, BEGIN": "InvalidStep",
    "two at once": "InterfaceError",
    "close": "InvalidStep",
    "terminate": "InvalidStep",
    "a statement's time": "QueryCanceledError",
}


@pytest.mark.parametrize("how", ERRORS)
async def test_a_step_that_breaks_its_session_fails_its_job_at_once_and_nobody_else_notices(
    jobs: AsyncJobs, how: str
) -> None:
    made = await Breaks(how=how).enqueue()
    with pytest.raises(JobFailed) as failed:
        await made.result(timeout=20)
    assert failed.value.error_type.endswith(f".{ERRORS[how]}")
    status = await made.status()
    assert (status.attempt, len(status.errors), status.steps) == (1, 1, [])
    for _ in range(3):
        other = await Looks().enqueue()
        await other.result(timeout=20)
        assert (await other.status()).errors == []


@pytest.mark.parametrize("how", ["COMMIT", "COMMIT, BEGIN at once", "two at once", "close"])
async def test_here_and_now_a_step_that_breaks_its_session_leaves_the_clients_alone(
    client: AsyncJobs, how: str
) -> None:
    with pytest.raises(Exception, match=r"transaction itself|another operation|ended by nobody"):
        await Breaks(how=how).perform_now()
    assert await Looks().enqueue()


async def test_here_and_now_what_a_step_does_to_its_session_is_not_met_by_the_client(client: AsyncJobs) -> None:
    await Changes(statement="set default_transaction_read_only = on").perform_now()
    assert await Looks().enqueue()


@retry_on(Exception, wait=0, attempts=2)
class Dawdles(Job, kind="lent.Dawdles"):
    """Waits between two statements for longer than its server allows."""

    @step(isolated=True)
    async def work(self, connection: asyncpg.Connection) -> None:
        ended = asyncio.Event()
        connection._con.add_termination_listener(lambda _: ended.set())
        await connection.execute("insert into effect values (1)")
        await ended.wait()
        await connection.execute("insert into effect values (2)")


async def test_a_session_that_the_server_ends_by_its_limit_is_an_error_of_the_step(
    make_jobs: Any, connection: asyncpg.Connection
) -> None:
    database = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {database} set idle_in_transaction_session_timeout = '50ms'")
    async with make_jobs().running():
        made = await Dawdles().enqueue()
        with pytest.raises(JobFailed, match="idle_in_transaction_session_timeout, which allows 0.05 s"):
            await made.result(timeout=20)
    row = await connection.fetchrow("select attempt, errors from asyncjobs.finished where id = $1", made.id)
    assert row is not None and row["attempt"] == 2 and row["errors"].count('"asyncjobs.exceptions.DatabaseError"') == 2


class NeedsNone(Job, kind="lent.NeedsNone"):
    @step(isolated=True)
    async def work(self) -> None: ...


async def test_a_session_that_cannot_be_cleaned_is_ended(
    jobs: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, _ = await looked(jobs)
    for module in (lent_connections, transactions):
        monkeypatch.setattr(module, "RESET", "select 1 / 0")
    await looked(jobs)
    await until(connection, f"select not exists (select from pg_stat_activity where pid = {int(pid)})")
    await (await NeedsNone().enqueue()).result(timeout=20)


async def test_a_step_after_which_its_session_cannot_be_cleaned_is_recorded_once_and_the_next_has_another(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    before, _ = await looked(jobs)
    await (await Changes(statement="deallocate asyncjobs_unlock; insert into effect values (1)").enqueue()).result(
        timeout=20
    )
    after, _ = await looked(jobs)
    assert after != before
    assert await connection.fetchval("select count(*) from effect") == 1


async def test_a_transaction_bears_its_mark_until_it_ends(url: str) -> None:
    connection = await connect(url, connection_class=transactions.IsolatedConnection, is_lent=True)
    try:
        asked = f"select current_setting('{transactions.MARK}', true)"
        async with connection.transaction():
            assert await connection.fetchval(asked) == "on"
            async with connection.transaction():
                assert await connection.fetchval(asked) == "on"
        assert await connection.fetchval(asked) == ""
    finally:
        connection.terminate()
