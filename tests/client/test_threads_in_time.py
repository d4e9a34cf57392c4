"""A `def` job's thread cannot be stopped: slot and lease are kept until it ends, what it returns is dropped, and never two run."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from asyncjobs import AsyncJobs, JobCancelled, JobFailed, current_job, job, retry_on
from tests.support.processes import PATIENCE, until_so

BEGUN, GO = threading.Semaphore(0), threading.Semaphore(0)
RUNNING: list[int] = []
MOST: list[int] = []


@pytest.fixture(autouse=True)
def afresh() -> None:
    for semaphore in (BEGUN, GO):
        while semaphore.acquire(blocking=False):
            pass
    RUNNING.clear()
    MOST.clear()


def work() -> str:
    """Run until the test lets it go on; note how many do at once."""
    RUNNING.append(1)
    MOST.append(len(RUNNING))
    BEGUN.release()
    GO.acquire(timeout=30)
    RUNNING.pop()
    return f"attempt {current_job().attempt}, {current_job().cancel_reason}"


@job(kind="threads.late", timeout=0.5)
@retry_on(TimeoutError, wait=0, attempts=2)
def late() -> str:
    return work()


@job(kind="threads.plain")
def plain() -> str:
    return work()


async def begun() -> None:
    assert await asyncio.to_thread(BEGUN.acquire, timeout=PATIENCE)


async def until_stopping(jobs: AsyncJobs) -> None:
    worker = jobs._worker
    assert worker is not None
    await until_so(lambda: all(attempt.stopping for attempt in worker.parts.executor._attempts.values()))


async def test_after_a_timeout_the_next_attempt_waits_for_the_thread_of_the_last(make_jobs: Any) -> None:
    async with make_jobs(pools=[{"queues": ["*"], "concurrency": 5}]).running() as jobs:
        made = await late().enqueue()
        await begun()
        await until_stopping(jobs)
        assert jobs._worker.parts.pools[0].running == 1
        assert (await made.status()).state == "running"
        GO.release()
        await begun()
        await until_stopping(jobs)
        GO.release()
        with pytest.raises(JobFailed, match="TimeoutError"):
            await made.result(timeout=20)
        assert (await made.status()).attempt == 2
        assert max(MOST) == 1


async def test_a_cancelled_one_keeps_its_slot_until_it_ends_and_its_result_is_dropped(make_jobs: Any) -> None:
    async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}]).running() as jobs:
        made, behind = await plain().enqueue(), await plain().enqueue()
        await begun()
        assert await made.cancel("enough")
        await until_stopping(jobs)
        assert (await made.status()).state == "running"
        GO.release()
        with pytest.raises(JobCancelled, match="enough"):
            await made.result(timeout=20)
        await begun()
        GO.release()
        assert await behind.result(timeout=20) == "attempt 1, None"
        assert max(MOST) == 1
