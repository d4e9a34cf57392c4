"""Attributes of jobs without steps: saved wherever the job goes on."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from stopping import MakeJobs, gates, worker

from asyncjobs import AsyncJobs, Job, JobFailed, Retry, Snooze, attribute, retry_on, step

pytestmark = pytest.mark.usefixtures("gate")


@retry_on(ValueError, wait=0, attempts=9)
class Polls(Job, kind="without_steps.Polls"):
    how: str
    polls: int = attribute(default=0)
    last: Any = attribute(default=None)

    async def perform(self) -> int:
        self.polls += 1
        if self.polls < 4:
            match self.how:
                case "snooze":
                    raise Snooze(0)
                case "retry":
                    raise Retry(0)
                case "error":
                    raise ValueError
        return self.polls


@pytest.mark.parametrize("how", ["snooze", "retry", "error"])
async def test_they_are_kept_from_one_attempt_to_the_next(jobs: AsyncJobs, how: str) -> None:
    made = await Polls(how=how).enqueue()
    assert await made.result(timeout=20) == 4
    assert (await made.status()).steps == []


@pytest.mark.parametrize("how", ["retry", "error"])
async def test_here_and_now_too(how: str) -> None:
    assert await Polls(how=how).perform_now() == 4


class Waits(Job, kind="without_steps.Waits"):
    runs: int = attribute(default=0)

    async def perform(self) -> int:
        self.runs += 1
        gates["arrived"].set()
        if not gates["open"].is_set():
            await gates["open"].wait()
        return self.runs


async def test_a_worker_that_stops_saves_them(client: AsyncJobs, make_jobs: MakeJobs) -> None:
    made = await Waits().enqueue()
    async with worker(make_jobs, shutdown_timeout=0.05):
        await gates["arrived"].wait()
    gates["open"].set()
    async with worker(make_jobs):
        assert await made.result(timeout=20) == 2


class Unstorable(Job, kind="without_steps.Unstorable"):
    value: Any = attribute(default=None)

    async def perform(self) -> None:
        self.value = object()
        raise Snooze(0)


async def test_one_that_cannot_be_stored_fails_the_job(jobs: AsyncJobs) -> None:
    with pytest.raises(JobFailed) as failed:
        await (await Unstorable().enqueue()).result(timeout=20)
    assert failed.value.error_type == "asyncjobs.exceptions.UnstorableResult"


@retry_on(ValueError, wait=0)
class Counts(Job, kind="without_steps.Counts"):
    total: int = attribute(default=0)

    @step
    async def count(self) -> None:
        self.total += 1
        if self.attempt == 1:
            raise ValueError

    async def perform(self) -> int:
        await self.run_steps()
        return self.total


async def test_of_a_step_that_fails_and_runs_again_nothing_is_counted_twice(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    assert await (await Counts().enqueue()).result(timeout=20) == 1
