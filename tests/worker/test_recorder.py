"""The recorder, by itself: who writes, what becomes of a write that is cut, and whom a locked row holds up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from asyncjobs.db.connecting import PINNED_PLANS, connect
from asyncjobs.db.sessions import Sessions
from asyncjobs.defining.identity import new_id
from asyncjobs.defining.recorded import Record, Write
from asyncjobs.exceptions import DatabaseError, LeaseLost
from asyncjobs.worker.recorder import StepWriter
from tests.support.asking import until_blocked


@contextlib.asynccontextmanager
async def writing(database_url: str, *, lock_timeout: str, is_run: bool = True) -> AsyncIterator[StepWriter]:
    """A writer whose connection is open; without its task, only what the tasks of jobs write is written."""
    sessions = Sessions(
        database_url, size=1, name="test steps", settings={**PINNED_PLANS, "lock_timeout": lock_timeout}
    )
    await sessions.run(lambda opened: opened.fetchval("select 1"))
    writer = StepWriter(sessions, sessions, lambda attempt: attempt.lost.append("lost"))
    running = asyncio.ensure_future(writer.run() if is_run else asyncio.sleep(0))
    yield writer
    running.cancel()
    sessions.close()


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[StepWriter]:
    async with writing(database_url, lock_timeout="50ms") as writer:
        yield writer


@contextlib.asynccontextmanager
async def locked_row(database_url: str, attempt: Any) -> AsyncIterator[None]:
    """Somebody holds the row of the attempt's job locked."""
    somebody = await connect(database_url)
    async with somebody.transaction():
        await somebody.fetch("select from asyncjobs.job where id = $1 for update", attempt.claimed.id)
        yield
    somebody.terminate()


async def running_job(connection: asyncpg.Connection) -> Any:
    """The attempt of a job that runs, as far as its recorder looks at it."""
    job_id = new_id()
    await connection.execute(
        "insert into asyncjobs.job (id, fence, kind, state, worker, attempt) values ($1, 7, 'k', 2, $2, 1)",
        job_id,
        uuid4(),
    )
    return SimpleNamespace(claimed=SimpleNamespace(id=job_id, fence=7, kind="k"), cancel_reason=None, lost=[])


def record(writer: StepWriter, attempt: Any, name: str) -> asyncio.Future[None]:
    return writer.of(attempt).write(Write(Record(1, name, "started"), "{}"))


async def test_the_last_step_of_a_job_is_named_and_none_where_there_is_none(
    writer: StepWriter, connection: asyncpg.Connection
) -> None:
    attempt = await running_job(connection)
    assert await writer.last_step(attempt.claimed.id) == ""
    await record(writer, attempt, "export")
    assert await writer.last_step(attempt.claimed.id) == "; its last step: export (started)"


async def test_a_row_that_somebody_holds_locked_holds_up_only_its_own_steps(
    writer: StepWriter, connection: asyncpg.Connection, database_url: str
) -> None:
    locked, *others = [await running_job(connection) for _ in range(10)]
    async with locked_row(database_url, locked):
        held_up = record(writer, locked, "a")
        async with asyncio.timeout(20):
            await asyncio.gather(*(record(writer, attempt, "a") for attempt in others))
        assert not held_up.done()
    async with asyncio.timeout(20):
        await held_up


async def test_a_write_goes_on_when_who_waits_for_it_is_cancelled_and_the_end_of_the_attempt_waits_for_it(
    writer: StepWriter, connection: asyncpg.Connection, database_url: str
) -> None:
    attempt = await running_job(connection)
    recorder = writer.of(attempt)
    async with locked_row(database_url, attempt):
        told = recorder.write(Write(Record(1, "export", "started"), "{}"))
        told.cancel()
        settling = asyncio.ensure_future(recorder.settled())
        await asyncio.wait([settling], timeout=0.1)
        assert not settling.done()
    async with asyncio.timeout(20):
        await settling
    assert await writer.last_step(attempt.claimed.id) == "; its last step: export (started)"


class TestByTheJobsOwnTask:
    @staticmethod
    def ended(state: Any = "succeeded", name: str = "export") -> Write:
        return Write(Record(1, name, state), "{}")

    async def test_a_step_is_written_by_the_job_itself_when_nothing_else_is(
        self, connection: asyncpg.Connection, database_url: str
    ) -> None:
        attempt = await running_job(connection)
        async with writing(database_url, lock_timeout="5s", is_run=False) as writer, asyncio.timeout(20):
            await writer.of(attempt).record(self.ended())
            assert await writer.last_step(attempt.claimed.id) == "; its last step: export (succeeded)"

    async def test_one_that_is_cancelled_there_is_recorded_all_the_same_and_the_end_of_the_attempt_waits_for_it(
        self, connection: asyncpg.Connection, database_url: str
    ) -> None:
        attempt = await running_job(connection)
        async with writing(database_url, lock_timeout="5s") as writer, asyncio.timeout(20):
            recorder = writer.of(attempt)
            async with locked_row(database_url, attempt):
                recording = asyncio.ensure_future(recorder.record(self.ended()))
                await until_blocked(connection)
                recording.cancel()
                await asyncio.wait([recording])
                assert recording.cancelled()
                settling = asyncio.ensure_future(recorder.settled())
                await until_blocked(connection, 2)  # the statement that was cut, and the one that follows it
                assert not settling.done()
            await settling
            assert await writer.last_step(attempt.claimed.id) == "; its last step: export (succeeded)"

    async def test_one_whose_connection_breaks_or_whose_row_is_locked_for_too_long_is_written_until_it_is_recorded(
        self, connection: asyncpg.Connection, database_url: str
    ) -> None:
        attempt = await running_job(connection)
        async with writing(database_url, lock_timeout="50ms") as writer, asyncio.timeout(20):
            async with locked_row(database_url, attempt):
                recording = asyncio.ensure_future(writer.of(attempt).record(self.ended()))
                await until_blocked(connection)
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test steps' "
                    "and datname = current_database()"
                )
                await until_blocked(connection)
            await recording
            assert await writer.last_step(attempt.claimed.id) == "; its last step: export (succeeded)"

    async def test_it_follows_what_the_attempt_has_under_way(
        self, connection: asyncpg.Connection, database_url: str
    ) -> None:
        attempt = await running_job(connection)
        async with writing(database_url, lock_timeout="5s") as writer, asyncio.timeout(20):
            recorder = writer.of(attempt)
            moved = recorder.write(self.ended("started"))
            await recorder.record(self.ended())
            assert moved.done()
            assert await writer.last_step(attempt.claimed.id) == "; its last step: export (succeeded)"

    async def test_it_says_so_when_the_lease_is_lost_or_the_database_refuses(
        self, writer: StepWriter, connection: asyncpg.Connection
    ) -> None:
        attempt = await running_job(connection)
        with pytest.raises(DatabaseError, match="0x00"):
            await writer.of(attempt).record(self.ended(name="a\0"))
        attempt.claimed.fence = 6
        with pytest.raises(LeaseLost):
            await writer.of(attempt).record(self.ended())
        assert attempt.lost == ["lost"]
