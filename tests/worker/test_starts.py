"""How jobs are started and left: on their own, one after the other, with turns of the loop in between."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import time
from collections.abc import Callable
from typing import Any

import pytest

from asyncjobs import AsyncJobs, Job, job
from asyncjobs.performing.attempt import Attempt
from tests.support.processes import until_so

ALONE = {"pools": [{"queues": ["*"], "concurrency": 1}]}
turns = 0
seen: list[int] = []
mine: contextvars.ContextVar[int] = contextvars.ContextVar("mine", default=0)


@job(kind="starts.blocks")
async def blocks() -> None:
    seen.append(turns)
    time.sleep(0.005)


@job(kind="starts.sets")
async def sets(number: int) -> list[int]:
    before = mine.get()
    mine.set(number)
    await asyncio.sleep(0)
    return [before, mine.get()]


@job(kind="starts.exits")
async def exits() -> None:
    raise SystemExit(7)


@job(kind="starts.in_thread")
def in_thread() -> int:
    return 1


@job(kind="starts.named")
async def named() -> str:
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


async def count_turns() -> None:
    global turns
    while True:
        turns += 1
        await asyncio.sleep(0)


async def test_between_jobs_that_block_at_their_start_the_loop_has_its_turn(
    make_jobs: Callable[..., AsyncJobs],
) -> None:
    seen.clear()
    async with make_jobs(**ALONE).running() as jobs:
        await until_so(lambda: jobs.healthy)
        counting = asyncio.ensure_future(count_turns())
        await jobs.enqueue_all(blocks() for _ in range(20))
        await until_so(lambda: len(seen) == 20)
        counting.cancel()
    assert len(set(seen)) == 20


async def test_the_task_of_a_job_is_named_by_its_kind(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs().running() as jobs:
        assert await jobs.result(await named().enqueue(), timeout=30) == "starts.named"


async def test_what_a_job_sets_at_its_start_is_seen_by_no_other(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs().running() as jobs:
        made = [sets(n) for n in range(1, 21)]
        await jobs.enqueue_all(made)
        results = [await each.result(timeout=30) for each in made]
    assert results == [[0, n] for n in range(1, 21)]
    assert mine.get() == 0


async def test_one_that_exits_at_its_start_ends_itself_and_not_the_loop(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs(**ALONE).running() as jobs:
        first, second = exits(), sets(1)
        await jobs.enqueue(first)
        await jobs.enqueue(second)
        assert await second.result(timeout=30) == [0, 1]
        assert (await first.status()).state == "failed"


@pytest.mark.parametrize("of", [lambda: sets(1), in_thread], ids=["async", "def"])
async def test_those_that_have_ended_leave_nothing_to_the_garbage_collector(
    make_jobs: Callable[..., AsyncJobs], of: Callable[[], Job[Any]]
) -> None:
    async with make_jobs().running() as jobs:
        made = [of() for _ in range(20)]
        gc.collect()
        others = attempts()
        gc.disable()  # what is freed from here on is freed when it ends
        try:
            await jobs.enqueue_all(made)
            await asyncio.gather(*(each.result(timeout=30) for each in made))
            left = [each for each in attempts() if each not in others]
        finally:
            gc.enable()
    assert left == []


def attempts() -> list[Attempt]:
    # by type, as isinstance() would ask each object, and a lazy one may refuse to answer
    return [each for each in gc.get_objects() if type(each) is Attempt]
