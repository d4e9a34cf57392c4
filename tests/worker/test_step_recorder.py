"""The recorder, by itself: what it says of a job whose process died, and whom a locked row holds up."""

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
from asyncjobs.definitions.ids import new_id
from asyncjobs.exceptions import DatabaseError, LeaseLost
from asyncjobs.records.step_records import Record, Write
from asyncjobs.worker.writing.step_recorder import StepWriter
from tests.support.processes import PATIENCE


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[StepWriter]:
    sessions = Sessions(database_url, size=1, name="test steps", settings={**PINNED_PLANS, "lock_timeout": "50ms"})
    writer = StepWriter(sessions, sessions, lambda attempt: attempt.lost.append("lost"))
    running = asyncio.ensure_future(writer.run())
    yield writer
    running.cancel()
    sessions.close()


@contextlib.asynccontextmanager
async def locked_row(database_url: str, *attempts: Any) -> AsyncIterator[None]:
    """Somebody holds the rows of the attempts' jobs locked."""
    somebody = await connect(database_url)
    async with somebody.transaction():
        ids = [attempt.claimed.id for attempt in attempts]
        await somebody.fetch("select from asyncjobs.job where id = any($1) for update", ids)
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
    return writer.of(attempt).write(Write(1, name, attributes="{}"))


async def test_the_last_step_of_a_job_is_named_and_none_where_there_is_none(
    writer: StepWriter, connection: asyncpg.Connection
) -> None:
    attempt = await running_job(connection)
    assert await writer.last_step(attempt.claimed.id) == ""
    await record(writer, attempt, "export")
    assert await writer.last_step(attempt.claimed.id) == "; its last step: export (started)"


async def test_rows_that_somebody_holds_locked_hold_up_only_their_own_steps(
    writer: StepWriter, connection: asyncpg.Connection, database_url: str
) -> None:
    attempts = [await running_job(connection) for _ in range(110)]
    locked, others = attempts[:100], attempts[100:]
    async with locked_row(database_url, *locked):
        held_up = [record(writer, attempt, "a") for attempt in locked]
        for name in ("a", "b"):
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(record(writer, attempt, name) for attempt in others))
        after = [record(writer, attempt, "b") for attempt in locked[:3]]
        assert not any(told.done() for told in held_up)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*held_up, *after)
    assert not any(attempt.lost for attempt in attempts)
    assert await connection.fetchval("select count(*) from asyncjobs.step") == 123


async def test_a_step_that_the_database_refuses_waits_until_it_takes_it_and_the_others_go_on(
    writer: StepWriter, connection: asyncpg.Connection
) -> None:
    refused, *others = [await running_job(connection) for _ in range(10)]
    await connection.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$; "
        f"create trigger refuse before insert on asyncjobs.step for each row when (new.job = '{refused.claimed.id}') "
        "execute function refuse()"
    )
    held_up = record(writer, refused, "a")
    for name in ("a", "b"):
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(record(writer, attempt, name) for attempt in others))
    assert not held_up.done()
    await connection.execute("drop trigger refuse on asyncjobs.step")
    async with asyncio.timeout(PATIENCE):
        await held_up


async def test_an_event_that_an_open_transaction_has_emitted_holds_up_only_those_who_wait_for_it(
    writer: StepWriter, connection: asyncpg.Connection, database_url: str
) -> None:
    attempts = [await running_job(connection) for _ in range(100)]
    other = await running_job(connection)
    somebody = await connect(database_url)

    def begin(attempt: Any, key: str) -> asyncio.Future[Record]:
        recorder = writer.of(attempt)
        wait = Record(1, "approval", "waiting", form="wait")
        return asyncio.ensure_future(
            recorder.begin_wait(wait, event="approved", key=key, seconds=None, attributes=None)
        )

    async with somebody.transaction():
        await somebody.execute("select asyncjobs.emit('approved', '7', '1')")
        waits = [begin(attempt, "7") for attempt in attempts]
        async with asyncio.timeout(PATIENCE):
            for name in ("a", "b", "c"):
                await record(writer, other, name)
            begun = await begin(await running_job(connection), "8")
        assert begun.state == "waiting"
        assert not any(wait.done() for wait in waits)
    async with asyncio.timeout(60):
        found = await asyncio.gather(*waits)
    assert sorted(record.state for record in found) == ["succeeded", *["waiting"] * 99]
    somebody.terminate()


async def test_a_write_goes_on_when_who_waits_for_it_is_cancelled_and_the_end_of_the_attempt_waits_for_it(
    writer: StepWriter, connection: asyncpg.Connection, database_url: str
) -> None:
    attempt = await running_job(connection)
    recorder = writer.of(attempt)
    async with locked_row(database_url, attempt):
        told = recorder.write(Write(1, "export", attributes="{}"))
        told.cancel()
        settling = asyncio.ensure_future(recorder.settled())
        await asyncio.wait([settling], timeout=0.1)
        assert not settling.done()
    async with asyncio.timeout(PATIENCE):
        await settling
    assert await writer.last_step(attempt.claimed.id) == "; its last step: export (started)"


async def test_a_write_says_so_when_the_lease_is_lost_or_the_database_refuses(
    writer: StepWriter, connection: asyncpg.Connection
) -> None:
    attempt = await running_job(connection)
    with pytest.raises(DatabaseError, match="0x00"):
        await record(writer, attempt, "a\0")
    attempt.claimed.fence = 6
    with pytest.raises(LeaseLost):
        await record(writer, attempt, "export")
    assert attempt.lost == ["lost"]


@pytest.mark.parametrize("attributes", [None, "{}"], ids=["alone", "with attributes"])
@pytest.mark.parametrize("count", [1, 3], ids=["one job", "several"])
async def test_a_step_has_an_end_once_it_is_more_than_started(
    writer: StepWriter, connection: asyncpg.Connection, count: int, attributes: str | None
) -> None:
    attempts = [await running_job(connection) for _ in range(count)]
    for state, has_end in (("started", False), ("succeeded", True)):
        await asyncio.gather(
            *(writer.of(attempt).write(Write(1, "export", state, attributes=attributes)) for attempt in attempts)
        )
        found = await connection.fetch("select state, finished_at is not null as has_end from asyncjobs.step")
        assert [tuple(row) for row in found] == [(state, has_end)] * count
