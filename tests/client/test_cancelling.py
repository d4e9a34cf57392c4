"""Cancelling jobs in every state they may be in; what they make of it, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from client_jobs import Gate, double, rows, wait_at

from asyncjobs import (
    AsyncJobs,
    InvalidOption,
    JobCancelled,
    JobFailed,
    JobNotFound,
    NotEnqueued,
    current_job,
    enqueue_all,
    job,
    retry_on,
)
from asyncjobs.worker.duties.canceller import Canceller
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so

told: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    told.clear()


# Before it runs


async def test_a_ready_job_is_cancelled_at_once_and_its_reason_is_stored(client: AsyncJobs) -> None:
    ready = await double(1).enqueue()
    assert await ready.cancel("not needed")
    status = await ready.status()
    assert (status.state, status.reason, status.attempt, status.errors) == ("cancelled", "not needed", 0, [])
    with pytest.raises(JobCancelled) as raised:
        await ready
    assert raised.value.reason == "not needed"


async def test_a_scheduled_job_is_cancelled_at_once(client: AsyncJobs) -> None:
    scheduled = await double(1).set(wait=3600).enqueue()
    assert await scheduled.cancel()
    assert (await scheduled.status()).state == "cancelled"


async def test_somebody_who_waits_for_a_ready_job_is_told_that_it_was_cancelled(client: AsyncJobs) -> None:
    ready = await double(1).enqueue()
    waiting = asyncio.ensure_future(ready.result(timeout=20))
    await asyncio.sleep(0)
    await ready.cancel("nobody wants it")
    with pytest.raises(JobCancelled, match="nobody wants it"):
        await waiting


async def test_a_cancelled_job_is_never_run(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs():
        gone, kept = await double(1).enqueue(), await double(2).enqueue()
        await gone.cancel()
        async with make_jobs().running():
            assert await kept.result(timeout=20) == 4
        assert (await gone.status()).attempt == 0
    assert await rows(connection) == 2


async def test_cancelling_what_is_final_is_false_and_changes_nothing(jobs: AsyncJobs) -> None:
    done = await double(4).enqueue()
    assert await done.result(timeout=20) == 8
    assert not await done.cancel("too late")
    status = await done.status()
    assert (status.state, status.result, status.reason) == ("succeeded", 8, None)


async def test_cancelling_twice_keeps_the_first_reason(client: AsyncJobs) -> None:
    ready = await double(1).enqueue()
    assert await ready.cancel("first")
    assert not await ready.cancel("second")
    assert (await ready.status()).reason == "first"


async def test_cancelling_what_is_not_stored_says_so(client: AsyncJobs, connection: asyncpg.Connection) -> None:
    with pytest.raises(NotEnqueued):
        await double(1).cancel()
    gone = await double(1).enqueue()
    await connection.execute("delete from asyncjobs.job")
    with pytest.raises(JobNotFound):
        await gone.cancel()


@pytest.mark.parametrize("reason", [5, None, b"bytes", "NUL \x00", "\ud800", "x" * 1_001])
async def test_a_reason_that_cannot_be_stored_is_refused_and_the_job_goes_on(client: AsyncJobs, reason: Any) -> None:
    ready = await double(1).enqueue()
    with pytest.raises(InvalidOption, match="reason"):
        await ready.cancel(reason)
    assert (await ready.status()).state == "ready"


# While it runs


async def running_at(name: str) -> tuple[Any, Gate]:
    gate = Gate(name)
    started = await wait_at(name).enqueue()
    async with asyncio.timeout(PATIENCE):
        await gate.arrived.wait()
    return started, gate


async def test_a_running_job_is_cancelled_where_it_waits(jobs: AsyncJobs) -> None:
    started, _ = await running_at("cancelled")
    assert await started.cancel("changed my mind")
    with pytest.raises(JobCancelled, match="changed my mind"):
        await started.result(timeout=20)
    status = await started.status()
    assert (status.state, status.attempt, status.reason, status.errors) == ("cancelled", 1, "changed my mind", [])


@job(kind="cancelling.cleanup")
@retry_on(Exception, asyncio.CancelledError, wait=0, attempts=5)
async def clean_up(gate: str, then: str = "") -> str:
    me = current_job()
    try:
        Gate.all[gate].arrived.set()
        await Gate.all[gate].open.wait()
    finally:
        told.append((me.cancel_reason, me.stopping))
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        told.append("cleaned up")
        if then:
            raise ValueError(then)
    return gate


async def begun(make: Any, name: str, *more: Any) -> Any:
    gate = Gate(name)
    started = await make(name, *more).enqueue()
    async with asyncio.timeout(PATIENCE):
        await gate.arrived.wait()
    return started


async def test_asynchronous_cleanup_in_finally_runs_to_its_end(jobs: AsyncJobs) -> None:
    started = await begun(clean_up, "cleanup")
    await started.cancel()
    with pytest.raises(JobCancelled):
        await started.result(timeout=20)
    assert told == [("user", True), "cleaned up"]


async def test_a_cancelled_job_is_never_retried_whatever_its_cleanup_raises(jobs: AsyncJobs) -> None:
    started = await begun(clean_up, "raising", "in the cleanup")
    await started.cancel()
    with pytest.raises(JobCancelled):
        await started.result(timeout=20)
    status = await started.status()
    assert (status.attempt, status.errors) == (1, [])
    assert told == [("user", True), "cleaned up"]


@job(kind="cancelling.swallow")
async def swallow(gate: str) -> str:
    Gate.all[gate].arrived.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        told.append("swallowed")
    await Gate.all[gate].open.wait()
    return "a result that nobody gets"


async def test_a_job_that_swallows_its_cancellation_keeps_its_slot_and_ends_cancelled_when_it_returns(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    pools = [{"queues": ["*"], "concurrency": 1}]
    async with make_jobs(pools=pools, cleanup_timeout=0.05).running():
        started = await begun(swallow, "swallowing")
        behind = await double(1).enqueue()
        await started.cancel("enough")
        await until_so(lambda: "is stuck" in caplog.text)
        # It may have been claimed ahead, and is given back then.
        await until(connection, "select true from asyncjobs.job where id = $1 and state = 1", behind.id)
        assert (await started.status()).state == "running"
        Gate.all["swallowing"].open.set()
        with pytest.raises(JobCancelled, match="enough"):
            await started.result(timeout=20)
        assert await behind.result(timeout=20) == 2
    status = await connection.fetchrow("select state, result from asyncjobs.finished where id = $1", started.id)
    assert tuple(status) == (7, None)
    assert told == ["swallowed"]


@job(kind="cancelling.timeout", timeout=0.05)
async def time_out(gate: str) -> None:
    me = current_job()
    try:
        Gate.all[gate].arrived.set()
        await asyncio.Event().wait()
    finally:
        told.append((me.cancel_reason, me.stopping))


async def test_the_reason_of_a_timeout_is_timeout(jobs: AsyncJobs) -> None:
    started = await begun(time_out, "timeout")
    with pytest.raises(JobFailed, match="TimeoutError"):
        await started.result(timeout=20)
    assert told == [("timeout", True)]


async def test_the_reason_of_a_stopping_worker_is_shutdown_and_the_job_is_given_back_unspent(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs(shutdown_timeout=0.05).running():
        started = await begun(clean_up, "shutdown")
    assert told == [("shutdown", True), "cleaned up"]
    row = await connection.fetchrow("select state, attempt, errors from asyncjobs.job where id = $1", started.id)
    assert tuple(row) == (1, 0, None)


async def test_one_of_many_running_jobs_is_cancelled_and_the_others_go_on(jobs: AsyncJobs) -> None:
    started = [await begun(wait_at, f"many {number}") for number in range(5)]
    await started[2].cancel()
    with pytest.raises(JobCancelled):
        await started[2].result(timeout=20)
    for gate in Gate.all.values():
        gate.open.set()
    others = started[:2] + started[3:]
    assert await asyncio.gather(*(each.result(timeout=20) for each in others)) == [
        f"many {number}" for number in (0, 1, 3, 4)
    ]


async def test_a_request_whose_notice_is_lost_is_found_by_the_poll(
    make_jobs: Callable[..., AsyncJobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(Canceller, "notified", lambda self, payload: heard.append(payload))
    async with make_jobs(dispatcher={"polling_interval": 0.1}).running() as jobs:
        started, _ = await running_at("lost notice")
        worker = (await jobs.status(started)).worker
        await started.cancel("unheard")
        with pytest.raises(JobCancelled, match="unheard"):
            await started.result(timeout=20)
    assert heard == [str(worker)]


async def test_a_notice_alone_cancels_long_before_the_next_poll(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs(dispatcher={"polling_interval": 60}).running():
        started, _ = await running_at("notice")
        await started.cancel()
        with pytest.raises(JobCancelled):
            await started.result(timeout=20)


async def test_a_notice_without_a_request_cancels_nothing(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs().running():
        forged, _ = await running_at("forged")
        asked, _ = await running_at("asked")
        await connection.fetch("select pg_notify('asyncjobs_cancel', $1)", str(forged.id))
        await asked.cancel()  # whose notice comes after the forged one
        with pytest.raises(JobCancelled):
            await asked.result(timeout=20)
        Gate.all["forged"].open.set()
        assert await forged.result(timeout=20) == "forged"


@job(kind="cancelling.itself")
async def itself(gate: str) -> None:
    told.append(current_job())
    Gate.all[gate].arrived.set()
    await Gate.all[gate].open.wait()


async def test_a_job_is_cancelled_while_its_worker_drains(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs() as client:
        worker = make_jobs(shutdown_timeout=60).running()
        await worker.__aenter__()
        draining = await begun(itself, "draining")
        stopping = asyncio.ensure_future(worker.__aexit__(None, None, None))
        await until_so(lambda: told[0].stopping)
        assert told[0].cancel_reason is None
        assert await client.cancel(draining.id, reason="while it drains")
        async with asyncio.timeout(PATIENCE):
            await stopping
        assert told[0].cancel_reason == "user"
        found = await client.status(draining.id)
        assert (found.state, found.reason) == ("cancelled", "while it drains")


# Threads


class Thread:
    """What a job in a thread does, from outside."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.at_once = 0
        self.most = 0


threads: dict[str, Thread] = {}


@job(kind="cancelling.thread")
def in_thread(name: str) -> str:
    thread = threads[name]
    thread.at_once += 1
    thread.most = max(thread.most, thread.at_once)
    thread.begun.set()
    thread.go_on.wait(30)
    told.append((current_job().stopping, current_job().cancel_reason))
    thread.at_once -= 1
    return "a result that nobody gets"


@job(kind="cancelling.thread_in_time", timeout=1)  # its thread begins in that time
@retry_on(TimeoutError, wait=0, attempts=5)
def in_thread_with_timeout(name: str) -> str:
    return in_thread(name).perform()


async def arrived(event: threading.Event) -> None:
    await until_so(event.is_set)


async def test_a_cancelled_thread_keeps_slot_and_lease_until_it_ends_and_its_result_is_dropped(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    thread, other = threads["cancelled"], threads["behind"] = Thread(), Thread()
    other.go_on.set()
    pools = [{"queues": ["*"], "concurrency": 1}]
    async with make_jobs(pools=pools, cleanup_timeout=0.05).running():
        started = await in_thread("cancelled").enqueue()
        await arrived(thread.begun)
        behind = await in_thread("behind").enqueue()
        await started.cancel("stop")
        await until_so(lambda: "is stuck" in caplog.text)
        status = await started.status()
        assert status.state == "running"
        assert status.worker is not None
        assert not other.begun.is_set()  # it may have been claimed ahead, and is not begun
        thread.go_on.set()
        with pytest.raises(JobCancelled, match="stop"):
            await started.result(timeout=20)
        await behind.result(timeout=20)
    assert told == [(True, "user"), (False, None)]
    result = await connection.fetchrow("select state, result from asyncjobs.finished where id = $1", started.id)
    assert tuple(result) == (7, None)


async def test_a_thread_past_its_timeout_is_retried_once_it_has_ended_and_never_two_at_once(
    jobs: AsyncJobs, caplog: pytest.LogCaptureFixture
) -> None:
    thread = threads["timeout"] = Thread()
    started = await in_thread_with_timeout("timeout").enqueue()
    await arrived(thread.begun)
    await until_so(lambda: "is stuck" in caplog.text)
    assert (await started.status()).attempt == 1
    thread.begun.clear()
    thread.go_on.set()
    await arrived(thread.begun)
    await started.result(timeout=20)
    assert (thread.most, thread.at_once) == (1, 0)
    assert (told[0], told[-1]) == ((True, "timeout"), (False, None))
    assert (await started.status()).errors[0].type == "builtins.TimeoutError"


async def test_many_cancelled_at_once_all_end_cancelled(jobs: AsyncJobs) -> None:
    many = [double(number).set(wait=3600) for number in range(50)]
    await enqueue_all(many)
    assert all(await asyncio.gather(*(each.cancel() for each in many)))
    assert {(await each.status()).state for each in many} == {"cancelled"}


tasks: list[asyncio.Task[Any]] = []


@job(kind="cancelling.held")
async def held() -> None:
    task = asyncio.current_task()
    assert task is not None
    tasks.append(task)
    await asyncio.Event().wait()


async def test_a_loop_that_ends_and_cancels_the_job_before_its_worker_does_not_fail_it(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    def end_of_the_loop() -> None:
        """What `asyncio.run` does at Ctrl-C, and in an order that it may well do it in."""
        mine = {task for task in asyncio.all_tasks() if task not in before}
        for task in [*tasks, *(mine - {*tasks})]:
            task.cancel()

    tasks.clear()
    before = asyncio.all_tasks()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        async with make_jobs().running():
            made = await held().enqueue()
            await until(connection, "select state = 2 from asyncjobs.job")
            await until_so(lambda: tasks)
            end_of_the_loop()
            await asyncio.wait(tasks)  # that of the attempt: how it ended is decided, and told, in it
    assert "failed: CancelledError" not in caplog.text
    assert await connection.fetchval("select count(*) from asyncjobs.finished") == 0
    assert await connection.fetchval("select id from asyncjobs.job") == made.id
