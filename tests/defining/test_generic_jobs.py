"""Generic job classes: what their type variables stand for in a class derived from them."""

from __future__ import annotations

import sys
import typing
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import pytest
import typing_extensions
from pydantic import BaseModel, Field

from asyncjobs import InvalidArguments, InvalidDefinition, Job, attribute, step

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
M = TypeVar("M", bound=BaseModel)
D = typing_extensions.TypeVar("D", default=date)


class User(BaseModel):
    name: str


class Page(BaseModel, Generic[T]):
    items: list[T]


@dataclass
class Pair(Generic[K, V]):
    key: K
    value: V


class Fetch(Job[T], Generic[T], abstract=True):
    url: str

    async def parse(self) -> T:
        raise NotImplementedError

    async def perform(self) -> T:
        return await self.parse()


class FetchUser(Fetch[User], kind="generic.FetchUser"):
    async def parse(self) -> User:
        return User(name="ada")


class Save(Job, Generic[T], abstract=True):
    payload: T
    more: list[T] | None = None
    _cache: dict[str, T]

    async def perform(self) -> Any:
        return None


class SaveDate(Save[date], kind="generic.SaveDate"): ...


class Entries(Save[dict[K, V]], Generic[K, V], abstract=True):
    first: Annotated[K, Field()]


class Named(Entries[str, V], Generic[V], abstract=True):
    last: Pair[str, V]


class NamedSpans(Named[timedelta], kind="generic.NamedSpans"): ...


async def stored_result(job: Any) -> Any:
    """What awaiting the job would give."""
    definition = job._definition
    return definition.result.load(definition.result.dump(await job.perform_now()))


async def test_the_result_is_what_the_class_says_its_variable_stands_for() -> None:
    assert await stored_result(FetchUser(url="/1")) == User(name="ada")


async def test_a_perform_that_does_not_say_what_it_returns_returns_what_the_class_says() -> None:
    class Unannotated(Job[date], kind="generic.Unannotated"):
        async def perform(self):  # type: ignore[no-untyped-def]  # as many write
            return date(2026, 1, 1)

    assert await stored_result(Unannotated()) == date(2026, 1, 1)


def test_fields_are_checked_and_restored_by_what_their_variables_stand_for() -> None:
    made = SaveDate(payload="2026-01-01", more=["2026-01-02"])
    assert (made.payload, made.more) == (date(2026, 1, 1), [date(2026, 1, 2)])
    assert made._definition.load(made._stored_arguments()).payload == date(2026, 1, 1)
    with pytest.raises(InvalidArguments, match=r"more\[0\]"):
        SaveDate(payload=date(2026, 1, 1), more=["no date"])


def test_variables_are_followed_through_classes_that_say_some_of_them() -> None:
    span = timedelta(days=1)
    made = NamedSpans(payload={"a": span}, first="a", last=Pair("b", span))
    loaded = made._definition.load(made._stored_arguments())
    assert (loaded.payload, loaded.first, loaded.last) == ({"a": span}, "a", Pair("b", span))
    with pytest.raises(InvalidArguments, match="first"):
        NamedSpans(payload={}, first=b"\xff", last=Pair("b", span))


def test_models_that_are_generic_themselves_are_filled_in() -> None:
    class SavePage(Save[Page[T]], Generic[T], abstract=True): ...

    class SaveIds(SavePage[UUID], kind="generic.SaveIds"): ...

    ids = Page[UUID](items=[UUID(int=1)])
    made = SaveIds(payload=ids)
    assert made._definition.load(made._stored_arguments()).payload == ids


def test_a_generic_model_that_stands_alone_keeps_its_own_variables() -> None:
    class Both(Save[int], kind="generic.Both"):
        page: Page  # type: ignore[type-arg]  # as many write

    assert Both(payload=1, page=Page(items=["a", 1])).page.items == ["a", 1]


def test_a_default_stands_where_nothing_is_said_and_a_bound_does_not() -> None:
    class Due(Job, Generic[D], abstract=True):
        at: D

        async def perform(self) -> D:
            return self.at

    class DueDefault(Due, kind="generic.DueDefault"): ...

    class DueSpan(Due[timedelta], kind="generic.DueSpan"): ...

    assert DueDefault(at="2026-01-01").at == date(2026, 1, 1)
    assert DueSpan(at=5).at == timedelta(seconds=5)

    class Store(Job, Generic[M], abstract=True):
        record: M

        async def perform(self) -> None: ...

    class StoreUser(Store[User], kind="generic.StoreUser"): ...

    assert StoreUser(record={"name": "ada"}).record == User(name="ada")
    with pytest.raises(InvalidDefinition, match="variable M stands for"):

        class StoreAny(Store, kind="generic.StoreAny"): ...


def test_a_variable_that_stands_for_nothing_is_refused_where_the_class_is_made() -> None:
    with pytest.raises(InvalidDefinition, match=r"SaveAny\.payload: .*variable T stands for: derive from Save\[…\]"):

        class SaveAny(Save, kind="generic.SaveAny"): ...  # type: ignore[type-arg]

    with pytest.raises(InvalidDefinition, match=r"Concrete\.payload: .*variable T stands for: .*abstract=True"):

        class Concrete(Job, Generic[T], kind="generic.Concrete"):
            payload: T

            async def perform(self) -> None: ...

    with pytest.raises(InvalidDefinition, match=r"FetchAny: what it returns: .*variable T"):

        class FetchAny(Fetch, kind="generic.FetchAny"): ...  # type: ignore[type-arg]

    with pytest.raises(InvalidDefinition, match=r"Stray\.payload: .*variable V"):

        class Stray(Job, kind="generic.Stray"):
            payload: list[V]

            async def perform(self) -> None: ...


def test_a_variable_of_methods_alone_may_stand_for_anything() -> None:
    class Helper(Job, Generic[T], kind="generic.Helper"):
        n: int

        def help(self, value: T) -> T:
            return value

        async def perform(self) -> None: ...

    assert Helper(n=1).help("x") == "x"


async def test_attributes_and_steps_have_what_their_variables_stand_for() -> None:
    seen: list[Any] = []

    class Gather(Job, Generic[T], abstract=True):
        last: T | None = attribute(default=None)

        async def one(self) -> T:
            raise NotImplementedError

        @step
        async def gather(self) -> T:
            self.last = await self.one()
            return self.last

        @step
        async def more(self) -> None:
            seen.append(await self.step("again", self.one))

        async def perform(self) -> T | None:
            await self.run_steps()
            return self.last

    class GatherPrices(Gather[Decimal], kind="generic.GatherPrices"):
        async def one(self) -> Decimal:
            return Decimal("1.50")

    class GatherUsers(Gather[User], kind="generic.GatherUsers"):
        async def one(self) -> User:
            return User(name="ada")

        @step
        async def more(self) -> None: ...

    assert await stored_result(GatherUsers()) == User(name="ada")
    from asyncjobs.steps.step_code import code_of

    for made, returned in ((GatherPrices(), Decimal), (GatherUsers(), User)):
        assert code_of(made.gather, "kind", "gather").returns is returned
        assert made._definition.attributes["last"].load('"1.50"' if returned is Decimal else '{"name":"ada"}')


SINCE_312 = """
from __future__ import annotations
from datetime import date
from asyncjobs import Job

T = int  # no variable: the class has one of this name

class Fetch[T](Job[T], abstract=True):
    payload: T
    more: list[T] | None = None

    async def perform(self) -> T:
        return self.payload

class Chain[K, V](Fetch[dict[K, V]], abstract=True):
    key: K

class FetchDate(Fetch[date], kind="generic.since_312.FetchDate"): ...
class FetchDates(Chain[str, date], kind="generic.since_312.FetchDates"): ...
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is newer")
@pytest.mark.parametrize("lazily", [True, False], ids=["annotations as text", "annotations"])
async def test_classes_with_type_parameters(lazily: bool) -> None:
    namespace: dict[str, Any] = {"__name__": "generic_since_312"}
    exec(
        SINCE_312.replace(
            "from __future__ import annotations", "" if not lazily else "from __future__ import annotations"
        ),
        namespace,
    )
    made = namespace["FetchDate"](payload="2026-01-01", more=["2026-01-02"])
    assert (made.payload, made.more) == (date(2026, 1, 1), [date(2026, 1, 2)])
    assert await stored_result(made) == date(2026, 1, 1)
    assert namespace["FetchDates"](payload={"a": "2026-01-01"}, key="a").payload == {"a": date(2026, 1, 1)}


def test_names_that_stand_further_down_are_looked_up_at_the_first_use() -> None:
    namespace: dict[str, Any] = {"__name__": "generic_later", "Save": Save}
    exec("class SaveLater(Save['Later'], kind='generic.SaveLater'): ...\nclass Later: ...", namespace)
    assert typing.get_origin(namespace["SaveLater"].__orig_bases__[0]) is Save
