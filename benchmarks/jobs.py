"""The jobs that are measured, for the worker's process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import asyncpg

from asyncjobs import Cursor, current_job, job, retry_on
from benchmarks.clock import shout

EXPECTED_VARIABLE = "BENCH_EXPECTED"
_expected = int(os.environ.get(EXPECTED_VARIABLE, "0"))
_ran = 0


def _count() -> None:
    """Shout once the last expected job of this process has run: nobody need poll the table meanwhile."""
    global _ran  # noqa: PLW0603
    _ran += 1
    if _ran == _expected:
        shout(_expected)


@job
async def noop(n: int) -> None:
    """Do nothing."""
    _count()


@job
@retry_on(ConnectionError, wait=0, jitter=0, attempts=3)
async def fails_twice(n: int) -> None:
    """Fail in the first two attempts."""
    if current_job().attempt < 3:
        raise ConnectionError(n)
    _count()


@job
async def asleep(seconds: float) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)
    _count()


@job
async def nap(seconds: float) -> None:
    """Be counted, then sleep."""
    _count()
    await asyncio.sleep(seconds)


@job
async def first_line(n: int) -> None:
    """Tell the moment of the first line."""
    shout(n)


async def _nothing() -> None:
    pass


@job
async def plain_steps(count: int) -> list[int]:
    """Run steps that do nothing; return the nanoseconds that each took."""
    steps, took = current_job(), []
    for n in range(count):
        started = time.perf_counter_ns()
        await steps.step(f"step {n}", _nothing)
        took.append(time.perf_counter_ns() - started)
    return took


@job
async def isolated_steps(count: int) -> list[int]:
    """Run isolated steps that update this job's own row; return the nanoseconds that each took."""
    me, took = current_job(), []

    async def update(connection: asyncpg.Connection) -> None:
        await connection.execute("update floor.job set progress = $2 where id = $1", me.id, "{}")

    for n in range(count):
        started = time.perf_counter_ns()
        await me.step(f"step {n}", update, isolated=True)
        took.append(time.perf_counter_ns() - started)
    return took


@job
async def count_rows(url: str, rows: int, *, with_cursor: bool) -> float:
    """Go through rows of a server-side cursor; return the seconds that took."""

    async def source() -> AsyncIterator[int]:
        async with connection.transaction():
            async for row in connection.cursor(
                "select n from generate_series(1, $1::integer) as n", rows, prefetch=500
            ):
                yield row["n"]

    async def go_through(cursor: Cursor[int]) -> float:
        started, found = time.perf_counter(), 0
        async for _ in cursor.each(source()) if with_cursor else source():
            found += 1
        assert found == rows
        return time.perf_counter() - started

    connection = await asyncpg.connect(url)
    try:
        return await current_job().step("rows", go_through)
    finally:
        connection.terminate()
