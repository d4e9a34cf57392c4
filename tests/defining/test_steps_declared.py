"""`@step` and the methods about steps, without a worker: what is refused, and when."""

from __future__ import annotations

import asyncio
import gc
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asyncjobs import (
    Cursor,
    InvalidDefinition,
    InvalidStep,
    Job,
    NotRunning,
    UnstorableResult,
    current_job,
    discard_on,
    job,
    retry_on,
    step,
)
from asyncjobs.failing.control_exceptions import LEAST_WAIT, Parked
from asyncjobs.steps.step_code import Code, Values, code_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


async def test_steps_of_base_classes_come_first_and_one_declared_again_keeps_its_place() -> None:
    ran: list[str] = []

    class Base(Job, abstract=True):
        @step
        async def first(self) -> None:
            ran.append("first")

        @step
        async def second(self) -> None:
            ran.append("second")

    class Derived(Base, kind="declared.Derived"):
        @step
        async def third(self) -> None:
            ran.append("third")

        @step
        async def first(self) -> None:
            ran.append("first of Derived")

    assert await Derived().perform_now() is None
    assert ran == ["first of Derived", "second", "third"]


class TestRefused:
    def test_a_step_that_takes_what_nobody_gives(self) -> None:
        with pytest.raises(InvalidDefinition, match=r"\.work takes 'rows', which it will not be given"):

            class Wrong(Job, kind="declared.Wrong"):
                @step
                async def work(self, rows: int) -> None: ...

    def test_a_parameter_called_cursor_that_is_annotated_as_something_else(self) -> None:
        with pytest.raises(InvalidDefinition, match=r"\.work takes 'cursor', which it will not be given.*Cursor"):

            class Wrong(Job, kind="declared.Wrong"):
                @step
                async def work(self, cursor: int) -> None: ...

    def test_a_function_without_self(self) -> None:
        with pytest.raises(InvalidDefinition, match=r"\.work takes no `self`"):

            class Wrong(Job, kind="declared.Wrong"):
                @step
                async def work() -> None: ...

    def test_an_option_that_there_is_not(self) -> None:
        given: dict[str, Any] = {"timeout": 3, "retries": 3}
        with pytest.raises(
            InvalidDefinition,
            match=r"@step has no option 'retries': write retry=…; there are isolated, when, .*formerly$",
        ):
            step(**given)

    @pytest.mark.parametrize("isolated", ["yes", "no", 1, None])
    def test_isolated_that_is_neither_true_nor_false(self, isolated: Any) -> None:
        with pytest.raises(InvalidDefinition, match="isolated=.* is not True or False"):
            step(isolated=isolated)

    @pytest.mark.parametrize("formerly", [3, [3], ["a", None]])
    def test_an_earlier_name_that_is_none(self, formerly: Any) -> None:
        with pytest.raises(InvalidDefinition, match="formerly=.* is no name of a step"):
            step(formerly=formerly)

    def test_an_earlier_name_that_is_a_step_still(self) -> None:
        with pytest.raises(InvalidDefinition, match="formerly='first' is still a step of"):

            class Wrong(Job, kind="declared.Wrong"):
                @step
                async def first(self) -> None: ...

                @step(formerly=["zeroth", "first"])
                async def second(self) -> None: ...

    def test_a_field_as_a_condition(self) -> None:
        with pytest.raises(InvalidDefinition, match="names the field 'urgent': write `when=lambda job: job.urgent`"):

            class Wrong(Job, kind="declared.Wrong"):
                urgent: bool

                @step(when="urgent")
                async def work(self) -> None: ...

    def test_a_connection_without_isolated(self) -> None:
        with pytest.raises(InvalidDefinition, match="takes 'connection', which it will not be given.*isolated=True"):

            class Wrong(Job, kind="declared.Wrong"):
                @step
                async def work(self, connection: Any) -> None: ...

    def test_a_cursor_in_an_isolated_step_whose_rollback_would_leave_it_where_it_was(self) -> None:
        with pytest.raises(InvalidDefinition, match="is isolated and takes a cursor"):

            class Wrong(Job, kind="declared.Wrong"):
                @step(isolated=True)
                async def work(self, connection: Any, cursor: Cursor[int]) -> None: ...

    @pytest.mark.parametrize("isolated", [False, True])
    def test_a_cursor_or_a_connection_in_a_thread(self, isolated: bool) -> None:
        def with_cursor(self: Any, cursor: Any) -> None: ...

        def with_connection(self: Any, connection: Any) -> None: ...

        with pytest.raises(InvalidDefinition, match="is a `def` and runs in a thread"):
            type("Wrong", (Job,), {"work": step(isolated=isolated)(with_connection if isolated else with_cursor)})

    def test_a_generator(self) -> None:
        with pytest.raises(InvalidDefinition, match="is a generator: a step returns its result"):

            class Wrong(Job, kind="declared.Wrong"):
                @step
                async def work(self) -> Any:
                    yield 1

    def test_perform_itself(self) -> None:
        with pytest.raises(InvalidDefinition, match=r"perform is the job itself and no step of it: remove @step"):

            class Wrong(Job, kind="declared.Wrong"):
                @step
                async def perform(self) -> None: ...

    @pytest.mark.parametrize("option", ["when", "unless", "on_error"])
    def test_a_method_that_is_not_there(self, option: str) -> None:
        with pytest.raises(InvalidDefinition, match="names the method 'gone', which .* does not have"):

            class Wrong(Job, kind="declared.Wrong"):
                @step(**{option: "gone"})
                async def work(self) -> None: ...

    @pytest.mark.parametrize("option", ["when", "unless", "on_error"])
    @pytest.mark.parametrize("value", [True, 7, b"x"])
    def test_a_condition_that_is_none(self, option: str, value: Any) -> None:
        with pytest.raises(InvalidDefinition, match=f"step: {option}=.* is no function and no name of a method"):
            step(**{option: value})

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), timedelta(days=-1), 1e18])
    def test_a_timeout_out_of_range(self, timeout: Any) -> None:
        with pytest.raises(InvalidDefinition, match="step: timeout"):
            step(timeout=timeout)

    @pytest.mark.parametrize(
        "retry", [discard_on(ValueError), [retry_on(ValueError), discard_on(KeyError)], [ValueError], 3, "often"]
    )
    def test_what_is_no_retry(self, retry: Any) -> None:
        with pytest.raises(InvalidDefinition, match=r"step: retry=.* is no retry_on\(…\)"):
            step(retry=retry)

    @pytest.mark.parametrize("what", [Job, 7, "x", staticmethod(lambda: None)])
    def test_what_is_no_method(self, what: Any) -> None:
        with pytest.raises(InvalidDefinition, match="@step decorates a method of a job"):
            step(what)

    def test_a_result_and_a_cursor_that_cannot_be_stored(self) -> None:
        with pytest.raises(InvalidDefinition, match=r"\.work: result"):

            class Wrong(Job, kind="declared.Wrong"):
                @step
                async def work(self) -> type[Any]: ...

        with pytest.raises(InvalidDefinition, match=r"\.work: cursor: "):

            class Wrong2(Job, kind="declared.Wrong2"):
                @step
                async def work(self, cursor: Cursor[type[Any]]) -> None: ...

    @pytest.mark.parametrize("name", ["result", "step", "status", "set", "id", "queue", "run_steps"])
    def test_a_step_named_like_something_of_a_job(self, name: str) -> None:
        async def work(self: Any) -> None: ...

        with pytest.raises(InvalidDefinition, match=rf"\b{name}\b"):
            type("Wrong", (Job,), {name: step(work)})


@job(kind="declared.outside")
async def outside() -> None: ...


class TestOutsideARunningJob:
    @pytest.mark.parametrize(
        "call",
        [
            lambda made: made.run_steps(),
            lambda made: made.step("a", outside),
            lambda made: made.sleep("a", 1),
            lambda made: made.wait_for("a"),
        ],
        ids=["run_steps", "step", "sleep", "wait_for"],
    )
    async def test_nothing_about_steps_can_be_done(self, call: Any) -> None:
        with pytest.raises(NotRunning, match="declared.outside is not running here"):
            await call(outside())

    def test_no_job_is_current(self) -> None:
        with pytest.raises(NotRunning):
            current_job()

    def test_nothing_is_resumed(self) -> None:
        assert outside().resumed is False


class TestHere:
    """Without a database, through `perform_now`."""

    async def test_an_isolated_step_needs_an_open_client(self) -> None:
        from asyncjobs import NotOpen

        class Isolated(Job, kind="declared.Isolated"):
            @step(isolated=True)
            async def work(self, connection: Any) -> None: ...

        with pytest.raises(NotOpen):
            await Isolated().perform_now()

    async def test_an_invalid_step_is_not_retried(self) -> None:
        ran = 0

        @job(kind="declared.twice")
        @retry_on(Exception, attempts=5)
        async def twice() -> None:
            nonlocal ran
            ran += 1
            await current_job().step("a", lambda: None)
            await current_job().step("a", lambda: None)

        with pytest.raises(InvalidStep):
            await twice().perform_now()
        assert ran == 1

    async def test_a_retry_goes_on_after_the_steps_that_are_done(self) -> None:
        ran: list[str] = []

        @job(kind="declared.again")
        @retry_on(ValueError, wait=0)
        async def again() -> list[str]:
            me = current_job()
            first = await me.step("first", lambda: ran.append("first") or "result")
            if me.attempt == 1:
                raise ValueError
            return [first, str(me.resumed)]

        assert await again().perform_now() == ["result", "True"]
        assert ran == ["first"]

    async def test_a_step_whose_cursor_moved_at_its_very_end_has_ended(self) -> None:
        ran: list[int | None] = []

        @job(kind="declared.moved_last")
        @retry_on(ValueError, wait=0)
        async def moved_last() -> None:
            async def rows(cursor: Cursor[int]) -> None:
                ran.append(cursor.value)
                async for _ in cursor.each(range(1_000)):  # after so many moves it is recorded
                    pass

            me = current_job()
            await me.step("rows", rows)
            await asyncio.sleep(0)  # what has begun comes to its end
            if me.attempt == 1:
                raise ValueError

        await moved_last().perform_now()
        assert ran == [None]


def test_a_wait_that_has_a_limit_is_never_taken_for_one_without() -> None:
    assert [Parked(left, on_event=True).wait for left in (None, -0.1, 0.0, 5.0)] == [None, LEAST_WAIT, LEAST_WAIT, 5.0]


class TestCode:
    def test_one_annotation_that_only_type_checkers_can_resolve_takes_nothing_from_the_others(self) -> None:
        async def work(connection: AsyncConnection, cursor: Cursor[int]) -> list[int]: ...

        code = Code.of(work)
        assert (code.cursor, code.returns, code.through_sqlalchemy) == (int, list[int], True)

    def test_an_annotated_cursor_is_found_under_any_name_and_a_bare_one_by_its_name(self) -> None:
        def typed(place: Cursor[int]) -> None: ...

        def named(cursor: Any) -> None: ...

        assert (Code.of(typed).cursor_name, Code.of(typed).cursor) == ("place", int)
        assert Code.of(named).cursor_name == "cursor"

    def test_functions_that_are_made_anew_in_each_attempt_are_not_kept(self) -> None:
        class Held: ...

        held = Held()
        seen = weakref.ref(held)
        code_of(lambda held=held: held, "k", "a")
        del held
        gc.collect()
        assert seen() is None

    def test_a_callable_without_a_hash_is_a_function_too(self) -> None:
        class Unhashable:
            __hash__ = None

            async def __call__(self) -> None: ...

        assert code_of(Unhashable(), "k", "a").is_async

    def test_an_error_names_the_place_though_codecs_are_shared_by_all_places(self) -> None:
        for place in ("k.page 1", "k.page 2"):
            with pytest.raises(UnstorableResult, match=f"^{place}: invalid result"):
                Values(place, float).dump(float("nan"))
