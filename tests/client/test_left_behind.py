"""What an embedded worker leaves behind when it stops, in a process that ends later."""

from __future__ import annotations

import threading
from collections.abc import Callable

import asyncpg

from asyncjobs import AsyncJobs, job
from tests.support.processes import until_so

begun, let_go = threading.Event(), threading.Event()


@job(kind="left_behind.deaf")
def deaf() -> str:
    first = not begun.is_set()
    begun.set()
    if first:
        let_go.wait(60)
    return "done"


async def test_a_thread_that_outlasts_the_stop_is_not_charged_with_the_death_of_its_process(
    client: AsyncJobs, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs(shutdown_timeout=0.05).running():
        made = await deaf().enqueue()
        await until_so(begun.is_set)
    # As the web server's end would have it: nobody writes any more, and the lease is over.
    await connection.execute("update asyncjobs.worker set dead_at = clock_timestamp()")
    try:
        async with make_jobs().running():
            assert await made.result(timeout=20) == "done"
        status = await made.status()
        assert (status.attempt, status.crashes) == (1, 0)
        assert "not charged to it: the worker was told to stop" in status.errors[0].message
    finally:
        let_go.set()
