"""The error reporter: who is told of what, once, with which context, and how a block or a function is guarded."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from asyncjobs import Discard, InvalidOption, Job, JobDiscarded, current_job, discard_on, errors, job, retry_on


@dataclass
class Report:
    error: BaseException
    handled: bool
    severity: str
    context: dict[str, Any]
    source: str


@pytest.fixture
def reports() -> Iterator[list[Report]]:
    """What subscribers are told, in order."""
    told: list[Report] = []

    def subscriber(error: BaseException, **report: Any) -> None:
        told.append(Report(error, **report))

    errors.subscribe(subscriber)
    yield told
    errors.unsubscribe(subscriber)


@pytest.fixture
def subscribed() -> Iterator[Callable[[Any], Any]]:
    """Subscribe, and be unsubscribed at the end."""
    all_: list[Any] = []

    def subscribe(subscriber: Any) -> Any:
        all_.append(subscriber)
        return errors.subscribe(subscriber)

    yield subscribe
    for subscriber in all_:
        errors.unsubscribe(subscriber)


class TestAReport:
    def test_says_what_it_was_given(self, reports: list[Report]) -> None:
        error = ValueError("wrong")
        errors.report(error, handled=False, severity="info", context={"cloud_id": 7}, source="billing")
        assert reports == [Report(error, False, "info", {"cloud_id": 7}, "billing")]

    def test_of_a_handled_error_is_a_warning_and_of_another_an_error(self, reports: list[Report]) -> None:
        errors.report(ValueError())
        errors.report(ValueError(), handled=False)
        assert [(report.handled, report.severity, report.source) for report in reports] == [
            (True, "warning", "application"),
            (False, "error", "application"),
        ]

    @pytest.mark.parametrize("nothing", ["wrong", None, ValueError, 5], ids=repr)
    def test_of_no_exception_is_refused(self, nothing: Any) -> None:
        with pytest.raises(InvalidOption, match="takes an exception, not"):
            errors.report(nothing)

    def test_of_an_unknown_severity_is_refused_and_the_error_can_be_reported_still(self, reports: list[Report]) -> None:
        error = ValueError()
        with pytest.raises(InvalidOption, match="severity='loud'.*error, warning, info"):
            errors.report(error, severity="loud")
        errors.report(error)
        assert len(reports) == 1

    def test_without_a_subscriber_does_nothing(self) -> None:
        errors.report(ValueError())


class TestOnce:
    def test_an_error_object_is_reported_once_however_often_it_is_passed_on(self, reports: list[Report]) -> None:
        error = ValueError()
        for _ in range(3):
            errors.report(error)
        with pytest.raises(ValueError), errors.record():
            raise error
        assert len(reports) == 1

    def test_two_errors_that_are_equal_in_all_but_identity_are_two_reports(self, reports: list[Report]) -> None:
        errors.report(ValueError("same"))
        errors.report(ValueError("same"))
        assert len(reports) == 2

    def test_the_causes_of_a_reported_error_are_told_of_with_it(self, reports: list[Report]) -> None:
        deepest, cause, error = KeyError(), OSError(), ValueError()
        error.__cause__, cause.__cause__ = cause, deepest
        for each in (error, cause, deepest):
            errors.report(each)
        assert [report.error for report in reports] == [error]

    def test_an_error_around_a_reported_one_is_news(self, reports: list[Report]) -> None:
        cause, error = OSError(), ValueError()
        errors.report(cause)
        error.__cause__ = cause
        errors.report(error)
        assert [report.error for report in reports] == [cause, error]

    def test_causes_in_a_circle_come_to_an_end(self, reports: list[Report]) -> None:
        one, two = ValueError(), KeyError()
        one.__cause__, two.__cause__ = two, one
        errors.report(one)
        errors.report(two)
        assert [report.error for report in reports] == [one]

    def test_an_error_that_refuses_attributes_is_reported_once_too(self, reports: list[Report]) -> None:
        @dataclass(frozen=True)
        class Frozen(Exception):
            code: int

        error = Frozen(5)
        errors.report(error)
        errors.report(error)
        assert len(reports) == 1

    def test_an_error_that_answers_every_attribute_is_not_taken_for_a_reported_one(self, reports: list[Report]) -> None:
        class Answering(Exception):
            def __getattr__(self, name: str) -> Any:
                return f"something for {name}"

        errors.report(Answering())
        assert len(reports) == 1

    def test_an_error_that_fails_on_every_attribute_is_reported(self, reports: list[Report]) -> None:
        class Failing(Exception):
            def __getattr__(self, name: str) -> Any:
                raise RuntimeError(name)

        errors.report(Failing())
        assert len(reports) == 1


class TestContext:
    async def test_that_was_set_is_in_every_later_report_and_the_report_s_own_wins(self, reports: list[Report]) -> None:
        async def task() -> None:
            errors.set_context(cloud_id=7, user="ada")
            errors.set_context(user="grace")
            errors.report(ValueError())
            errors.report(ValueError(), context={"cloud_id": 8})

        await asyncio.create_task(task())
        assert [report.context for report in reports] == [
            {"cloud_id": 7, "user": "grace"},
            {"cloud_id": 8, "user": "grace"},
        ]

    async def test_belongs_to_one_task_and_what_it_starts(self, reports: list[Report]) -> None:
        async def child(name: str) -> None:
            errors.report(KeyError(name))

        async def task(name: str, both: asyncio.Barrier) -> None:
            errors.set_context(name=name)
            await both.wait()
            await asyncio.create_task(child(name))
            await asyncio.to_thread(errors.report, ValueError(name))

        both = asyncio.Barrier(2)
        await asyncio.gather(*(asyncio.create_task(task(name, both)) for name in ("one", "two")))
        errors.report(OSError())
        assert all(report.context == {"name": report.error.args[0]} for report in reports[:-1])
        assert len(reports) == 5
        assert reports[-1].context == {}

    def test_is_each_subscriber_s_own_copy(self, reports: list[Report], subscribed: Callable[[Any], Any]) -> None:
        seen: list[dict[str, Any]] = []
        given = {"cloud_id": 7}
        subscribed(lambda error, *, context, **report: context.clear())
        subscribed(lambda error, *, context, **report: seen.append(context))
        errors.report(ValueError(), context=given)
        assert seen == [{"cloud_id": 7}]
        assert given == {"cloud_id": 7}


class TestSubscribers:
    def test_are_called_in_order_and_each_once(self, subscribed: Callable[[Any], Any]) -> None:
        said: list[str] = []

        def first(error: BaseException, **report: Any) -> None:
            said.append("first")

        def second(error: BaseException, **report: Any) -> None:
            said.append("second")

        assert subscribed(first) is first
        for subscriber in (second, first):
            subscribed(subscriber)
        errors.report(ValueError())
        assert said == ["first", "second"]

    @pytest.mark.parametrize("raised", [RuntimeError, SystemExit, Discard, asyncio.CancelledError])
    def test_that_fail_are_logged_and_harm_nobody(
        self,
        raised: type[BaseException],
        subscribed: Callable[[Any], Any],
        reports: list[Report],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def failing(error: BaseException, **report: Any) -> None:
            raise raised("broken tracker")

        subscribed(failing)
        later: list[BaseException] = []
        subscribed(lambda error, **report: later.append(error))
        error = ValueError()
        errors.report(error)
        assert later == [error]
        (record,) = caplog.records
        assert (record.levelno, record.name) == (logging.ERROR, "asyncjobs.errors")
        assert "failing" in record.getMessage()

    def test_may_leave_while_they_are_called(self, subscribed: Callable[[Any], Any]) -> None:
        said: list[str] = []

        def leaving(error: BaseException, **report: Any) -> None:
            said.append("leaving")
            errors.unsubscribe(leaving)

        subscribed(leaving)
        subscribed(lambda error, **report: said.append("staying"))
        errors.report(ValueError())
        errors.report(ValueError())
        assert said == ["leaving", "staying", "staying"]

    def test_that_have_not_subscribed_may_be_unsubscribed(self) -> None:
        errors.unsubscribe(print)

    def test_that_are_no_plain_function_are_refused(self) -> None:
        async def later(error: BaseException, **report: Any) -> None: ...

        class Later:
            async def __call__(self, error: BaseException, **report: Any) -> None: ...

        for subscriber in (later, Later(), "tracker", None):
            with pytest.raises(InvalidOption, match="cannot subscribe: give a plain function"):
                errors.subscribe(subscriber)


class TestInsideAJob:
    async def test_a_report_says_which_and_which_run(self, reports: list[Report]) -> None:
        @job(kind="errors.reporting", queue="reports")
        @retry_on(KeyError)
        async def reporting() -> None:
            errors.report(ValueError(), context={"step": 1})
            if current_job().attempt == 1:
                raise KeyError

        made = reporting()
        await made.perform_now()
        known = {"job_id": str(made.id), "kind": "errors.reporting", "queue": "reports", "step": 1}
        assert [report.context for report in reports] == [{**known, "attempt": 1}, {**known, "attempt": 2}]

    async def test_a_report_from_its_thread_says_so_too(self, reports: list[Report]) -> None:
        @job(kind="errors.threaded")
        def threaded() -> None:
            assert threading.current_thread() is not threading.main_thread()
            errors.report(ValueError())

        made = threaded()
        await made.perform_now()
        assert reports[0].context["job_id"] == str(made.id)

    async def test_an_error_that_nothing_took_is_reported_as_unhandled(self, reports: list[Report]) -> None:
        @job(kind="errors.failing")
        async def failing() -> None:
            errors.set_context(cloud_id=7)
            raise ValueError("wrong")

        with pytest.raises(ValueError) as raised:
            await failing().perform_now()
        (report,) = reports
        assert (report.error, report.handled, report.severity) == (raised.value, False, "error")
        assert report.source == "asyncjobs"
        assert (report.context["kind"], report.context["attempt"], report.context["cloud_id"]) == (
            "errors.failing",
            1,
            7,
        )

    async def test_what_a_run_sets_is_gone_after_it(self, reports: list[Report]) -> None:
        @job(kind="errors.setting")
        @retry_on(KeyError)
        async def setting() -> None:
            errors.report(OSError())
            if current_job().attempt == 1:
                errors.set_context(first="run")
                raise KeyError

        await setting().perform_now()
        errors.report(ValueError())
        assert [report.context.get("first") for report in reports] == [None, None, None]
        assert "job_id" not in reports[-1].context

    @pytest.mark.parametrize("report", [False, True])
    async def test_retries_and_discards_are_reported_if_their_declaration_says_so(
        self, reports: list[Report], report: bool
    ) -> None:
        @job(kind=f"errors.declared_{report}")
        @retry_on(KeyError, report=report)
        @discard_on(OSError, report=report)
        async def declared() -> None:
            raise KeyError if current_job().attempt == 1 else OSError

        with pytest.raises(JobDiscarded):
            await declared().perform_now()
        told = [(type(each.error), each.handled, each.source) for each in reports]
        assert told == ([(KeyError, True, "asyncjobs"), (OSError, True, "asyncjobs")] if report else [])

    async def test_used_up_retries_are_one_unhandled_error_without_report(self, reports: list[Report]) -> None:
        @job(kind="errors.used_up")
        @retry_on(KeyError, attempts=2)
        async def used_up() -> None:
            raise KeyError

        with pytest.raises(KeyError):
            await used_up().perform_now()
        assert [(report.handled, report.context["attempt"]) for report in reports] == [(False, 2)]

    async def test_used_up_retries_are_unhandled_though_each_of_them_was_reported(self, reports: list[Report]) -> None:
        @job(kind="errors.used_up_reporting")
        @retry_on(KeyError, attempts=2, report=True)
        async def used_up() -> None:
            raise KeyError

        with pytest.raises(KeyError):
            await used_up().perform_now()
        told = [(report.handled, report.severity, report.context["attempt"]) for report in reports]
        assert told == [(True, "warning", 1), (False, "error", 2)]

    @pytest.mark.parametrize("again", [False, True])
    async def test_used_up_retries_are_handled_if_on_exhausted_says_so(
        self, reports: list[Report], again: bool
    ) -> None:
        async def last_word(lost: Job[Any], error: BaseException) -> None:
            if again:
                raise error

        @job(kind=f"errors.exhausted_{again}")
        @retry_on(KeyError, attempts=1, report=True, on_exhausted=last_word)
        async def exhausted() -> None:
            raise KeyError

        with pytest.raises(KeyError if again else JobDiscarded):
            await exhausted().perform_now()
        assert [report.handled for report in reports] == [not again]

    async def test_a_hook_that_fails_is_reported_as_handled(self, reports: list[Report]) -> None:
        @job(kind="errors.hooked")
        async def hooked() -> None: ...

        @hooked.after_perform
        def after(job: Job) -> None:
            raise RuntimeError("of the hook")

        await hooked().perform_now()
        assert [(str(report.error), report.handled) for report in reports] == [("of the hook", True)]

    async def test_what_a_job_says_on_purpose_is_not_reported(self, reports: list[Report]) -> None:
        @job(kind="errors.saying")
        async def saying() -> None:
            raise Discard("why")

        with pytest.raises(JobDiscarded):
            await saying().perform_now()
        assert reports == []


class TestHandle:
    def test_swallows_and_reports_what_it_names(self, reports: list[Report]) -> None:
        error = TimeoutError()
        with errors.handle(TimeoutError, context={"cloud_id": 7}, source="billing"):
            raise error
        assert reports == [Report(error, True, "warning", {"cloud_id": 7}, "billing")]

    def test_lets_other_errors_pass_unreported(self, reports: list[Report]) -> None:
        with pytest.raises(KeyError), errors.handle(TimeoutError):
            raise KeyError
        assert reports == []

    def test_without_names_swallows_errors_but_no_cancellation_and_no_signal(self, reports: list[Report]) -> None:
        with errors.handle():
            raise KeyError
        for passing in (asyncio.CancelledError, Discard, SystemExit):
            with pytest.raises(passing), errors.handle():
                raise passing
        assert [type(report.error) for report in reports] == [KeyError]

    async def test_is_an_async_block_too(self, reports: list[Report]) -> None:
        async with errors.handle(KeyError, severity="info"):
            raise KeyError
        assert [report.severity for report in reports] == ["info"]

    async def test_guards_functions_which_then_return_the_fallback(self, reports: list[Report]) -> None:
        @errors.handle(ZeroDivisionError, fallback=-1)
        def divide(one: int, other: int) -> float:
            """Divide."""
            return one / other

        @errors.handle(ZeroDivisionError, fallback=list)
        async def divide_later(one: int, other: int) -> Any:
            return one / other

        assert (divide(4, 2), divide(4, 0), divide.__doc__) == (2, -1, "Divide.")
        assert (await divide_later(4, other=2), await divide_later(4, other=0)) == (2, [])
        assert asyncio.iscoroutinefunction(divide_later)
        assert len(reports) == 2

    def test_without_a_fallback_a_guarded_function_returns_none(self, reports: list[Report]) -> None:
        assert errors.handle()(lambda: 1 / 0)() is None

    async def test_guards_a_job_s_function(self, reports: list[Report]) -> None:
        @job(kind="errors.guarded")
        @errors.handle(ZeroDivisionError, fallback=0.0)
        async def guarded(number: int) -> float:
            return 1 / number

        assert (await guarded(2).perform_now(), await guarded(0).perform_now()) == (0.5, 0.0)
        assert reports[0].context["kind"] == "errors.guarded"


class TestRecord:
    def test_reports_as_unhandled_and_raises_again(self, reports: list[Report]) -> None:
        error = KeyError()
        with pytest.raises(KeyError) as raised, errors.record():
            raise error
        assert raised.value is error
        assert reports == [Report(error, False, "error", {}, "application")]

    def test_reports_what_it_names_only(self, reports: list[Report]) -> None:
        with pytest.raises(KeyError), errors.record(OSError):
            raise KeyError
        assert reports == []

    async def test_guards_blocks_and_functions_of_both_kinds(self, reports: list[Report]) -> None:
        @errors.record(severity="info")
        def divide() -> float:
            return 1 / 0

        @errors.record()
        async def divide_later() -> float:
            return 1 / 0

        with pytest.raises(ZeroDivisionError):
            divide()
        with pytest.raises(ZeroDivisionError):
            await divide_later()
        with pytest.raises(ZeroDivisionError):
            async with errors.record():
                raise ZeroDivisionError
        assert [report.severity for report in reports] == ["info", "error", "error"]

    def test_of_nested_guards_the_innermost_reports(self, reports: list[Report]) -> None:
        with errors.handle(source="outer"), errors.record(source="inner"):
            raise KeyError
        assert [report.source for report in reports] == ["inner"]


class TestGuardsThatCannotWork:
    @pytest.mark.parametrize("guard", [errors.handle, errors.record])
    @pytest.mark.parametrize("nothing", ["KeyError", KeyError(), int, None], ids=repr)
    def test_what_is_no_exception_class_is_refused(self, guard: Any, nothing: Any) -> None:
        with pytest.raises(InvalidOption, match="is no exception class"):
            guard(nothing)

    @pytest.mark.parametrize("guard", [errors.handle, errors.record])
    def test_an_unknown_severity_is_refused_at_once_and_not_in_place_of_an_error(self, guard: Any) -> None:
        with pytest.raises(InvalidOption, match="severity='loud'"):
            guard(severity="loud")

    @pytest.mark.parametrize("guard", [errors.handle, errors.record])
    def test_a_generator_is_refused_for_its_body_runs_later(self, guard: Any) -> None:
        def generator() -> Iterator[int]:
            yield 1

        async def async_generator() -> Any:
            yield 1

        for function in (generator, async_generator):
            with pytest.raises(InvalidOption, match="is a generator"):
                guard()(function)
