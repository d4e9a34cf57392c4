"""A pool with aging, in a worker: what has waited long starts before what is more urgent and new."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg

from asyncjobs import AsyncJobs, job
from tests.support.processes import until_so

started: list[str] = []


@job(kind="aging.note")
async def note(name: str) -> None:
    started.append(name)


async def test_what_has_waited_long_starts_before_what_is_more_urgent_and_new(
    make_jobs: Callable[..., AsyncJobs], client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    started.clear()
    await client.enqueue(note("old").set(priority=5))
    await connection.execute("update asyncjobs.job set run_at = run_at - interval '10 minutes'")
    await client.enqueue(note("urgent"))
    await client.enqueue(note("new").set(priority=5))
    pools = [{"queues": ["plain"], "concurrency": 2}, {"queues": ["*"], "concurrency": 1, "aging": 60}]
    async with make_jobs(pools=pools).running() as jobs:
        await until_so(lambda: len(started) == 3)
        assert started == ["old", "urgent", "new"]
        await jobs.enqueue_all(note(f"{n}").set(priority=n % 7, queue=f"q{n % 3}") for n in range(100))
        await jobs.enqueue(note("beside").set(queue="plain"))
        await until_so(lambda: len(started) == 104)
    assert len(set(started)) == 104
