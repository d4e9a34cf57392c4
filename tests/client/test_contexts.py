"""Context variables around a job: hooks, `perform` and integrations see one context, and nobody else sees it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

import pytest

from asyncjobs import AsyncJobs, Job, after_perform, around_perform, before_perform, job, step
from asyncjobs.performing import context_variables, hook_calls

request: ContextVar[str] = ContextVar("request", default="lost")
found: ContextVar[str] = ContextVar("found", default="lost")
seen: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


async def in_worker(made: Job[Any], jobs: AsyncJobs) -> Any:
    return await (await jobs.enqueue(made)).result(timeout=20)


async def here(made: Job[Any], jobs: AsyncJobs) -> Any:
    return await made.perform_now()


RUN = pytest.mark.parametrize("run", [in_worker, here])


class DefHooks(Job, abstract=True):
    @before_perform
    def begin(self) -> None:
        self._token: Token[str] = request.set(f"request of {type(self).__name__}")

    @after_perform
    def end_of_all(self) -> None:
        seen.append(request.get())

    @after_perform
    def end(self) -> None:
        seen.append((request.get(), found.get()))
        request.reset(self._token)


class AsyncHooks(Job, abstract=True):
    @before_perform
    async def begin(self) -> None:
        request.set(f"request of {type(self).__name__}")

    @around_perform
    async def around(self, call: Callable[[], Awaitable[Any]]) -> None:
        await call()
        seen.append(found.get())


class DefInDef(DefHooks, kind="context_variables.DefInDef"):
    def perform(self) -> str:
        found.set("by perform")
        return request.get()


class AsyncInDef(DefHooks, kind="context_variables.AsyncInDef"):
    async def perform(self) -> str:
        found.set("by perform")
        return request.get()


class DefInAsync(AsyncHooks, kind="context_variables.DefInAsync"):
    def perform(self) -> str:
        found.set("by perform")
        return request.get()


@RUN
@pytest.mark.parametrize("kind", [DefInDef, AsyncInDef])
async def test_what_def_hooks_set_reaches_the_job_and_what_that_sets_reaches_the_hooks(
    jobs: AsyncJobs, kind: type[Job[Any]], run: Any
) -> None:
    assert await run(kind(), jobs) == f"request of {kind.__name__}"
    assert seen == [(f"request of {kind.__name__}", "by perform"), "lost"]


@RUN
async def test_what_async_hooks_set_reaches_a_def_job_and_what_that_sets_reaches_them(
    jobs: AsyncJobs, run: Any
) -> None:
    assert await run(DefInAsync(), jobs) == "request of DefInAsync"
    assert seen == ["by perform"]


@RUN
async def test_nothing_that_a_job_or_its_hooks_set_is_set_for_others(jobs: AsyncJobs, run: Any) -> None:
    for kind in (DefInDef, AsyncInDef, DefInAsync):
        await run(kind(), jobs)
    assert (request.get(), found.get()) == ("lost", "lost")


async def test_a_job_that_is_performed_here_sees_what_its_caller_has_set() -> None:
    @job(kind="contexts.sees")
    async def sees() -> str:
        await asyncio.sleep(0)
        return request.get()

    request.set("the caller's")
    assert await sees().perform_now() == "the caller's"


async def test_a_job_that_is_performed_here_is_cancelled_and_timed_as_before() -> None:
    @job(kind="contexts.waits")
    async def waits() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await waits().perform_now()
    assert seen == ["cancelled"]


async def test_a_hook_that_was_cut_off_and_goes_on_keeps_no_later_one_from_the_context(
    monkeypatch: pytest.MonkeyPatch, jobs: AsyncJobs
) -> None:
    monkeypatch.setattr(hook_calls, "HOOK_TIMEOUT", 0.05)
    released = threading.Event()

    class Hangs(Job, kind="context_variables.Hangs"):
        def perform(self) -> None:
            request.set("by perform")

        @after_perform
        def last(self) -> None:
            seen.append(request.get())

        @after_perform
        def hangs(self) -> None:
            released.wait(20)

        @before_perform
        def begin(self) -> None:
            request.set("by a hook")

    try:
        await in_worker(Hangs(), jobs)
    finally:
        released.set()
    assert seen == ["by perform"]


@pytest.fixture
def surrounded() -> Iterator[None]:
    @contextmanager
    def noted(in_worker: bool) -> Iterator[None]:
        request.set(f"in a worker: {in_worker}")
        yield
        seen.append("left")

    def fails(in_worker: bool) -> Any:
        raise OSError("not to be reached")

    before = context_variables.around[:]
    context_variables.around[:] = [fails, noted]
    yield
    context_variables.around[:] = before


@RUN
async def test_what_an_integration_sets_around_an_attempt_is_there_in_all_of_it(
    surrounded: None, jobs: AsyncJobs, run: Any
) -> None:
    @job(kind="contexts.surrounded")
    def inner() -> str:
        return request.get()

    assert await run(inner(), jobs) == f"in a worker: {run is in_worker}"
    assert request.get() == "lost"


async def test_what_a_client_runs_beside_is_not_in_the_context_of_the_job_that_needed_it_first(
    jobs: AsyncJobs,
) -> None:
    started: list[str] = []

    async def service() -> None:
        started.append(request.get())

    request.set("of a job")
    await jobs._in_use().services.start(service(), name="test")
    assert started == ["lost"]


class Stepping(Job[list[str]], kind="contexts.Stepping"):
    @step
    def by_thread(self) -> None:
        request.set("of a thread")

    @step
    async def after(self) -> None:
        seen.append(request.get())

    async def perform(self) -> list[str]:
        await self.run_steps()
        await self.step("function", lambda: found.set("of a function") and None)
        return [request.get(), found.get()]


@RUN
async def test_what_a_def_step_sets_is_set_after_it(jobs: AsyncJobs, run: Any) -> None:
    assert await run(Stepping(), jobs) == ["of a thread", "of a function"]
    assert seen == ["of a thread"]
    assert request.get() == "lost"
