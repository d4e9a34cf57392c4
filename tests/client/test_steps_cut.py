"""Jobs with steps are cut at every place: what is committed is not done again, and what is not is done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from test_cancelled_anywhere import CancelledAt

from asyncjobs import AsyncJobs, Cursor, Job, Retry, attribute, emit, step
from tests.support.proxy import Proxy, named

begun: Counter[str] = Counter()
done: Counter[str] = Counter()


INTERRUPTED = {"asyncjobs.exceptions.JobInterrupted"}
"""All that may be left of a link that was lost."""


@pytest.fixture(autouse=True)
def effects(connection: asyncpg.Connection, complete: Callable[[Any], Any]) -> None:
    begun.clear()
    done.clear()
    complete(connection.execute("create table effect (job uuid)"))


async def work(name: str) -> str:
    begun[name] += 1
    await asyncio.sleep(0)
    done[name] += 1
    return name


def in_thread() -> str:
    begun["thread"] += 1
    return "thread"


class Whole(Job, kind="cut.Whole"):
    """Has some of everything, and is cut in its first attempt."""

    cut_at: int = 0
    total: int = attribute(default=0)

    @step
    async def first(self) -> str:
        return await work("first")

    @step(isolated=True)
    async def isolated(self, connection: asyncpg.Connection) -> None:
        begun["isolated"] += 1
        await connection.execute("insert into effect values ($1)", self.id)

    @step(when=lambda self: asyncio.sleep(0, False))
    async def skipped(self) -> None:
        begun["skipped"] += 1

    @step(on_error=lambda self, error: asyncio.sleep(0))
    async def handled(self) -> None:
        await asyncio.sleep(0)
        raise ValueError

    @step
    def thread(self) -> str:
        return in_thread()

    @step
    async def rows(self, cursor: Cursor[int]) -> None:
        async for n in cursor.each(range(1, 4)):
            await asyncio.sleep(0)
            done[f"row {n}"] += 1
            self.total += n
        await cursor.advance(10)
        await cursor.checkpoint()
        await cursor.set(11)

    @step
    async def mapped(self, cursor: Cursor[int]) -> None:
        async def item(n: int) -> None:
            await asyncio.sleep(0)
            done[f"item {n}"] += 1

        await cursor.map(item, range(1, 6), concurrency=2)

    async def perform(self) -> list[Any]:
        if self.attempt > 1 or not self.cut_at:
            return await self._perform()
        probe = CancelledAt(self._perform(), self.cut_at)
        try:
            return await probe
        except asyncio.CancelledError:
            raise Retry(wait=0) from None
        finally:
            reached.append(probe.reached)

    async def _perform(self) -> list[Any]:
        await self.run_steps()
        last = await self.step("last", work, "last")
        await self.sleep("nap", 0.03)
        return [last, await self.wait_for("event", key=str(self.id)), self.total]


reached: list[bool] = []
ONCE = {"first", "last"}
ALL = {"first", "last", "row 1", "row 2", "row 3", *(f"item {n}" for n in range(1, 6))}


async def ended(made: Job[Any], connection: asyncpg.Connection) -> None:
    """Wait until it has, and see that nothing is missing and nothing was done again that was committed."""
    assert await made.result(timeout=20) == ["last", "payload", 6]
    assert await connection.fetchval("select count(*) from effect where job = $1", made.id) == 1
    assert set(done) == ALL and begun["skipped"] == 0
    assert [done[name] for name in ONCE] == [1, 1]
    assert not await connection.fetchval("select count(*) from asyncjobs.step")


async def test_cancelled_at_every_place_where_it_waits(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    for n in range(1, 300):
        for seen in (begun, done, reached):
            seen.clear()
        made = Whole(cut_at=n)
        await emit("event", key=str(made.id), payload="payload")
        await made.enqueue()
        await ended(made, connection)
        assert sum(done[f"row {k}"] for k in (1, 2, 3)) <= 4, f"suspension {n}: {done}"
        assert sum(done[f"item {k}"] for k in range(1, 6)) <= 7, f"suspension {n}: {done}"
        if not any(reached):
            assert n > 20
            return
    raise AssertionError("no end")


MakeJobs = Callable[..., AsyncJobs]

STATEMENTS = {
    "the record of a step": ("insert into asyncjobs.step as step", "asyncjobs worker"),
    "the record of an isolated step": ("insert into asyncjobs.step as step", "asyncjobs isolated steps"),
    "the commit of an isolated step": ("commit", "asyncjobs isolated steps"),
    "the beginning of a transaction": ("begin", "asyncjobs isolated steps"),
    "the beginning of a wait": ("begin_wait", "asyncjobs worker"),
    "what was recorded": ("from asyncjobs.step where job", "asyncjobs worker"),
}


@pytest.mark.parametrize(
    ("lost", "times"),
    [
        *((lost, 1) for lost in STATEMENTS),
        ("the record of a step", 3),
        ("the commit of an isolated step", 3),
        *(
            pytest.param(lost, 3, marks=pytest.mark.slow)
            for lost in STATEMENTS
            if lost not in ("the record of a step", "the commit of an isolated step")
        ),
    ],
)
async def test_the_answer_to_a_statement_is_lost(
    make_jobs: MakeJobs, connection: asyncpg.Connection, proxy: Proxy, proxied_url: str, lost: str, times: int
) -> None:
    statement, where = STATEMENTS[lost]
    async with make_jobs(database_url=proxied_url).running():
        fault = proxy.hold_replies_after(statement, times=times, where=named(where))
        made = Whole()
        await emit("event", key=str(made.id), payload="payload")
        await made.enqueue()
        await ended(made, connection)
        assert fault.fired.is_set()
        status = await made.status()
        assert status.attempt == 1 and {error.type for error in status.errors} <= INTERRUPTED
        assert begun["thread"] == 1 and done == dict.fromkeys(ALL, 1)
        assert begun["isolated"] == (1 + times if lost == "the record of an isolated step" else 1)


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("where", ["asyncjobs worker", "asyncjobs isolated steps"])
async def test_its_connections_are_cut_after_a_message(
    make_jobs: MakeJobs, connection: asyncpg.Connection, proxy: Proxy, proxied_url: str, where: str, every: int
) -> None:
    # With a long lease, so that most messages are the job's: what is done from time to time is cut, too, and counted.
    async with make_jobs(database_url=proxied_url, lease=30).running():
        for k in range(1, 1_000, every):
            begun.clear()
            done.clear()
            fault = proxy.cut_after(k, where=named(where))
            made = Whole()
            await emit("event", key=str(made.id), payload="payload")
            await made.enqueue()
            await ended(made, connection)
            status = await made.status()
            assert status.attempt == 1 and {error.type for error in status.errors} <= INTERRUPTED, f"message {k}"
            assert done == dict.fromkeys(ALL, 1), f"message {k}"
            await proxy.heal()
            if not fault.fired.is_set():
                assert k > 5
                return
    raise AssertionError("no end")
