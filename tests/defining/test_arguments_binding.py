"""Arguments are bound to names and checked against the annotations when the job is made."""

import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, Field, Json, NaiveDatetime

from asyncjobs.exceptions import InvalidArguments, InvalidDefinition
from asyncjobs.values.arguments import ArgumentCodec, Parameter, parameters_of_function


def codec_of(function):
    return ArgumentCodec("app.send", parameters_of_function(function))


def send(user_id: int, template: str = "hello", *, tags: list[str] = []):  # noqa: B006
    raise NotImplementedError


def refused(codec, *args, **kwargs):
    with pytest.raises(InvalidArguments) as caught:
        codec.dump(codec.bind(args, kwargs))
    return dict(caught.value.problems)


def test_arguments_are_bound_by_position_by_name_and_by_default():
    codec = codec_of(send)
    assert codec.bind((42,), {}) == {"user_id": 42, "template": "hello", "tags": []}
    assert codec.bind((42, "bye"), {"tags": ["a"]}) == {"user_id": 42, "template": "bye", "tags": ["a"]}
    assert codec.bind((), {"user_id": 42})["user_id"] == 42


def test_defaults_are_stored():
    codec = codec_of(send)
    assert codec.dump(codec.bind((42,), {})) == '{"user_id":42,"template":"hello","tags":[]}'


@pytest.mark.parametrize("default", [[], [1], {}, {"a": [1]}, {1}])
def test_a_mutable_default_is_copied_for_every_job(default):
    codec = ArgumentCodec("k", [Parameter("x", type(default), default)])
    before = copy.deepcopy(default)
    first, second = codec.bind((), {})["x"], codec.bind((), {})["x"]
    first.clear()
    first.add(7) if isinstance(first, set) else None
    assert second == before
    assert default == before
    assert codec.load("{}")["x"] == before


def test_a_default_factory_is_called_for_every_job():
    codec = ArgumentCodec("k", [Parameter("x", list[int], default_factory=lambda: ["1"])])
    first, second = codec.bind((), {})["x"], codec.bind((), {})["x"]
    assert first == second == [1]
    assert first is not second


def test_a_default_that_does_not_fit_its_annotation_is_refused():
    codec = ArgumentCodec("k", [Parameter("x", int, None)])
    assert "valid integer" in refused(codec)["x"]


def test_all_problems_are_told_at_once():
    problems = refused(codec_of(send), 1, 2, 3, user_id=1, tmplate="x", tags=5)
    assert problems["user_id"] == "given by position and by name; give it once"
    assert problems["arguments"] == "3 given by position, at most 2 are taken; pass tags by name"
    assert problems["template"] == "should be a valid string, got 2; pass str"
    assert problems["tmplate"] == "no argument of this job; did you mean template?"
    assert problems["tags"] == "should be a valid list, got 5; pass list[str]"


def test_a_missing_argument_is_named():
    assert refused(codec_of(send)) == {"user_id": "is missing; pass it"}


def test_an_unknown_argument_is_answered_with_the_nearest_one_or_the_list():
    codec = codec_of(send)
    assert refused(codec, 1, usr_id=1)["usr_id"].endswith("did you mean user_id?")
    assert refused(codec, 1, zzz=1)["zzz"].endswith("it takes user_id, template, tags")
    assert refused(ArgumentCodec("k", []), zzz=1)["zzz"].endswith("it takes none")


def test_too_many_arguments_for_a_job_without_any_are_refused():
    assert "leave the rest out" in refused(ArgumentCodec("k", []), 1)["arguments"]


def test_values_are_read_in_the_lax_mode_of_pydantic():
    assert codec_of(send).bind(("42",), {})["user_id"] == 42
    assert codec_of(send).bind((True,), {})["user_id"] == 1


def test_an_error_never_holds_more_than_60_characters_of_a_value():
    secret = "s" * 10_000
    for codec, value in [
        (ArgumentCodec("k", [Parameter("x", int)]), secret),
        (ArgumentCodec("k", [Parameter("x", int)]), secret.encode()),
        (ArgumentCodec("k", [Parameter("x", int)]), [secret] * 100),
        (ArgumentCodec("k", [Parameter("x", dict[int, int])]), {secret: 1}),
        (ArgumentCodec("k", [Parameter("x", str)]), 10**5000),
        (ArgumentCodec("k", [Parameter("x")]), {secret: object()}),
        (ArgumentCodec("k", [Parameter("x")]), {"\x00" + secret: 1}),
    ]:
        text = " ".join(" ".join(problem) for problem in refused(codec, value).items())
        assert text.count("s" * 61) == 0
        assert len(text) < 400


def test_the_repr_of_a_strangers_object_is_never_called():
    class Shy:
        def __repr__(self):
            raise AssertionError

    assert "<" in refused(ArgumentCodec("k", [Parameter("x", int)]), Shy())["x"]
    assert "Shy" in refused(ArgumentCodec("k", [Parameter("x", int)]), [Shy()])["x"]


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (list[int], [1, "a"], "x[1]"),
        (dict[str, list[int]], {"a b": [1, "a"]}, "x['a b'][1]"),
        (list[int | str], [None], "x[0]"),
        (list[dict[str, int]] | None, [{"name": "a"}], "x[0].name"),
        (tuple[int, str], (1, 2), "x[1]"),
    ],
)
def test_a_problem_inside_a_container_is_named_by_its_path(annotation, value, path):
    assert list(refused(ArgumentCodec("k", [Parameter("x", annotation)]), value)) == [path]


def test_the_members_of_a_union_are_told_as_one_problem():
    problems = refused(ArgumentCodec("k", [Parameter("x", int | str)]), [])
    assert problems == {"x": "should be a valid integer or should be a valid string, got []; pass int | str"}


class TestB14NaiveDatetimes:
    """A datetime without a timezone is refused where it would be guessed."""

    @pytest.mark.parametrize(
        ("annotation", "wrap"),
        [
            (datetime, lambda value: value),
            (datetime | None, lambda value: value),
            (list[datetime], lambda value: [value]),
            (dict[str, tuple[datetime, ...]], lambda value: {"a": (value,)}),
            (Annotated[datetime, Field(description="when")], lambda value: value),
        ],
    )
    def test_a_naive_datetime_is_refused_with_the_remedy(self, annotation, wrap):
        codec = ArgumentCodec("k", [Parameter("x", annotation)])
        (problem,) = refused(codec, wrap(datetime(2026, 1, 1))).values()
        assert "without a timezone" in problem
        assert "pydantic.NaiveDatetime" in problem
        aware = wrap(datetime(2026, 1, 1, tzinfo=UTC))
        assert codec.load(codec.dump(codec.bind((aware,), {})))["x"] == aware

    def test_a_naive_datetime_is_taken_where_it_is_annotated(self):
        codec = ArgumentCodec("k", [Parameter("x", NaiveDatetime)])
        value = datetime(2026, 1, 1)
        assert codec.load(codec.dump(codec.bind((value,), {})))["x"] == value

    def test_a_users_own_dataclass_keeps_its_naive_datetimes(self):
        @dataclass
        class Row:
            at: datetime

        codec = ArgumentCodec("k", [Parameter("x", Row)])
        row = Row(datetime(2026, 1, 1))
        assert codec.load(codec.dump(codec.bind((row,), {})))["x"] == row


def test_what_was_assigned_after_binding_is_checked_before_it_is_stored():
    codec = codec_of(send)
    values = codec.bind((42,), {})
    values["user_id"] = "a"
    with pytest.raises(InvalidArguments, match="user_id: should be a valid integer"):
        codec.dump(values)


@pytest.mark.parametrize(("annotation", "given"), [(Json, "[1]"), (Annotated[int, AfterValidator(abs)], -1)])
def test_a_value_that_validation_changes_is_validated_once(annotation, given):
    codec = ArgumentCodec("k", [Parameter("x", annotation)])
    values = codec.bind((given,), {})
    assert codec.load(codec.dump(values)) == values


def test_a_function_is_called_with_its_arguments_those_by_position_only_too():
    def function(a: int, /, b: int, *, c: int = 3) -> tuple[int, int, int]:
        return a, b, c

    codec = codec_of(function)
    assert codec.call(function, codec.bind((1, 2), {})) == (1, 2, 3)
    assert codec.call(function, codec.load('{"a": 1, "b": 2, "c": 4}')) == (1, 2, 4)
    assert codec_of(send)._positional == ("user_id", "template")


class TestSignatures:
    """A signature that JSON by name cannot carry is refused when the job is defined."""

    def test_star_args_are_refused_with_the_remedy(self):
        def function(*rows: int): ...

        with pytest.raises(InvalidDefinition, match=r"\*rows .* use a list parameter"):
            parameters_of_function(function)

    def test_star_star_kwargs_are_refused_with_the_remedy(self):
        def function(**options: int): ...

        with pytest.raises(InvalidDefinition, match=r"\*\*options .* use a dict parameter"):
            parameters_of_function(function)

    def test_a_name_with_an_underscore_in_front_is_refused(self):
        def function(_x: int): ...

        with pytest.raises(InvalidDefinition, match="_x begins with an underscore"):
            parameters_of_function(function)

    def test_an_annotation_that_cannot_be_resolved_is_named(self):
        def function(x: "Nowhere"): ...  # noqa: F821

        with pytest.raises(InvalidDefinition, match="'Nowhere' is not defined.*TYPE_CHECKING"):
            parameters_of_function(function)

    def test_annotations_keep_their_extras(self):
        def function(x: Annotated[int, Field(gt=0)], y): ...

        x, y = parameters_of_function(function)
        assert "greater than 0" in refused(ArgumentCodec("k", [x]), 0)["x"]
        assert (y.annotation, y.default) == (Parameter("y").annotation, Parameter("y").default)


def test_an_unannotated_argument_any_and_object_take_the_same_plain_json():
    for annotation in (Parameter("x").annotation, Any, object):
        codec = ArgumentCodec("k", [Parameter("x", annotation)])
        assert codec.bind(({"a": [1]},), {}) == {"x": {"a": [1]}}
        assert "x[0]" in refused(codec, [{1}])
