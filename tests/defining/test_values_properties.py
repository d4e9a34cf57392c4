"""Whatever is annotated and whatever is given: what is stored is read as the very same, or the call refuses it."""

from __future__ import annotations

import collections
import dataclasses
import enum
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Union
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
from hypothesis import given, note
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, SecretStr, create_model
from typing_extensions import TypedDict

from asyncjobs.exceptions import InvalidArguments, InvalidDefinition
from asyncjobs.values.arguments import ArgumentCodec, Parameter, ValueCodec
from tests.support.spelling import spelled


class Shade(enum.StrEnum):
    DARK = "dark"
    ONE = "1"


class Level(enum.IntEnum):
    LOW = 1


class Mixed(enum.Enum):
    TEXT = "1"
    NUMBER = 1


class Name(str):
    __slots__ = ()


class Key(UUID):
    pass


class Moment(datetime):
    pass


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict, total=False):
    retries: int
    until: date


class Secret(BaseModel):
    word: SecretStr


class Hidden(BaseModel):
    name: str
    key: str = Field("default", exclude=True)


class Louder(BaseModel):
    text: Annotated[str, AfterValidator(lambda text: text + "!")]


class Open(BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    _seen: int = 0


@dataclasses.dataclass
class Summed:
    a: int
    b: dataclasses.InitVar[int] = 0

    def __post_init__(self, b: int) -> None:
        self.a += b


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass(frozen=True)
class Pixel(Point):
    colour: str = "red"


@dataclasses.dataclass(slots=True)
class Slim:
    at: datetime
    extra: Any = None


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5) | st.sampled_from(
    ["1", "1.5", "true", "null", "2026-01-01", "12345678-1234-5678-1234-567812345678", "abcd", "P1D", "dark", "t"]
)
ints = st.integers(-(2**63), 2**64 - 1) | st.integers(-2, 2)
floats = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0, -0.0])
zones = st.integers(-1_439, 1_439).map(lambda m: timezone(timedelta(minutes=m))) | st.sampled_from(
    [UTC, ZoneInfo("Europe/Paris"), timezone(timedelta(seconds=30))]
)
datetimes = st.datetimes(timezones=zones, allow_imaginary=False)
plain = st.recursive(
    st.none() | st.booleans() | ints | floats | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
strange = (
    st.sampled_from([Shade.DARK, Level.LOW, Name("1"), Key(int=1), Moment(2026, 1, 1, tzinfo=UTC), (1, 2), {1}, b"ab"])
    | st.sampled_from([Pixel(1.0), Point(1), collections.OrderedDict(a=1), collections.Counter("aab"), Pair(1, "a")])
    | st.sampled_from([Decimal("1.50"), date(2026, 1, 1), timedelta(1), time(1), datetime(2026, 1, 1)])
)
SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, ints), (str, text), (float, floats), (bool, st.booleans()), (bytes, st.binary(max_size=4)),
    (date, st.dates()), (time, st.times().map(lambda at: at.replace(fold=0))), (timedelta, st.timedeltas()), (datetime, datetimes), (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)), (None, st.none()),
    (Shade, st.sampled_from(Shade)), (Level, st.sampled_from(Level)), (Mixed, st.sampled_from(Mixed)),
    (Literal["a", "1", 1], st.sampled_from(["a", "1", 1])), (Any, plain), (list, st.lists(plain, max_size=2)),
    (pydantic.NaiveDatetime, st.datetimes().map(lambda at: at.replace(fold=0))), (Annotated[int, Field(ge=1, le=3)], st.integers(1, 3)),
    (Annotated[str, Field(max_length=2)], text.map(lambda text: text[:2])),
]  # fmt: skip
OBJECTS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Pair, st.builds(Pair, ints, text)),
    (Options, st.fixed_dictionaries({}, optional={"retries": ints, "until": st.dates()})),
    (Secret, st.builds(Secret, word=text.map(SecretStr))),
    (Hidden, st.builds(Hidden, name=text, key=st.just("default") | text)),
    (Louder, st.builds(Louder, text=text)),
    (Open, st.builds(Open, name=text, more=plain)),
    (Summed, st.builds(Summed, ints, st.integers(0, 1))),
    (Point, st.builds(Point, floats | st.integers(-3, 3)) | st.builds(Pixel, floats)),
    (Pixel, st.builds(Pixel, floats, floats, text)),
    (Slim, st.builds(Slim, datetimes | st.datetimes(), plain | strange)),
]
_made = 0


def _name() -> str:
    global _made
    _made += 1
    return f"Made{_made}"


@st.composite
def typed(draw: Any, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    """Return an annotation, and what gives values of it: now and then of another type."""
    kinds = ["scalar", "scalar", "object"]
    if depth:
        kinds += ["list", "dict", "set", "tuple", "pair", "optional", "union", "union", "dataclass", "model"]
    inner = typed(depth=depth - 1)
    match draw(st.sampled_from(kinds)):
        case "object":
            return draw(st.sampled_from(OBJECTS))
        case "list":
            annotation, values = draw(inner)
            origin = draw(st.sampled_from([list, collections.deque, collections.abc.Sequence]))
            made = collections.deque if origin is collections.deque else list
            return origin[annotation], st.lists(values, max_size=3).map(made)
        case "dict":
            key, keys = draw(
                st.sampled_from(
                    [(str, text), (int, ints), (UUID, st.uuids()), (Shade, st.sampled_from(Shade)), (date, st.dates())]
                )
            )
            annotation, values = draw(inner)
            return dict[key, annotation], st.dictionaries(keys, values, max_size=3)
        case "set":
            annotation, values = draw(st.sampled_from(SCALARS[:12]))
            origin = draw(st.sampled_from([set, frozenset]))
            return origin[annotation], st.lists(values, max_size=3).map(origin)
        case "tuple":
            annotation, values = draw(inner)
            return tuple[annotation, ...], st.lists(values, max_size=3).map(tuple)
        case "pair":
            (one, ones), (other, others) = draw(inner), draw(inner)
            return tuple[one, other], st.tuples(ones, others)
        case "optional":
            annotation, values = draw(inner)
            return Union[annotation, None], values | st.none()  # noqa: UP007 - None may be either
        case "union":
            (one, ones), (other, others) = draw(inner), draw(inner)
            return Union[one, other], ones | others  # noqa: UP007
        case "dataclass":
            fields = draw(st.lists(inner, min_size=1, max_size=3))
            names = [f"f{n}" for n in range(len(fields))]
            made_class = dataclasses.make_dataclass(
                _name(), [(n, a) for n, (a, _) in zip(names, fields, strict=True)], slots=draw(st.booleans())
            )
            return made_class, st.builds(made_class, *(values | strange for _, values in fields))
        case "model":
            fields = draw(st.lists(inner, min_size=1, max_size=3))
            try:
                model = create_model(_name(), **{f"f{n}": (a, ...) for n, (a, _) in enumerate(fields)})
            except pydantic.errors.PydanticUserError:
                return int, ints
            derived = create_model(_name(), __base__=model, more=(int, 5))
            values = st.fixed_dictionaries({f"f{n}": values for n, (_, values) in enumerate(fields)})
            builds = [model, derived, model.model_construct] if draw(st.booleans()) else [model]
            return model, st.tuples(st.sampled_from(builds), values).map(_build)
    return draw(st.sampled_from(SCALARS))


def _build(made: tuple[Any, dict[str, Any]]) -> Any:
    try:
        return made[0](**made[1])
    except pydantic.ValidationError:
        return made[1]  # it is for the call to refuse


@given(typed(), st.data())
def test_an_argument_is_read_as_it_is_in_the_job_that_was_made_or_refused(made: Any, data: Any) -> None:
    annotation, values = made
    try:
        codec = ArgumentCodec("k", [Parameter("x", annotation)])
    except InvalidDefinition:
        return
    given = data.draw(values | strange)
    note(f"{annotation} {given!r}")
    try:
        bound, stored = codec.make((given,), {})
    except InvalidArguments:
        return
    assert spelled(codec.load(stored)["x"]) == spelled(bound["x"])


@given(typed(), st.data())
def test_a_result_is_kept_as_it_will_be_read_or_refused(made: Any, data: Any) -> None:
    annotation, values = made
    try:
        codec = ValueCodec("k", annotation)
    except InvalidDefinition:
        return
    given = data.draw(values | strange)
    note(f"{annotation} {given!r}")
    try:
        value, stored = codec.keep(given)
        kept = given if codec.is_exact(given) else value
    except InvalidArguments:
        return
    assert spelled(codec.load(stored)) == spelled(value) == spelled(kept)


@given(st.sampled_from(SCALARS).filter(lambda made: made[0] is not None), st.data())
def test_a_value_of_a_plain_type_is_never_refused_and_kept_without_being_read(made: Any, data: Any) -> None:
    annotation, values = made
    codec = ArgumentCodec("k", [Parameter("x", list[annotation])])  # type: ignore[valid-type]
    given = [value for value in data.draw(st.lists(values, max_size=3)) if not _has_odd_offset(value)]
    bound, _ = codec.make((given,), {})
    assert [_comparable(value) for value in bound["x"]] == [_comparable(value) for value in given]


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _comparable(value: Any) -> Any:
    """An aware time as its moment: in the hour that a zone has twice, one is unequal to itself in another zone (PEP 495)."""
    return value - EPOCH if isinstance(value, datetime) and value.tzinfo is not None else value


def _has_odd_offset(value: Any) -> bool:
    offset = value.utcoffset() if isinstance(value, datetime) else None
    return offset is not None and bool(offset % timedelta(minutes=1))
