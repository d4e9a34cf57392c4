"""Defaults as users of pydantic and of dataclasses write them."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from asyncjobs import InvalidArguments, InvalidDefinition, Job, job
from asyncjobs.values.arguments import ArgumentCodec, Parameter


class Card(BaseModel):
    kind: Literal["card"] = "card"


class Iban(BaseModel):
    kind: Literal["iban"] = "iban"


@job(kind="defaults.function")
async def function(
    card: Annotated[Card | Iban, Field(discriminator="kind")] = Field(default_factory=Iban),  # noqa: B008 - as users write it
    annotated: Annotated[int, Field(default=5, le=9)] = Field(ge=1),
    assigned: int = Field(5, ge=1),
    twice: Annotated[int, Field(default=1)] = 2,
) -> None: ...


class Fields(Job, kind="defaults.Fields"):
    required: int = Field(ge=1)
    rows: list[int] = Field(default_factory=list, max_length=2)
    tags: list[str] = dataclasses.field(default_factory=list)
    n: int = dataclasses.field(default=3)
    m: int = dataclasses.field()

    async def perform(self) -> None: ...


def test_those_of_a_function_are_bound_and_stored() -> None:
    assert function().arguments == {"card": Iban(), "annotated": 5, "assigned": 5, "twice": 2}
    assert function(annotated=7).arguments["annotated"] == 7


def test_what_makes_one_makes_one_for_each_job() -> None:
    first, second = Fields(required=1, m=1), Fields(required=1, m=1)
    assert first.arguments == {"required": 1, "rows": [], "tags": [], "n": 3, "m": 1}
    first.rows.append(1)
    first.tags.append("a")
    assert (second.rows, second.tags) == ([], [])


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (lambda: Fields(), ["required", "m"]),  # type: ignore[call-arg]
        (lambda: Fields(required=0, rows=[1, 2, 3], m=1), ["required", "rows"]),
        (lambda: function(annotated=0, assigned=0), ["annotated", "assigned"]),
        (lambda: function(annotated=10), ["annotated"]),
        (lambda: function(card={"kind": "cash"}), ["card"]),
    ],
)
def test_what_else_a_field_says_holds(make: Any, fields: list[str]) -> None:
    with pytest.raises(InvalidArguments) as caught:
        make()
    assert [path for path, _ in caught.value.problems] == fields


@pytest.mark.parametrize(
    ("default", "words"),
    [
        (Field(default_factory=lambda others: others["a"]), "takes the other fields' values"),
        (dataclasses.field(init=False, default=1), r"use attribute\(\)"),
    ],
)
def test_what_a_job_has_no_use_for_is_refused(default: Any, words: str) -> None:
    with pytest.raises(InvalidDefinition, match=rf"app\.send: x: .*{words}"):
        ArgumentCodec("app.send", [Parameter("x", int, default)])


def test_one_without_an_annotation_is_plain_json() -> None:
    assert ArgumentCodec("k", [Parameter("x", default=Field(default={"a": 1}))]).bind((), {}) == {"x": {"a": 1}}
