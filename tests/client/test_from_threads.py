"""`enqueue_from_thread`, `result_from_thread` and `emit_from_thread`: from any thread, on the loop of the client opened last."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest
from client_jobs import double, live

from asyncjobs import (
    AsyncJobs,
    InsideEventLoop,
    InvalidArguments,
    InvalidOption,
    JobFailed,
    NotOpen,
    current_job,
    emit,
    emit_from_thread,
    job,
)
from asyncjobs.db.connecting import connect
from tests.support.asking import until


@job(kind="threads.never")
async def never() -> None:
    await asyncio.sleep(3600)


@job(kind="threads.for_approval")
async def for_approval(key: int) -> Any:
    return await current_job().wait_for("approved", key=key)


@job(kind="threads.breaks")
def breaks() -> None:
    raise ValueError("on purpose")


AWAITED = "select awaited from asyncjobs.job"


def both() -> tuple[str | None, int]:
    made = double(4).enqueue_from_thread()
    return made.disposition, made.result_from_thread(timeout=20)


class TestEvents:
    async def test_a_job_that_waits_goes_on_with_what_a_thread_emits(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await for_approval(7).enqueue()
        await until(connection, "select true from asyncjobs.job where state = 3")
        assert await asyncio.to_thread(lambda: emit_from_thread("approved", key=7, payload={"by": "kim"})) == 1
        assert await made.result(timeout=20) == {"by": "kim"}

    async def test_a_def_job_emits(self, jobs: AsyncJobs) -> None:
        @job(kind="threads.approves")
        def approves(key: int) -> int:
            return emit_from_thread("approved", key=key, payload=["from a def job"])

        assert await (await approves(8).enqueue()).result(timeout=20) == 0
        assert await (await for_approval(8).enqueue()).result(timeout=20) == ["from a def job"]

    @pytest.mark.parametrize(
        "wrong",
        [{"name": ""}, {"name": "approved", "key": 1.5}, {"name": "approved", "payload": object()}],
        ids=["name", "key", "payload"],
    )
    async def test_what_emit_refuses_is_refused_with_the_same_words(
        self, client: AsyncJobs, wrong: dict[str, Any]
    ) -> None:
        async def said(call: Callable[[], Awaitable[int]]) -> tuple[type, str]:
            with pytest.raises((InvalidOption, InvalidArguments)) as caught:
                await call()
            return caught.type, str(caught.value)

        expected = await said(lambda: emit(**wrong))
        assert await said(lambda: asyncio.to_thread(lambda: emit_from_thread(**wrong))) == expected
        assert await said(lambda: client.emit(**wrong)) == expected


class TestAnyThread:
    async def test_of_asyncio_and_of_an_executor(self, jobs: AsyncJobs) -> None:
        assert await asyncio.to_thread(both) == ("enqueued", 8)
        with ThreadPoolExecutor() as pool:
            assert await asyncio.get_running_loop().run_in_executor(pool, both) == ("enqueued", 8)

    async def test_that_somebody_started(self, jobs: AsyncJobs) -> None:
        came: asyncio.Future[Any] = asyncio.Future()
        loop = asyncio.get_running_loop()
        threading.Thread(target=lambda: loop.call_soon_threadsafe(came.set_result, both())).start()
        assert await came == ("enqueued", 8)

    async def test_of_a_def_job_which_gives_its_slot_to_the_job_that_it_waits_for(
        self, make_jobs: Callable[..., AsyncJobs]
    ) -> None:
        @job(kind="threads.parent")
        def parent(number: int) -> int:
            return double(number).enqueue_from_thread().result_from_thread(20)

        async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}]).running():
            assert await (await parent(5).enqueue()).result(timeout=20) == 10

    async def test_many_at_once(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        with ThreadPoolExecutor(20) as pool:
            loop = asyncio.get_running_loop()
            made = [loop.run_in_executor(pool, double(number).enqueue_from_thread) for number in range(200)]
            assert len({each.id for each in await asyncio.gather(*made)}) == 200
        assert await live(connection) == 200

    async def test_that_runs_another_event_loop(self, jobs: AsyncJobs) -> None:
        async def elsewhere() -> int:
            return both()[1]

        assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == 8


class TestErrors:
    async def test_arrive_as_themselves(self, jobs: AsyncJobs) -> None:
        def fails() -> None:
            breaks().enqueue_from_thread().result_from_thread()

        with pytest.raises(JobFailed, match="on purpose"):
            await asyncio.to_thread(fails)

    async def test_a_result_that_does_not_come_in_time_is_a_timeout_and_leaves_the_job_alone(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await double(1).enqueue()
        with pytest.raises(TimeoutError, match="is not final after"):
            await asyncio.to_thread(made.result_from_thread, 0.05)
        assert await live(connection) == 1

    async def test_on_the_loops_own_thread_the_call_is_refused_and_the_way_is_named(self, client: AsyncJobs) -> None:
        with pytest.raises(InsideEventLoop, match=r"await job\.enqueue\(\)"):
            double(1).enqueue_from_thread()
        made = await double(1).enqueue()
        with pytest.raises(InsideEventLoop, match=r"await job\.result\(\)"):
            made.result_from_thread()
        with pytest.raises(InsideEventLoop, match=r"await emit\("):
            emit_from_thread("approved")

    def test_a_client_whose_loop_does_not_run_is_not_waited_for(self, url: str) -> None:
        with asyncio.Runner() as runner:
            jobs = AsyncJobs(database_url=url)
            runner.run(jobs.open())
            for use in (double(1).enqueue_from_thread, lambda: emit_from_thread("approved")):
                with pytest.raises(NotOpen, match="does not run"):
                    use()
            runner.run(jobs.close())

    async def test_a_client_that_was_opened_before_a_fork_is_not_waited_for(
        self, client: AsyncJobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: ours + 1)
        with pytest.raises(NotOpen, match="forked"):
            await asyncio.to_thread(double(1).enqueue_from_thread)


class TestClosedMeanwhile:
    async def test_a_thread_that_waits_is_told(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs():
            made = await never().enqueue()
            waiting = asyncio.create_task(asyncio.to_thread(made.result_from_thread))
            await until(connection, AWAITED)
        with pytest.raises(NotOpen, match="closed while"):
            await waiting

    def test_a_thread_is_told_of_a_loop_that_stopped_without_a_word(self, url: str) -> None:
        loop = asyncio.new_event_loop()
        jobs = AsyncJobs(database_url=url)
        loop.run_until_complete(jobs.open())
        made = never()
        loop.run_until_complete(made.enqueue())
        ended: list[BaseException] = []

        def wait() -> None:
            try:
                made.result_from_thread()
            except BaseException as error:
                ended.append(error)

        async def until_it_waits() -> None:
            thread.start()
            connection = await connect(url)
            await until(connection, AWAITED)
            await connection.close()

        thread = threading.Thread(target=wait)
        loop.run_until_complete(until_it_waits())
        thread.join(20)
        assert isinstance(ended[0], NotOpen)
        loop.run_until_complete(jobs.close())
        loop.close()


class Noted:
    def __init__(self) -> None:
        self.seen = 0

    def before_enqueue(self, _: Any) -> None:
        self.seen += 1


async def test_of_several_clients_the_one_opened_last_is_used_whichever_loop_it_is_on(
    make_jobs: Callable[..., AsyncJobs], database_url: str
) -> None:
    noted = Noted()
    async with make_jobs():
        last = AsyncJobs(database_url=database_url, middleware=[noted]).blocking()
        await asyncio.to_thread(last.__enter__)
        await asyncio.to_thread(double(1).enqueue_from_thread)
        assert noted.seen == 1
        await asyncio.to_thread(last.__exit__)
        await asyncio.to_thread(double(1).enqueue_from_thread)
        assert noted.seen == 1
