"""The jobs that are measured, for the worker's process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg

from asyncjobs import Cursor, Limit, Rate, Unique, current_attempt, current_job, job, retry_on
from benchmarks import bare
from benchmarks.clock import count_run, shout

UPDATE = "update floor.job set progress = $2 where id = $1"


@job
async def noop(n: int) -> None:
    """Do nothing."""
    count_run()


@job(unique=Unique(by=("n",)))
async def unique(n: int) -> None:
    """Do nothing, under a unique key."""
    count_run()


@job(concurrency=Limit(1, by=("key",)))
async def limited(key: int) -> None:
    """Do nothing, one of a key at a time."""
    count_run()


@job(rate_limit=Rate(1_000_000, per=1))
async def paced(n: int) -> None:
    """Do nothing, under a rate that never binds."""
    count_run()


@job(searchable=("n",))
async def found(n: int) -> None:
    """Do nothing, and be found by its argument."""
    count_run()


SPACING = 0.05
"""Seconds."""


@job(rate_limit=Rate(1, per=SPACING))
async def spaced(n: int) -> None:
    """Do nothing, so long after the one before."""


@job
async def linked(value: int) -> int:
    """Count further: a link of a chain."""
    return value + 1


@job
@retry_on(ConnectionError, wait=0, jitter=0, attempts=3)
async def fails_twice(n: int) -> None:
    """Fail in the first two attempts."""
    if current_job().attempt < 3:
        raise ConnectionError(n)
    count_run()


@job
async def asleep(seconds: float) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)
    count_run()


@job
async def nap(seconds: float) -> None:
    """Be counted, then sleep."""
    count_run()
    await asyncio.sleep(seconds)


@job
async def first_line(n: int) -> None:
    """Tell the moment of the first line."""
    shout(n)


@job
async def send_times(count: int, pause: float) -> None:
    """Send the time, again and again."""
    me = current_attempt()
    for _ in range(count):
        await asyncio.sleep(pause)
        await me.send(time.monotonic_ns())


@job
async def send_all(count: int) -> None:
    """Send numbers as fast as they are taken."""
    me = current_attempt()
    for number in range(count):
        await me.send({"number": number})


async def _nothing() -> None:
    pass


PIECES = 20
"""Pieces of a run in which both sides take turns."""


@job
async def plain_steps(url: str, count: int) -> tuple[list[int], list[int]]:
    """Run steps that do nothing, and as many bare updates; return the nanoseconds that each took."""
    me = current_job()

    async def step(n: int) -> None:
        await me.step(f"step {n}", _nothing)

    async with _bare_connection(url) as connection:

        async def update(n: int) -> None:
            await connection.execute(UPDATE, me.id, "{}")

        return await _in_turn(step, update, count)


@job
async def isolated_steps(url: str, count: int) -> tuple[list[int], list[int]]:
    """Run isolated steps that update a row, and as many bare transactions; return the nanoseconds that each took."""
    me = current_job()

    async def update(connection: asyncpg.Connection) -> None:
        await connection.execute(UPDATE, me.id, "{}")

    async def step(n: int) -> None:
        await me.step(f"step {n}", update, isolated=True)

    async with _bare_connection(url) as connection:

        async def transact(n: int) -> None:
            async with connection.transaction():
                await update(connection)
                await update(connection)

        return await _in_turn(step, transact, count)


@job
async def count_rows(url: str, rows: int) -> tuple[list[int], list[int]]:
    """Go through rows of a server-side cursor, with a cursor of ours and without; return the nanoseconds of each time."""
    me = current_job()

    async def source(connection: asyncpg.Connection) -> AsyncIterator[int]:
        async with connection.transaction():
            async for row in connection.cursor(
                "select n from generate_series(1, $1::integer) as n", rows, prefetch=500
            ):
                yield row["n"]

    async with _bare_connection(url) as connection:

        async def with_cursor(n: int) -> None:
            async def go_through(cursor: Cursor[int]) -> int:
                return await _counted(cursor.each(source(connection)))

            assert await me.step(f"rows {n}", go_through) == rows

        async def without(n: int) -> None:
            assert await _counted(source(connection)) == rows

        return await _in_turn(with_cursor, without, PIECES)


async def _counted(items: AsyncIterator[int]) -> int:
    found = 0
    async for _ in items:
        found += 1
    return found


@contextlib.asynccontextmanager
async def _bare_connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the floor's, and its row, which has this job's id."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(bare.INSERT, current_job().id, *bare.row()[1:])
        yield connection
    finally:
        connection.terminate()


async def _in_turn(
    ours: Callable[[int], Awaitable[None]], other: Callable[[int], Awaitable[None]], count: int
) -> tuple[list[int], list[int]]:
    """Time *count* calls of each, by pieces of a run."""
    took: tuple[list[int], list[int]] = ([], [])
    for piece in range(PIECES):
        for call, durations in zip((ours, other), took, strict=True):
            for n in range(piece * count // PIECES, (piece + 1) * count // PIECES):
                started = time.perf_counter_ns()
                await call(n)
                durations.append(time.perf_counter_ns() - started)
    return took
