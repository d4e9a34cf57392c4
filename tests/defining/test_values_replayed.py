"""A value is one and the same in the run that made it, in the one that resumes, and for whoever awaits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from asyncjobs import Cursor, Job, UnstorableResult, attribute, current_job, job, retry_on, step
from tests.support.spelling import spelled

seen: list[Any] = []


class Again(Exception): ...


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


@dataclass
class Person:
    name: str


@dataclass
class Customer(Person):
    discount: int = 0


@dataclass
class Order:
    price: float
    lines: list[int] = field(default_factory=list)


def count() -> int:
    return "5"  # type: ignore[return-value]


async def rows() -> list[int]:
    return (1, 2)  # type: ignore[return-value]


def numbers() -> tuple[int, ...]:
    return [3, 1, 2]  # type: ignore[return-value]


def order() -> Order:
    return Order(1, [2])


def at() -> datetime:
    return datetime(2026, 3, 28, 12, tzinfo=ZoneInfo("Europe/Paris"))


def found() -> Person:
    return Customer("ann", discount=50)


def secret() -> str | bytes:
    return b"abc"


def untyped():
    return {"at": 1.5, "rows": [1, None]}


STEPS: list[tuple[Callable[..., Any], Any]] = [
    (count, 5), (rows, [1, 2]), (numbers, (3, 1, 2)), (order, Order(1.0, [2])), (untyped, untyped()),
    (at, datetime(2026, 3, 28, 11, tzinfo=UTC)),
]  # fmt: skip
NAMES = [function.__name__ for function, _ in STEPS]


@job(kind="replayed.steps")
@retry_on(Again, wait=0)
async def steps_twice() -> None:
    me = current_job()
    values = [await me.step(function.__name__, function) for function, _ in STEPS]
    seen.append(values)
    if me.attempt == 1:
        raise Again


async def test_a_step_gives_the_value_that_is_stored_in_its_first_run_too() -> None:
    await steps_twice().perform_now()
    first, second = seen
    for name, one, other, expected in zip(NAMES, first, second, (value for _, value in STEPS), strict=True):
        assert spelled(one) == spelled(other), name
        assert (one, type(one)) == (expected, type(expected)), name
    hours = [(values[-1] + timedelta(days=1)).isoformat() for values in seen]
    assert hours[0] == hours[1]


@job(kind="replayed.refused")
async def step_of(which: str) -> Any:
    return await current_job().step("it", {"found": found, "secret": secret}[which])


@pytest.mark.parametrize(("which", "words"), [("found", "is a Customer"), ("secret", "is a bytes")])
async def test_a_step_whose_value_would_come_back_as_another_fails(which: str, words: str) -> None:
    with pytest.raises(UnstorableResult, match=rf"replayed\.refused\.it: invalid result: result: {words}"):
        await step_of(which).perform_now()


@retry_on(Again, wait=0)
class Attributes(Job, kind="replayed.Attributes"):
    total: int = attribute(default=0)
    numbers: list[int] = attribute(default_factory=list)
    orders: dict[str, Order] = attribute(default_factory=dict)
    plain: Any = attribute(default=None)

    @step
    def one(self) -> None:
        self.total = "5"  # type: ignore[assignment]
        self.numbers.append(True)
        self.orders["a"] = Order(1)
        self.plain = [1]

    @step
    def two(self) -> None:
        seen.append(spelled([self.total, self.numbers, self.orders, self.plain]))
        if self.attempt == 1:
            raise Again


async def test_attributes_are_from_the_next_checkpoint_on_what_a_resumed_job_is_given() -> None:
    await Attributes().perform_now()
    assert seen == [spelled([5, [1], {"a": Order(1.0)}, [1]])] * 2


class Held(Job, kind="replayed.Held"):
    numbers: list[int] = attribute(default_factory=list)
    orders: list[Order] = attribute(default_factory=list)
    plain: list[Any] = attribute(default_factory=list)

    @step
    def one(self) -> None: ...

    async def perform(self) -> bool:
        held = self.numbers, self.orders, self.plain
        self.orders.append(Order(1.5))
        self.plain.append({"a": [1]})
        await self.run_steps()
        return all(one is other for one, other in zip(held, (self.numbers, self.orders, self.plain), strict=True))


async def test_an_attribute_that_needs_no_change_stays_the_object_that_it_is() -> None:
    assert await Held().perform_now()


async def test_an_attribute_that_would_come_back_as_another_fails_the_job() -> None:
    class Lost(Job, kind="replayed.Lost"):
        person: Person = attribute(default_factory=lambda: Person(""))

        @step
        def one(self) -> None:
            self.person = Customer("ann", discount=50)

    with pytest.raises(UnstorableResult, match=r"replayed\.Lost\.person: .* is a Customer"):
        await Lost().perform_now()


ROWS = [{"id": str(number)} for number in range(1, 12)]  # as of csv.DictReader


@retry_on(Again, wait=0)
class Rows(Job, kind="replayed.Rows"):
    how: str

    @step
    async def rows(self, cursor: Cursor[int]) -> None:
        seen.append(("begins", cursor.value))
        match self.how:
            case "each":
                async for row in cursor.each(ROWS, key=lambda row: row["id"]):  # type: ignore[arg-type, return-value]
                    if row["id"] == "10" and self.attempt == 1:
                        raise Again
            case "map":
                await cursor.map(self.call, ROWS, key=lambda row: row["id"], concurrency=1)  # type: ignore[arg-type, return-value]
            case "advance" | "set":
                for row in ROWS[(cursor.value or 0) :]:
                    if row["id"] == "10" and self.attempt == 1:
                        raise Again
                    await getattr(cursor, self.how)(row["id"])
        seen.append(("ends", cursor.value))

    async def call(self, row: dict[str, str]) -> None:
        if row["id"] == "10" and self.attempt == 1:
            raise Again


@pytest.mark.parametrize("how", ["each", "map", "advance", "set"])
async def test_a_cursor_is_what_a_resumed_step_is_given(how: str) -> None:
    await Rows(how=how).perform_now()
    assert seen == [("begins", None), ("begins", 9), ("ends", 11)]


async def test_a_cursor_is_not_moved_to_what_would_come_back_as_another() -> None:
    @job(kind="replayed.moved")
    async def moved() -> None:
        async def walk(cursor: Cursor[Person]) -> None:
            with pytest.raises(UnstorableResult, match="is a Customer"):
                await cursor.set(Customer("ann"))
            seen.append(cursor.value)

        await current_job().step("walk", walk)

    await moved().perform_now()
    assert seen == [None]


@job(kind="replayed.number")
async def number() -> int:
    return "5"  # type: ignore[return-value]


async def test_perform_now_returns_what_whoever_awaits_the_job_is_given() -> None:
    assert await number().perform_now() == 5
