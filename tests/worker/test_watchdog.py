"""How the watchdog finds the job behind a task, and that what a worker tells costs it nothing."""

import asyncio
import contextvars
import threading
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

from asyncjobs.db.connecting import connect
from asyncjobs.performing import running_job
from asyncjobs.worker.watching.blocks import Culprit
from asyncjobs.worker.watching.watchdog import Watchdog
from tests.support.asking import until
from tests.support.processes import until_so


def task_in(job: Any) -> Any:
    """A task as Python 3.12 has it, in the context of a job."""
    made = contextvars.Context()
    made.run(running_job.running.set, job)
    return SimpleNamespace(get_context=lambda: made, get_name=lambda: "Task-1")


async def test_the_job_of_a_task_is_known_by_its_attempt_or_else_by_its_context() -> None:
    job = SimpleNamespace(id=uuid4(), kind="k")
    attempt = cast("Any", SimpleNamespace(claimed=job))
    own = asyncio.current_task()
    watchdog = Watchdog(0.2, lambda task: attempt if task is own else None)
    expected = Culprit(f"k {job.id}", "k", str(job.id))
    assert watchdog._culprit(own) == expected
    assert watchdog._culprit(task_in(job)) == expected
    assert watchdog._culprit(task_in(None)) == Culprit("Task-1 (no job's own task)", None, None)
    assert watchdog._culprit(None).kind is None


async def test_a_report_that_cannot_be_made_costs_no_lease(jobs, database_url, caplog) -> None:
    await until_so(lambda: jobs.healthy)
    keeper = jobs._worker.keeper

    def broken() -> str:
        raise RuntimeError("broken")

    keeper._report = broken
    connection = await connect(database_url)
    try:
        last = "select beat_at, linked_at, dead_at from asyncjobs.worker"
        first = await connection.fetchrow(last)
        for _ in range(3):  # beats, each awaited
            before = await connection.fetchval("select beat_at from asyncjobs.worker")
            keeper.beat_now()
            await until(connection, "select true from asyncjobs.worker where beat_at > $1", before)
        now = await connection.fetchrow(last)
    finally:
        connection.terminate()
    assert now["beat_at"] > first["beat_at"]
    assert (now["linked_at"], now["dead_at"]) == (first["linked_at"], None)
    assert caplog.text.count("this worker's report failed") == 1
    assert jobs.healthy


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "asyncjobs watchdog"]


async def test_a_thread_looks_while_the_worker_works_and_none_where_the_limit_is_nought(make_jobs) -> None:
    async with make_jobs().running() as jobs:
        await until_so(lambda: jobs.healthy)
        [thread] = watching()
        assert thread.daemon
    await until_so(lambda: not watching())
    async with make_jobs(loop_warning=0).running() as jobs:
        await until_so(lambda: jobs.healthy)
        assert watching() == []
