"""Definitions that cannot work are refused where they are made, with the name to look for."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest

from asyncjobs import InvalidDefinition, Job, job
from asyncjobs.defining import registry


async def performs(self: Any) -> None: ...


@pytest.fixture(autouse=True)
def nothing_that_was_refused_is_registered() -> Iterator[None]:
    yield
    assert [name for name in registry.all_names() if name.startswith("refused.")] == []


class TestFunctions:
    def test_a_lambda(self) -> None:
        with pytest.raises(InvalidDefinition, match="is a lambda"):
            job(lambda: None)

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
