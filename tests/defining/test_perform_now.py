"""A job performed here and now: retried at once, ended by the errors a caller can tell apart, without a database."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from asyncjobs import (
    Cancel,
    Discard,
    InvalidStep,
    Job,
    JobCancelled,
    JobDiscarded,
    NotOpen,
    NotRunning,
    Retry,
    Snooze,
    UnstorableResult,
    current_job,
    discard_on,
    job,
    rescue_from,
    retry_on,
)
from tests.support.processes import PATIENCE

runs: list[Any] = []


@pytest.fixture(autouse=True)
def no_runs() -> None:
    runs.clear()


@job(kind="now.add", timeout=60)
async def add(one: int, other: int = 1) -> int:
    runs.append(current_job())
    return one + other


@job(kind="now.in_a_thread")
def in_a_thread(one: int) -> str:
    runs.append(threading.current_thread())
    return f"{one} in {current_job().kind}"


class Unstable(Exception): ...


@job(kind="now.unstable")
@retry_on(Unstable, wait=86_400, attempts=3)
async def unstable(failures: int) -> int:
    attempt = current_job().attempt
    runs.append(attempt)
    if attempt <= failures:
        raise Unstable(attempt)
    return attempt


class TestItsValue:
    async def test_is_what_the_code_returns(self) -> None:
        assert await add(2, other=3).perform_now() == 5

    async def test_of_a_plain_function_comes_from_a_thread(self) -> None:
        assert await in_a_thread(5).perform_now() == "5 in now.in_a_thread"
        assert runs != [threading.current_thread()]

    async def test_that_cannot_be_stored_fails_as_in_a_worker_and_is_not_run_again(self) -> None:
        @job(kind="now.unstorable")
        @retry_on(Exception, attempts=3)
        async def unstorable() -> Any:
            runs.append(1)
            return object()

        with pytest.raises(UnstorableResult):
            await unstorable().perform_now()
        assert runs == [1]

    async def test_is_that_of_the_arguments_the_job_has_by_now(self) -> None:
        class Noted(Job, kind="now.Noted"):
            words: list[str]

            async def perform(self) -> list[str]:
                self.words.append("changed by the run")
                return self.words

        made = Noted(words=["one"])
        made.words.append("two")
        assert await made.perform_now() == ["one", "two", "changed by the run"]
        assert made.words == ["one", "two"]


class TestTheRunningJob:
    async def test_is_another_object_of_the_same_id(self) -> None:
        made = add(1)
        await made.perform_now()
        (ran,) = runs
        assert ran is not made
        assert (ran.id, ran.kind, ran.queue, ran.attempt) == (made.id, "now.add", "default", 1)
        assert made.attempt == 0

    async def test_is_known_only_while_it_runs(self) -> None:
        await add(1).perform_now()
        with pytest.raises(NotRunning):
            current_job()

    async def test_gives_way_to_one_performed_inside_it_and_is_back_afterwards(self) -> None:
        @job(kind="now.outer")
        async def outer() -> tuple[str, str]:
            await add(1).perform_now()
            return runs[-1].kind, current_job().kind

        assert await outer().perform_now() == ("now.add", "now.outer")


class TestRetries:
    async def test_follow_at_once_whatever_the_wait(self) -> None:
        assert await unstable(2).perform_now() == 3
        assert runs == [1, 2, 3]

    async def test_that_are_used_up_raise_the_last_error_itself(self) -> None:
        with pytest.raises(Unstable) as raised:
            await unstable(9).perform_now()
        assert raised.value.args == (3,)
        assert runs == [1, 2, 3]

    async def test_start_anew_with_each_call(self) -> None:
        made = unstable(2)
        assert (await made.perform_now(), await made.perform_now()) == (3, 3)

    async def test_are_counted_by_each_declaration_for_itself(self) -> None:
        @job(kind="now.two_counts")
        @retry_on(KeyError, attempts=2)
        @retry_on(OSError, attempts=2)
        async def two_counts() -> None:
            runs.append(current_job().attempt)
            raise (KeyError if len(runs) % 2 else OSError)(len(runs))

        with pytest.raises(KeyError, match="3"):
            await two_counts().perform_now()
        assert runs == [1, 2, 3]

    async def test_that_a_job_asks_for_follow_at_once_and_count_for_no_declaration(self) -> None:
        @job(kind="now.asking")
        @retry_on(Unstable, attempts=2)
        async def asking() -> int:
            attempt = current_job().attempt
            if attempt < 5:
                raise Retry(wait=86_400)
            if attempt == 5:
                raise Unstable
            return attempt

        assert await asking().perform_now() == 6

    async def test_without_end_can_be_cancelled_though_the_job_awaits_nothing(self) -> None:
        @job(kind="now.endless")
        @retry_on(Unstable, attempts="unlimited")
        async def endless() -> None:
            runs.append(1)
            if len(runs) == 3:
                caller.cancel()
            if len(runs) > 10:
                raise AssertionError("nobody could stop it")
            raise Unstable

        caller = asyncio.ensure_future(endless().perform_now())
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert len(runs) == 3

    async def test_get_the_arguments_as_they_were_stored(self) -> None:
        @job(kind="now.fresh")
        @retry_on(Unstable)
        async def fresh(words: list[str]) -> list[str]:
            words.append("changed")
            if current_job().attempt == 1:
                raise Unstable
            return words

        assert await fresh(["one"]).perform_now() == ["one", "changed"]


class TestOtherEnds:
    async def test_an_error_that_nothing_takes_is_raised_itself(self) -> None:
        error = KeyError("this one")

        @job(kind="now.failing")
        async def failing() -> None:
            raise error

        with pytest.raises(KeyError) as raised:
            await failing().perform_now()
        assert raised.value is error

    async def test_a_job_that_a_declaration_discards_says_why(self) -> None:
        @job(kind="now.discarded")
        @discard_on(KeyError)
        async def discarded() -> None:
            raise KeyError("gone")

        made = discarded()
        with pytest.raises(JobDiscarded) as raised:
            await made.perform_now()
        assert (raised.value.job_id, raised.value.kind) == (made.id, "now.discarded")
        assert raised.value.reason == "KeyError: 'gone'"
        assert isinstance(raised.value.__cause__, KeyError)

    async def test_a_job_that_gives_itself_up_or_cancels_itself_says_why(self) -> None:
        @job(kind="now.saying")
        @retry_on(BaseException)
        async def saying(what: str) -> None:
            runs.append(what)
            raise Discard("too late") if what == "discard" else Cancel("not wanted")

        with pytest.raises(JobDiscarded, match="too late"):
            await saying("discard").perform_now()
        with pytest.raises(JobCancelled, match="not wanted"):
            await saying("cancel").perform_now()
        assert runs == ["discard", "cancel"]

    async def test_a_rescued_job_has_succeeded_with_none(self) -> None:
        class Rescued(Job, kind="now.Rescued"):
            async def perform(self) -> int:
                raise KeyError("x")

            @rescue_from(KeyError)
            async def rescue(self, error: BaseException) -> str:
                runs.append((self.attempt, error.args, current_job() is self))
                return "not the job's value"

        assert await Rescued().perform_now() is None
        assert runs == [(1, ("x",), True)]

    async def test_a_rescue_may_say_what_the_job_may(self) -> None:
        @job(kind="now.rescue_says")
        async def failing() -> str:
            if current_job().attempt == 1:
                raise KeyError
            return "again"

        @failing.rescue_from(KeyError)
        def rescue(job: Job, error: BaseException) -> None:
            raise Retry(wait=86_400)

        assert await failing().perform_now() == "again"

    async def test_what_on_exhausted_raises_is_what_is_raised(self) -> None:
        def give_up(job: Job, error: BaseException) -> None:
            raise LookupError("worse") from error

        @job(kind="now.exhausted")
        @retry_on(KeyError, attempts=1, on_exhausted=give_up)
        async def failing() -> None:
            raise KeyError

        with pytest.raises(LookupError, match="worse"):
            await failing().perform_now()

    async def test_to_sleep_needs_an_open_client_and_says_what_for(self) -> None:
        @job(kind="now.sleeping")
        async def sleeping() -> None:
            await current_job().sleep("a while", 30)

        with pytest.raises(NotOpen) as raised:
            await sleeping().perform_now()
        assert raised.value.__notes__ == [
            "now.sleeping sleeps or waits for an event: perform_now needs an open AsyncJobs, to hand it on"
        ]

    async def test_to_catch_the_end_of_its_run_at_a_sleep_is_refused(
        self,
    ) -> None:
        @job(kind="now.caught")
        async def caught() -> None:
            with contextlib.suppress(BaseException):
                await current_job().sleep("a while", 30)

        with pytest.raises(InvalidStep, match="caught the signal that ends the run at 'a while'"):
            await caught().perform_now()

    async def test_to_be_snoozed_needs_an_open_client(self) -> None:
        @job(kind="now.snoozing")
        async def snoozing() -> None:
            runs.append(1)
            raise Snooze(30)

        with pytest.raises(NotOpen):
            await snoozing().perform_now()
        assert runs == [1]

    async def test_a_signal_out_of_a_task_group_is_the_job_s(self) -> None:
        async def give_up() -> None:
            raise Discard("out of a task")

        @job(kind="now.grouped")
        async def grouped() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(give_up())

        with pytest.raises(JobDiscarded, match="out of a task"):
            await grouped().perform_now()


class TestInsideAnotherJob:
    async def test_it_comes_to_an_end_with_that(self) -> None:
        seen: list[Any] = []

        @job(kind="now.inside")
        async def inside() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                me = current_job()
                seen.append((me.kind, me.stopping, me.cancel_reason))

        @job(kind="now.around", timeout=0.001)
        async def around() -> None:
            await inside().perform_now()

        with pytest.raises(TimeoutError):
            await around().perform_now()
        assert seen == [("now.inside", True, "timeout")]


class TestTime:
    async def test_that_runs_out_is_a_timeout_error_which_declarations_take(self) -> None:
        @job(kind="now.slow", timeout=0.001)
        @retry_on(TimeoutError, attempts=2)
        async def slow() -> None:
            runs.append(current_job().attempt)
            await asyncio.Event().wait()

        with pytest.raises(TimeoutError, match="longer than its timeout of 0.001 s"):
            await slow().perform_now()
        assert runs == [1, 2]

    async def test_that_ran_out_is_not_made_good_by_swallowing_the_cancellation(self) -> None:
        @job(kind="now.swallowing", timeout=0.001)
        async def swallowing() -> str:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return "late"

        with pytest.raises(TimeoutError):
            await swallowing().perform_now()
        swallowing.rescue_from(TimeoutError)(lambda job, error: None)
        assert await swallowing().perform_now() is None

    async def test_that_runs_out_is_seen_by_a_thread(self) -> None:
        @job(kind="now.slow_thread", timeout=0.5)
        def slow() -> None:
            runs.append(current_job())
            while not current_job().stopping:
                if never.wait(0.001):
                    return
            runs.append(current_job().cancel_reason)

        never = threading.Event()
        watchdog = asyncio.get_running_loop().call_later(PATIENCE, never.set)
        with pytest.raises(TimeoutError):
            await slow().perform_now()
        watchdog.cancel()
        assert runs[1:] == ["timeout"]


class TestCancellation:
    async def test_of_the_caller_passes_through_no_declaration_and_no_rescue(self) -> None:
        started = asyncio.Event()

        @job(kind="now.cancelled")
        @retry_on(BaseException)
        async def waiting() -> None:
            runs.append("run")
            started.set()
            await asyncio.Event().wait()

        waiting.after_discard(lambda job, error: runs.append("given up"))
        caller = asyncio.ensure_future(waiting().perform_now())
        await started.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert runs == ["run"]

    async def test_of_the_caller_is_seen_by_a_thread(self) -> None:
        started, never = threading.Event(), threading.Event()

        @job(kind="now.stopping_thread")
        def waiting() -> None:
            started.set()
            while not current_job().stopping:
                if never.wait(0.001):
                    return
            runs.append("stopped")

        watchdog = asyncio.get_running_loop().call_later(PATIENCE, never.set)
        caller = asyncio.ensure_future(waiting().perform_now())
        assert await asyncio.to_thread(started.wait, 10)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        watchdog.cancel()
        assert runs == ["stopped"]

    async def test_of_the_caller_waits_for_a_thread_to_end(self) -> None:
        started, release, ended = threading.Event(), threading.Event(), threading.Event()

        @job(kind="now.cancelled_thread")
        def waiting() -> None:
            started.set()
            release.wait(10)
            ended.set()

        caller = asyncio.ensure_future(waiting().perform_now())
        assert await asyncio.to_thread(started.wait, 10)
        caller.cancel()
        await asyncio.sleep(0)
        assert not caller.done()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert ended.is_set()
