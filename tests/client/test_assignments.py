"""What a step assigns to its job and nothing saves warns at its line; what is saved, or made again, does not."""

from __future__ import annotations

import asyncio
import inspect
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar

import asyncpg
import pytest

from asyncjobs import AssignmentNotSaved, AsyncJobs, Job, attribute, current_job, job, step

Caught = list[warnings.WarningMessage]
Runs = Callable[[Job[Any]], Awaitable[Any]]


@pytest.fixture
def caught() -> Iterator[Caught]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", AssignmentNotSaved)
        yield found


async def _by_a_worker(made: Job[Any]) -> Any:
    return await (await made.enqueue()).result(timeout=20)


@pytest.fixture(params=["perform_now", "worker"])
def run(request: pytest.FixtureRequest, jobs: AsyncJobs) -> Runs:
    return _by_a_worker if request.param == "worker" else lambda made: made.perform_now()


def line_of(code: Callable[..., Any], text: str) -> int:
    lines, first = inspect.getsourcelines(code)
    return first + next(n for n, line in enumerate(lines) if text in line)


class Base(Job, abstract=True):
    cloud_id: int = 1
    shared: ClassVar[int] = 0


class Undeclared(Base, kind="assignments.Undeclared"):
    @step
    async def count(self) -> None:
        self.total = 3


class OverDefault(Base, kind="assignments.OverDefault"):
    @step
    async def count(self) -> None:
        self.shared += 1  # type: ignore[misc]


class Argument(Base, kind="assignments.Argument"):
    @step
    async def count(self) -> None:
        self.cloud_id = 5


class Threaded(Base, kind="assignments.Threaded"):
    @step
    def count(self) -> None:
        self.total = 3


class OwnThread(Base, kind="assignments.OwnThread"):
    @step
    async def count(self) -> None:
        thread = threading.Thread(target=self._count)
        thread.start()
        thread.join()

    def _count(self) -> None:
        self.total = 3


class Tasks(Base, kind="assignments.Tasks"):
    @step
    async def count(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count())

    async def _count(self) -> None:
        self.total = 3


class Imperative(Base, kind="assignments.Imperative"):
    async def count(self) -> None:
        self.total = 3

    async def perform(self) -> None:
        await self.step("count", self.count)


class Condition(Base, kind="assignments.Condition"):
    @step(when="count")
    async def work(self) -> None: ...

    def count(self) -> bool:
        self.total = 3
        return False


class Handler(Base, kind="assignments.Handler"):
    @step(on_error="count")
    async def work(self) -> None:
        raise ValueError

    def count(self, _error: BaseException) -> None:
        self.total = 3


@pytest.mark.parametrize(
    "kind", [Undeclared, OverDefault, Argument, Threaded, OwnThread, Tasks, Imperative, Condition, Handler]
)
async def test_what_a_step_assigns_and_nothing_saves_warns_at_its_line(
    run: Runs, caught: Caught, kind: type[Base]
) -> None:
    await run(kind())
    where = line_of(kind, "self.total = 3" if "self.total" in inspect.getsource(kind) else "self.")
    assert [(each.category, each.filename, each.lineno) for each in caught] == [(AssignmentNotSaved, __file__, where)]
    assert kind._definition.kind in str(caught[0].message)


class Isolated(Base, kind="assignments.Isolated"):
    @step(isolated=True)
    async def count(self, connection: asyncpg.Connection) -> None:
        self.total = 3


async def test_an_isolated_step_warns_too(jobs: AsyncJobs, caught: Caught) -> None:
    await _by_a_worker(Isolated())
    assert [each.lineno for each in caught] == [line_of(Isolated, "self.total")]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Undeclared, r"step 'count' assigns self\.total.*`total: int = attribute\(default=…\)`, or call it _total"),
        (Argument, r"assigns self\.cloud_id, an argument, .*`new_cloud_id: int = attribute\(default=…\)`"),
    ],
)
async def test_it_says_what_to_write(caught: Caught, kind: type[Base], said: str) -> None:
    with pytest.warns(AssignmentNotSaved, match=said):
        await kind().perform_now()


@job(kind="assignments.function")
async def function() -> None:
    def count() -> None:
        current_job().total = 3  # type: ignore[attr-defined]

    await current_job().step("count", count)


async def test_a_function_is_told_to_return_it(run: Runs, caught: Caught) -> None:
    await run(function())
    assert ["return it from the step" in str(each.message) for each in caught] == [True]


class Kept(Job, kind="assignments.Kept"):
    """All that may be assigned."""

    path: str
    total: int = attribute(default=0)

    @property
    def size(self) -> int:
        return self.total

    @size.setter
    def size(self, size: int) -> None:
        self.total = size

    @step
    async def count(self) -> int:
        self.total = 3
        self._client = object()
        self.size += 1
        return self.total

    @step
    async def slow(self) -> None:
        self._arrived.set()
        await self._open.wait()

    @step
    def in_thread(self) -> None:
        self.total += 1
        other = Kept(path="b")
        other.path = "c"
        other.loaded = True  # type: ignore[attr-defined]
        assert other.arguments

    async def perform(self) -> tuple[int, int]:
        self.path = self.path.upper()
        self.first = await self.step("count", self.count)
        self._arrived, self._open = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.step("slow", self.slow))
            await self._arrived.wait()
            self.beside = 1
            self._open.set()
        await self.step("in_thread", self.in_thread)
        return self.first, self.total


async def test_what_is_saved_private_or_assigned_again_by_every_attempt_does_not(run: Runs, caught: Caught) -> None:
    assert await run(Kept(path="a")) == (4, 5)
    assert not [each for each in caught if each.category is AssignmentNotSaved]


class Scratch(Job, kind="assignments.Scratch"):
    """Without steps."""

    async def perform(self) -> int:
        self.total = 3
        return self.total


async def test_a_job_without_steps_may_assign_what_it_likes(run: Runs, caught: Caught) -> None:
    assert await run(Scratch()) == 3 and not caught
    assert Scratch.__setattr__ is object.__setattr__  # and pays nothing


class OwnSetter(Job, kind="assignments.OwnSetter"):
    seen: list[str] = attribute(default=[])

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self.seen.append(name)
        super().__setattr__(name, value)

    @step
    async def count(self) -> None:
        self.total = 3


async def test_a_class_that_says_itself_what_an_assignment_does_is_left_to_that(caught: Caught) -> None:
    await OwnSetter().perform_now()
    assert not caught


async def test_as_an_error_it_is_raised_in_the_step(jobs: AsyncJobs) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AssignmentNotSaved)
        made = await Undeclared().enqueue()
        with pytest.raises(Exception, match="which nothing saves"):
            await made.result(timeout=20)
