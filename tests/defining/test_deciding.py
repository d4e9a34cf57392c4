"""What becomes of a job after an attempt: which declaration takes an error, and what counts."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjobs import (
    AwaitCycle,
    Cancel,
    Discard,
    Job,
    JobCancelled,
    JobSignal,
    Retry,
    Snooze,
    UnstorableResult,
    discard_on,
    job,
    rescue_from,
    retry_on,
)
from asyncjobs.failing.deciding import Decision, What, decide
from asyncjobs.failing.policies import DiscardOn, Policy, RescueFrom, RetryOn, find


class Base(Exception): ...


class Derived(Base): ...


class Other(Exception): ...


def retries(*errors: type[BaseException], **more: Any) -> RetryOn:
    return RetryOn(errors=errors, **more)


def discards(*errors: type[BaseException]) -> DiscardOn:
    return DiscardOn(errors=errors)


def caused(error: BaseException, *causes: BaseException) -> BaseException:
    """`error`, raised from the first of `causes`, which is raised from the next."""
    for effect, cause in zip((error, *causes), causes, strict=False):
        effect.__cause__ = cause
    return error


UNSTORABLE = UnstorableResult("a.kind", [("return", "cannot be stored")], "result")
ERROR = Base("wrong")
CANCELLED = asyncio.CancelledError()
EVERYTHING = (retries(Exception, attempts=None),)

# What an attempt ended with, and what becomes of the job by the reason of its cancellation.
TABLE: dict[str, tuple[BaseException | None, dict[str | None, What]]] = {
    "it returned": (None, {None: What.succeed, "timeout": What.retry, "shutdown": What.succeed}),
    "an error": (ERROR, {None: What.retry, "timeout": What.retry, "shutdown": What.release}),
    "cancelled": (CANCELLED, {None: What.fail, "timeout": What.retry, "shutdown": What.release}),
    "SystemExit": (SystemExit(1), {None: What.fail, "timeout": What.retry, "shutdown": What.release}),
    "unstorable": (UNSTORABLE, {None: What.fail, "timeout": What.retry, "shutdown": What.fail}),
    "Retry": (Retry(1), dict.fromkeys((None, "timeout", "shutdown"), What.retry_as_asked)),
    "Snooze": (Snooze(1), {None: What.snooze, "timeout": What.retry, "shutdown": What.snooze}),
    "Discard": (Discard(), dict.fromkeys((None, "timeout", "shutdown"), What.discard)),
    "Cancel": (Cancel(), dict.fromkeys((None, "timeout", "shutdown"), What.cancel)),
    "a task group's Snooze": (
        BaseExceptionGroup("one", [BaseExceptionGroup("inner", [Snooze(1)])]),
        {None: What.snooze, "timeout": What.retry, "shutdown": What.snooze},
    ),
    "a signal beside an error": (
        BaseExceptionGroup("both", [Discard(), ERROR]),
        {None: What.fail, "timeout": What.retry, "shutdown": What.release},
    ),
    "a signal of no kind": (JobSignal(), dict.fromkeys((None, "timeout", "shutdown"), What.fail)),
}


class TestTheKindOfEnd:
    @pytest.mark.parametrize("reason", [None, "timeout", "shutdown"])
    @pytest.mark.parametrize("end", TABLE)
    def test_follows_from_what_was_raised_and_why_it_was_cancelled(self, end: str, reason: str | None) -> None:
        error, expected = TABLE[end]
        assert decide(error, cancel_reason=reason, timeout=2, policies=EVERYTHING).what is expected[reason]

    @pytest.mark.parametrize("end", TABLE)
    def test_a_user_s_cancellation_wins_over_everything(self, end: str) -> None:
        assert decide(TABLE[end][0], cancel_reason="user", policies=EVERYTHING) == Decision(What.cancel)

    @pytest.mark.parametrize("end", TABLE)
    def test_nothing_is_written_once_the_lease_is_lost(self, end: str) -> None:
        assert decide(TABLE[end][0], cancel_reason="lease_lost", policies=EVERYTHING) == Decision(What.drop)

    def test_an_error_that_no_declaration_takes_fails_the_job(self) -> None:
        assert decide(ERROR, policies=[retries(Other), discards(Derived)]) == Decision(What.fail, ERROR)
        assert decide(ERROR) == Decision(What.fail, ERROR)

    def test_a_job_that_returned_something_unstorable_is_not_run_again(self) -> None:
        taking = [retries(BaseException, attempts=None)]
        assert decide(UNSTORABLE, policies=taking) == Decision(What.fail, UNSTORABLE)
        assert decide(UNSTORABLE, policies=taking, cancel_reason="shutdown") == Decision(What.fail, UNSTORABLE)

    @pytest.mark.parametrize("signal", [Retry(1), Snooze(1), Discard(), Cancel()])
    def test_no_declaration_takes_what_a_job_says_on_purpose(self, signal: BaseException) -> None:
        for policy in (retries(BaseException), discards(BaseException)):
            assert not policy.takes(signal)
            assert decide(signal, policies=[policy]).policy is None

    def test_a_discarding_and_a_rescuing_declaration_say_what_they_took(self) -> None:
        for policy, what in ((discards(Base), What.discard), (RescueFrom(errors=(Base,), handler=print), What.rescue)):
            assert decide(ERROR, policies=[policy]) == Decision(what, ERROR, policy, ERROR)


class TestWhatATaskGroupGathered:
    def test_of_several_signals_the_first_counts(self) -> None:
        first = Cancel("first")
        decision = decide(BaseExceptionGroup("two", [BaseExceptionGroup("inner", [first]), Discard("second")]))
        assert (decision.what, decision.error) == (What.cancel, first)

    def test_an_error_beside_a_signal_is_not_hidden_by_it(self) -> None:
        group = BaseExceptionGroup("both", [Discard(), ERROR])
        assert decide(group, policies=[retries(Base)]) == Decision(What.fail, group)


class TestATimeout:
    def test_is_a_timeout_error_that_names_the_limit(self) -> None:
        decision = decide(CANCELLED, cancel_reason="timeout", timeout=2.5)
        assert type(decision.error) is TimeoutError
        assert "2.5 s" in str(decision.error)
        assert decision.error.__context__ is CANCELLED

    def test_is_one_too_when_the_job_swallowed_its_cancellation(self) -> None:
        assert type(decide(None, cancel_reason="timeout", timeout=2).error) is TimeoutError

    def test_keeps_a_timeout_error_that_the_job_raised_itself(self) -> None:
        own = TimeoutError("of its own")
        assert decide(own, cancel_reason="timeout", timeout=2).error is own

    def test_is_taken_by_declarations(self) -> None:
        assert decide(CANCELLED, cancel_reason="timeout", timeout=2, policies=[discards(TimeoutError)]).what is (
            What.discard
        )


class TestTheOrderOfTheSearch:
    def test_the_lowest_in_the_source_is_asked_first(self) -> None:
        @job(kind="deciding.function")
        @retry_on(Base)
        @discard_on(Derived)
        @discard_on(Other)
        async def declared() -> None: ...

        assert [policy.errors for policy in declared._definition.policies] == [(Other,), (Derived,), (Base,)]

    def test_above_job_and_below_it_are_one_order(self) -> None:
        @retry_on(KeyError)
        @retry_on(Base)
        @job(kind="deciding.mixed")
        @discard_on(Derived)
        @discard_on(Other)
        async def declared() -> None: ...

        asked = [policy.errors for policy in declared._definition.policies]
        assert asked == [(Other,), (Derived,), (Base,), (KeyError,)]

    def test_a_rescue_given_to_a_function_s_job_later_is_asked_first(self) -> None:
        @job(kind="deciding.rescued")
        @discard_on(Base)
        async def declared() -> None: ...

        @declared.rescue_from(Base)
        def first(job: Any, error: BaseException) -> None: ...

        @declared.rescue_from(Base)
        def second(job: Any, error: BaseException) -> None: ...

        kinds = declared._definition.policies
        assert [policy.handler for policy in kinds if isinstance(policy, RescueFrom)] == [second, first]
        assert isinstance(kinds[-1], DiscardOn)

    def test_methods_come_before_the_decorators_of_their_class_and_the_lowest_first(self) -> None:
        said: list[str] = []

        @retry_on(Base)
        @discard_on(Base)
        class Declared(Job, kind="deciding.Declared"):
            async def perform(self) -> None: ...

            @rescue_from(Base)
            def upper(self, error: BaseException) -> None:
                said.append("upper")

            @rescue_from(Base)
            def lower(self, error: BaseException) -> None:
                said.append("lower")

        lower, upper, *decorators = Declared._definition.policies
        assert [type(policy) for policy in decorators] == [DiscardOn, RetryOn]
        for policy in (lower, upper):
            assert isinstance(policy, RescueFrom)
            policy.handler(Declared(), ERROR)
        assert said == ["lower", "upper"]

    def test_a_class_is_asked_before_those_above_it(self) -> None:
        @retry_on(Base, attempts=2)
        class Above(Job, abstract=True):
            @rescue_from(Base)
            def rescue(self, error: BaseException) -> None: ...

        @discard_on(Base)
        class Below(Above, kind="deciding.Below"):
            async def perform(self) -> None: ...

        assert [type(policy) for policy in Below._definition.policies] == [DiscardOn, RescueFrom, RetryOn]

    def test_the_error_is_offered_to_every_declaration_before_its_cause(self) -> None:
        cause = Base()
        error = caused(Other(), cause)
        policies = [retries(Base), discards(Other)]
        assert decide(error, policies=policies) == Decision(What.discard, error, policies[1], error)

    def test_a_cause_is_looked_at_however_deep_and_the_outer_error_stays_the_error(self) -> None:
        deepest = Derived()
        error = caused(Other(), KeyError(), deepest)
        policy = retries(Base)
        assert decide(error, policies=[policy]) == Decision(What.retry, error, policy, deepest, 1)

    def test_an_error_that_was_only_being_handled_is_no_cause(self) -> None:
        error = Other()
        error.__context__ = Base()
        assert decide(error, policies=[retries(Base)]) == Decision(What.fail, error)

    def test_causes_that_go_in_a_circle_come_to_an_end(self) -> None:
        first, second = Other(), Other()
        first.__cause__, second.__cause__ = second, first
        assert find([retries(Base)], first) is None
        alone = Other()
        alone.__cause__ = alone
        assert find([retries(Base)], alone) is None


class TestGroups:
    def test_a_group_is_taken_if_every_leaf_is(self) -> None:
        group = ExceptionGroup("all", [Base(), ExceptionGroup("inner", [Derived(), Base()])])
        assert retries(Base).takes(group)
        assert not retries(Derived).takes(group)

    def test_one_other_leaf_however_deep_is_enough_to_refuse_it(self) -> None:
        group = ExceptionGroup("all", [Base(), ExceptionGroup("inner", [Base(), Other()])])
        assert not retries(Base).takes(group)
        assert retries(Base, Other).takes(group)

    def test_leaves_of_two_declarations_belong_to_neither(self) -> None:
        group = ExceptionGroup("both", [Base(), Other()])
        assert decide(group, policies=[retries(Base), discards(Other)]) == Decision(What.fail, group)

    def test_a_declaration_of_groups_takes_any(self) -> None:
        assert retries(ExceptionGroup).takes(ExceptionGroup("any", [Other()]))

    def test_a_cancellation_among_the_leaves_is_not_taken_for_an_error(self) -> None:
        assert not retries(Exception).takes(BaseExceptionGroup("both", [Base(), asyncio.CancelledError()]))

    def test_a_signal_among_the_leaves_is_taken_by_nobody(self) -> None:
        group = BaseExceptionGroup("both", [Base(), BaseExceptionGroup("inner", [Discard()])])
        assert not retries(Exception, JobSignal).takes(group)

    def test_the_causes_of_leaves_are_not_looked_at(self) -> None:
        assert not retries(Base).takes(ExceptionGroup("one", [caused(Other(), Base())]))

    def test_a_group_as_cause_is_taken_like_any(self) -> None:
        group = ExceptionGroup("two", [Base(), Derived()])
        error = caused(Other(), group)
        assert decide(error, policies=[retries(Base)]).taken is group


class TestCounting:
    def test_attempts_count_the_first_run(self) -> None:
        policy = retries(Base, attempts=3)
        whats = [decide(ERROR, policies=[policy], counts={policy.key: n}).what for n in range(4)]
        assert whats == [What.retry, What.retry, What.exhaust, What.exhaust]

    def test_one_attempt_is_no_retry_at_all(self) -> None:
        assert decide(ERROR, policies=[retries(Base, attempts=1)]).what is What.exhaust

    def test_without_a_limit_no_count_is_too_high(self) -> None:
        policy = retries(Base, attempts=None)
        assert decide(ERROR, policies=[policy], counts={policy.key: 10**9}).what is What.retry

    def test_each_declaration_has_its_own_count(self) -> None:
        one, two = retries(Base, attempts=2), retries(Other, attempts=2)
        counts = {one.key: 1}
        assert decide(Base(), policies=[one, two], counts=counts).what is What.exhaust
        decision = decide(Other(), policies=[one, two], counts=counts)
        assert (decision.what, decision.executions) == (What.retry, 1)

    def test_the_count_is_the_declaration_s_wherever_it_stands(self) -> None:
        one, two = retries(Base, Other, attempts=3), retries(KeyError, attempts=3)
        moved = retries(Other, Base, attempts=3, wait=60)
        counts = {one.key: 2}
        assert decide(ERROR, policies=[one, two], counts=counts).executions == 3
        assert decide(ERROR, policies=[two, moved], counts=counts).executions == 3

    def test_classes_of_one_name_in_different_places_are_counted_apart(self) -> None:
        twin = type("Base", (Exception,), {"__module__": "elsewhere"})
        assert retries(twin).key != retries(Base).key


CLASSES: list[type[Exception]] = [Base, Derived, Other, KeyError]


@st.composite
def errors(draw: Any, depth: int = 3) -> Exception:
    """An error: of one class, or a group; perhaps with a cause."""
    if depth and draw(st.booleans()):
        leaves = draw(st.lists(errors(depth=depth - 1), min_size=1, max_size=3))
        error: Exception = ExceptionGroup("group", leaves)
    else:
        error = draw(st.sampled_from(CLASSES))()
    if depth and draw(st.booleans()):
        error.__cause__ = draw(errors(depth=depth - 1))
    return error


@st.composite
def policies(draw: Any) -> list[Policy]:
    made: list[Policy] = []
    for _ in range(draw(st.integers(0, 4))):
        classes = tuple(draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=2, unique=True)))
        if draw(st.booleans()):
            made.append(RetryOn(errors=classes, attempts=draw(st.sampled_from([None, 1, 2, 3]))))
        else:
            made.append(DiscardOn(errors=classes))
    return made


def leaves_of(error: BaseException) -> list[str]:
    """The names of the classes of an error's leaves."""
    if isinstance(error, ExceptionGroup):
        return [name for inner in error.exceptions for name in leaves_of(inner)]
    return [type(error).__name__]


ABOVE = {"Base": {"Base"}, "Derived": {"Base", "Derived"}, "Other": {"Other"}, "KeyError": {"KeyError"}}


def expected(error: BaseException, declared: list[Policy], counts: dict[str, int]) -> tuple[What, int]:
    """What is to become of a job, by names and loops alone: asked link by link, each link to all declarations."""
    link: BaseException | None = error
    while link is not None:
        for policy in declared:
            named = {cls.__name__ for cls in policy.errors}
            if all(ABOVE[leaf] & named for leaf in leaves_of(link)):
                if isinstance(policy, DiscardOn):
                    return What.discard, 0
                assert isinstance(policy, RetryOn)
                times = 1 + sum(n for key, n in counts.items() if key == policy.key)
                used_up = policy.attempts is not None and times >= policy.attempts
                return (What.exhaust if used_up else What.retry), times
        link = link.__cause__
    return What.fail, 0


@given(errors(), policies(), st.data())
def test_the_decision_is_that_of_the_model(error: Exception, declared: list[Policy], data: Any) -> None:
    keys = [policy.key for policy in declared if isinstance(policy, RetryOn)]
    counts = {key: data.draw(st.integers(0, 3)) for key in keys}
    decision = decide(error, policies=declared, counts=counts)
    assert (decision.what, decision.executions) == expected(error, declared, counts)
    assert decision.error is error


def test_no_retry_is_asked_about_an_error_that_every_attempt_would_meet_again() -> None:
    cancelled = JobCancelled(job_id=UUID(int=1), kind="a.child")
    every = (retries(Exception, attempts=None), discards(JobCancelled))
    assert decide(cancelled, policies=every).what is What.retry
    cancelled._recorded = True
    assert decide(cancelled, policies=every).what is What.discard
    assert decide(cancelled, policies=every[:1]) == Decision(What.fail, cancelled)
    assert decide(AwaitCycle([(UUID(int=1), "a.child")]), policies=EVERYTHING).what is What.fail
