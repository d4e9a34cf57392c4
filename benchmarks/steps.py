"""What does a step cost, and what a cursor?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks import bare, ours
from benchmarks.jobs import count_rows, isolated_steps, plain_steps
from benchmarks.question import Question, Sample, Target, spread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from asyncjobs import Job
    from benchmarks.server import Bench

STEPS = 1_000
ROWS = 100_000
UPDATE = "update floor.job set progress = $2 where id = $1"


async def steps(bench: Bench) -> Sample:
    """Run a job of 1,000 steps that do nothing; each takes its own time."""
    return spread(await _ran(bench, plain_steps(STEPS)))


async def isolated(bench: Bench) -> Sample:
    """Run a job of 1,000 isolated steps with one update each."""
    return spread(await _ran(bench, isolated_steps(STEPS)))


async def each(bench: Bench) -> Sample:
    """Go through 100,000 rows of the database with `cursor.each`."""
    return {"rows_per_s": ROWS / (await _ran(bench, count_rows(bench.url, ROWS, with_cursor=True)))}


async def bare_loop(bench: Bench) -> Sample:
    """Go through the same rows, in the same kind of process, without a cursor of ours."""
    return {"rows_per_s": ROWS / (await _ran(bench, count_rows(bench.url, ROWS, with_cursor=False)))}


async def _ran(bench: Bench, job: Job[Any]) -> Any:
    """What a job returns that one idle worker runs."""
    async with ours.client(bench), ours.worker(bench) as (_, ear):
        await ours.warm(ear)
        return await (await job.enqueue()).result(timeout=300)


async def _updates(bench: Bench, update: Callable[[asyncpg.Connection, str], Awaitable[None]]) -> Sample:
    async with bench.connection() as connection:
        row = bare.row()
        await connection.execute(bare.INSERT, *row)
        took = []
        for _ in range(STEPS):
            started = time.perf_counter_ns()
            await update(connection, row[0])
            took.append(time.perf_counter_ns() - started)
    return spread(took)


async def bare_update(bench: Bench) -> Sample:
    """Update one row and commit, 1,000 times."""

    async def update(connection: asyncpg.Connection, key: str) -> None:
        await connection.execute(UPDATE, key, "{}")

    return await _updates(bench, update)


async def bare_transaction(bench: Bench) -> Sample:
    """Begin, update one row twice and commit, 1,000 times."""

    async def update(connection: asyncpg.Connection, key: str) -> None:
        async with connection.transaction():
            await connection.execute(UPDATE, key, "{}")
            await connection.execute(UPDATE, key, "{}")

    return await _updates(bench, update)


QUESTIONS = (
    Question(
        "steps",
        "1,000 steps of one job that do nothing, each recorded before the next; against a bare update and its commit.",
        steps,
        bare_update,
        targets=(Target("p50_ms", at_most=1.3),),
    ),
    Question(
        "steps: isolated",
        "1,000 isolated steps with one update each; against a bare transaction of two updates.",
        isolated,
        bare_transaction,
        targets=(Target("p50_ms", at_most=1.3),),
    ),
    Question(
        "steps: cursor.each",
        "100,000 rows of a server-side cursor through `cursor.each`; against the same loop in the same worker without it.",
        each,
        bare_loop,
        targets=(Target("rows_per_s", at_least=0.7),),
    ),
)
