"""What would come back as something else is refused where it is given: by its path, and with what it would come back as."""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    AfterValidator,
    AnyUrl,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    PrivateAttr,
    SecretBytes,
    SecretStr,
    field_serializer,
)
from typing_extensions import TypedDict

from asyncjobs.exceptions import InvalidArguments, InvalidDefinition, UnstorableResult
from asyncjobs.values import references
from asyncjobs.values.arguments import MISSING, ArgumentCodec, Parameter, ValueCodec
from asyncjobs.values.references import register_reference
from tests.support.spelling import spelled

UUID_TEXT = "12345678-1234-5678-1234-567812345678"


class Login(BaseModel):
    user: str
    password: SecretStr
    token: SecretBytes | None = None


class OpenLogin(BaseModel):
    password: SecretStr

    @field_serializer("password", when_used="json")
    def revealed(self, password: SecretStr) -> str:
        return password.get_secret_value()


class Shape(BaseModel):
    name: str


class Circle(Shape):
    radius: float


class Drawing(BaseModel):
    shapes: list[Shape]
    by_name: dict[str, Shape] = {}


class Sms(BaseModel):
    to: str


class Mail(BaseModel):
    to: str


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Iban(BaseModel):
    kind: Literal["iban"] = "iban"
    number: str


class Hidden(BaseModel):
    name: str
    key: str = Field("default", exclude=True)


class HiddenRequired(BaseModel):
    key: str = Field(exclude=True)


class Invoice(BaseModel):
    due: date

    @field_serializer("due")
    def written(self, value: date) -> str:
        return value.strftime("%d/%m/%Y")


class OwnInit(BaseModel):
    total: int

    def __init__(self, x: int, y: int) -> None:
        super().__init__(total=x + y)


class Unvalidated(BaseModel):
    """As the table classes of SQLModel are: the constructor takes what it is given."""

    due: date
    name: str = ""

    def __init__(self, **data: Any) -> None:
        made = type(self).model_construct(**data)
        super().__setattr__("__dict__", made.__dict__)
        for name in ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
            object.__setattr__(self, name, getattr(made, name))


class Loud(BaseModel):
    text: Annotated[str, AfterValidator(lambda text: text + "!")]


class Trimmed(BaseModel):
    text: Annotated[str, AfterValidator(str.strip)]


class Keeping(BaseModel):
    name: str
    _token: str = PrivateAttr("")
    _lock: object = PrivateAttr(default_factory=object)


class Encoded(BaseModel):
    blob: Base64Bytes


class Loose(BaseModel):
    extra: Any = None
    more: dict[str, Any] = {}


class Upper(BaseModel):
    model_config = ConfigDict(str_to_upper=True)
    text: str


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class HalfEncoded(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")
    blob: bytes


class Odd(enum.Enum):
    PAIR = (1, 2)


@dataclasses.dataclass
class Oddly:
    odd: Odd


@dataclasses.dataclass
class Person:
    name: str


@dataclasses.dataclass
class Customer(Person):
    discount: int = 0


class Undecorated(Person):
    pass


@dataclasses.dataclass
class WithInitVar:
    a: int
    b: dataclasses.InitVar[int]

    def __post_init__(self, b: int) -> None:
        self.a += b


@dataclasses.dataclass
class Doubling:
    a: int

    def __post_init__(self) -> None:
        self.a *= 2


@dataclasses.dataclass
class Summing:
    parts: list[int]
    total: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total = sum(self.parts)


@dataclasses.dataclass
class Numbers:
    price: float = 0.0
    count: int = 0
    name: str = ""
    meta: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Dated:
    on: date


class Pair(NamedTuple):
    left: Shape
    right: int


class DerivedPair(Pair):
    __slots__ = ()


class Size(NamedTuple):
    width: Shape
    height: int


class Options(TypedDict):
    shape: Shape


class Row(Unvalidated):
    __table__: ClassVar[Any] = object()


class Level(enum.IntEnum):
    LOW = 1


class Shade(enum.StrEnum):
    DARK = "dark"


class Name(str):
    __slots__ = ()


class Key(UUID):
    """As asyncpg's is."""


def with_attribute(person: Person) -> Person:
    person.nickname = "k"  # type: ignore[attr-defined]
    return person


def with_token(keeping: Keeping) -> Keeping:
    keeping._token = "t"
    return keeping


SECRET = "would be stored as asterisks"
CIRCLE = Circle(name="c", radius=1.5)
LOST: list[tuple[Any, Any, str, str]] = [
    (Login, Login(user="kim", password=SecretStr("hunter2")), "x.password", SECRET),
    (list[Login | None], [None, Login(user="", password=SecretStr(""), token=SecretBytes(b"t"))], "x[1].token", SECRET),
    (Shape, CIRCLE, "x", "is a Circle and would come back as a Shape; annotate Circle"),
    (list[Shape], [CIRCLE], "x[0]", "is a Circle"),
    (Drawing, Drawing(shapes=[Shape(name=""), CIRCLE]), "x.shapes[1]", "is a Circle"),
    (Drawing, Drawing(shapes=[], by_name={"a": CIRCLE}), "x.by_name.a", "is a Circle"),
    (tuple[int, dict[str, Shape]], (1, {"a": CIRCLE}), "x[1].a", "is a Circle"),
    (Pair, Pair(CIRCLE, 1), "x[0]", "is a Circle"),
    (Pair, DerivedPair(Shape(name=""), 1), "x", "is a DerivedPair, not a Pair"),
    (list[Pair], [Size(Shape(name=""), 1)], "x[0]", "is a Size, not a Pair"),
    (Pair | Size, Size(Shape(name=""), 1), "x", "is a Size and would come back as a Pair"),
    (Options, {"shape": CIRCLE}, "x.shape", "is a Circle"),
    (Person, Customer("ann", 50), "x", "is a Customer"),
    (Person, Undecorated("ann"), "x", "is a Undecorated"),
    (Person, with_attribute(Person("ann")), "x.nickname", "would not come back"),
    (Sms | Mail, Mail(to="kim"), "x", "is a Mail and would come back as a Sms"),
    (dict[str, Any] | Mail, Mail(to="kim"), "x", "would come back as a dict"),
    (str | bytes, b"abc", "x", "is a bytes and would come back as a str"),
    (bytes | str, "abcd", "x", "is a str and would come back as a bytes"),
    (UUID | str, UUID_TEXT, "x", "would come back as a UUID"),
    (Decimal | str, "1.50", "x", "would come back as a Decimal"),
    (str | datetime, datetime(2026, 1, 1, tzinfo=UTC), "x", "would come back as a str"),
    (str | timedelta, timedelta(hours=1), "x", "would come back as a str"),
    (list[int] | set[int], {1, 2}, "x", "would come back as a list"),
    (Encoded, Encoded(blob=b"aGk="), "x.blob", "would come back as b'aGk='"),
    (Hidden, Hidden(name="n", key="secret"), "x.key", "would come back as 'default'"),
    (HiddenRequired, HiddenRequired(key="k"), "x.key", "is missing"),
    (Invoice, Invoice(due=date(2026, 12, 31)), "x.due", "cannot be read back"),
    (Invoice, Invoice(due=date(2026, 2, 1)), "x.due", "cannot be read back"),
    (WithInitVar, WithInitVar(1, 2), "x.b", "is missing"),
    (OwnInit, OwnInit(1, 2), "x", "TypeError: OwnInit.__init__() got an unexpected keyword argument 'total'"),
    (Unvalidated, Unvalidated(due=date(2026, 1, 1)), "x.due", "is a date and would come back as a str"),
    (list[Row], [Row(due=date(2026, 1, 1))], "x[0]", "pass its key, or use register_reference"),
    (Doubling, Doubling(1), "x.a", "would come back as 4"),
    (Loud, Loud(text="a"), "x.text", "would come back as 'a!!'"),
    (Annotated[str, AfterValidator(lambda text: text + "!")], "a", "x", "would come back as 'a!!'"),
    (Upper, Upper.model_construct(text="a"), "x.text", "would come back as 'A'"),
    (Extra, Extra(name="a", at=date(2026, 1, 1)), "x.at", "is a date and would come back as a str"),
    (HalfEncoded, HalfEncoded(blob=b"ab"), "x.blob", "would come back as b'YWI='"),
    (Oddly, Oddly(Odd.PAIR), "x.odd", "cannot be read back"),
    (Annotated[float, Field(allow_inf_nan=True)], math.inf, "x", "inf is not JSON"),
    (NaiveDatetime, datetime(2026, 1, 1, fold=1), "x", "its fold is not stored"),
    (Keeping, with_token(Keeping(name="a")), "x._token", "would come back as ''"),
    (Loose, Loose(extra=datetime(2026, 1, 1, tzinfo=UTC)), "x.extra", "is a datetime and would come back as a str"),
    (Loose, Loose(extra=(1, 2)), "x.extra", "is a tuple and would come back as a list"),
    (Loose, Loose(more={"a": [Decimal(1)]}), "x.more.a[0]", "is a Decimal"),
    (Dated, Dated(datetime(2026, 1, 1)), "x", "on holds datetime"),
    (time, time(12, tzinfo=ZoneInfo("Europe/Paris")), "x", "its zone is not stored"),
    (datetime, datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=30))), "x", ""),
    (collections.deque[int], collections.deque([1], maxlen=3), "x", "maxlen"),
    (collections.defaultdict[str, int], collections.defaultdict(lambda: 5), "x", "its default_factory differs"),
]  # fmt: skip
SAME: list[tuple[Any, Any]] = [
    (Sms | Mail, Sms(to="kim")),
    (Card | Iban, Iban(number="DE02")),
    (Annotated[Card | Iban, Field(discriminator="kind")], Iban(number="DE02")),
    (Person | Customer, Person("ann")),
    (Customer | Person, Customer("ann", 50)),
    (str | bytes, "abc"),
    (UUID | str, UUID(UUID_TEXT)),
    (UUID | str, "kim"),
    (int | str, "5"),
    (int | float | str | bool | None, 5.0),
    (str | datetime, "2026-01-01T00:00:00Z"),
    (list[int] | set[int], [1, 2]),
    (Drawing, Drawing(shapes=[Shape(name="a")])),
    (list[Circle], [CIRCLE]),
    (Hidden, Hidden(name="n")),
    (OpenLogin, OpenLogin(password=SecretStr("hunter2"))),
    (Login, Login(user="kim", password=SecretStr(""))),
    (Trimmed, Trimmed(text=" a ")),
    (float | Decimal, Decimal("1.50")),
    (Summing, Summing([1, 2])),
    (Loose, Loose(extra={"a": [1, None, "b", 1.5]})),
    (AnyUrl, AnyUrl("https://example.org/a")),
    (collections.defaultdict[str, int], collections.defaultdict(int, a=1)),
    (collections.defaultdict[str, list[int]], collections.defaultdict(list, a=[1])),
    (collections.defaultdict[str, list], collections.defaultdict(list, a=[1])),
]
CONVERTED: list[tuple[Any, Any, Any]] = [
    (int, "5", 5),
    (int, Level.LOW, 1),
    (str, Shade.DARK, "dark"),
    (MISSING, {"a": [Shade.DARK, Level.LOW]}, {"a": ["dark", 1]}),
    (MISSING, collections.OrderedDict({Name("a"): 1}), {"a": 1}),
    (UUID, Key(UUID_TEXT), UUID(UUID_TEXT)),
    (list[UUID | None], [Key(UUID_TEXT)], [UUID(UUID_TEXT)]),
    (Numbers, Numbers(price=1), Numbers(price=1.0)),
    (Numbers, Numbers(count=True), Numbers(count=1)),
    (Numbers, Numbers(name=Name("a"), meta=collections.Counter("aab")), Numbers(name="a", meta={"a": 2, "b": 1})),
    (datetime, datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Paris")), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    (Base64Bytes, b"aGk=", b"hi"),
    (Sequence[int], (1, 2), [1, 2]),
    (Mapping[str, int], collections.OrderedDict(a=1), {"a": 1}),
]  # fmt: skip


def named(value: Any) -> str:
    """A test's name for a value: the same in every process that collects it."""
    return value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)


def codec_for(annotation: Any) -> ArgumentCodec:
    return ArgumentCodec("app.send", [Parameter("n", int, 1), Parameter("x", annotation)])


@pytest.mark.parametrize(("annotation", "value", "path", "words"), LOST, ids=named)
def test_an_argument_that_would_come_back_as_something_else_is_refused(
    annotation: Any, value: Any, path: str, words: str
) -> None:
    with pytest.raises(InvalidArguments) as caught:
        codec_for(annotation).make((), {"x": value})
    ((place, fact),) = caught.value.problems
    assert place == path
    assert words in fact
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("annotation", "value", "path", "words"), LOST, ids=named)
def test_so_is_a_result(annotation: Any, value: Any, path: str, words: str) -> None:
    with pytest.raises(UnstorableResult) as caught:
        ValueCodec("app.send", annotation).dump(value)
    ((place, fact),) = caught.value.problems
    assert place == path.replace("x", "result", 1)
    assert words in fact


@pytest.mark.parametrize(("annotation", "value"), SAME, ids=named)
def test_what_reads_right_is_taken_as_it_is(annotation: Any, value: Any) -> None:
    codec = codec_for(annotation)
    bound, stored = codec.make((), {"x": value})
    assert spelled(codec.load(stored)["x"]) == spelled(bound["x"]) == spelled(value)


@pytest.mark.parametrize(("annotation", "value", "converted"), CONVERTED, ids=named)
def test_a_job_has_its_arguments_as_they_will_be_read(annotation: Any, value: Any, converted: Any) -> None:
    codec = codec_for(annotation)
    bound, stored = codec.make((), {"x": value})
    assert spelled(bound["x"]) == spelled(converted) == spelled(codec.load(stored)["x"])


@pytest.mark.parametrize(("annotation", "value", "converted"), CONVERTED, ids=named)
def test_a_result_is_kept_as_it_will_be_read(annotation: Any, value: Any, converted: Any) -> None:
    codec = ValueCodec("app.send", annotation)
    kept, stored = codec.keep(value)
    assert spelled(kept) == spelled(converted) == spelled(codec.load(stored))
    assert not codec.is_exact(value)


def test_every_argument_that_would_not_come_back_is_named() -> None:
    codec = ArgumentCodec("k", [Parameter("a", Shape), Parameter("b", int), Parameter("c", list[Shape])])
    with pytest.raises(InvalidArguments) as caught:
        codec.make((CIRCLE, 1, [CIRCLE]), {})
    assert [path for path, _ in caught.value.problems] == ["a", "c[0]"]


def test_of_several_the_one_is_named_whose_constructor_fails() -> None:
    codec = ArgumentCodec("k", [Parameter("a", Trimmed), Parameter("b", OwnInit)])
    with pytest.raises(InvalidArguments) as caught:
        codec.make((Trimmed(text="a"), OwnInit(1, 2)), {})
    assert [path for path, _ in caught.value.problems] == ["b"]


def test_a_lock_that_an_object_makes_for_itself_is_its_own_business() -> None:
    codec_for(Keeping).make((), {"x": Keeping(name="a")})


def test_a_cached_property_is_no_part_of_a_value() -> None:
    from functools import cached_property

    @dataclasses.dataclass
    class Cached:
        a: int

        @cached_property
        def twice(self) -> int:
            return 2 * self.a

    value = Cached(1)
    assert value.twice == 2
    codec_for(Cached).make((), {"x": value})


def test_a_key_that_would_come_back_as_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "_references", {})
    register_reference(Person, dump=lambda person: person.name, load=lambda key: None, key=UUID | str)
    codec = codec_for(list[Person])
    codec.make((), {"x": [Person("kim")]})
    with pytest.raises(InvalidArguments, match=r"x\[1\]: is a str and would come back as a UUID"):
        codec.make((), {"x": [Person("kim"), Person(UUID_TEXT)]})


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Literal[b"x"], "does not give back bytes"),
        (list[Literal["a", b"x"]], "does not give back bytes"),
        (collections.defaultdict, "annotate defaultdict"),
        (AsyncIterator[int], "cannot be stored: it can be read only once"),
    ],
)
def test_what_the_annotation_itself_gives_away_is_refused_at_the_definition(annotation: Any, words: str) -> None:
    with pytest.raises(InvalidDefinition, match=words):
        codec_for(annotation)
    with pytest.raises(InvalidDefinition, match=words):
        ValueCodec("app.send", annotation)


def test_plain_types_are_not_read_back() -> None:
    """Their cost is the same for all sizes: nothing is asked of a value that pydantic has made."""
    plain = [
        int,
        str,
        bool,
        float,
        Decimal,
        int | None,
        int | str,
        list[int],
        dict[str, list[float]],
        set[str],
        MISSING,
    ]
    codec = ArgumentCodec("k", [Parameter(f"x{n}", annotation) for n, annotation in enumerate(plain)])
    assert codec._shape._is_certain is None


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Person, Person("ann")),
        (list[Shape], [Shape(name="a")] * 3),
        (Drawing, Drawing(shapes=[Shape(name="a")])),
        (Numbers, Numbers(1.5, 2, "a", {"b": 3})),
        (Options, {"shape": Shape(name="a")}),
        (datetime, datetime.now(UTC)),
        (UUID, UUID(UUID_TEXT)),
        (Shade, Shade.DARK),
        (tuple[int, ...], (1, 2)),
        (tuple[int, bytes], (1, b"a")),
        (dict[UUID, date | None], {UUID(UUID_TEXT): None}),
        (MISSING, {"a": [1, 2]}),
    ],
    ids=named,
)
def test_of_objects_made_of_plain_types_the_types_tell(annotation: Any, value: Any) -> None:
    assert ValueCodec("k", annotation).is_exact(value)


class Level(enum.IntEnum):
    high = 1


class Tone(enum.StrEnum):
    red = "red"


class Point(NamedTuple):
    x: int
    y: int


class Toned(BaseModel):
    tone: str | Tone


@pytest.mark.parametrize(
    ("annotation", "value", "place"),
    [
        (str | Tone, Tone.red, "value"),
        (int | Level | None, Level.high, "value"),
        (float | Level, Level.high, "value"),
        (Tone | Literal["red"], Tone.red, "value"),
        (list[str | Tone], [Tone.red], "value[0]"),
        (Toned, Toned(tone=Tone.red), "value.tone"),
    ],
)
def test_a_member_of_a_union_that_is_a_subclass_of_another_is_refused(annotation: Any, value: Any, place: str) -> None:
    codec = ArgumentCodec("k", [Parameter("value", annotation)])
    with pytest.raises(InvalidArguments, match=re.escape(place) + r": is a (Tone|Level) and would come back as a"):
        codec.dump(codec.bind((value,), {}))


@pytest.mark.parametrize(
    "annotation",
    [
        tuple[int, int] | Point,
        dict[str, int] | collections.OrderedDict[str, int],
        dict[str, int] | collections.Counter[str],
    ],
)
def test_a_union_of_a_container_and_its_subclass_is_refused_where_it_is_declared(annotation: Any) -> None:
    with pytest.raises(InvalidDefinition, match="would become a (tuple|dict), of which it is a subclass; annotate one"):
        ArgumentCodec("k", [Parameter("value", annotation)])
