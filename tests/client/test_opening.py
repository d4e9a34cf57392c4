"""One AsyncJobs is opened once, on one event loop; several may be open at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
import pytest
from client_jobs import double

from asyncjobs import AlreadyOpen, AsyncJobs, Job, NotOpen, emit, emit_from_thread, enqueue_all
from tests.support.processes import PATIENCE


def in_another_loop(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run `main` in a thread with a loop of its own, and return what it returns or raises."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(asyncio.run(main()))
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return ended[0]


async def test_opening_twice_is_refused_and_harms_nothing(make_jobs: Callable[..., AsyncJobs]) -> None:
    jobs = make_jobs()
    async with jobs.running():
        for again in (jobs.open, jobs.running().__aenter__):
            with pytest.raises(AlreadyOpen, match="open already"):
                await again()
        assert await (await double(2).enqueue()).result(timeout=PATIENCE) == 4
        assert jobs.healthy
    async with jobs.running():
        assert await (await double(3).enqueue()).result(timeout=PATIENCE) == 6


async def test_another_event_loop_is_refused_with_the_remedy(client: AsyncJobs) -> None:
    for use in (double(1).enqueue, lambda: client.enqueue_all([double(1)]), lambda: client.get(double(1).id)):
        error = in_another_loop(use)
        assert isinstance(error, NotOpen)
        assert "opened on another event loop" in str(error)


@pytest.mark.parametrize(
    ("use", "instead"),
    [
        (double(1).enqueue, "job.enqueue_from_thread()"),
        (lambda: enqueue_all([double(1)]), "job.enqueue_from_thread()"),
        (lambda: emit("approved"), "emit_from_thread(…)"),
        (lambda: enqueued().result(), "job.result_from_thread()"),
        (lambda: enqueued().status(), None),
        (lambda: enqueued().cancel(), None),
    ],
    ids=["enqueue", "enqueue_all", "emit", "result", "status", "cancel"],
)
async def test_on_another_event_loop_the_call_for_threads_is_named_where_there_is_one(
    client: AsyncJobs, use: Callable[[], Any], instead: str | None
) -> None:
    error = in_another_loop(use)
    assert isinstance(error, NotOpen)
    end = f", or call `{instead}` in a thread without a loop" if instead else ""
    assert str(error) == f"this AsyncJobs was opened on another event loop: open one here{end}"


@pytest.mark.parametrize(
    ("use", "what", "blocking"),
    [
        (double(1).enqueue, "enqueue", "jobs.enqueue(job)"),
        (lambda: enqueue_all([double(1)]), "enqueue", "jobs.enqueue_all(…)"),
        (lambda: emit("approved"), "emit", "jobs.emit(…)"),
        (lambda: asyncio.to_thread(double(1).enqueue_from_thread), "enqueue", "jobs.enqueue(job)"),
        (lambda: asyncio.to_thread(enqueued().result_from_thread), "await a job", "jobs.result(job)"),
        (lambda: asyncio.to_thread(emit_from_thread, "approved"), "emit", "jobs.emit(…)"),
        (lambda: enqueued().result(), "await a job", "jobs.result(job)"),
        (lambda: enqueued().status(), "ask for a status", "jobs.status(job)"),
        (lambda: enqueued().cancel(), "cancel a job", "jobs.cancel(job)"),
    ],
    ids=[
        *("enqueue", "enqueue_all", "emit", "enqueue from a thread", "result from a thread", "emit from a thread"),
        *("result", "status", "cancel"),
    ],
)
async def test_without_an_open_client_the_error_says_what_to_open_for_what_was_tried(
    use: Callable[[], Any], what: str, blocking: str
) -> None:
    with pytest.raises(NotOpen) as caught:
        await use()
    said = str(caught.value)
    assert f"before you {what}, enter `async with AsyncJobs():`" in said
    assert f"without an event loop, `with AsyncJobs().blocking() as jobs:` and `{blocking}`;" in said


def enqueued() -> Job[int]:
    """A job that says that it has a row."""
    made = double(1)
    made._sent = True
    return made


async def test_with_one_open_on_each_loop_a_job_uses_its_own(
    make_jobs: Callable[..., AsyncJobs], client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    async def elsewhere() -> None:
        async with make_jobs():
            opened.set()
            await asyncio.to_thread(enqueued.wait, 30)
            await double(2).enqueue()

    opened, enqueued = threading.Event(), threading.Event()
    other = asyncio.ensure_future(asyncio.to_thread(in_another_loop, elsewhere))
    await asyncio.to_thread(opened.wait, 30)
    await double(1).enqueue()  # though the other was opened last
    enqueued.set()
    assert await other is None
    assert await connection.fetchval("select count(*) from asyncjobs.job") == 2


async def test_a_database_that_refuses_leaves_nothing_open(
    make_jobs: Callable[..., AsyncJobs], database_url: str
) -> None:
    jobs = make_jobs(database_url=database_url.replace("/test_", "/missing_"))
    with pytest.raises(Exception, match="does not exist"):
        await jobs.open()
    with pytest.raises(NotOpen):
        await jobs.enqueue(double(1))
    with pytest.raises(NotOpen):
        await double(1).enqueue()
