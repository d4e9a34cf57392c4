"""The floor: what the machine and PostgreSQL give to bare SQL, with no job runner around it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import bare
from benchmarks.program import program
from benchmarks.question import Question, Sample, spread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.clock import Ear
    from benchmarks.server import Bench

JOBS = 20_000
ALONE = 1_000
TOGETHER, TASKS, CONNECTIONS = 5_000, 50, 20
PICKUPS, PAUSE = 300, 0.03
"""How many single jobs, and how many seconds of idleness before each."""


async def drain(bench: Bench) -> Sample:
    """Claim 500 and move 500, overlapped on two connections; from the first claim to the last finish."""
    async with bench.connection() as claimer, bench.connection() as mover:
        await bare.drain(claimer, mover, 500)  # connect and parse before
        await bare.copy(claimer, [bare.row() for _ in range(JOBS)])
        moved = await bare.drain(claimer, mover, 500)
        query = bare.FROM_FIRST_CLAIM_TO_LAST_FINISH.format(schema="floor")
        count, seconds = await bench.control.fetchrow(query)
    assert moved == count == JOBS, f"{moved} moved, {count} in the history"
    return {"jobs_per_s": JOBS / seconds}


async def copy(bench: Bench) -> Sample:
    """COPY 20,000 rows that are ready in memory."""
    rows = [bare.row() for _ in range(JOBS)]
    async with bench.connection() as connection:
        started = time.perf_counter()
        await bare.copy(connection, rows)
        return {"jobs_per_s": JOBS / (time.perf_counter() - started)}


async def insert_alone(bench: Bench) -> Sample:
    """Insert and commit rows one by one from one caller."""
    async with bench.connection() as connection:
        await connection.execute(bare.INSERT, *bare.row())
        took = []
        for _ in range(ALONE):
            started = time.perf_counter_ns()
            await connection.execute(bare.INSERT, *bare.row())
            took.append(time.perf_counter_ns() - started)
    return {"jobs_per_s": ALONE / sum(took) * 1e9, **spread(took)}


async def insert_together(bench: Bench) -> Sample:
    """Insert and commit single rows from 50 tasks that share 20 connections."""
    free: asyncio.LifoQueue[object] = asyncio.LifoQueue()
    left = TOGETHER

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            connection = await free.get()
            await connection.execute(bare.INSERT, *bare.row())
            free.put_nowait(connection)

    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = await stack.enter_async_context(bench.connection())
            await connection.execute(bare.INSERT, *bare.row())
            free.put_nowait(connection)
        started = time.perf_counter()
        async with asyncio.TaskGroup() as callers:
            for _ in range(TASKS):
                callers.create_task(caller())
        return {"jobs_per_s": TOGETHER / (time.perf_counter() - started)}


async def pickup(bench: Bench) -> Sample:
    """Idle: from before insert + notify to the moment when another process, which listened, holds the claimed job."""
    took = []
    async with _worker_apart(bench) as ear, bench.connection() as connection:
        for number in range(PICKUPS):
            await asyncio.sleep(PAUSE)
            started = time.monotonic_ns()
            await connection.execute(bare.INSERT_AND_NOTIFY, bare.new_id(), bare.KIND, bare.QUEUE, str(number))
            took.append(await ear.hear(number) - started)
    return spread(took)


async def round_trip(bench: Bench) -> Sample:
    """Idle: insert + notify here, claim and move + notify there, read the result here."""
    took = []
    done: asyncio.Queue[str] = asyncio.Queue()
    async with _worker_apart(bench), bench.connection() as connection, bench.connection("listener") as listener:
        await listener.add_listener(bare.DONE, lambda *arguments: done.put_nowait(arguments[3]))
        for number in range(PICKUPS):
            await asyncio.sleep(PAUSE)
            started = time.monotonic_ns()
            job_id = bare.new_id()
            await connection.execute(bare.INSERT_AND_NOTIFY, job_id, bare.KIND, bare.QUEUE, str(number))
            while await done.get() != str(job_id):
                pass
            assert await connection.fetchrow(bare.READ, job_id)
            took.append(time.monotonic_ns() - started)
    return spread(took)


@contextlib.asynccontextmanager
async def _worker_apart(bench: Bench) -> AsyncIterator[Ear]:
    command = [sys.executable, "-m", "benchmarks.bare_worker", bench.url]
    async with program(bench, command) as (_, ear), bench.connection() as connection:
        for number in range(-20, 0):  # the first ones also wait for its start, and warm it
            await connection.execute(bare.INSERT_AND_NOTIFY, bare.new_id(), bare.KIND, bare.QUEUE, str(number))
            await ear.hear(number)
        yield ear


QUESTIONS = tuple(
    Question(f"floor {measure.__name__}", measure.__doc__ or "", None, measure)
    for measure in (drain, copy, insert_alone, insert_together, pickup, round_trip)
)
