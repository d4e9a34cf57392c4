"""Jobs whose code stands under a decorator."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncjobs import AsyncJobs, InvalidDefinition, Job, job


@contextlib.contextmanager
def timed() -> Iterator[None]:
    yield


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(n: int) -> Any:
        return n if n < 0 else function(n)

    return inner


def in_a_loop_of_its_own(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(**arguments: Any) -> Any:
        return asyncio.run(function(**arguments))

    return inner


def where() -> str:
    return "loop" if threading.current_thread() is threading.main_thread() else "thread"


@job(kind="decorated.managed")
@timed()
async def managed(n: int) -> str:
    return f"{where()} {n}"


@job(kind="decorated.twice", executor="loop")
@logged
@logged
async def twice(n: int) -> str:
    return f"{where()} {n}"


@job(kind="decorated.given")
@remembered
async def given(n: int) -> int:
    return n


@job(kind="decorated.alone", executor="thread")
@in_a_loop_of_its_own
async def alone(n: int) -> str:
    return f"{where()} {n}"


async def fetched(n: int) -> str:
    return f"{where()} {n}"


class Classy(Job, kind="decorated.Classy"):
    n: int

    @logged
    async def perform(self) -> str:
        return f"{where()} {self.n}"


class Derived(Classy, kind="decorated.Derived"): ...


JOBS = [
    (lambda: managed(1), "loop 1"),
    (lambda: twice(1), "loop 1"),
    (lambda: given(1), 1),
    (lambda: given(-1), -1),
    (lambda: alone(1), "thread 1"),
    (lambda: Classy(n=1), "loop 1"),
    (lambda: Derived(n=1), "loop 1"),
]


async def test_a_plain_wrapper_of_an_async_def_runs_on_the_loop_and_is_awaited(
    make_jobs: Callable[..., AsyncJobs],
) -> None:
    async with make_jobs().running():
        for make, result in JOBS:
            assert await make().perform_now() == result
            assert await (await make().enqueue()).result(timeout=20) == result


def test_a_plain_wrapper_of_an_async_def_is_an_async_def_unless_it_says_otherwise() -> None:
    assert [each._definition.executor for each in (managed, twice, given, alone)] == ["loop", "loop", "loop", "thread"]
    assert Classy._definition.executor == Derived._definition.executor == "loop"


async def test_what_a_def_gives_back_of_an_async_def_is_awaited_on_the_loop(
    make_jobs: Callable[..., AsyncJobs],
) -> None:
    @job(kind="decorated.handing_on")
    def handing_on(n: int):  # type: ignore[no-untyped-def]  # as many write
        return fetched(n)

    async with make_jobs().running():
        assert await handing_on(1).perform_now() == "loop 1"
        assert await (await handing_on(1).enqueue()).result(timeout=20) == "loop 1"


def test_an_async_def_itself_cannot_be_sent_to_a_thread() -> None:
    with pytest.raises(InvalidDefinition, match="is an `async def`"):
        job(kind="decorated.refused", executor="thread")(fetched)
