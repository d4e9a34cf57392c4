"""What the job before returns reaches `chain.previous` as it was, or the chain is refused when it is made."""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, NewType
from uuid import UUID

import pytest
from pydantic import BaseModel

from asyncjobs import InvalidOption, chain, job
from asyncjobs.values.handing_on import misread


class Color(enum.StrEnum):
    red = "red"


class Sms(BaseModel):
    to: str


class Mail(BaseModel):
    to: str


class Long(BaseModel):
    to: str
    text: str


class Card(BaseModel):
    kind: Literal["card"] = "card"


class Iban(BaseModel):
    kind: Literal["iban"] = "iban"


@dataclasses.dataclass
class Shape:
    name: str


@dataclasses.dataclass
class Circle(Shape):
    radius: int


Key = NewType("Key", str)


@pytest.mark.parametrize(
    ("result", "argument", "said"),
    [
        (str, bytes | str, "str, may be read as bytes: annotate str alone"),
        (str, UUID | str, "may be read as UUID"),
        (str, Decimal | str | None, "may be read as Decimal"),
        (Color, str | Color, "Color, may be read as str: annotate Color alone"),
        (Key, bytes | Key, "may be read as bytes"),
        (date, str | date, "may be read as str"),
        (list[int], list[int] | tuple[int, int], "may be read as tuple"),
        (tuple[int, int], list[int] | tuple[int, int], "may be read as list"),
        (Mail, Sms | Mail, "Mail, may be read as Sms: annotate Mail alone"),
        (Circle, Shape, "Circle, would be read as Shape: annotate Circle"),
        (bytes, str, "bytes, would be read as str: annotate bytes"),
        (int, datetime, "int, would be read as datetime: annotate int"),
        (list[str], list[bytes | str], "str, may be read as bytes"),
        (dict[str, Circle], dict[str, Shape], "would be read as Shape"),
    ],
)
def test_what_could_be_read_as_another_value_is_refused(result: Any, argument: Any, said: str) -> None:
    assert said in (misread(result, argument) or "")


@pytest.mark.parametrize(
    ("result", "argument"),
    [
        (str, str), (str, str | None), (str | None, str), (str, int | str), (str, UUID), (str, Color), (int, float),
        (int, int | float | None), (Any, datetime), (dict[str, Any], Mail), (Mail, Mail | None), (Mail, Mail | Long),
        (Card, Card | Iban), (Circle, Circle), (Circle, Any), (bytes, bytes), (list[int], list[int]), (None, str | None),
        (str, Literal["a", "b"]), (Key, str), (dict, list[int] | dict[str, int]),
    ],
)  # fmt: skip
def test_what_json_tells_apart_is_taken(result: Any, argument: Any) -> None:
    assert misread(result, argument) is None


def test_the_error_names_the_job_and_its_argument() -> None:
    @job(kind="handed.text")
    async def text() -> str:
        return "YWJj"

    @job(kind="handed.take")
    async def take(content: bytes | str) -> None: ...

    with pytest.raises(
        InvalidOption, match=r"chain\(\): handed.take: content: the result of the job before, str, may be"
    ):
        chain(text(), take(chain.previous))
