"""Every public coroutine is cancelled at every place where it waits: the cancellation comes out, and nothing stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any

import asyncpg
import pytest
from client_jobs import double

from asyncjobs import AsyncJobs, Job, current_job, job
from tests.support.asking import until
from tests.support.processes import until_so

Call = Callable[[Job[int]], Coroutine[Any, Any, Any]]


class CancelledAt:
    """Awaits a coroutine and cancels the task that does at its n-th suspension."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], n: int) -> None:
        self._coroutine = coroutine
        self._left = n
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._coroutine.__await__()
        step: Callable[[], Any] = partial(next, inner)
        while True:
            try:
                waits_for = step()
            except StopIteration as ended:
                return ended.value
            self._left -= 1
            if self._left == 0:
                self.reached = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                value = yield waits_for
            except BaseException as error:
                step = partial(inner.throw, error)
            else:
                step = partial(inner.send, value)


async def sweep(call: Callable[[], Coroutine[Any, Any, Any]], after: Callable[[bool], Awaitable[None]]) -> int:
    """Run `call` again and again, cancelled at its suspension 1, 2, 3 … until it ends before; how many there were."""
    for n in range(1, 200):
        probe = CancelledAt(call(), n)

        async def run(probe: CancelledAt = probe) -> Any:
            return await probe

        task = asyncio.ensure_future(run())
        [ended] = await asyncio.gather(task, return_exceptions=True)
        if not probe.reached:
            if isinstance(ended, BaseException):
                raise ended
            await after(False)
            return n - 1
        assert isinstance(ended, asyncio.CancelledError), f"suspension {n}: {ended!r}"
        await after(True)
    raise AssertionError("no end")


PASSING = {"asyncjobs enqueue", "asyncjobs enqueue_all", "asyncjobs notice"}
"""The tasks that a client starts for a moment."""


@pytest.fixture
def tidy(client: AsyncJobs) -> Callable[[], Awaitable[None]]:
    """A check that no connection stays busy and no task is left."""
    return checking(client)


def checking(client: AsyncJobs) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        sessions = client._in_use().sessions
        assert sessions is not None
        await until_so(
            lambda: (
                sessions.pool.statistics[0] == sessions.pool.statistics[1]
                and not any(task.get_name() in PASSING for task in asyncio.all_tasks())
            )
        )

    return check


async def test_an_enqueue(client: AsyncJobs, connection: asyncpg.Connection, tidy: Any) -> None:
    made: list[Job[int]] = []

    def call() -> Coroutine[Any, Any, Any]:
        made.append(double(len(made)))
        return made[-1].enqueue()

    async def after(cancelled: bool) -> None:
        await made[-1].enqueue()
        await tidy()

    assert await sweep(call, after) > 0
    ids = [row["id"] for row in await connection.fetch("select id from asyncjobs.job")]
    assert sorted(ids) == sorted(each.id for each in made)


async def test_an_enqueue_of_many(client: AsyncJobs, connection: asyncpg.Connection, tidy: Any) -> None:
    made: list[list[Job[int]]] = []

    def call() -> Coroutine[Any, Any, Any]:
        made.append([double(number) for number in range(300)])
        return client.enqueue_all(made[-1])

    async def after(cancelled: bool) -> None:
        await tidy()
        await client.enqueue_all(made[-1])

    assert await sweep(call, after) > 0
    assert await connection.fetchval("select count(*) from asyncjobs.job") == 300 * len(made)


RUNS: list[str] = []


@job(kind="anywhere.counted")
async def counted() -> None:
    RUNS.append(str(current_job().id))


@pytest.mark.parametrize("count", [1, 3, 120], ids=["enqueue", "enqueue_all", "enqueue_all by COPY"])
async def test_one_whose_job_may_have_run_meanwhile(
    jobs: AsyncJobs, connection: asyncpg.Connection, count: int
) -> None:
    RUNS.clear()
    made: list[list[Job[None]]] = []
    tidy = checking(jobs)

    def call() -> Coroutine[Any, Any, Any]:
        made.append([counted() for _ in range(count)])
        return made[-1][0].enqueue() if count == 1 else jobs.enqueue_all(made[-1])

    async def after(cancelled: bool) -> None:
        await tidy()
        await until(connection, "select not exists (select from asyncjobs.job)")
        await jobs.enqueue_all(made[-1])
        await asyncio.gather(*(each.result(timeout=20) for each in made[-1]))

    assert await sweep(call, after) > 0
    assert sorted(RUNS) == sorted(str(each.id) for chunk in made for each in chunk)


class Layer:
    """Middleware that gives way to other tasks wherever it is called."""

    async def before_enqueue(self, _job: Job[Any]) -> None:
        await asyncio.sleep(0)

    async def around_enqueue(self, _job: Job[Any], call: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(0)
        await call()
        await asyncio.sleep(0)

    async def after_enqueue(self, _job: Job[Any]) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("count", [1, 60], ids=["enqueue", "enqueue_all"])
async def test_one_inside_middleware(
    url: str,
    connection: asyncpg.Connection,
    count: int,
) -> None:
    async with AsyncJobs(database_url=url, middleware=[Layer()]) as layered:
        tidy = checking(layered)
        made: list[list[Job[int]]] = []
        before = asyncio.all_tasks()

        def call() -> Coroutine[Any, Any, Any]:
            made.append([double(number) for number in range(count)])
            return made[-1][0].enqueue() if count == 1 else layered.enqueue_all(made[-1])

        async def after(cancelled: bool) -> None:
            assert not [task for task in asyncio.all_tasks() - before if "_enqueue_with_hooks" in repr(task)]
            await tidy()
            await layered.enqueue_all(made[-1])

        assert await sweep(call, after) > (3 if count == 1 else 0)
        assert await connection.fetchval("select count(*) from asyncjobs.job") == count * len(made)


async def test_one_in_the_callers_transaction(client: AsyncJobs, connection: asyncpg.Connection) -> None:
    made: list[Job[int]] = []

    def call() -> Coroutine[Any, Any, Any]:
        made.append(double(len(made)))
        return made[-1].enqueue(connection=connection)

    async def after(cancelled: bool) -> None:
        await made[-1].enqueue(connection=connection)

    assert await sweep(call, after) > 0
    ids = [row["id"] for row in await connection.fetch("select id from asyncjobs.job")]
    assert sorted(ids) == sorted(each.id for each in made)


@pytest.mark.parametrize(
    "call",
    [
        lambda each: each.result(),
        lambda each: each.status(),
        lambda each: each.cancel(),
        lambda each: each.perform_now(),
    ],
    ids=["result", "status", "cancel", "perform_now"],
)
async def test_what_is_asked_of_a_job(client: AsyncJobs, jobs: AsyncJobs, tidy: Any, call: Call) -> None:
    made = [await double(2).set(wait=0.2).enqueue()]

    async def after(cancelled: bool) -> None:
        await tidy()
        made.append(await double(2).set(wait=0.2).enqueue())

    await sweep(lambda: call(made[-1]), after)
    fresh = await double(4).enqueue()
    assert await fresh.result(timeout=20) == 8


async def test_a_look_for_a_job(client: AsyncJobs, tidy: Any) -> None:
    made = await double(1).enqueue()

    async def after(cancelled: bool) -> None:
        await tidy()

    assert await sweep(lambda: client.get(made.id, double), after) > 0
    assert (await client.get(made.id, double)).id == made.id
