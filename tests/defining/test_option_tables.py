"""One table of a job's options, one of a step's: everything that takes, refuses or documents an option follows them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from asyncjobs import InvalidCall, InvalidDefinition, InvalidOption, Job, Limit, Rate, Unique, job, step
from asyncjobs.checks.option_tables import Option, options_in
from asyncjobs.definitions.options import IN_SET, OF_CLASS, OF_FUNCTION, ClassOptions, JobOptions, Options, SetOptions
from asyncjobs.steps.step_decorator import OF_STEP, StepArguments, StepOptions
from tests.support.pages import page

PAGE = page("docs/guides/jobs.md").text
WRONG: dict[str, Any] = {
    "kind": "",
    "aliases": "one",
    "queue": "no spaces",
    "priority": 1.5,
    "timeout": 0,
    "expires_in": "60",
    "retention": -1,
    "max_crashes": 0,
    "dropped": "lang",
    "executor": "gpu",
    "unique": "user_id",
    "concurrency": 3,
    "rate_limit": "10/m",
    "searchable": "user_id",
    "meta": "source",
    "tags": "import",
    "schedule": "61 * * * *",
    "timezone": "Mars/Olympus",
    "catch_up": "some",
    "overlap": "never",
    "jitter": "1m",
    "abstract": "yes",
    "wait": -1,
    "at": "tomorrow",
    "isolated": None,
    "when": 5,
    "unless": 5,
    "on_error": 5,
    "retry": 5,
    "formerly": 5,
}
"""By option: a value that it cannot have; an option without one is not tested."""


@job(kind="tables.plain")
async def plain() -> None: ...


def make_function(**given: Any) -> Any:
    given.setdefault("kind", "tables.function")

    @job(**given)
    async def function() -> None: ...

    return function


def make_class(**given: Any) -> Any:
    given.setdefault("kind", "tables.Class")

    class Class(Job, **given):
        async def perform(self) -> None: ...

    return Class


TAKERS: list[tuple[Callable[..., Any], Mapping[str, Option], type, type[Exception], type[Exception]]] = [
    (make_function, OF_FUNCTION, JobOptions, InvalidDefinition, InvalidDefinition),
    (make_class, OF_CLASS, ClassOptions, InvalidDefinition, InvalidDefinition),
    (lambda **given: plain().set(**given), IN_SET, SetOptions, InvalidOption, InvalidCall),
    (step, OF_STEP, StepArguments, InvalidDefinition, InvalidDefinition),
]


@pytest.mark.parametrize(("options", "typed"), [taker[1:3] for taker in TAKERS])
def test_type_checkers_are_told_of_the_options_of_the_table(options: Mapping[str, Option], typed: Any) -> None:
    assert typed.__annotations__.keys() == options.keys()


@pytest.mark.parametrize(
    ("take", "name", "error"), [(take, name, error) for take, options, _, error, _ in TAKERS for name in options]
)
def test_a_wrong_value_is_refused_by_the_name_of_the_option(
    take: Callable[..., Any], name: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"{name}="):
        take(**{name: WRONG[name]})


@pytest.mark.parametrize(("take", "options", "error"), [(take, each, error) for take, each, _, _, error in TAKERS])
def test_an_unknown_option_is_told_from_those_that_there_are(
    take: Callable[..., Any], options: Mapping[str, Option], error: type[Exception]
) -> None:
    near = next(reversed(options))
    with pytest.raises(error, match=f"no option '{near}x': write {near}=…; there are {', '.join(options)}$"):
        take(**{f"{near}x": 1})


@pytest.mark.parametrize("name", [name for name in OF_FUNCTION if name not in IN_SET])
def test_set_says_where_an_option_of_definitions_belongs(name: str) -> None:
    with pytest.raises(InvalidCall, match=rf"{name}= belongs to the definition: @job\({name}=…\), or the class"):
        plain().set(**{name: 1})


@pytest.mark.parametrize("name", OF_FUNCTION.keys())
def test_none_is_the_same_as_nothing(name: str) -> None:
    kind = {"kind": f"tables.none.{name}"}
    assert make_function(**{**kind, name: None} if name != "kind" else kind)._definition.options == Options(**kind)


class TestInheritance:
    GIVEN: Mapping[str, Any] = {
        "kind": "tables.Base",
        "aliases": ("tables.Former",),
        "queue": "low",
        "priority": 7,
        "timeout": timedelta(minutes=1),
        "expires_in": 60,
        "retention": 5,
        "max_crashes": 1,
        "dropped": ("lang",),
        "executor": "loop",
        "unique": Unique(),
        "concurrency": Limit(1),
        "rate_limit": Rate(1, per=1),
        "searchable": (),
        "schedule": "@daily",
        "timezone": "Europe/Paris",
        "catch_up": "all",
        "overlap": "skip",
        "jitter": 5,
        "abstract": False,
    }

    def test_a_derived_class_has_all_that_is_inherited_and_else_the_defaults(self) -> None:
        assert self.GIVEN.keys() == OF_CLASS.keys()
        base = make_class(**self.GIVEN)

        class Derived(base, abstract=True): ...

        found, own = Derived._options, base._options
        expected = {name: getattr(own if each.inherited else Options(), name) for name, each in OF_CLASS.items()}
        expected["abstract"] = True
        assert {name: getattr(found, name) for name in OF_CLASS} == expected
        assert own.timeout == 60.0
        assert [name for name, each in OF_CLASS.items() if not each.inherited] == [
            "kind",
            "aliases",
            "schedule",
            "abstract",
        ]

    def test_former_arguments_are_added_to_those_of_the_bases(self) -> None:
        base = make_class(dropped=("a", "b"))

        class Derived(base, abstract=True, dropped=("b", "c")): ...

        assert Derived._options.dropped == ("a", "b", "c")


class TestSet:
    def test_what_it_said_last_holds_and_the_definition_for_the_rest(self) -> None:
        made = make_function(queue="low", priority=7)().set(queue="high")
        assert (made.queue, made.priority) == ("high", 7)
        made.set(priority=0).set(queue=None)
        assert (made.queue, made.priority) == ("high", 0)

    def test_a_refused_one_leaves_the_job_as_it_was(self) -> None:
        made = plain().set(queue="high")
        with pytest.raises(InvalidOption, match="wait="):
            made.set(queue="low", wait=-1)
        assert made.queue == "high"


class TestDocumentation:
    def test_the_table_of_the_documents_is_the_table(self) -> None:
        expected = [f"| `{name}` | {each.meaning} | {each.default} |" for name, each in OF_FUNCTION.items()]
        written = re.findall(r"^\| option \| meaning \| default \|\n.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
        assert [table.splitlines() for table in written] == [expected]

    @pytest.mark.parametrize(
        ("documented", "options"), [(job, OF_FUNCTION), (Job, OF_CLASS), (Job.set, IN_SET), (step, OF_STEP)]
    )
    def test_help_shows_every_option(self, documented: Any, options: Mapping[str, Option]) -> None:
        text = " ".join(inspect.getdoc(documented).split())
        for name, each in options.items():
            assert f"{name}: {each.meaning}." in text

    @pytest.mark.parametrize(("function", "options"), [(job, OF_FUNCTION), (plain().set, IN_SET), (step, OF_STEP)])
    def test_the_signature_names_every_option(self, function: Any, options: Mapping[str, Option]) -> None:
        by_name = [each for each in inspect.signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY]
        assert [each.name for each in by_name] == list(options)

    def test_a_default_of_the_table_is_what_holds(self) -> None:
        for table in (Options, StepOptions):
            made = table()
            assert {name: getattr(made, name) for name in options_in(table)} == {
                name: each.value for name, each in options_in(table).items()
            }
