"""Steps through a worker: what is recorded is not run again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg

from asyncjobs import AsyncJobs, Cursor, Job, Retry, attribute, current_job, emit, job, step

ran: list[str] = []


class Cloud(Job, kind="steps.Cloud"):
    cloud_id: int
    total: int = attribute(default=0)

    @step
    async def moderate(self) -> None:
        ran.append("moderate")
        self.total += 1

    @step(isolated=True)
    async def analyze(self, connection: asyncpg.Connection) -> None:
        ran.append("analyze")
        await connection.execute("select 1")
        self.total += 10

    @step(unless=lambda self: self.total == 11)
    async def generate(self) -> None:
        ran.append("generate")

    @step
    async def export(self, cursor: Cursor[int]) -> None:
        async for n in cursor.each(range(5)):
            ran.append(f"export {n}")
            if self.attempt == 1 and n == 3:
                raise Retry(wait=0)

    async def perform(self) -> int:
        await self.run_steps()
        return self.total


async def test_steps_run_in_order_and_a_retry_goes_on_where_the_last_attempt_stopped(jobs: AsyncJobs) -> None:
    ran.clear()
    cloud = await Cloud(cloud_id=1).enqueue()
    assert await cloud.result(timeout=10) == 11
    assert ran == ["moderate", "analyze", "export 0", "export 1", "export 2", "export 3", "export 3", "export 4"]


def parse(n: int) -> list[int]:
    ran.append("parse")
    return [n, n]


@job(kind="steps.imperative")
async def imperative(n: int) -> Any:
    steps = current_job()
    rows = await steps.step("parse", parse, n)
    await steps.sleep("cool-down", timedelta(milliseconds=300))
    approval = await steps.wait_for("approved", key=n, timeout=timedelta(days=7))
    return [rows, approval]


async def test_a_job_sleeps_and_waits_for_an_event_without_running(jobs: AsyncJobs) -> None:
    ran.clear()
    made = await imperative(7).enqueue()
    while (await made.status()).state != "waiting":
        pass
    assert await emit("approved", key=7, payload={"by": "kim"}) == 1
    assert await made.result(timeout=10) == [[7, 7], {"by": "kim"}]
    assert ran == ["parse"]


async def test_perform_now(jobs: AsyncJobs) -> None:
    ran.clear()
    assert await Cloud(cloud_id=2).perform_now() == 11
    await emit("approved", key=8, payload=1)
    assert await imperative(8).perform_now() == [[8, 8], 1]
    assert ran.count("parse") == 1
