"""Hooks and middleware around a job that is performed: their order, and what becomes of it when they fail."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from asyncjobs import (
    Cancel,
    Discard,
    InvalidDefinition,
    Job,
    JobCancelled,
    JobDiscarded,
    Retry,
    after_discard,
    after_perform,
    around_perform,
    before_perform,
    discard_on,
    job,
    rescue_from,
    retry_on,
)
from asyncjobs.performing import hook_calls, open_clients
from tests.support.processes import PATIENCE

said: list[Any] = []
Call = Callable[[], Awaitable[Any]]


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    said.clear()


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Middleware around what is performed, without a client."""
    layers: list[Any] = []
    monkeypatch.setattr(open_clients, "middleware", lambda: layers)
    return layers


class Layer:
    def __init__(self, name: str) -> None:
        self.name = name

    def before_perform(self, job: Job) -> None:
        said.append(f"{self.name} before")

    async def around_perform(self, job: Job, call: Call) -> None:
        said.append(f"{self.name} opens")
        await call()
        said.append(f"{self.name} closes")

    def after_perform(self, job: Job) -> None:
        said.append(f"{self.name} after")

    async def after_discard(self, job: Job, error: BaseException) -> None:
        said.append(f"{self.name} discard")


class Above(Job, abstract=True):
    @before_perform
    async def before_above(self) -> None:
        said.append("above before")

    @around_perform
    async def around_above(self, call: Call) -> None:
        said.append("above opens")
        await call()
        said.append("above closes")

    @after_perform
    async def after_above(self) -> None:
        said.append("above after")

    @after_discard
    async def discard_above(self, error: BaseException) -> None:
        said.append("above discard")


class Below(Above, kind="hooks.Below"):
    fails: bool = False

    async def perform(self) -> str:
        said.append("perform")
        if self.fails:
            raise ValueError
        return "done"

    @before_perform
    def before_below(self) -> None:
        said.append("below before")

    @before_perform
    async def before_below_too(self) -> None:
        said.append("below before too")

    @around_perform
    async def around_below(self, call: Call) -> None:
        said.append("below opens")
        await call()
        said.append("below closes")

    @after_perform
    def after_below(self) -> None:
        said.append("below after")

    @after_discard
    def discard_below(self, error: BaseException) -> None:
        said.append("below discard")


class TestOrder:
    async def test_middleware_is_outermost_then_bases_and_what_comes_after_goes_back(self, within: list[Any]) -> None:
        within += [Layer("outer"), Layer("inner")]
        assert await Below().perform_now() == "done"
        assert said == [
            *("outer before", "inner before", "above before", "below before", "below before too"),
            *("outer opens", "inner opens", "above opens", "below opens"),
            "perform",
            *("below closes", "above closes", "inner closes", "outer closes"),
            *("below after", "above after", "inner after", "outer after"),
        ]

    async def test_a_job_that_is_given_up_is_told_from_the_inside_out(self, within: list[Any]) -> None:
        within += [Layer("outer"), Layer("inner")]
        with pytest.raises(ValueError):
            await Below(fails=True).perform_now()
        assert said[-4:] == ["below discard", "above discard", "inner discard", "outer discard"]

    async def test_middleware_may_have_any_of_the_points(self, within: list[Any]) -> None:
        class Some:
            def before_perform(self, job: Job) -> None:
                said.append(job.kind)

        within += [Some(), object()]
        await Below().perform_now()
        assert said[0] == "hooks.Below"

    async def test_a_function_s_hooks_follow_the_source(self) -> None:
        @job(kind="hooks.function")
        async def function(number: int) -> int:
            said.append("perform")
            return number

        @function.before_perform
        def first(job: Job) -> None:
            said.append(("first", job.arguments))

        @function.before_perform
        async def second(job: Job) -> None:
            said.append("second")

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            said.append(await call())

        @function.after_perform
        def inner(job: Job) -> None:
            said.append("declared first")

        @function.after_perform
        def outer(job: Job) -> None:
            said.append("declared last")

        assert await function(5).perform_now() == 5
        assert said == [("first", {"number": 5}), "second", "perform", 5, "declared last", "declared first"]

    async def test_a_hook_given_after_a_run_holds_from_the_next_on(self) -> None:
        @job(kind="hooks.later")
        async def function() -> None: ...

        await function().perform_now()
        function.before_perform(lambda job: said.append("now"))
        await function().perform_now()
        assert said == ["now"]


class TestThreads:
    async def test_plain_hooks_of_a_job_in_a_thread_run_in_threads_and_async_ones_on_the_loop(self) -> None:
        @job(kind="hooks.thread")
        def function() -> str:
            said.append(threading.current_thread() is threading.main_thread())
            return "done"

        @function.before_perform
        def plain(job: Job) -> None:
            said.append(threading.current_thread() is threading.main_thread())

        @function.before_perform
        async def on_the_loop(job: Job) -> None:
            said.append(threading.current_thread() is threading.main_thread())

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            said.append(await call())

        assert await function().perform_now() == "done"
        assert said == [False, True, False, "done"]

    async def test_plain_hooks_of_a_job_on_the_loop_run_there(self) -> None:
        @job(kind="hooks.loop")
        async def function() -> None: ...

        function.before_perform(lambda job: said.append(threading.current_thread() is threading.main_thread()))
        await function().perform_now()
        assert said == [True]


def made(kind: str, perform: Callable[[], Any] = lambda: "done") -> Any:
    """A definition whose jobs return what `perform` does."""

    @job(kind=f"hooks.{kind}")
    async def function() -> Any:
        said.append("perform")
        return perform()

    return function


class TestAround:
    async def test_without_the_call_the_job_is_not_run_and_has_succeeded_with_none(self) -> None:
        function = made("uncalled")

        @function.around_perform
        async def around(job: Job, call: Call) -> str:
            return "mine"

        function.after_perform(lambda job: said.append("after"))
        assert await function().perform_now() is None
        assert said == []

    async def test_a_plain_one_that_cannot_wait_for_the_call_leaves_the_job_undone(self) -> None:
        function = made("plain_around")
        function.around_perform(lambda job, call: None)
        assert await function().perform_now() is None
        assert said == []

    async def test_its_own_return_value_is_not_the_job_s(self) -> None:
        function = made("returning")

        @function.around_perform
        async def around(job: Job, call: Call) -> str:
            return f"not {await call()}"

        assert await function().perform_now() == "done"

    async def test_a_second_call_runs_nothing_and_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        function = made("twice")

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            await call()
            await call()

        assert await function().perform_now() == "done"
        assert said == ["perform"]
        assert "called call() twice" in caplog.text

    async def test_two_calls_at_once_run_the_job_once(self) -> None:
        @job(kind="hooks.at_once")
        async def function() -> str:
            said.append("perform")
            await asyncio.sleep(0)
            return "done"

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            said.extend(await asyncio.gather(call(), call(), return_exceptions=True))

        assert await function().perform_now() == "done"
        perform, value, refusal = said
        assert (perform, value) == ("perform", "done")
        assert isinstance(refusal, InvalidDefinition)

    async def test_a_call_that_failed_may_be_made_again(self) -> None:
        function = made("called_again", lambda: 1 / 0 if said == ["perform"] else "done")

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            try:
                await call()
            except ZeroDivisionError:
                await call()

        assert await function().perform_now() == "done"
        assert said == ["perform", "perform"]

    async def test_sees_the_job_s_error_and_may_swallow_it(self) -> None:
        function = made("swallowing", lambda: 1 / 0)

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            try:
                await call()
            except ZeroDivisionError:
                said.append("swallowed")

        assert await function().perform_now() is None
        assert said == ["perform", "swallowed"]

    async def test_what_it_raises_before_the_call_is_the_attempt_s_error(self) -> None:
        function = made("raising_before")

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await function().perform_now()
        assert said == []

    @pytest.mark.parametrize("raised", [KeyError("mine"), Retry(0), Discard("late"), Cancel()], ids=repr)
    async def test_what_it_raises_after_the_call_changes_nothing(
        self, raised: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        function = made("raising_after")

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            await call()
            raise raised

        assert await function().perform_now() == "done"
        assert said == ["perform"]
        assert "a hook failed after its call had returned" in caplog.text

    async def test_one_that_hangs_after_the_call_is_cut_off_and_changes_nothing(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(hook_calls, "HOOK_TIMEOUT", 0.001)
        function = made("hanging_after")

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            await call()
            await asyncio.Event().wait()

        async with asyncio.timeout(PATIENCE):
            assert await function().perform_now() == "done"
        assert "a hook failed after its call had returned" in caplog.text

    async def test_its_time_begins_when_the_call_returns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hook_calls, "HOOK_TIMEOUT", 0.0)

        @job(kind="hooks.longer_than_a_hook")
        async def longer() -> str:
            for _ in range(5):
                await asyncio.sleep(0)
            return "done"

        @longer.around_perform
        async def around(job: Job, call: Call) -> None:
            for _ in range(5):
                await asyncio.sleep(0)
            await call()
            said.append("returned")

        assert await longer().perform_now() == "done"
        assert said == ["returned"]

    async def test_a_task_it_has_left_behind_may_still_call(self) -> None:
        function = made("left_behind")
        tasks: list[asyncio.Task[Any]] = []

        @function.around_perform
        async def around(job: Job, call: Call) -> None:
            tasks.append(asyncio.ensure_future(call()))

        assert await function().perform_now() is None
        assert await tasks[0] == "done"


class TestBefore:
    async def test_what_it_raises_is_the_attempt_s_error_which_declarations_take(self) -> None:
        @job(kind="hooks.before_raising")
        @retry_on(KeyError, attempts=2)
        async def function() -> str:
            said.append("perform")
            return "done"

        @function.before_perform
        def before(job: Job) -> None:
            said.append(job.attempt)
            if job.attempt == 1:
                raise KeyError

        assert await function().perform_now() == "done"
        assert said == [1, 2, "perform"]

    async def test_what_a_job_may_say_it_may_say_too(self) -> None:
        function = made("before_discarding")

        @function.before_perform
        def before(job: Job) -> None:
            raise Discard("not today")

        with pytest.raises(JobDiscarded, match="not today"):
            await function().perform_now()
        assert said == []

    @pytest.mark.parametrize("threaded", [False, True], ids=["loop", "thread"])
    async def test_one_that_hangs_is_cut_off_with_a_timeout_error(
        self, threaded: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(hook_calls, "HOOK_TIMEOUT", 0.001)
        released = threading.Event()
        if threaded:

            @job(kind="hooks.hanging_thread")
            def function() -> None: ...

            function.before_perform(lambda job: released.wait(10))
        else:
            function = made("hanging")

            @function.before_perform
            async def before(job: Job) -> None:
                await asyncio.Event().wait()

        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await function().perform_now()
        finally:
            released.set()
        assert "a hook was cut off after 0.001 s" in caplog.text
        assert "perform" not in said


class TestAfter:
    @pytest.mark.parametrize("raised", [KeyError("mine"), Retry(0), Discard("late"), Cancel()], ids=repr)
    async def test_what_after_perform_raises_changes_nothing_and_the_next_is_called(
        self, raised: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        function = made("after_raising")
        function.after_perform(lambda job: said.append("first declared"))

        @function.after_perform
        def after(job: Job) -> None:
            raise raised

        assert await function().perform_now() == "done"
        assert said == ["perform", "first declared"]
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert record.exc_info is not None
        assert record.exc_info[1] is raised

    @pytest.mark.parametrize("raised", [KeyError("mine"), Retry(0), Cancel("late")], ids=repr)
    async def test_what_after_discard_raises_changes_nothing(self, raised: BaseException) -> None:
        @job(kind="hooks.after_discard_raising")
        async def function() -> None:
            said.append("perform")
            raise Discard("why")

        function.after_discard(lambda job, error: said.append("first declared"))

        @function.after_discard
        async def after(job: Job, error: BaseException) -> None:
            raise raised

        with pytest.raises(JobDiscarded, match="why"):
            await function().perform_now()
        assert said == ["perform", "first declared"]

    async def test_one_that_hangs_is_cut_off_and_changes_nothing(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(hook_calls, "HOOK_TIMEOUT", 0.001)
        function = made("after_hanging")

        @function.after_perform
        async def after(job: Job) -> None:
            await asyncio.Event().wait()

        async with asyncio.timeout(PATIENCE):
            assert await function().perform_now() == "done"
        assert "a hook was cut off after 0.001 s" in caplog.text

    async def test_the_job_s_timeout_ended_with_the_job(self) -> None:
        @job(kind="hooks.timeout_over", timeout=0.001)
        async def quick() -> str:
            return "done"

        loop = asyncio.get_running_loop()
        later = loop.create_future()

        @quick.after_perform
        async def after(job: Job) -> None:
            loop.call_later(0.002, later.set_result, None)  # the timeout's own timer would be served before it
            await later
            said.append("after")

        assert await quick().perform_now() == "done"
        assert said == ["after"]

    async def test_an_error_without_a_text_changes_nothing_either(self, caplog: pytest.LogCaptureFixture) -> None:
        class Unreadable(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        function = made("unreadable_after")

        @function.after_perform
        async def after(job: Job) -> None:
            raise Unreadable

        assert await function().perform_now() == "done"
        assert "Unreadable: <its message cannot be read: RuntimeError>" in caplog.text

    async def test_is_not_called_when_the_job_failed(self) -> None:
        function = made("after_failing", lambda: 1 / 0)
        function.after_perform(lambda job: said.append("after"))
        with pytest.raises(ZeroDivisionError):
            await function().perform_now()
        assert said == ["perform"]


@discard_on(KeyError)
@retry_on(ValueError, attempts=2)
@retry_on(OSError, attempts=2, on_exhausted=lambda job, error: said.append("exhausted"))
class GivenUp(Job, kind="hooks.GivenUp"):
    what: str

    async def perform(self) -> None:
        raise {
            "discarded": KeyError("discarded"),
            "said": Discard("said"),
            "failed": RuntimeError("failed"),
            "exhausted": ValueError("exhausted"),
            "handled": OSError("handled"),
            "rescued": LookupError("rescued"),
            "rescued badly": AssertionError("rescued badly"),
            "cancelled": Cancel("cancelled"),
            "retried": Retry(0) if self.attempt == 1 else LookupError("rescued"),
        }[self.what]

    @rescue_from(AssertionError)
    def rescue_badly(self, error: BaseException) -> None:
        raise RuntimeError("of the rescue")

    @rescue_from(LookupError)
    async def rescue(self, error: BaseException) -> None:
        if isinstance(error, KeyError):
            raise Discard from error

    @after_discard
    def given_up(self, error: BaseException) -> None:
        said.append((self.what, str(error)))


class TestAfterDiscard:
    @pytest.mark.parametrize(
        ("what", "error", "told"),
        [
            ("said", JobDiscarded, [("said", "said")]),
            ("failed", RuntimeError, [("failed", "failed")]),
            ("exhausted", ValueError, [("exhausted", "exhausted")]),
            ("handled", JobDiscarded, ["exhausted", ("handled", "handled")]),
            ("rescued badly", RuntimeError, [("rescued badly", "of the rescue")]),
        ],
    )
    async def test_is_called_once_when_a_job_is_given_up(
        self, what: str, error: type[Exception], told: list[Any]
    ) -> None:
        with pytest.raises(error):
            await GivenUp(what=what).perform_now()
        assert said == told

    async def test_is_called_for_a_job_that_a_declaration_or_a_rescue_discards(self) -> None:
        function = made("discarded", lambda: {}["x"])
        discard_on(KeyError)(function)
        function.after_discard(lambda job, error: said.append(type(error)))
        with pytest.raises(JobDiscarded):
            await function().perform_now()
        assert said == ["perform", KeyError]
        said.clear()
        with pytest.raises(JobDiscarded):
            await GivenUp(what="discarded").perform_now()
        assert len(said) == 1

    @pytest.mark.parametrize("what", ["rescued", "cancelled", "retried"])
    async def test_is_not_called_otherwise(self, what: str) -> None:
        if what == "cancelled":
            with pytest.raises(JobCancelled):
                await GivenUp(what=what).perform_now()
        else:
            assert await GivenUp(what=what).perform_now() is None
        assert said == []
