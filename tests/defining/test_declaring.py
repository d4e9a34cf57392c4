"""Declarations that cannot work are refused where they are written; those that can are inherited and overridden."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from asyncjobs import (
    Discard,
    InvalidDefinition,
    Job,
    JobSignal,
    after_discard,
    after_perform,
    before_perform,
    discard_on,
    job,
    rescue_from,
    retry_on,
)
from asyncjobs.failing.policies import DiscardOn, RescueFrom, RetryOn


class TestWhichErrors:
    @pytest.mark.parametrize("declare", [retry_on, discard_on, rescue_from])
    def test_none_is_refused(self, declare: Any) -> None:
        with pytest.raises(InvalidDefinition, match=f"{declare.__name__} names no error"):
            declare()

    @pytest.mark.parametrize("declare", [retry_on, discard_on, rescue_from])
    @pytest.mark.parametrize("error", ["ValueError", ValueError("made"), int, None, (ValueError,), 5], ids=repr)
    def test_what_is_no_exception_class_is_refused(self, declare: Any, error: Any) -> None:
        with pytest.raises(InvalidDefinition, match=f"{declare.__name__}.*is no exception class"):
            declare(KeyError, error)

    @pytest.mark.parametrize("declare", [retry_on, discard_on, rescue_from])
    @pytest.mark.parametrize("signal", [JobSignal, Discard])
    def test_what_a_job_says_on_purpose_is_refused(self, declare: Any, signal: Any) -> None:
        with pytest.raises(InvalidDefinition, match=f"{declare.__name__}: {signal.__name__} is raised on purpose"):
            declare(signal)

    def test_a_rescue_of_a_function_s_job_is_refused_likewise(self) -> None:
        @job(kind="declaring.no_errors")
        async def declared() -> None: ...

        with pytest.raises(InvalidDefinition, match="rescue_from names no error"):
            declared.rescue_from()


class TestOptionsOfRetryOn:
    @pytest.mark.parametrize(
        ("option", "value"),
        [
            *(("attempts", value) for value in (0, -1, 10**9, 1001, None, True, 2.0, "5", "for ever", math.inf)),
            *(("wait", value) for value in ("soon", "", -1, math.nan, math.inf, None, True, [], timedelta(-1), 10**12)),
            *(("jitter", value) for value in (2, -0.1, math.nan, None, True, "0.1")),
            *(("queue", value) for value in ("", "a b", "-low", "x" * 65, 5, "queue\n")),
            *(("priority", value) for value in (2**15, -(2**15) - 1, 1.0, "high", True)),
            *(("on_exhausted", value) for value in ("notify", 5)),
        ],
        ids=lambda value: f"{value!r:.20}",
    )
    def test_out_of_their_limits_are_refused_by_name(self, option: str, value: Any) -> None:
        with pytest.raises(InvalidDefinition, match=f"retry_on: {option}="):
            retry_on(ValueError, **{option: value})

    @pytest.mark.parametrize(
        ("option", "value", "kept"),
        [
            ("attempts", 1, 1),
            ("attempts", 1000, 1000),
            ("attempts", "unlimited", None),
            ("wait", 0, 0),
            ("wait", timedelta(days=3650), 3650 * 86_400),
            ("wait", "exponential", "exponential"),
            ("wait", "polynomially_longer", "polynomially_longer"),
            ("jitter", 0, 0),
            ("jitter", 1, 1),
            ("queue", "low", "low"),
            ("priority", -(2**15), -(2**15)),
        ],
    )
    def test_at_their_limits_are_taken(self, option: str, value: Any, kept: Any) -> None:
        assert getattr(retry_on(ValueError, **{option: value}).policy, option) == kept

    def test_have_the_documented_defaults(self) -> None:
        assert retry_on(ValueError).policy == RetryOn(
            errors=(ValueError,), wait=3.0, attempts=5, jitter=0.15, queue=None, priority=None, report=False
        )


class TestOptionsOfAJob:
    @pytest.mark.parametrize(
        ("option", "value"),
        [
            *(("timeout", value) for value in (0, -1, math.nan, math.inf, timedelta.max, "5", True)),
            *(("expires_in", value) for value in (0, -1, math.nan, math.inf, timedelta.max, "5", True)),
            *(("retention", value) for value in (-1, math.nan, timedelta.max, "5")),
            *(("max_crashes", value) for value in (0, -1, 1001, 1.0, True, "3")),
            *(("queue", value) for value in ("", "a b", 5)),
            *(("priority", value) for value in (2**15, 1.0, True)),
            ("executor", "fork"),
        ],
        ids=lambda value: f"{value!r:.20}",
    )
    def test_out_of_their_limits_are_refused_by_name(self, option: str, value: Any) -> None:
        with pytest.raises(InvalidDefinition, match=rf"refused.*{option}="):

            @job(kind="declaring.refused", **{option: value})
            async def refused() -> None: ...

        with pytest.raises(InvalidDefinition, match=rf"Refused.*{option}="):

            class Refused(Job, kind="declaring.Refused", **{option: value}):
                async def perform(self) -> None: ...

    @pytest.mark.parametrize("executor", ["process", "thread"])
    def test_an_async_def_runs_on_the_loop_only(self, executor: Any) -> None:
        with pytest.raises(InvalidDefinition, match=f"drop executor='{executor}'"):

            @job(kind="declaring.apart", executor=executor)
            async def refused() -> None: ...

    def test_an_unknown_one_is_refused_by_name(self) -> None:
        with pytest.raises(InvalidDefinition, match="no option 'retries'"):
            job(kind="declaring.unknown", retries=5)(performs)


async def performs() -> None: ...


class Plain: ...


class TestWhatIsDecorated:
    @pytest.mark.parametrize("declare", [retry_on, discard_on])
    @pytest.mark.parametrize(
        "target", [5, "perform", None, print, staticmethod(performs)], ids=lambda target: type(target).__name__
    )
    def test_what_is_neither_function_nor_class_is_refused(self, declare: Any, target: Any) -> None:
        with pytest.raises(InvalidDefinition, match=f"{declare.__name__} decorates a job's function or class"):
            declare(ValueError)(target)

    @pytest.mark.parametrize("declare", [retry_on, discard_on])
    def test_a_class_that_is_no_job_is_refused_by_name(self, declare: Any) -> None:
        with pytest.raises(InvalidDefinition, match=f"{declare.__name__} on Plain, which is no job"):
            declare(ValueError)(Plain)

    @pytest.mark.parametrize("declare", [retry_on, discard_on])
    def test_a_job_is_refused_for_its_definition_is_meant(self, declare: Any) -> None:
        @job(kind="declaring.made")
        async def made() -> None: ...

        with pytest.raises(InvalidDefinition, match="decorates a job's function or class"):
            declare(ValueError)(made())

    @pytest.mark.parametrize("declare", [retry_on, discard_on])
    def test_a_method_is_refused_for_its_class_is_meant(self, declare: Any) -> None:
        with pytest.raises(InvalidDefinition, match=r"OnMethod\.perform.*above the class"):

            class OnMethod(Job, kind="declaring.OnMethod"):
                @declare(ValueError)
                async def perform(self) -> None: ...

    @pytest.mark.parametrize("decorate", [rescue_from(ValueError), before_perform, after_discard])
    @pytest.mark.parametrize("target", [5, "rescue", None, Plain], ids=repr)
    def test_a_method_s_decorator_takes_nothing_else(self, decorate: Any, target: Any) -> None:
        with pytest.raises(InvalidDefinition, match="decorates a method or a function"):
            decorate(target)

    @pytest.mark.parametrize("target", [5, "hook", None, Plain], ids=repr)
    def test_a_function_s_job_takes_functions_only(self, target: Any) -> None:
        @job(kind="declaring.hooked")
        async def hooked() -> None: ...

        with pytest.raises(InvalidDefinition, match="before_perform decorates a function"):
            hooked.before_perform(target)
        with pytest.raises(InvalidDefinition, match="rescue_from decorates a function"):
            hooked.rescue_from(ValueError)(target)
        assert hooked._definition.policies == ()
        assert not hooked._definition.hooks.before_perform

    def test_a_decorator_returns_what_it_decorates(self) -> None:
        @job(kind="declaring.itself")
        async def itself() -> None: ...

        class Itself(Job, kind="declaring.Itself"):
            async def perform(self) -> None: ...

        for target in (performs, itself, Itself):
            assert retry_on(ValueError)(target) is target


class TestWhereDeclarationsStand:
    def test_a_declaration_above_job_holds_after_the_policies_were_looked_at(self) -> None:
        @job(kind="declaring.late")
        async def late() -> None: ...

        assert late._definition.policies == ()
        discard_on(ValueError)(late)
        assert len(late._definition.policies) == 1

    def test_two_functions_that_share_nothing_share_no_declaration(self) -> None:
        @job(kind="declaring.one")
        @discard_on(ValueError)
        async def one() -> None: ...

        @job(kind="declaring.other")
        async def other() -> None: ...

        assert len(one._definition.policies) == 1
        assert other._definition.policies == ()


class TestInheritance:
    async def test_a_derived_class_has_the_declarations_of_its_bases_and_they_have_none_of_its_own(self) -> None:
        @discard_on(KeyError)
        class Above(Job, abstract=True): ...

        @discard_on(ValueError)
        class Below(Above, kind="declaring.Below"):
            async def perform(self) -> None: ...

        class Beside(Above, kind="declaring.Beside"):
            async def perform(self) -> None: ...

        assert [policy.errors for policy in Below._definition.policies] == [(ValueError,), (KeyError,)]
        assert [policy.errors for policy in Beside._definition.policies] == [(KeyError,)]

    async def test_a_rescue_that_a_subclass_overrides_is_called_there(self) -> None:
        said: list[str] = []

        class Above(Job, abstract=True):
            async def perform(self) -> None:
                raise ValueError

            @rescue_from(ValueError)
            def rescue(self, error: BaseException) -> None:
                said.append("above")

        class Below(Above, kind="declaring.Overriding"):
            def rescue(self, error: BaseException) -> None:
                said.append("below")

        await Below().perform_now()
        assert said == ["below"]

    async def test_a_hook_that_a_subclass_overrides_is_called_there_once(self) -> None:
        said: list[str] = []

        class Above(Job, abstract=True):
            async def perform(self) -> None: ...

            @before_perform
            def first(self) -> None:
                said.append("first above")

            @before_perform
            def second(self) -> None:
                said.append("second")

        class Undecorated(Above, kind="declaring.Undecorated"):
            def first(self) -> None:
                said.append("first below")

        class Decorated(Above, kind="declaring.Decorated"):
            @before_perform
            def first(self) -> None:
                said.append("first below")

        for overriding in (Undecorated, Decorated):
            said.clear()
            await overriding().perform_now()
            assert said == ["first below", "second"]

    async def test_a_class_that_is_no_job_may_bring_hooks_and_rescues(self) -> None:
        said: list[str] = []

        class Mixin:
            @rescue_from(ValueError)
            def rescue(self, error: BaseException) -> None:
                said.append("rescue")

            @before_perform
            def hook(self) -> None:
                said.append("hook")

        class Mixed(Mixin, Job, kind="declaring.Mixed"):
            async def perform(self) -> None:
                raise ValueError

        await Mixed().perform_now()
        assert said == ["hook", "rescue"]

    async def test_static_and_class_methods_are_called_like_any(self) -> None:
        said: list[Any] = []

        class Methods(Job, kind="declaring.Methods"):
            async def perform(self) -> None:
                raise ValueError

            @before_perform
            @classmethod
            def of_class(cls) -> None:
                said.append(cls)

            @staticmethod
            @before_perform
            def static() -> None:
                said.append("static")

            @classmethod
            @rescue_from(ValueError)
            def rescue(cls, error: BaseException) -> None:
                said.append("rescued")

        await Methods().perform_now()
        assert said == [Methods, "static", "rescued"]

    def test_one_method_may_stand_for_several_errors_and_points(self) -> None:
        class Several(Job, kind="declaring.Several"):
            async def perform(self) -> None: ...

            @rescue_from(KeyError)
            @rescue_from(ValueError)
            def rescue(self, error: BaseException) -> None: ...

            @before_perform
            @after_perform
            def hook(self) -> None: ...

        policies = Several._definition.policies
        assert {policy.errors for policy in policies} == {(KeyError,), (ValueError,)}
        assert all(isinstance(policy, RescueFrom) for policy in policies)
        assert not any(isinstance(policy, DiscardOn) for policy in policies)
        found = Several._definition.hooks
        assert (len(found.before_perform), len(found.after_perform)) == (1, 1)
