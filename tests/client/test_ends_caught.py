"""What ends a run, caught by the job's own code: the run ends so all the same, and nothing that was cut is recorded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from stopping import MakeJobs, gates, here, ran, worker

from asyncjobs import (
    AsyncJobs,
    Cursor,
    InvalidStep,
    Job,
    JobCancelled,
    JobFailed,
    Snooze,
    attribute,
    current_job,
    job,
    retry_on,
    step,
)  # fmt: skip
from tests.support.processes import until_so

pytestmark = pytest.mark.usefixtures("gate")


async def excepting(call: Callable[[], Awaitable[Any]]) -> None:
    try:
        await call()
    except BaseException:
        ran.append("caught")


async def finally_returning(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        await call()
    finally:
        return "what there is"  # noqa: B012 - the very thing


async def suppressing(call: Callable[[], Awaitable[Any]]) -> None:
    with contextlib.suppress(BaseException):
        await call()


async def gathering(call: Callable[[], Awaitable[Any]]) -> None:
    await asyncio.gather(call(), return_exceptions=True)


async def grouping(call: Callable[[], Awaitable[Any]]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(call())  # type: ignore[arg-type]
    except* BaseException:
        ran.append("caught")


async def in_a_task(call: Callable[[], Awaitable[Any]]) -> None:
    await asyncio.wait([asyncio.ensure_future(call())])


WAYS = {way.__name__: way for way in (excepting, finally_returning, suppressing, gathering, grouping, in_a_task)}
every_way = pytest.mark.parametrize("how", WAYS)


def ways(*usual: Callable[..., Any]) -> pytest.MarkDecorator:
    """Every way, of which the usual run takes these: each needs a worker that stops and one that goes on."""
    return pytest.mark.parametrize(
        "how", [pytest.param(name, marks=() if way in usual else pytest.mark.slow) for name, way in WAYS.items()]
    )


class Import(Job, kind="caught.Import"):
    how: str

    @step
    async def rows(self, cursor: Cursor[int]) -> None:
        async for row in cursor.each(range(1, 11)):
            ran.append(str(row))
            if row == 4 and not gates["open"].is_set():
                here.append(self)
                gates["arrived"].set()
                await gates["open"].wait()

    @step
    async def report(self) -> None:
        ran.append("report")

    async def perform(self) -> str:
        await WAYS[self.how](self.run_steps)
        return "done"


@ways(excepting, gathering, in_a_task)
async def test_an_interruption_at_a_checkpoint_gives_the_job_back(
    client: AsyncJobs, make_jobs: MakeJobs, how: str
) -> None:
    async with worker(make_jobs, shutdown_timeout=20) as first:
        made = await Import(how=how).enqueue()
        await gates["arrived"].wait()
        stopping = asyncio.ensure_future(first.aclose())
        await until_so(lambda: here[0].stopping)
        gates["open"].set()
        await stopping
    status = await made.status()
    assert (status.state, status.attempt, status.errors) == ("ready", 0, [])
    assert [(one.name, one.state) for one in status.steps] == [("rows", "started")]
    async with worker(make_jobs):
        assert await made.result(timeout=20) == "done"
    assert [name for name in ran if name != "caught"] == [*map(str, range(1, 11)), "report"]


async def collect(how: str) -> list[int]:
    got = list(range(3))
    ran.append("collect")
    if not gates["open"].is_set():
        gates["arrived"].set()
        await WAYS[how](gates["open"].wait)
    return got


@job(kind="caught.collecting")
async def collecting(how: str) -> int:
    got = await current_job().step("collect", collect, how)
    await current_job().step("after", ran.append, "after")
    return len(got)


@ways(finally_returning, suppressing, grouping)
async def test_a_step_that_catches_the_end_of_its_worker_is_run_again(
    client: AsyncJobs, make_jobs: MakeJobs, how: str
) -> None:
    async with worker(make_jobs, shutdown_timeout=0.1) as first:
        made = await collecting(how).enqueue()
        await gates["arrived"].wait()
        await first.aclose()
    status = await made.status()
    assert (status.state, status.attempt, status.steps) == ("ready", 0, [])
    gates["open"].set()
    async with worker(make_jobs):
        assert await made.result(timeout=20) == 3
    assert [name for name in ran if name != "caught"] == ["collect", "collect", "after"]


@every_way
async def test_a_step_that_catches_a_cancellation_is_not_recorded(jobs: AsyncJobs, how: str) -> None:
    made = await collecting(how).enqueue()
    await gates["arrived"].wait()
    assert await made.cancel("no longer needed")
    with pytest.raises(JobCancelled):
        await made.result(timeout=20)
    assert (await made.status()).steps == [] and "after" not in ran
    gates["open"].set()
    await jobs.retry(made.id)
    assert await made.result(timeout=20) == 3


@job(kind="caught.without_steps")
async def without_steps(how: str) -> str:
    if not gates["open"].is_set():
        gates["arrived"].set()
        await WAYS[how](gates["open"].wait)
    return "done"


@ways(excepting, suppressing, in_a_task)
async def test_a_job_without_steps_that_catches_the_end_of_its_worker_is_given_back(
    client: AsyncJobs, make_jobs: MakeJobs, how: str
) -> None:
    async with worker(make_jobs, shutdown_timeout=0.1) as first:
        made = await without_steps(how).enqueue()
        await gates["arrived"].wait()
        await first.aclose()
    status = await made.status()
    assert (status.state, status.attempt) == ("ready", 0)
    gates["open"].set()
    async with worker(make_jobs):
        assert await made.result(timeout=20) == "done"


class Swallowing:
    """Middleware that catches what it is around."""

    async def around_perform(self, job: Job[Any], call: Callable[[], Awaitable[Any]]) -> None:
        await excepting(call)


async def test_what_middleware_catches_ends_the_run_too(client: AsyncJobs, database_url: str) -> None:
    jobs = AsyncJobs(
        database_url=database_url, middleware=[Swallowing()], shutdown_timeout=0.1, cleanup_timeout=1, lease=3
    )
    async with jobs.running():
        made = await without_steps("excepting").enqueue()
        await gates["arrived"].wait()
    assert (await made.status()).state == "ready"


class Slow(Job, kind="caught.Slow"):
    how: str
    where: str

    @step(timeout=0.05)
    async def work(self) -> str:
        ran.append("work")
        await (WAYS[self.how](gates["open"].wait) if self.where == "inside" else gates["open"].wait())
        return "some"

    @step
    async def after(self) -> None:
        ran.append("after")

    async def perform(self) -> None:
        await (self.run_steps() if self.where == "inside" else WAYS[self.how](self.run_steps))


@every_way
@pytest.mark.parametrize("where", ["inside", "outside"])
async def test_the_timeout_of_a_step_ends_the_run(jobs: AsyncJobs, how: str, where: str) -> None:
    made = await Slow(how=how, where=where).enqueue()
    with pytest.raises(JobFailed, match="step 'work' took longer than its timeout") as failed:
        await made.result(timeout=20)
    assert failed.value.error_type == "builtins.TimeoutError"
    assert (await made.status()).steps == [] and "after" not in ran


class Cancelled(Job, kind="caught.Cancelled"):
    """Raises something else when its time is over."""

    @step(timeout=0.05, on_error="_handle")
    async def work(self) -> None:
        try:
            await gates["open"].wait()
        except asyncio.CancelledError:
            raise ValueError("in its clean-up") from None

    async def _handle(self, error: BaseException) -> None:
        ran.append(f"{type(error).__name__}, {type(error.__cause__).__name__}")


async def test_what_a_step_raises_when_its_time_is_over_is_a_timeout_to_its_handler(jobs: AsyncJobs) -> None:
    made = await Cancelled().enqueue()
    await made.result(timeout=20)
    assert ran == ["TimeoutError, ValueError"]


async def fetch(page: int) -> int:
    ran.append(f"page {page}")
    return page


@job(kind="caught.same_name")
@retry_on(Exception, wait=0)
async def same_name(how: str) -> str:
    for page in range(3):
        await WAYS[how](lambda page=page: current_job().step("page", fetch, page))
    return "all pages"


@every_way
async def test_a_name_used_twice_fails_the_job_and_stays_an_invalid_step(jobs: AsyncJobs, how: str) -> None:
    made = await same_name(how).enqueue()
    with pytest.raises(JobFailed, match="step 'page' is run twice") as failed:
        await made.result(timeout=20)
    assert failed.value.error_type == "asyncjobs.exceptions.InvalidStep"
    assert (await made.status()).attempt == 1 and ran.count("page 0") == 1
    with pytest.raises(InvalidStep, match="is run twice"):
        await same_name(how).perform_now()


@job(kind="caught.at_once")
async def at_once() -> str:
    steps = current_job()
    got = await asyncio.gather(*(steps.step(f"page {n}", fetch, n) for n in range(4)), return_exceptions=True)
    return f"{sum(isinstance(one, int) for one in got)} of 4"


async def test_steps_at_once_fail_the_job_whoever_gathers_their_errors(jobs: AsyncJobs) -> None:
    with pytest.raises(JobFailed, match=r"page 1.*while another task of the job is in step 'page 0'"):
        await (await at_once().enqueue()).result(timeout=20)
    assert ran == ["page 0"]


class Backwards(Job, kind="caught.Backwards"):
    how: str
    move: str

    @step
    async def rows(self, cursor: Cursor[int]) -> str:
        async def go() -> None:
            match self.move:
                case "advance":
                    await cursor.advance(5)
                    await cursor.advance(4)
                case "each":
                    async for _ in cursor.each([3, 2]):
                        pass
                case "map":
                    await cursor.map(fetch, [3, 2])

        await WAYS[self.how](go)
        return "all rows"


@every_way
@pytest.mark.parametrize("move", ["advance", "each", "map"])
async def test_a_cursor_that_is_used_wrongly_fails_the_job_whatever_its_step_makes_of_it(
    jobs: AsyncJobs, how: str, move: str
) -> None:
    made = await Backwards(how=how, move=move).enqueue()
    with pytest.raises(JobFailed) as failed:
        await made.result(timeout=20)
    assert failed.value.error_type == "asyncjobs.exceptions.InvalidStep"
    assert all(one.state == "started" for one in (await made.status()).steps)


class Unstorable(Job, kind="caught.Unstorable"):
    how: str

    @step
    async def work(self) -> object:
        return object()

    async def perform(self) -> None:
        await WAYS[self.how](self.run_steps)


@every_way
async def test_a_step_whose_result_cannot_be_stored_fails_the_job(jobs: AsyncJobs, how: str) -> None:
    with pytest.raises(JobFailed) as failed:
        await (await Unstorable(how=how).enqueue()).result(timeout=20)
    assert failed.value.error_type == "asyncjobs.exceptions.UnstorableResult"


class Choosing(Job, kind="caught.Choosing"):
    asks: str

    async def _slowly(self, *_: object) -> bool:
        if not gates["open"].is_set():
            gates["arrived"].set()
            with contextlib.suppress(BaseException):
                await gates["open"].wait()
        return False

    @step(when="_slowly")
    async def chosen(self) -> None:
        ran.append("chosen")

    @step(on_error="_slowly")
    async def failing(self) -> None:
        raise ValueError

    async def perform(self) -> None:
        steps = self.step("chosen", self.chosen) if self.asks == "when" else self.step("failing", self.failing)
        await steps


@pytest.mark.parametrize("asks", ["when", "on_error"])
async def test_a_condition_or_a_handler_that_catches_the_end_decides_nothing(
    client: AsyncJobs, make_jobs: MakeJobs, asks: str
) -> None:
    async with worker(make_jobs, shutdown_timeout=0.1) as first:
        made = await Choosing(asks=asks).enqueue()
        await gates["arrived"].wait()
        await first.aclose()
    status = await made.status()
    assert (status.state, status.attempt, status.steps) == ("ready", 0, [])


class Unfit(Job, kind="caught.Unfit"):
    """Has something made of it when its worker stops that cannot be stored."""

    how: str
    total: int = attribute(default=0)

    @step
    async def rows(self, cursor: Cursor[int]) -> None:
        try:
            await gates["open"].wait()
        except asyncio.CancelledError:
            await cursor.set("x")  # type: ignore[arg-type]

    async def perform(self) -> int:
        if self.how != "attribute, no step":
            await self.step("first", asyncio.sleep, 0)
        if not gates["open"].is_set():
            gates["arrived"].set()
        try:
            if self.how == "cursor":
                await self.run_steps()
            await gates["open"].wait()
        except asyncio.CancelledError:
            if self.how == "result":
                return "half of it"  # type: ignore[return-value]
            if self.how.startswith("attribute"):
                self.total = "some"  # type: ignore[assignment]
            if self.how == "step name":
                await self.step("first", asyncio.sleep, 0)
            raise
        return 100


@pytest.mark.parametrize("how", ["result", "attribute", "attribute, no step", "cursor", "step name"])
async def test_what_a_job_makes_of_the_end_of_its_worker_fails_no_job_though_it_cannot_be_stored(
    client: AsyncJobs, make_jobs: MakeJobs, how: str
) -> None:
    async with worker(make_jobs, shutdown_timeout=0.1) as first:
        made = await Unfit(how=how).enqueue()
        await gates["arrived"].wait()
        await first.aclose()
    status = await made.status()
    assert (status.state, status.attempt, status.errors) == ("ready", 0, [])
    gates["open"].set()
    async with worker(make_jobs):
        assert await made.result(timeout=20) == 100


class Snoozing(Job, kind="caught.Snoozing", timeout=0.1):
    """Puts itself off when its time is over."""

    of_step: bool

    @step(timeout=0.05)
    async def work(self) -> None:
        if self.of_step:
            await self._wait()

    async def perform(self) -> None:
        await self.run_steps()
        await self._wait()

    async def _wait(self) -> None:
        try:
            await gates["open"].wait()
        except asyncio.CancelledError:
            raise Snooze(0) from None


@pytest.mark.parametrize("of_step", [True, False], ids=["a step's", "the job's"])
async def test_a_job_that_puts_itself_off_when_its_time_is_over_has_timed_out(jobs: AsyncJobs, of_step: bool) -> None:
    made = await Snoozing(of_step=of_step).enqueue()
    with pytest.raises(JobFailed, match="took longer than its timeout") as failed:
        await made.result(timeout=20)
    assert failed.value.error_type == "builtins.TimeoutError"
