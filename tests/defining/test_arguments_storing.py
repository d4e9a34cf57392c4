"""What JSON and PostgreSQL cannot hold is refused when the job is made: the rows B01 to B18 and B31 of the atlas."""

import asyncio
import enum
import math
import socket
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from pydantic import BaseModel

from asyncjobs.exceptions import InvalidArguments
from asyncjobs.values import codec as plain
from asyncjobs.values.arguments import MAX_ARGUMENT_BYTES, MISSING, ArgumentCodec, Parameter


class Level(enum.IntEnum):
    LOW = 1


class Shade(enum.StrEnum):
    DARK = "dark"


@dataclass
class Point:
    x: float = 0.0
    label: str = ""
    extra: Any = None


class Model(BaseModel):
    x: float = 0.0
    label: str = ""
    extra: Any = None


def codec_for(annotation=MISSING):
    return ArgumentCodec("app.send", [Parameter("x", annotation)])


def round_trip(annotation, value):
    codec = codec_for(annotation)
    return codec.load(codec.dump(codec.bind((value,), {})))["x"]


def refused(annotation, value):
    codec = codec_for(annotation)
    with pytest.raises(InvalidArguments) as caught:
        codec.dump(codec.bind((value,), {}))
    return dict(caught.value.problems)


def stored(annotation, text):
    codec = codec_for(annotation)
    with pytest.raises(InvalidArguments, match="invalid stored arguments") as caught:
        codec.load(text)
    return dict(caught.value.problems)


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (MISSING, "a\x00b", "x"),
        (str, "a\x00b", "x"),
        (list[str], ["a", "\x00"], "x[1]"),
        (dict, {"rows": [{"name": "\x00"}]}, "x.rows[0].name"),
        (Point, Point(label="\x00"), "x.label"),
        (Model, Model(label="\x00"), "x.label"),
    ],
)
def test_b01_nul_in_a_value_is_refused_by_its_path(annotation, value, path):
    assert "NUL" in refused(annotation, value)[path]


@pytest.mark.parametrize("annotation", [MISSING, dict, dict[str, int]])
def test_b02_nul_in_a_key_is_refused(annotation):
    assert r"the key 'a\x00'" in refused(annotation, {"a\x00": 1})["x"]


@pytest.mark.parametrize("annotation", [MISSING, str])
@pytest.mark.parametrize("text", [r"\u0000", r"\\u0000", "\\", "\\\\u0000x", 'a"\\u0000'])
def test_b04_literal_backslash_u0000_passes_unchanged(annotation, text):
    assert round_trip(annotation, text) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("annotation", "wrap", "path"),
    [
        (MISSING, lambda value: value, "x"),
        (float, lambda value: value, "x"),
        (list, lambda value: [1, {"a": value}], "x[1].a"),
        (list[float], lambda value: [1, value], "x[1]"),
        (dict[str, float | None], lambda value: {"a": value}, "x.a"),
        (Point, Point, "x.x"),
        (Point, lambda value: Point(extra=[value]), "x.extra[0]"),
        (list[Model], lambda value: [Model(x=value)], "x[0].x"),
        (Model, lambda value: Model(extra=value), "x.extra"),
    ],
)
def test_b05_nan_and_the_infinities_are_refused_wherever_they_stand(annotation, wrap, path, value):
    assert path in refused(annotation, wrap(value))


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**30])
@pytest.mark.parametrize("annotation", [MISSING, int, Any])
def test_b06_an_int_past_64_bits_is_refused_with_the_hint_str(annotation, value):
    assert "pass" in refused(annotation, value)["x"]
    assert "str" in refused(annotation, value)["x"]


def test_b06_an_int_past_64_bits_is_refused_inside_a_users_model():
    assert "64 bits" in refused(Point, Point(extra={"n": 2**64}))["x.extra.n"]


@pytest.mark.parametrize("value", [2**53, 2**53 + 1, 2**63, 2**64 - 1, -(2**63)])
@pytest.mark.parametrize("annotation", [MISSING, int])
def test_b07_an_int_within_64_bits_comes_back_exactly(annotation, value):
    assert round_trip(annotation, value) == value


def test_b08_a_stored_int_of_30_digits_is_read_exactly_or_refused():
    text = '{"x": 123456789012345678901234567890}'
    assert "64 bits" in stored(int, text)["x"]
    assert codec_for().load(text) == {"x": 123456789012345678901234567890}
    assert isinstance(codec_for().load(text)["x"], int)


@pytest.mark.parametrize("number", ["1e400", "-1E+400", "1" * 400 + ".0"])
@pytest.mark.parametrize("annotation", [MISSING, float, list, dict[str, Any]])
def test_b09_a_stored_number_too_large_for_a_float_is_refused(annotation, number):
    wrapped = {list: f"[{number}]", dict[str, Any]: f'{{"a": {number}}}'}.get(annotation, number)
    assert stored(annotation, f'{{"x": {wrapped}}}')


def test_b09_text_that_only_looks_like_a_large_number_is_read():
    assert codec_for().load('{"x": "1e400"}') == {"x": "1e400"}
    assert codec_for().load('{"x": 1e300}') == {"x": 1e300}


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [201, 253, 254, 260, 5_000])
@pytest.mark.parametrize("annotation", [MISSING, list, Any, Point])
def test_b10_a_value_nested_too_deep_is_refused(annotation, depth):
    value = Point(extra=nested(depth)) if annotation is Point else nested(depth)
    (problem,) = refused(annotation, value).values()
    assert "deep" in problem


@pytest.mark.parametrize("depth", [1, 150, 199])
def test_b10_whatever_depth_is_stored_can_be_read(depth):
    assert round_trip(MISSING, nested(depth)) == nested(depth)


@pytest.mark.parametrize("depth", [260, 2_000, 100_000])
def test_b10_a_stored_value_nested_too_deep_fails_alone(depth):
    assert stored(MISSING, '{"x": ' + "[" * depth + "]" * depth + "}")


def test_b10_many_shallow_brackets_are_not_deep():
    rows = [{"a": [i]} for i in range(1_000)]
    assert round_trip(MISSING, rows) == rows
    assert round_trip(str, "[" * 1_000) == "[" * 1_000


@pytest.mark.parametrize("annotation", [MISSING, list, dict, Any, Point])
def test_b11_a_circular_value_is_refused(annotation):
    inner: list[Any] = []
    inner.append(inner)
    value = {"a": inner} if annotation is dict else Point(extra=inner) if annotation is Point else inner
    (problem,) = refused(annotation, value).values()
    assert "ircular" in problem


async def a_coroutine(): ...


@pytest.mark.parametrize(
    "make",
    [
        lambda: {1},
        lambda: frozenset(),
        lambda: b"a",
        lambda: bytearray(b"a"),
        lambda: Decimal(1),
        object,
        Point,
        Model,
        lambda: (i for i in []),
        asyncio.Lock,
        socket.socket,
        lambda: print,
        lambda: int,
        lambda: 1j,
        lambda: Path("/"),
        lambda: (1, 2),
        lambda: NamedTuple("Pair", [("a", int)])(1),
        uuid4,
        lambda: date(2026, 1, 1),
        lambda: datetime(2026, 1, 1, tzinfo=UTC),
        lambda: time(1),
        lambda: timedelta(1),
        lambda: enum.Enum("E", "A").A,
    ],
)
def test_b12_b13_what_plain_json_cannot_give_back_is_refused_by_path_type_and_remedy(make):
    value = make()
    problem = refused(MISSING, {"rows": [value]})["x.rows[0]"]
    assert type(value).__qualname__ in problem
    assert "annotate it, or pass" in problem
    assert "x" in refused(Any, value)
    if isinstance(value, socket.socket):
        value.close()


def test_b12_a_coroutine_is_refused():
    coroutine = a_coroutine()
    assert "coroutine" in refused(MISSING, coroutine)["x"]
    coroutine.close()


def test_str_and_int_subclasses_are_plain_json():
    class Name(str):
        __slots__ = ()

    value = [Level.LOW, Shade.DARK, Name("a"), OrderedDict(a=1)]
    assert round_trip(MISSING, value) == [1, "dark", "a", {"a": 1}]


def test_a_float_subclass_is_plain_json():
    class Ratio(float):
        __slots__ = ()

    assert round_trip(MISSING, [Ratio(0.5)]) == [0.5]
    assert "x" in refused(MISSING, Ratio("nan"))


@pytest.mark.parametrize("annotation", [MISSING, dict, dict[str, int], Any, dict[str, Any]])
def test_b15_a_key_that_is_no_str_is_refused_where_none_is_annotated(annotation):
    assert refused(annotation, {1: 2})


def test_b15_annotated_keys_come_back():
    assert round_trip(dict[int, str], {1: "a"}) == {1: "a"}


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (MISSING, "\ud800", "x"),
        (str, "\ud800", "x"),
        (list[str], ["a", "\udfff"], "x[1]"),
        (dict, {"a": "\ud800"}, "x.a"),
        (dict, {"\ud800": 1}, "x"),
        (dict[str, int], {"\ud800": 1}, "x"),
        (list[dict[str, int]], [{"\ud800": 1}], "x[0]"),
        (Point, Point(extra={"a": [{"\ud800": 1}]}), "x.extra.a[0]"),
        (Model, Model(extra={"\ud800": 1}), "x.extra"),
        (Point, Point(label="\ud800"), "x.label"),
        (Point, Point(extra="\ud800"), "x.extra"),
    ],
)
def test_b16_a_lone_surrogate_is_refused(annotation, value, path):
    assert "surrogate" in refused(annotation, value)[path]


@pytest.mark.parametrize("annotation", [MISSING, dict[str, int]])
def test_b16_a_real_replacement_character_passes(annotation):
    assert round_trip(annotation, {"\ufffd": 1}) == {"\ufffd": 1}


def test_b17_arguments_that_do_not_fit_are_refused_when_the_job_is_made():
    codec = codec_for(int)
    for args, kwargs in [((), {}), ((1, 2), {}), (("a",), {}), ((1,), {"y": 2}), ((None,), {})]:
        with pytest.raises(InvalidArguments, match=r"^app\.send: invalid arguments: "):
            codec.bind(args, kwargs)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"x": "a"}',
        '{"x": 1, "y": 2}',
        '"str"',
        "[]",
        "null",
        "",
        "{",
        "\x00",
        '{"x": 1}}',
        '{"x": NaN}',
        '{"x": Infinity}',
        "🦊",
        '{"x": "\\ud800"}',
    ],
)
def test_b18_a_row_that_does_not_fit_is_refused_alone(text):
    assert stored(int, text)


def test_b18_the_problem_of_a_row_names_field_and_remedy():
    assert stored(int, "{}") == {"x": "is missing; correct the row, or give the parameter a default"}
    assert stored(int, '{"x": "a"}')["x"].endswith(
        "; correct the row, or in a chain the result of the job before: the job takes int"
    )
    assert stored(int, "nonsense")["arguments"].startswith("the stored text is not JSON")


def test_b18_a_key_that_older_code_did_not_store_takes_its_default():
    codec = ArgumentCodec("k", [Parameter("x", int), Parameter("on", date, date(2026, 1, 1))])
    assert codec.load('{"x": "7"}') == {"x": 7, "on": date(2026, 1, 1)}


def test_b31_one_byte_over_the_limit_is_refused_by_size_and_limit():
    room = MAX_ARGUMENT_BYTES - len('{"x":""}')
    assert len(codec_for(str).dump({"x": "a" * room})) == MAX_ARGUMENT_BYTES
    problem = refused(str, "a" * (room + 1))["x"]
    assert "262,145 bytes" in problem
    assert "limit is 262,144" in problem


def test_b31_the_limit_counts_bytes_not_characters():
    assert "bytes" in refused(str, "🦊" * (MAX_ARGUMENT_BYTES // 4))["x"]
    assert round_trip(str, "é" * (MAX_ARGUMENT_BYTES // 2 - 10))


def test_b31_the_largest_argument_is_the_one_named():
    codec = ArgumentCodec("k", [Parameter("a", str), Parameter("b", str)])
    with pytest.raises(InvalidArguments, match=r"b: the JSON takes"):
        codec.dump(codec.bind(("a" * 1_000, "b" * 300_000), {}))


def test_a_users_dataclass_may_have_fields_that_are_no_arguments_of_its_own():
    @dataclass
    class Counted:
        a: int
        twice: int = field(init=False, default=0)

    assert round_trip(Counted, Counted(2)) == Counted(2)


def test_a_users_object_that_does_not_keep_its_own_annotations_is_refused_by_field():
    problem = refused(list[Point], [Point(x="1.5")])["x"]
    assert problem == "x holds str where float is annotated; pass values of the annotated types"


def test_plain_json_reads_and_writes_for_the_whole_project():
    assert plain.dumps({"a": [1, "é"]}) == '{"a":[1,"é"]}'
    assert plain.loads('{"a":[1,"é"]}') == {"a": [1, "é"]}
    for bad in ("", "{", "nope", '{"a":NaN}'):
        with pytest.raises(ValueError):
            plain.loads(bad)
    with pytest.raises(TypeError):
        plain.dumps(object())
