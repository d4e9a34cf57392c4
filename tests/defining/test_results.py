"""A result is stored as JSON and read by whoever awaits the job."""

import inspect
from dataclasses import dataclass
from datetime import date
from typing import Any, Never, NoReturn

import pytest
from pydantic import BaseModel

from asyncjobs.exceptions import InvalidArguments, InvalidDefinition
from asyncjobs.values.arguments import MAX_RESULT_BYTES, MISSING, ValueCodec


@dataclass
class Report:
    day: date
    rows: list[int]


class Model(BaseModel):
    day: date


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (int, 5, "5"),
        (str, "a", '"a"'),
        (str | None, "a", '"a"'),
        (bytes, b"\xff\x00", '"_wA="'),
        (Report, Report(date(2026, 1, 1), [1]), '{"day":"2026-01-01","rows":[1]}'),
        (Model, Model(day=date(2026, 1, 1)), '{"day":"2026-01-01"}'),
        (list[Model], [Model(day=date(2026, 1, 1))], '[{"day":"2026-01-01"}]'),
        (tuple[int, ...], (1, 2), "[1,2]"),
        (MISSING, {"a": [1]}, '{"a":[1]}'),
        (Any, [1], "[1]"),
        (object, False, "false"),
    ],
)
def test_a_result_comes_back_with_its_type(annotation, value, text):
    codec = ValueCodec("k", annotation)
    assert codec.dump(value) == text
    assert codec.load(text) == value
    assert type(codec.load(text)) is type(value)


@pytest.mark.parametrize("annotation", [None, type(None), NoReturn, Never, int | None, int, MISSING])
def test_none_is_stored_as_no_result(annotation):
    codec = ValueCodec("k", annotation)
    assert codec.dump(None) is None
    assert codec.load(None) is None


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (int, "a", "result"),
        (None, 5, "result"),
        (MISSING, {"rows": [{1}]}, "result.rows[0]"),
        (MISSING, object(), "result"),
        (MISSING, float("nan"), "result"),
        (str, "a\x00", "result"),
        (dict, {"a": "\ud800"}, "result.a"),
        (MISSING, 2**64, "result"),
        (Report, Report(date(2026, 1, 1), [2**64]), "result.rows[0]"),
    ],
)
def test_b32_a_result_that_cannot_be_stored_is_refused_by_its_path(annotation, value, path):
    with pytest.raises(InvalidArguments, match=r"^app\.send: invalid result: ") as caught:
        ValueCodec("app.send", annotation).dump(value)
    assert [place for place, _ in caught.value.problems] == [path]


@pytest.mark.parametrize("annotation", [MISSING, str])
def test_a_coroutine_is_said_to_be_one_that_nobody_awaited(annotation):
    async def step():
        raise AssertionError

    made = step()
    try:
        with pytest.raises(InvalidArguments, match="result: a coroutine that was not awaited"):
            ValueCodec("app.send", annotation).dump(made)
        assert inspect.getcoroutinestate(made) == inspect.CORO_CLOSED
    finally:
        made.close()  # whatever is broken, no other test is to be told of it


def test_b32_a_result_over_the_limit_is_refused_by_size_and_limit():
    codec = ValueCodec("k", str)
    assert codec.dump("a" * 1_000_000)
    with pytest.raises(InvalidArguments, match=r"limit is 1,048,576"):
        codec.dump("a" * MAX_RESULT_BYTES)


@pytest.mark.parametrize("text", ['"a"', "", "{", '1, "x": 2', "1}", "null"])
def test_a_stored_result_that_does_not_fit_is_refused(text):
    with pytest.raises(InvalidArguments, match="invalid stored result"):
        ValueCodec("k", int).load(text)


def test_a_result_annotation_that_cannot_be_stored_is_refused():
    with pytest.raises(InvalidDefinition, match=r"app\.send: result: .*cannot be stored"):
        ValueCodec("app.send", type(pytest))
