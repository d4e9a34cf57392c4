"""`attribute()`: what is saved and restored, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest

from asyncjobs import Cursor, InvalidArguments, InvalidDefinition, Job, UnstorableResult, attribute, job
from asyncjobs.definitions import attributes


def named(value: Any) -> str:
    """A test's name for a value: the same in every process that collects it."""
    return type(value).__name__ if type(value) is object else repr(value)


class Color(Enum):
    red = "r"


@dataclass
class Point:
    x: int
    at: datetime


class Typed(Job, kind="attributes.Typed"):
    value: Any = attribute(default=None)
    when: datetime | None = attribute(default=None)
    day: date | None = attribute(default=None)
    span: timedelta | None = attribute(default=None)
    key: UUID | None = attribute(default=None)
    money: Decimal | None = attribute(default=None)
    color: Color | None = attribute(default=None)
    point: Point | None = attribute(default=None)
    seen: set[int] = attribute(default_factory=set)
    names: dict[str, list[int]] = attribute(default={})
    raw: bytes = attribute(default=b"")

    async def perform(self) -> None: ...


VALUES: dict[str, Any] = {
    "value": {"a": [1, None]}, "when": datetime(2026, 1, 2, tzinfo=UTC), "day": date(2026, 1, 2),
    "span": timedelta(days=3), "key": UUID(int=7), "money": Decimal("1.10"), "color": Color.red,
    "point": Point(1, datetime(2026, 1, 2, tzinfo=UTC)), "seen": {1, 2}, "names": {"a": [1]}, "raw": b"\x00\xff",
}  # fmt: skip


def test_each_is_restored_in_its_type() -> None:
    made, again = Typed(), Typed()
    for name, value in VALUES.items():
        setattr(made, name, value)
    attributes.restore(again, attributes.dump(made))
    assert {name: getattr(again, name) for name in VALUES} == VALUES


def test_a_default_is_copied_for_each_job() -> None:
    first, second = Typed(), Typed()
    first.names["a"] = [1]
    first.seen.add(1)
    assert (second.names, second.seen) == ({}, set())


def test_it_is_no_argument() -> None:
    with pytest.raises(InvalidArguments, match="raw"):
        Typed(raw=b"x")
    assert Typed().arguments == {}


def test_a_derived_class_has_those_of_its_base_and_may_declare_one_again() -> None:
    class Base(Job, abstract=True):
        total: int = attribute(default=1)

    class Derived(Base, kind="attributes.Derived"):
        more: str = attribute(default="x")
        total: int = attribute(default=5)

        async def perform(self) -> None: ...

    made, again = Derived(), Derived()
    made.total += 1
    attributes.restore(again, attributes.dump(made))
    assert (again.total, again.more) == (6, "x")


def test_what_other_code_has_saved_and_this_does_not_know_is_left_out() -> None:
    made = Typed()
    attributes.restore(made, '{"gone":1,"value":2}')
    assert made.value == 2 and not hasattr(made, "gone")


def test_what_does_not_fit_any_more_is_refused() -> None:
    with pytest.raises(InvalidArguments, match=r"attributes\.Typed\.when"):
        attributes.restore(Typed(), '{"when":"never"}')


@pytest.mark.parametrize("value", [float("nan"), "\x00", "\ud800", 2**64, object(), {1: 2}], ids=named)
def test_what_cannot_be_stored_is_refused_by_name(value: Any) -> None:
    made = Typed()
    made.value = value
    with pytest.raises(UnstorableResult, match=r"attributes\.Typed\.value"):
        attributes.dump(made)


@pytest.mark.parametrize("given", [{}, {"default": 1, "default_factory": int}])
def test_a_default_and_only_one_must_be_given(given: Any) -> None:
    with pytest.raises(InvalidDefinition, match="one of them"):
        attribute(**given)


def test_init_is_refused() -> None:
    with pytest.raises(InvalidDefinition, match="an attribute is no argument"):
        attribute(default=1, init=True)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("total: attribute(default=0)", r"Wrong\.total .*: write `total: int = attribute\(default=0\)`"),
        ("total: attribute(default_factory=list)", r"write `total: list = attribute\(default_factory=…\)`"),
        ("total: attribute(default=None)", r"write `total: … = attribute\(default=None\)`"),
        ("_total: attribute(default=0)", r"write `_total: int = attribute\(default=0\)`"),
        ("total: Annotated[int, attribute(default=0)] = 1", r"write `total: int = attribute\(default=0\)`"),
        ("total = attribute(default=0)", r"no annotation: write `total: int = attribute\(default=0\)`"),
        ("total: int = attribute", r"is not called: write `total: … = attribute\(default=…\)`"),
        ("total: int = attribute(0)", r"attribute\(\): write `attribute\(default=0\)`"),
        ("total: int = attribute(defualt=0)", r"no option 'defualt': write default=…"),
        ("total: list[int] = attribute(default_factory=[])", r"is no function: write default=…"),
        ("total: list[int] = attribute(default_factory=lambda job: [])", r"<lambda>\(job\) is called with nothing"),
        ("place: Cursor[int]", r"Wrong\.place is a cursor, .*: a step takes it, `async def \w+\(self, place: Cursor"),
        ("place: Cursor | None = None", r"Wrong\.place is a cursor"),
        ("place: Cursor[int] = attribute(default=None)", r"Wrong\.place is a cursor"),
    ],
)
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"], ids=["evaluated", "as text"])
def test_a_slip_is_refused_when_the_class_is_made_with_what_to_write(field: str, said: str, future: str) -> None:
    code = f"{future}class Wrong(Job, kind='attributes.Slip'):\n    {field}\n    async def perform(self): ...\n"
    with pytest.raises(InvalidDefinition, match=said):
        exec(compile(code, __file__, "exec", dont_inherit=True), {**globals(), "Annotated": Annotated})


def test_a_function_has_none_and_no_cursor_for_an_argument() -> None:
    with pytest.raises(InvalidDefinition, match=r"total=attribute\(…\): a function has no attributes"):

        @job(kind="attributes.function")
        async def function(total: int = attribute(default=0)) -> None: ...

    @job(kind="attributes.with_cursor")
    async def with_cursor(places: list[Cursor[int]]) -> None: ...

    with pytest.raises(InvalidDefinition, match=r"places: .*Cursor\[int\] cannot be stored: it is given to a step"):
        with_cursor([])


def test_one_that_cannot_be_stored_is_refused_when_the_first_job_is_made() -> None:
    class Wrong(Job, kind="attributes.Unstorable"):
        kinds: type[Any] = attribute(default=int)

        async def perform(self) -> None: ...

    with pytest.raises(InvalidDefinition, match=r"attributes\.Unstorable\.kinds"):
        Wrong()


@pytest.mark.parametrize("name", ["result", "step", "status", "id", "queue", "set", "resumed"])
def test_one_named_like_something_of_a_job_is_refused(name: str) -> None:
    async def perform(self: Any) -> None: ...

    with pytest.raises(InvalidDefinition, match=rf"\b{name}\b"):
        type("Wrong", (Job,), {"__annotations__": {name: int}, name: attribute(default=0), "perform": perform})
