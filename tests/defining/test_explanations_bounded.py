"""Errors about arguments stay short, whatever was given, and tell nothing of what is stored."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pydantic
import pytest
from pydantic import BaseModel, Field

from asyncjobs.exceptions import InvalidArguments, OtherVersion
from asyncjobs.values.arguments import MISSING, ArgumentCodec, Parameter, ValueCodec
from asyncjobs.values.explanations import MOST_EXPLAINED
from asyncjobs.values.shape import MOST_STORED


def codec(annotation: Any = MISSING) -> ArgumentCodec:
    return ArgumentCodec("k", [Parameter("x", annotation)])


def refused(call: Any) -> InvalidArguments:
    with pytest.raises(InvalidArguments) as caught:
        call()
    return caught.value


def test_the_first_problems_are_explained_and_the_rest_is_counted() -> None:
    error = refused(lambda: codec(list[int]).bind((), {"x": [None] * 4_000}))
    assert error.problems[MOST_EXPLAINED - 1][0] == f"x[{MOST_EXPLAINED - 1}]"
    assert error.problems[MOST_EXPLAINED:] == [("…", "3,980 more like these")]


@pytest.mark.parametrize("annotation", [list[int], set[int], list[int | float | bool | bytes], list[list[int]]])
def test_of_very_many_wrong_items_the_first_is_told(annotation: Any) -> None:
    wrong: list[Any] = [[None] * 1_000] * 300 if annotation == list[list[int]] else [{}] * 300_000
    for error in (
        refused(lambda: codec(annotation).bind((), {"x": wrong})),
        refused(lambda: ValueCodec("k", annotation).dump(wrong)),
        refused(lambda: codec(annotation).load('{"x": [' + ",".join(["{}"] * 100_000) + "]}")),
    ):
        assert len(error.problems) <= MOST_EXPLAINED + 1
        assert len(str(error)) < 1_000
        assert "the first wrong one of each list" in str(error)


def test_a_dict_with_very_many_wrong_values_says_the_first() -> None:
    error = refused(lambda: codec(dict[str, int]).bind((), {"x": {str(n): None for n in range(300_000)}}))
    assert error.problems[0][0] == "x['0']"
    assert len(error.problems) == 2


def test_unknown_names_of_a_row_are_counted_and_may_be_another_versions() -> None:
    for many in (4_000, 60_000):
        text = "{" + ",".join(f'"n{number}":0' for number in range(many)) + "}"
        error = refused(lambda text=text: codec(int).load(text))
        assert type(error) is OtherVersion
        assert len(error.problems) <= MOST_EXPLAINED + 2
        assert len(str(error)) < 3_000


def test_likenesses_are_sought_for_the_names_that_are_told_and_for_none_that_is_long(monkeypatch) -> None:
    sought: list[str] = []

    def get_close_matches(name: str, *_: object) -> list[str]:
        sought.append(name)
        return []

    monkeypatch.setattr("difflib.get_close_matches", get_close_matches)
    for names in ([f"n{number}" for number in range(30_000)], ["x" * 500_000]):
        text = "{" + ",".join(f'"{name}":0' for name in names) + "}"
        assert type(refused(lambda text=text: codec(int).load(text))) is OtherVersion
    assert sought == [f"n{number}" for number in range(MOST_EXPLAINED)]


def test_a_text_that_python_would_not_store_is_refused_before_it_is_read() -> None:
    text = '{"x": "' + "a" * MOST_STORED + '"}'
    assert "takes 1,048,585 bytes" in str(refused(lambda: codec(str).load(text)))
    assert "at most 1,048,576 are read" in str(refused(lambda: codec().load(text)))


def test_the_largest_result_is_read() -> None:
    kept = ValueCodec("k", str)
    text = kept.dump("a" * (MOST_STORED - len('{"result":""}')))
    assert kept.load(text) == "a" * (MOST_STORED - len('{"result":""}'))


class Card(BaseModel):
    sort: Literal["card"]
    number: int


class Cash(BaseModel):
    sort: Literal["cash"]


class Shade(Enum):
    DARK = "dark"


class Strict(BaseModel, extra="forbid"):
    a: int = 0


STORED: Mapping[str, tuple[Any, str]] = {
    "text for an int": (int, '"card 4111"'),
    "a uuid": (UUID, '"4111-z"'),
    "a date": (date, '"4111-99-99"'),
    "a time": (datetime, '"4111x"'),
    "a decimal": (Decimal, '"x4111"'),
    "an enum": (Shade, '"4111"'),
    "bytes": (bytes, '"4111!"'),
    "an item": (list[int], '[1, "4111x"]'),
    "a key": (dict[str, int], '{"card 4111": "no"}'),
    "a key that is a name": (dict[str, int], '{"card4111": "no"}'),
    "a key that is no int": (dict[int, int], '{"4111x": 1}'),
    "a tag": (Annotated[Card | Cash, Field(discriminator="sort")], '{"sort": "4111"}'),
    "a field": (Card, '{"sort": "card", "number": "4111x"}'),
    "a name of no field": (Strict, '{"card4111": 1}'),
    "a mail address": (Annotated[str, Field(pattern="^a")], '"4111"'),
    "a large number": (MISSING, "4111e999"),
    "a url": (pydantic.HttpUrl, '"4111:"'),
}


@pytest.mark.parametrize("stored", STORED)
def test_no_message_about_a_row_holds_a_value_of_it(stored: str) -> None:
    annotation, text = STORED[stored]
    error = refused(lambda: codec(annotation).load(f'{{"x": {text}}}'))
    assert "4111" not in str(error)
    assert "x" in error.problems[0][0] or error.problems[0][0] == "arguments"


def test_fields_of_a_row_are_named_at_any_depth() -> None:
    error = refused(lambda: codec(dict[str, list[Card]]).load('{"x": {"secret": [{"sort": "card", "number": "no"}]}}'))
    assert error.problems[0][0] == "x[…][0].number"
