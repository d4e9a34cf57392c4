"""Callbacks and middleware, around enqueueing and performing, through a worker and PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from client_jobs import live, rows

from asyncjobs import (
    AsyncJobs,
    Discard,
    Job,
    JobCancelled,
    JobDiscarded,
    JobFailed,
    NotEnqueued,
    after_discard,
    after_enqueue,
    after_perform,
    around_enqueue,
    around_perform,
    before_enqueue,
    before_perform,
    enqueue_all,
    job,
    retry_on,
)
from tests.support.processes import PATIENCE

Call = Callable[[], Awaitable[Any]]
told: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    told.clear()


class Base(Job, abstract=True):
    @before_enqueue
    async def base_before_enqueue(self) -> None:
        told.append("base before_enqueue")

    @around_enqueue
    async def base_around_enqueue(self, call: Call) -> None:
        told.append("base around_enqueue {")
        await call()
        told.append("} base around_enqueue")

    @after_enqueue
    async def base_after_enqueue(self) -> None:
        told.append("base after_enqueue")

    @before_perform
    async def base_before(self) -> None:
        told.append("base before")

    @around_perform
    async def base_around(self, call: Call) -> None:
        told.append("base around {")
        told.append(await call())
        told.append("} base around")

    @after_perform
    async def base_after(self) -> None:
        told.append("base after")

    @before_perform
    async def overridden(self) -> None:
        told.append("never")


class Derived(Base, kind="callbacks.Derived"):
    async def perform(self) -> str:
        told.append("perform")
        return "result"

    @before_perform
    def derived_before(self) -> None:  # a plain def will do
        told.append("derived before")

    @around_perform
    async def derived_around(self, call: Call) -> None:
        told.append("derived around {")
        await call()
        told.append("} derived around")

    @after_perform
    async def derived_after(self) -> None:
        told.append("derived after")

    async def overridden(self) -> None:
        told.append("overridden")


class Outer:
    def before_perform(self, job: Job[Any]) -> None:
        told.append("middleware before")

    async def around_perform(self, job: Job[Any], call: Call) -> None:
        told.append("middleware around {")
        await call()
        told.append("} middleware around")

    async def after_perform(self, job: Job[Any]) -> None:
        told.append("middleware after")

    async def around_enqueue(self, job: Job[Any], call: Call) -> None:
        told.append("middleware around_enqueue {")
        await call()
        told.append("} middleware around_enqueue")

    async def after_discard(self, job: Job[Any], error: BaseException) -> None:
        told.append(f"middleware after_discard {error}")


PERFORMED = [
    *("base before", "overridden", "derived before"),
    *("base around {", "derived around {", "perform", "} derived around", "result", "} base around"),
    *("derived after", "base after"),
]
ENQUEUED = ["base before_enqueue", "base around_enqueue {", "} base around_enqueue", "base after_enqueue"]


async def test_a_base_class_is_around_its_derived_ones_and_an_override_is_called_in_its_place(
    jobs: AsyncJobs,
) -> None:
    assert await (await Derived().enqueue()).result(timeout=20) == "result"
    assert [each for each in told if each in ENQUEUED] == ENQUEUED
    assert [each for each in told if each not in ENQUEUED] == PERFORMED


async def test_perform_now_runs_the_same_callbacks_without_a_database() -> None:
    assert await Derived().perform_now() == "result"
    assert told == PERFORMED


async def test_enqueue_all_runs_the_callbacks_of_every_job(client: AsyncJobs, connection: asyncpg.Connection) -> None:
    assert await enqueue_all(Derived() for _ in range(3)) == 3
    assert sorted(told) == sorted(ENQUEUED * 3)
    assert await live(connection) == 3


async def test_enqueueing_again_runs_no_callback_again(client: AsyncJobs) -> None:
    made = await Derived().enqueue()
    await made.enqueue()
    assert told == ENQUEUED


async def test_middleware_is_outermost_for_every_job(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs(middleware=[Outer()]).running():
        await (await Derived().enqueue()).result(timeout=20)
        around = ["middleware around_enqueue {", "} middleware around_enqueue"]
        assert [each for each in told if each in around] == around
        performed = [each for each in told if each in PERFORMED or "middleware" in each and each not in around]
        assert performed == [
            *("middleware before", *PERFORMED[:3], "middleware around {"),
            *PERFORMED[3:9],
            *("} middleware around", *PERFORMED[9:], "middleware after"),
        ]
        told.clear()
        await plain().perform_now()
        assert told == ["middleware before", "middleware around {", "} middleware around", "middleware after"]


@job(kind="callbacks.plain")
async def plain() -> str:
    return "plain"


class Picky(Job, kind="callbacks.Picky"):
    how: str

    @before_enqueue
    async def check(self) -> None:
        if self.how == "before raises":
            raise ValueError("not this one")

    @around_enqueue
    async def maybe(self, call: Call) -> None:
        if self.how != "around does not call":
            await call()

    @after_enqueue
    async def afterwards(self) -> None:
        if self.how == "after raises":
            raise ValueError("too late to matter")

    async def perform(self) -> str:
        return self.how


async def test_what_before_enqueue_raises_reaches_the_caller_and_nothing_is_stored(
    client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    refused = Picky(how="before raises")
    with pytest.raises(ValueError, match="not this one"):
        await refused.enqueue()
    assert await rows(connection) == 0
    with pytest.raises(NotEnqueued):
        await refused


async def test_an_around_enqueue_that_does_not_call_leaves_the_job_unstored(
    client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await Picky(how="around does not call").enqueue()
    assert await enqueue_all([Picky(how="around does not call"), Picky(how="stored")]) == 1
    assert await rows(connection) == 1


async def test_what_after_enqueue_raises_is_logged_and_the_job_is_stored(
    jobs: AsyncJobs, caplog: pytest.LogCaptureFixture
) -> None:
    assert await (await Picky(how="after raises").enqueue()).result(timeout=20) == "after raises"
    assert "too late to matter" in caplog.text


@retry_on(ConnectionError, wait=0, attempts=2)
class Performed(Job, kind="callbacks.Performed"):
    how: str

    @before_perform
    async def prepare(self) -> None:
        if self.how == "before raises":
            raise ConnectionError("not ready")
        if self.how == "before discards":
            raise Discard("no need")

    @around_perform
    async def around(self, call: Call) -> None:
        if self.how == "around does not call":
            return
        await call()
        if self.how == "around calls twice":
            await call()
        if self.how == "around raises after":
            raise ValueError("after the work")

    @after_perform
    async def afterwards(self) -> None:
        if self.how == "after raises":
            raise ValueError("after the work")

    @after_discard
    async def gave_up(self, error: BaseException) -> None:
        told.append(str(error))

    async def perform(self) -> str:
        told.append("performed")
        if self.how == "fails":
            raise LookupError("for nobody")
        return self.how


async def test_what_before_perform_raises_is_the_attempts_error_and_goes_through_the_policies(
    jobs: AsyncJobs,
) -> None:
    unready = await Performed(how="before raises").enqueue()
    with pytest.raises(JobFailed, match="not ready"):
        await unready.result(timeout=20)
    assert (await unready.status()).attempt == 2
    assert told == ["not ready"]  # given up, and never performed


async def test_a_signal_from_before_perform_is_the_jobs_own(jobs: AsyncJobs) -> None:
    with pytest.raises(JobDiscarded, match="no need"):
        await (await Performed(how="before discards").enqueue()).result(timeout=20)


async def test_an_around_perform_that_does_not_call_makes_the_job_succeed_with_none(jobs: AsyncJobs) -> None:
    assert await (await Performed(how="around does not call").enqueue()).result(timeout=20) is None
    assert told == []


@pytest.mark.parametrize("how", ["around raises after", "after raises", "around calls twice"])
async def test_what_is_raised_after_the_work_is_logged_and_changes_nothing(
    jobs: AsyncJobs, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await (await Performed(how=how).enqueue()).result(timeout=20) == how
    assert told == ["performed"]
    assert ("call() twice" if how == "around calls twice" else "after the work") in caplog.text


async def test_after_discard_is_called_for_an_error_that_nothing_takes(jobs: AsyncJobs) -> None:
    with pytest.raises(JobFailed):
        await (await Performed(how="fails").enqueue()).result(timeout=20)
    assert told == ["performed", "for nobody"]


async def test_middlewares_after_discard_is_called_for_every_job_that_is_given_up(
    make_jobs: Callable[..., AsyncJobs],
) -> None:
    async with make_jobs(middleware=[Outer()]).running():
        with pytest.raises(JobFailed):
            await (await Performed(how="fails").enqueue()).result(timeout=20)
    assert told[-2:] == ["for nobody", "middleware after_discard for nobody"]


@job(kind="callbacks.in_thread")
def in_thread() -> int:
    return threading.get_ident()


@in_thread.before_perform
def in_its_thread(_: Job[Any]) -> None:
    told.append(threading.get_ident())


async def test_a_plain_hook_of_a_job_that_runs_in_a_thread_may_block_it_too(jobs: AsyncJobs) -> None:
    await (await in_thread().enqueue()).result(timeout=20)
    assert told
    assert threading.get_ident() not in told


@job(kind="callbacks.cancelled_in_hook")
async def never_begun() -> None:
    told.append("performed")


hook_begun = asyncio.Event()


@never_begun.before_perform
async def hang(_: Job[Any]) -> None:
    hook_begun.set()
    await asyncio.Event().wait()


async def test_a_job_is_cancelled_in_its_hooks_as_anywhere(jobs: AsyncJobs) -> None:
    hook_begun.clear()
    started = await never_begun().enqueue()
    async with asyncio.timeout(PATIENCE):
        await hook_begun.wait()
    await started.cancel("in the hook")
    with pytest.raises(JobCancelled):
        await started.result(timeout=PATIENCE)
    status = await started.status()
    assert (status.state, status.reason, told) == ("cancelled", "in the hook", [])
