"""Our side: the schema, a client here, a worker in a process of its own, and the figures that the database has."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from asyncjobs import AsyncJobs
from asyncjobs.db import migrating
from benchmarks import bare
from benchmarks.jobs import first_line
from benchmarks.program import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from asyncjobs import Job
    from benchmarks.clock import Ear
    from benchmarks.question import Sample
    from benchmarks.server import Bench
    from tests.support.workers import Worker

CONCURRENCY = 1000
Pools = tuple[tuple[tuple[str, ...], int], ...]
"""(queues, concurrency) of each pool."""
ONE_POOL: Pools = ((("*",), CONCURRENCY),)
WARM_UP = 20


@contextlib.asynccontextmanager
async def client(bench: Bench) -> AsyncIterator[AsyncJobs]:
    """An open client in this process."""
    if not bench.migrated:
        async with bench.connection("migrating") as connection:
            await migrating.migrate(connection)
        bench.migrated = True
    async with AsyncJobs(database_url=bench.url) as jobs:
        yield jobs


@contextlib.asynccontextmanager
async def worker(
    bench: Bench,
    *,
    pools: Pools = ONE_POOL,
    expected: int = 0,
    imports: Sequence[str] = (),
    settings: Sequence[str] = (),
    options: Sequence[str] = (),
) -> AsyncIterator[tuple[Worker, Ear]]:
    """One worker process, which shouts when it has run *expected* counting jobs. Ended by SIGTERM, if not before.

    Args:
        bench: The server.
        pools: The pools of the worker.
        expected: The number of jobs.
        imports: Further modules that it imports.
        settings: Further lines of its configuration.
        options: Further options of `asyncjobs run`.
    """
    config = bench.directory / "config.toml"
    modules = json.dumps(["benchmarks.jobs", *imports])
    lines = ["[default]", f"imports = {modules}", f"database_url = {json.dumps(bench.url)}", *settings]
    for queues, concurrency in pools:
        lines += ["[[default.pools]]", f"queues = {json.dumps(queues)}", f"concurrency = {concurrency}"]
    config.write_text("\n".join(lines))
    command = [sys.executable, "-m", "asyncjobs", "run", "--config", str(config), *options]
    async with program(bench, command, expected=expected) as (process, ear):
        yield process, ear
        process.stop()
        if (code := await process.exit_code(60)) not in {0, -signal.SIGKILL}:
            raise RuntimeError(f"the worker ended with {code}: {process.log[-1000:]}")


async def warm(ear: Ear, queue: str = "default") -> None:
    """Let the worker run some jobs one by one, the first of which also waits for its start."""
    for number in range(-WARM_UP, 0):
        await first_line(number).set(queue=queue).enqueue()
        await ear.hear(number)


async def drain(bench: Bench, jobs: Iterable[Job[None]], count: int, **more: Any) -> Sample:
    """Enqueue *count* counting jobs, start a worker, and take the time from the first claim to the last finish.

    Args:
        bench: The server.
        jobs: The jobs.
        count: Their number.
        more: What else `worker` takes.
    """
    async with client(bench) as opened:
        assert await opened.enqueue_all(jobs) == count
    async with worker(bench, expected=count, **more) as (_, ear):
        await ear.hear(count, timeout=500)
        return await rate(bench, count)


async def rate(bench: Bench, count: int) -> Sample:
    """Jobs a second by the database's clock, once *count* jobs are in the history."""
    async with asyncio.timeout(30):
        while (
            found := await bench.control.fetchval("select count(*) from asyncjobs.finished where state = 4")
        ) < count:
            await asyncio.sleep(0.02)
    assert found == count, f"{found} jobs finished, of {count}"
    _, seconds = await bench.control.fetchrow(bare.FROM_FIRST_CLAIM_TO_LAST_FINISH.format(schema="asyncjobs"))
    return {"jobs_per_s": count / seconds}
