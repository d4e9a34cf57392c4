"""Types are restored from annotations; what would not come back is refused when the codec is compiled."""

import collections
import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, List, Literal, NamedTuple, NewType, NotRequired, Optional, TypeVar, Union  # noqa: UP035
from uuid import UUID, uuid4

import pytest
from pydantic import UUID4, BaseModel, ConfigDict, Field, HttpUrl, JsonValue, SecretStr, computed_field
from typing_extensions import TypeAliasType, TypedDict

from asyncjobs.exceptions import InvalidArguments, InvalidDefinition
from asyncjobs.values.arguments import ArgumentCodec, Parameter


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Flags(enum.IntFlag):
    A = 1
    B = 2


@dataclass
class Line:
    sku: str
    price: Decimal
    blob: bytes = b""
    inner: Optional["Line"] = None
    seen: set[int] = field(default_factory=set)


class Order(BaseModel):
    id: UUID
    lines: list[Line]
    at: datetime
    note: str = Field(default="", alias="theNote")
    kind: Literal["order"] = "order"

    @computed_field
    def total(self) -> Decimal:
        return sum((line.price for line in self.lines), Decimal(0))


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)
    name: str = Field(alias="NAME")

    @computed_field
    def loud(self) -> str:
        return self.name.upper()


class Pair(NamedTuple):
    left: int
    right: date


class Options(TypedDict):
    retries: int
    until: NotRequired[date]


ItemT = TypeVar("ItemT")


@dataclass
class Box(Generic[ItemT]):
    item: ItemT


UserId = NewType("UserId", int)
Tree = TypeAliasType("Tree", "dict[str, Tree] | int")
LINE = Line("a", Decimal("1.50"), b"\xff\x00\xfe", Line("b", Decimal("0.1")), {3, 1})


def codec_for(annotation):
    return ArgumentCodec("app.send", [Parameter("x", annotation)])


def round_trip(annotation, value):
    codec = codec_for(annotation)
    return codec.load(codec.dump(codec.bind((value,), {})))["x"]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 5),
        (bool, True),
        (float, 0.1 + 0.2),
        (float, 1e308),
        (str, "naïve 🦊 \n\t\"'\\ \u2028"),
        (None, None),
        (datetime, datetime(2026, 3, 29, 1, 30, 0, 7, tzinfo=timezone(timedelta(hours=5, minutes=45)))),
        (date, date(1, 1, 1)),
        (time, time(23, 59, 59, 999_999)),
        (timedelta, timedelta(days=-3, microseconds=7)),
        (UUID, uuid4()),
        (Decimal, Decimal("1.500000000000000000000000000000000001")),
        (Colour, Colour.RED),
        (Colour, Colour.BLUE),
        (Flags, Flags.A | Flags.B),
        (Literal["a", 1], 1),
        (Line, LINE),
        (
            Order,
            Order(
                id=uuid4(),
                lines=[Line("a", Decimal("1.50"), inner=Line("b", Decimal(2)))],
                at=datetime(2026, 1, 1, tzinfo=UTC),
                theNote="hi",
            ),
        ),
        (Strict, Strict(NAME="a")),
        (Options, {"retries": 1, "until": date(2026, 1, 1)}),
        (Options, {"retries": 1}),
        (Pair, Pair(1, date(2026, 1, 1))),
        (Box[date], Box(date(2026, 1, 1))),
        (set[date], {date(2026, 1, 1), date(2026, 1, 2)}),
        (frozenset[UUID], frozenset({uuid4()})),
        (tuple[int, str, date], (1, "a", date(2026, 1, 1))),
        (tuple[int, ...], (1, 2, 3)),
        (tuple[()], ()),
        (bytes, bytes(range(256))),
        (list[bytes], [b"\xff", b""]),
        (dict[str, bytes], {"a": b"\x00"}),
        (bytes | None, b"\xff\xfe"),
        (list[tuple[int, set[str]]], [(1, {"a"})]),
        (dict[UUID, Line], {uuid4(): LINE}),
        (dict[date, int], {date(2026, 1, 1): 1}),
        (dict[Colour, int], {Colour.RED: 1}),
        (dict[UserId, int], {UserId(1): 1}),
        (dict[Annotated[int, Field(gt=0)], int], {1: 1}),
        (collections.deque[int], collections.deque([1, 2])),
        (collections.OrderedDict[str, int], collections.OrderedDict(b=1, a=2)),
        (collections.Counter[str], collections.Counter("aab")),
        (Sequence[int], [1]),
        (Mapping[str, date], {"a": date(2026, 1, 1)}),
        (int | None, None),
        (Optional[date], date(2026, 1, 1)),  # noqa: UP045
        (Union[int, list[int]], [1]),  # noqa: UP007
        (Line | Pair, Pair(1, date(2026, 1, 1))),
        (list[Line] | None, [LINE]),
        (UUID4, uuid4()),
        (dict[UUID4, Annotated[UUID, Field(strict=True)]], {uuid4(): uuid4()}),
        (Annotated[int, Field(gt=0)], 3),
        (Annotated[dict, "note"], {"a": 1}),
        (UserId, UserId(5)),
        (Path, Path("/tmp/a b")),
        (List, [1, {"a": None}]),  # noqa: UP006
        (list, [1, {"a": None}]),
        (dict, {"a": [1.5]}),
        (tuple, (1, "a")),
        (set, {1, "a"}),
        (frozenset, frozenset({1})),
        (list[Any], [{"a": 1}]),
        (dict[str, Any], {"a": [1]}),
        (dict[Any, Any], {"a": [1]}),
        (JsonValue, {"a": [1, None]}),
        (Tree, {"a": {"b": 1}}),
        (ItemT, {"a": [1]}),
    ],
)
def test_a_value_comes_back_with_its_type(annotation, value):
    loaded = round_trip(annotation, value)
    assert loaded == value
    assert type(loaded) is type(value)


def test_a_model_is_read_from_a_dict_too():
    assert codec_for(Line).bind(({"sku": "a", "price": "1"},), {})["x"] == Line("a", Decimal(1))


def test_bytes_of_a_model_that_stores_them_as_text_are_refused_with_the_remedy():
    class Plain(BaseModel):
        blob: bytes

    class Encoded(Plain):
        model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    assert round_trip(Encoded, Encoded(blob=b"\xff")) == Encoded(blob=b"\xff")
    assert round_trip(Plain, Plain(blob=b"text")) == Plain(blob=b"text")
    with pytest.raises(InvalidArguments, match="ser_json_bytes='base64'"):
        round_trip(Plain, Plain(blob=b"\xff"))


class NotJson:
    pass


class Odd(enum.Enum):
    PAIR = (1, 2)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (NotJson, "NotJson cannot be stored as JSON; annotate a supported type, or use register_reference"),
        (list[NotJson], "register_reference"),
        (NotJson | None, "register_reference"),
        ("Nowhere", "cannot be resolved"),
        (list["Nowhere"], "cannot be resolved"),  # noqa: F821
        (SecretStr, "asterisks"),
        (SecretStr | None, "asterisks"),
        (Iterator[int], "annotate list"),
        (Iterable[int], "annotate list"),
        (Callable[[], int], "pass the name"),
        (type[int], "pass its name"),
        (bytearray, "annotate bytes"),
        (dict[tuple[int, int], str], "keys"),
        (dict[bytes, str], "keys"),
        (dict[int | str, str], "keys"),
        (dict[str | None, str], "keys"),
        (Odd, "str or int values"),
    ],
)
def test_an_annotation_that_would_not_come_back_is_refused_with_kind_and_parameter(annotation, words):
    with pytest.raises(InvalidDefinition, match=r"^app\.send: x: ") as caught:
        codec_for(annotation)
    assert words in str(caught.value)


def test_plain_json_is_checked_inside_typed_containers():
    for annotation, value, path in [
        (list[dict], [{}, {"a": (1,)}], "x[1].a"),
        (tuple, (1, {2}), "x[1]"),
        (dict[str, list], {"a": [1, {2}]}, "x.a[1]"),
        (Annotated[Any, Field(description="d")], (1,), "x"),
        (list[Any] | None, [(1,)], "x[0]"),
    ]:
        with pytest.raises(InvalidArguments) as caught:
            codec_for(annotation).bind((value,), {})
        assert [place for place, _ in caught.value.problems] == [path], annotation


@pytest.mark.parametrize("name", ["kind", "self", "class", "model_config", "json", "copy", "items", "naïve"])
def test_any_parameter_name_is_allowed(name):
    codec = ArgumentCodec("k", [Parameter(name, int)])
    assert codec.load(codec.dump(codec.bind((), {name: 1}))) == {name: 1}


def test_an_object_of_a_class_that_was_defined_again_is_said_to_be_one():
    old = dataclass(type("Point", (), {"__annotations__": {"x": int}}))
    new = dataclass(type("Point", (), {"__annotations__": {"x": int}}))
    models = [type("Model", (BaseModel,), {"__annotations__": {"x": int}, "__module__": __name__}) for _ in range(2)]
    for annotation, value in [(new, old(1)), (models[1], models[0](x=1))]:
        with pytest.raises(
            InvalidArguments, match="another class called .*: it was defined again; make the value anew"
        ):
            codec_for(annotation).bind((value,), {})


@pytest.mark.parametrize(
    ("annotation", "value", "fact"),
    [
        (UUID, 5, "UUID input should be"),
        (HttpUrl, "x:y", "URL scheme should be"),
        (int, "a", "should be a valid integer"),
    ],
)
def test_a_fact_keeps_its_capitals(annotation, value, fact):
    with pytest.raises(InvalidArguments, match=f"x: {fact}"):
        codec_for(annotation).bind((value,), {})
