"""The live writer, by itself: progress whose statement fails is written all the same, so that no attempt waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from asyncjobs.db.connecting import PINNED_PLANS
from asyncjobs.db.sessions import Sessions
from asyncjobs.definitions.ids import new_id
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.worker.writing.live_writer import LiveRecorder, LiveWriter
from tests.support.processes import PATIENCE


class Failing:
    """Sessions whose next operations end as was asked."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.next: list[Callable[[], Awaitable[object]]] = []

    async def run(self, operation: Any, *, deadline: float | None = None) -> Any:
        if self.next:
            await self.next.pop(0)()
        return await self._sessions.run(operation, deadline=deadline)


@pytest.fixture
async def sessions(database_url: str) -> AsyncIterator[Failing]:
    sessions = Sessions(database_url, size=1, name="test live", settings=PINNED_PLANS)
    yield Failing(sessions)
    sessions.close()


async def recorder_of_running_job(connection: asyncpg.Connection, writer: LiveWriter) -> LiveRecorder:
    job_id = new_id()
    await connection.execute(
        "insert into asyncjobs.job (id, fence, kind, state, worker, attempt) values ($1, 7, 'k', 2, $2, 1)",
        job_id,
        uuid4(),
    )
    claimed = SimpleNamespace(id=job_id, fence=7, kind="k")
    attempt: Any = SimpleNamespace(claimed=claimed, cancel_reason=None, shown=None, has_ended=False)
    return writer.of(attempt)


async def test_progress_that_was_under_way_when_the_writer_ended_is_written_by_the_next(
    sessions: Failing, connection: asyncpg.Connection
) -> None:
    writer = LiveWriter(sessions, lambda _: None)
    recorder = await recorder_of_running_job(connection, writer)
    under_way = asyncio.Event()

    async def never() -> None:
        under_way.set()
        await asyncio.Event().wait()

    sessions.next = [never]
    recorder.show(1, 2, "")
    running = asyncio.ensure_future(writer.run())
    await under_way.wait()
    running.cancel()
    await asyncio.wait([running])
    running = asyncio.ensure_future(writer.run())  # as a worker does that stops
    async with asyncio.timeout(PATIENCE):
        await recorder.settled()
    running.cancel()
    assert await connection.fetchval("select done from asyncjobs.live_job where job = $1", recorder.job) == 1


async def test_progress_that_is_refused_together_and_then_unanswered_alone_is_written_all_the_same(
    sessions: Failing, connection: asyncpg.Connection
) -> None:
    writer = LiveWriter(sessions, lambda _: None)
    recorders = [await recorder_of_running_job(connection, writer) for _ in range(3)]

    async def refuse() -> None:
        error = DatabaseError("refused")
        error.refused = True
        raise error

    async def no_answer() -> None:
        raise DatabaseUnavailable("no answer")

    sessions.next = [refuse, no_answer]
    for recorder in recorders:
        recorder.show(1, 2, "")
    running = asyncio.ensure_future(writer.run())
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(recorder.settled() for recorder in recorders))
    running.cancel()
    assert await connection.fetchval("select count(*) from asyncjobs.live_job where done = 1") == 3
