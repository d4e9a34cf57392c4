"""The whole way of a job: enqueue, claim, run, await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, Job, JobFailed, JobNotFound, NotEnqueued, NotOpen, errors, job
from tests.support.asking import until
from tests.support.processes import PATIENCE


@job(kind="tests.add", queue="mailers")
async def add(left: int, right: int = 1) -> int:
    return left + right


@job(kind="tests.add_in_thread")
def add_in_thread(left: int) -> int:
    return left + 1


@job(kind="tests.fail")
async def fail(message: str) -> None:
    raise ValueError(message + "\x00\ud800")


class Greet(Job, kind="tests.Greet", queue="critical"):
    name: str
    greeting: str = "hello"

    async def perform(self) -> str:
        return f"{self.greeting} {self.name}, attempt {self.attempt}"


async def test_a_function_job_returns_its_result_to_whoever_awaits_it(jobs: AsyncJobs) -> None:
    assert await (await add(41).enqueue()) == 42


async def test_a_class_job_returns_its_result_to_whoever_awaits_it(jobs: AsyncJobs) -> None:
    assert await (await Greet(name="you").enqueue()) == "hello you, attempt 1"


async def test_a_def_job_runs_in_a_thread(jobs: AsyncJobs) -> None:
    assert await (await add_in_thread(1).enqueue()).result(timeout=PATIENCE) == 2


async def test_an_error_ends_in_failed_and_reaches_the_waiter_with_its_traceback(jobs: AsyncJobs) -> None:
    with pytest.raises(JobFailed) as raised:
        await (await fail("nope").enqueue())
    assert raised.value.error_type == "builtins.ValueError"
    assert raised.value.error_message == "nope\\x00\\ud800"
    assert "raise ValueError(message +" in raised.value.traceback


async def test_awaiting_what_was_not_enqueued_says_so_at_once(jobs: AsyncJobs) -> None:
    with pytest.raises(NotEnqueued, match="enqueue"):
        await add(1)


async def test_enqueueing_with_no_open_client_says_what_to_open() -> None:
    with pytest.raises(NotOpen, match="AsyncJobs"):
        await add(1).enqueue()


async def test_getting_an_unknown_id_is_job_not_found(jobs: AsyncJobs) -> None:
    with pytest.raises(JobNotFound):
        await jobs.get(add(1).id)


async def test_jobs_that_commit_late_and_tell_nobody_all_run_after_the_next_full_look(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    late = [add(number, number) for number in range(60)]
    async with connection.transaction():
        for each in late:
            await connection.execute(
                "insert into asyncjobs.job (id, kind, queue, args) values ($1, $2, $3, $4)",
                *(each.id, each.kind, each.queue, each._stored_arguments()),
            )
        newest = await connection.fetchval("select max(seq) from asyncjobs.job")
        positions = jobs._worker.parts.dispatcher._positions
        while not any(each.mark > newest for each in positions.ranges(1, "mailers", full=False)):
            await (await add(1).enqueue())
    # Not awaited: that alone would tell the worker of them.
    ended = "select count(*) = cardinality($1::uuid[]) from asyncjobs.finished where id = any($1)"
    await until(connection, ended, [each.id for each in late])


begun: list[int] = []
held = asyncio.Event()


@job(kind="way.in_order", queue="ordered")
async def in_order(number: int) -> None:
    begun.append(number)
    if number == 20:
        await held.wait()


async def test_jobs_that_were_claimed_ahead_and_given_back_keep_their_place(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    """A worker claims more than it has slots for; behind a long job they are given back, for workers with free slots."""
    begun.clear()
    held.clear()
    async with make_jobs(pools=[{"queues": ["ordered"], "concurrency": 1}]) as jobs:
        await jobs.enqueue_all(in_order(number) for number in range(1_500))
        async with make_jobs(pools=[{"queues": ["ordered"], "concurrency": 1}]).running():
            await until(connection, "select attempt = 1 from asyncjobs.job where args = '{\"number\":20}'")
            # A job that was given back has a negative fence.
            await until(connection, "select count(*) > 0 from asyncjobs.job where state = 1 and fence < 0")
            held.set()
            await until(connection, "select count(*) = 0 from asyncjobs.job")
    assert begun == list(range(1_500))


tenant: ContextVar[str] = ContextVar("tenant", default="nobody's")


@job(kind="way.sets_a_context")
async def sets_a_context(name: str) -> tuple[str, str]:
    """What it finds set by others, and sets itself."""
    found = tenant.get()
    reported: list[Any] = []

    def take(error: BaseException, **report: Any) -> None:
        reported.append(report["context"].get("tenant", "nobody's"))

    errors.subscribe(take)
    errors.report(ValueError())
    errors.unsubscribe(take)
    tenant.set(name)
    errors.set_context(tenant=name)
    await asyncio.sleep(0)
    return found, reported[0]


async def test_what_a_job_sets_in_its_context_is_not_there_for_the_one_that_gets_its_slot(
    make_jobs: Callable[..., AsyncJobs],
) -> None:
    async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}]) as client:
        made = [sets_a_context(str(number)) for number in range(20)]
        await client.enqueue_all(made)
        async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}]).running():
            found = await asyncio.gather(*(each.result(timeout=20) for each in made))
    assert set(found) == {("nobody's", "nobody's")}
