"""Options of a definition: what is inherited, what is asked when, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest

from asyncjobs import InvalidArguments, InvalidDefinition, InvalidOption, Job, job


class TestInheritance:
    def test_queue_priority_retention_and_executor_are_inherited(self) -> None:
        class Base(Job, abstract=True, queue="low", priority=7, retention=timedelta(days=2), executor="thread"): ...

        class Derived(Base, kind="options.Derived"):
            def perform(self) -> None: ...

        class Grandchild(Derived, kind="options.Grandchild"): ...

        for made in (Derived(), Grandchild()):
            options = made._definition.options
            assert (made.queue, made.priority) == ("low", 7)
            assert (options.retention, options.executor) == (172_800.0, "thread")

    def test_what_the_derived_class_says_wins_also_when_it_is_zero(self) -> None:
        class Base(Job, abstract=True, queue="low", priority=7, retention=60): ...

        class Derived(Base, kind="options.Zero", priority=0, retention=0, queue="high"):
            async def perform(self) -> None: ...

        made = Derived()
        assert (made.queue, made.priority, made._definition.options.retention) == ("high", 0, 0.0)

    def test_abstract_is_not_inherited_and_an_abstract_class_makes_no_job(self) -> None:
        class Base(Job, abstract=True):
            n: int = 1

        class Derived(Base, kind="options.Concrete"):
            async def perform(self) -> None: ...

        assert Derived().arguments == {"n": 1}
        with pytest.raises(InvalidDefinition, match="is abstract"):
            Base()
        with pytest.raises(InvalidDefinition, match="is abstract"):
            Job()

    def test_an_abstract_class_below_a_concrete_one_makes_no_job_either(self) -> None:
        class Concrete(Job, kind="options.Above"):
            async def perform(self) -> None: ...

        class Again(Concrete, abstract=True): ...

        with pytest.raises(InvalidDefinition, match="Again is abstract"):
            Again()

    def test_arguments_come_base_classes_first(self) -> None:
        class Base(Job, abstract=True):
            a: int
            b: int = 2

        class Derived(Base, kind="options.Order"):
            c: int = 3

            async def perform(self) -> None: ...

        assert list(Derived(a=1).arguments) == ["a", "b", "c"]


class TestFields:
    def test_class_variables_and_names_with_an_underscore_are_no_arguments(self) -> None:
        class Counting(Job, kind="options.Counting"):
            made: ClassVar[int] = 0
            bare: ClassVar = "x"
            _secret: int = 5
            n: int = 1

            async def perform(self) -> int:
                return self._secret

        assert Counting().arguments == {"n": 1}
        for name in ("made", "bare", "_secret"):
            with pytest.raises(InvalidArguments, match=name):
                Counting(**{name: 1})
        assert Counting._secret == 5

    def test_a_mutable_default_is_copied_for_each_job(self) -> None:
        class Tagged(Job, kind="options.Tagged"):
            tags: list[str] = []

            async def perform(self) -> None: ...

        first, second = Tagged(), Tagged()
        first.tags.append("x")
        assert (first.tags, second.tags, Tagged().tags, Tagged.tags) == (["x"], [], [], [])

    def test_fields_are_given_by_name_only(self) -> None:
        class Named(Job, kind="options.Named"):
            n: int

            async def perform(self) -> None: ...

        with pytest.raises(InvalidArguments, match="by name"):
            Named(1)


class TestACallableQueue:
    def test_it_is_asked_at_enqueue_with_the_job(self) -> None:
        class Sharded(Job, kind="options.Sharded", queue=lambda job: f"shard_{job.n % 3}"):
            n: int

            async def perform(self) -> None: ...

        made = Sharded(n=4)
        assert made.queue == "shard_1"
        made.n = 5
        assert made.queue == "shard_2"

    def test_a_function_jobs_callable_sees_the_arguments_by_name(self) -> None:
        @job(kind="options.sharded", queue=lambda job: f"user_{job.arguments['user_id']}")
        async def sharded(user_id: int) -> None: ...

        assert sharded(9).queue == "user_9"

    def test_set_wins_over_it(self) -> None:
        @job(kind="options.overridden", queue=lambda job: 1 / 0)
        async def overridden() -> None: ...

        assert overridden().set(queue="mine").queue == "mine"

    @pytest.mark.parametrize("given", ["", "no spaces", None, 3])
    def test_what_it_returns_must_name_a_queue(self, given: Any) -> None:
        @job(kind=f"options.returns.{given!r}".strip(), queue=lambda job: given)
        async def returning() -> None: ...

        with pytest.raises(InvalidOption, match="is no queue name"):
            _ = returning().queue


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"queue": "no spaces"}, "queue="),
        ({"queue": ""}, "queue="),
        ({"queue": 7}, "queue="),
        ({"priority": 40_000}, "priority="),
        ({"priority": True}, "priority="),
        ({"priority": 1.5}, "priority="),
        ({"priority": "5"}, "priority="),
        ({"retention": -1}, "retention="),
        ({"retention": float("nan")}, "retention="),
        ({"retention": timedelta.max}, "retention="),
        ({"retention": 10**400}, "retention="),
        ({"executor": "process"}, "executor="),
        ({"executor": "gpu"}, "executor="),
        ({"retries": 5}, "no option 'retries'"),
    ],
)
def test_an_option_out_of_its_limits_is_refused_and_the_definition_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidDefinition, match=named) as of_function:

        @job(kind="options.refused", **options)
        async def refused() -> None: ...

    with pytest.raises(InvalidDefinition, match=named) as of_class:

        class Refused(Job, kind="options.Refused", **options):
            async def perform(self) -> None: ...

    assert "refused" in str(of_function.value)
    assert "Refused" in str(of_class.value)


class TestExecutor:
    def test_it_follows_from_the_code(self) -> None:
        @job(kind="options.on_loop")
        async def on_loop() -> None: ...

        @job(kind="options.in_thread")
        def in_thread() -> None: ...

        assert on_loop._definition.executor == "loop"
        assert in_thread._definition.executor == "thread"

    def test_one_that_does_not_suit_the_code_is_refused(self) -> None:
        with pytest.raises(InvalidDefinition, match="is an `async def`"):

            @job(kind="options.wrong_thread", executor="thread")
            async def wrong_thread() -> None: ...

        with pytest.raises(InvalidDefinition, match="would block the loop"):

            class WrongLoop(Job, kind="options.WrongLoop", executor="loop"):
                def perform(self) -> None: ...

    def test_an_inherited_one_is_checked_too(self) -> None:
        class Threaded(Job, abstract=True, executor="thread"): ...

        with pytest.raises(InvalidDefinition, match="is an `async def`"):

            class OnLoop(Threaded, kind="options.InheritedWrong"):
                async def perform(self) -> None: ...
