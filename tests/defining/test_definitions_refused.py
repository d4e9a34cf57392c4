"""Definitions that cannot work are refused where they are made, with the name to look for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest

from asyncjobs import (
    InvalidDefinition,
    Job,
    after_discard,
    after_enqueue,
    after_perform,
    around_enqueue,
    around_perform,
    attribute,
    before_enqueue,
    before_perform,
    job,
    rescue_from,
    retry_on,
    step,
)
from asyncjobs.definitions import registry


async def performs(self: Any) -> None: ...


@pytest.fixture(autouse=True)
def nothing_that_was_refused_is_registered() -> Iterator[None]:
    yield
    assert [name for name in registry.all_names() if name.startswith("refused.")] == []


class TestFunctions:
    def test_a_lambda(self) -> None:
        with pytest.raises(InvalidDefinition, match="is a lambda"):
            job(lambda: None)

    @pytest.mark.parametrize(
        "said", [{"timezone": "Europe/Paris"}, {"catch_up": "all"}, {"overlap": "skip"}, {"jitter": 5}], ids=str
    )
    def test_how_it_recurs_without_when(self, said: dict[str, Any]) -> None:
        with pytest.raises(InvalidDefinition, match=f"{next(iter(said))}= without schedule= has .*give schedule="):

            @job(kind="refused.never_recurs", **said)
            async def never() -> None: ...

    def test_a_function_inside_a_function_that_another_process_is_to_run(self) -> None:
        with pytest.raises(InvalidDefinition, match="stands inside a function.*executor='process'"):

            @job(kind="refused.nested_process", executor="process")
            def nested() -> None: ...

        with pytest.raises(InvalidDefinition, match="stands inside a function.*executor='process'"):

            class Nested(Job, kind="refused.NestedProcess", executor="process"):
                def perform(self) -> None: ...

    def test_a_function_inside_a_function_without_a_kind(self) -> None:
        with pytest.raises(InvalidDefinition, match="stands inside a function.*kind=") as raised:

            @job
            async def nested() -> None: ...

        assert "nested" in str(raised.value)

    def test_a_generator_and_an_async_generator(self) -> None:
        with pytest.raises(InvalidDefinition, match="is a generator"):

            @job(kind="refused.generator")
            def generator() -> Any:
                yield 1

        with pytest.raises(InvalidDefinition, match="is a generator"):

            @job(kind="refused.async_generator")
            async def async_generator() -> Any:
                yield 1

    def test_arguments_that_have_no_name(self) -> None:
        with pytest.raises(InvalidDefinition, match=r"\*numbers cannot be stored by name"):

            @job(kind="refused.args")
            async def with_args(*numbers: int) -> None: ...

        with pytest.raises(InvalidDefinition, match=r"\*\*options cannot be stored by name"):

            @job(kind="refused.kwargs")
            async def with_kwargs(**options: int) -> None: ...

    def test_an_argument_with_an_underscore(self) -> None:
        with pytest.raises(InvalidDefinition, match="_hidden begins with an underscore"):

            @job(kind="refused.underscore")
            async def with_underscore(_hidden: int) -> None: ...

    def test_a_method(self) -> None:
        with pytest.raises(InvalidDefinition, match="is a method"):

            class Service:
                @job(kind="refused.method")
                async def run(self) -> None: ...

    @pytest.mark.parametrize("wrap", [classmethod, staticmethod, functools.partial])
    def test_what_is_no_function(self, wrap: Any) -> None:
        async def wrapped() -> None: ...

        with pytest.raises(InvalidDefinition, match="takes a function"):
            job(kind="refused.wrapped")(wrap(wrapped))

    def test_a_class(self) -> None:
        with pytest.raises(InvalidDefinition, match="is a class: derive it from Job"):

            @job(kind="refused.class")
            class Decorated: ...

    def test_a_job_once_more(self) -> None:
        with pytest.raises(InvalidDefinition, match="is a job already"):

            @job(kind="refused.outer")
            @job(kind="accepted.inner")
            async def twice() -> None: ...


# What Job has, and what it will have: a field that took one of these today would break tomorrow.
NAMES = (
    *("id", "kind", "queue", "priority", "state", "disposition", "arguments", "attempt", "stopping", "cancel_reason"),
    *("set", "enqueue", "result", "status", "perform_now", "cancel", "then", "run_steps", "step", "steps", "sleep"),
    *("wait_for", "resumed"),
)


class TestClasses:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_field_named_like_something_of_job(self, name: str) -> None:
        body = {"__annotations__": {name: int}, "perform": performs}
        with pytest.raises(InvalidDefinition, match=f"would hide Job.{name}"):
            type("Hiding", (Job,), body, kind="refused.Hiding")

    @pytest.mark.parametrize("name", NAMES)
    def test_a_plain_assignment_named_like_something_of_job(self, name: str) -> None:
        with pytest.raises(InvalidDefinition, match=f"would hide Job.{name}"):
            type("Hiding", (Job,), {name: 1, "perform": performs}, kind="refused.Hiding")

    @pytest.mark.parametrize("name", [*NAMES, "__await__"])
    def test_a_method_named_like_something_of_job(self, name: str) -> None:
        with pytest.raises(InvalidDefinition, match=f"would hide Job.{name}"):
            type("Hiding", (Job,), {name: lambda self: None, "perform": performs}, kind="refused.Hiding")

    def test_a_mixin_that_hides_something_of_job(self) -> None:
        class Mixin:
            queue = "mine"

        with pytest.raises(InvalidDefinition, match="would hide Job.queue"):
            type("Hiding", (Mixin, Job), {"perform": performs}, kind="refused.Mixed")

    def test_a_mixin_that_hides_nothing_is_welcome(self) -> None:
        class Mixin:
            def helper(self) -> int:
                return 5

        class Mixed(Mixin, Job, kind="accepted.Mixed"):
            async def perform(self) -> int:
                return self.helper()

        assert Mixed().helper() == 5

    def test_an_abstract_class_is_looked_at_too(self) -> None:
        with pytest.raises(InvalidDefinition, match=r"would hide Job\.state"):

            class Hiding(Job, abstract=True):
                state: str

    def test_an_init_of_its_own(self) -> None:
        with pytest.raises(InvalidDefinition, match="has an __init__ of its own"):

            class Initialised(Job, kind="refused.Initialised"):
                def __init__(self) -> None: ...

                async def perform(self) -> None: ...

    def test_no_perform(self) -> None:
        with pytest.raises(InvalidDefinition, match=r"has no perform\(\).*abstract=True"):

            class Idle(Job, kind="refused.Idle"):
                n: int

    def test_a_perform_that_takes_arguments(self) -> None:
        with pytest.raises(InvalidDefinition, match="takes arguments: a job's fields are its arguments"):

            class Rails(Job, kind="refused.Rails"):
                async def perform(self, cloud_id: int) -> None: ...

    def test_a_perform_that_is_a_generator(self) -> None:
        with pytest.raises(InvalidDefinition, match="perform is a generator"):

            class Yielding(Job, kind="refused.Yielding"):
                async def perform(self) -> Any:
                    yield 1

    def test_a_class_inside_a_function_without_a_kind(self) -> None:
        with pytest.raises(InvalidDefinition, match="stands inside a function"):

            class Nested(Job):
                async def perform(self) -> None: ...


async def alone() -> None: ...


async def with_the_job(job: Any) -> None: ...


async def with_two(job: Any, error: BaseException) -> None: ...


class TestFunctionsThatAreCalled:
    """A handler that does not take what it is given would be found out when the first job has failed."""

    @pytest.mark.parametrize("hook", [before_enqueue, after_enqueue, before_perform, after_perform])
    def test_a_hook(self, hook: Any) -> None:
        with pytest.raises(
            InvalidDefinition, match=rf"Base: @{hook.__name__}: told\(\) is called with self, which it does"
        ):

            class Base(Job, abstract=True):
                @hook
                async def told() -> None: ...  # type: ignore[misc]  # as somebody tired writes

    @pytest.mark.parametrize(
        ("hook", "given"), [(around_enqueue, "call"), (around_perform, "call"), (after_discard, "the error")]
    )
    def test_a_hook_that_is_given_more(self, hook: Any, given: str) -> None:
        with pytest.raises(InvalidDefinition, match=rf"told\(self\) is called with self and {given}, .*too many"):

            class Base(Job, abstract=True):
                @hook
                async def told(self) -> None: ...

    def test_an_override_of_a_hook_without_its_own_mark(self) -> None:
        class Base(Job, abstract=True):
            @after_discard
            async def told(self, error: BaseException) -> None: ...

        with pytest.raises(
            InvalidDefinition, match=r"Derived: @after_discard: told\(self\) is called with self and the"
        ):

            class Derived(Base, abstract=True):
                async def told(self) -> None: ...  # type: ignore[override]  # as somebody without a type checker writes

    def test_a_hook_that_is_given_to_a_function(self) -> None:
        @job(kind="takes.hooked")
        async def hooked() -> None: ...

        with pytest.raises(InvalidDefinition, match="before_perform: alone.* is called with the job"):
            hooked.before_perform(alone)
        with pytest.raises(InvalidDefinition, match="rescue_from: with_the_job.* is called with the job and the error"):
            hooked.rescue_from(ValueError)(with_the_job)

    def test_what_rescues_and_what_is_called_when_attempts_are_used_up(self) -> None:
        with pytest.raises(InvalidDefinition, match="Base: @rescue_from: told.* is called with self and the error"):

            class Base(Job, abstract=True):
                @rescue_from(ValueError)
                async def told(self) -> None: ...

        with pytest.raises(
            InvalidDefinition, match="on_exhausted: with_the_job.* is called with the job and the error"
        ):
            retry_on(ValueError, on_exhausted=with_the_job)

    def test_what_steps_ask_and_tell(self) -> None:
        for option, function in (("when", alone), ("unless", with_two), ("on_error", with_the_job)):
            with pytest.raises(
                InvalidDefinition, match=f"step: {option}: {function.__name__}.* is called with the job"
            ):
                step(**{option: function})

    def test_methods_that_steps_name(self) -> None:
        with pytest.raises(
            InvalidDefinition, match=r"\.Named\.a: on_error: with_the_job\(job\) is called with self and the"
        ):

            class Named(Job, kind="refused.Named"):
                told = with_the_job

                @step(on_error="told")
                async def a(self) -> None: ...

    def test_a_wrapper_that_gives_what_the_wrapped_one_takes(self) -> None:
        def with_session(method: Any) -> Any:
            @functools.wraps(method)
            async def wrapper(self: Any) -> None:
                await method(self, "session")

            return wrapper

        class Wrapped(Job, kind="takes.Wrapped"):
            @before_perform
            @with_session
            async def load(self, session: str) -> None: ...

            @step(when="load")
            async def a(self) -> None: ...

    def test_what_has_no_signature_or_takes_anything_or_no_self_is_let_pass(self) -> None:
        async def anything(*arguments: Any) -> None: ...

        step(when=bool, on_error=anything)
        retry_on(ValueError, on_exhausted=functools.partial(with_two))

        class Static(Job, kind="takes.Static"):
            @staticmethod
            def is_wanted() -> bool:
                return True

            @step(when="is_wanted")
            async def a(self) -> None: ...


@pytest.mark.parametrize("name", ["__post_init__", "model_post_init"])
def test_a_method_that_would_never_be_called(name: str) -> None:
    with pytest.raises(InvalidDefinition, match=f"{name} would never be called: a job is made of its arguments alone"):
        type("PostInit", (Job,), {name: lambda self: None, "perform": performs}, kind="refused.PostInit")


@pytest.mark.parametrize("default", [pydantic.Field(5), dataclasses.field(default=5)])
def test_an_attribute_with_a_field_in_place_of_its_value(default: Any) -> None:
    with pytest.raises(InvalidDefinition, match=r"give the value itself, as in `attribute\(default=5\)`"):
        attribute(default=default)
