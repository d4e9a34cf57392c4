"""Steps through a worker: what is recorded is not run again."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from unittest import mock

import asyncpg
import pytest

from asyncjobs import AsyncJobs, Cursor, InvalidOption, Job, Retry, attribute, current_job, emit, job, step
from tests.support.asking import until
from tests.support.processes import PATIENCE

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
    assert await cloud.result(timeout=PATIENCE) == 11
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


async def test_a_job_sleeps_and_waits_for_an_event_without_running(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    ran.clear()
    made = await imperative(7).enqueue()
    await until(connection, "select state = 3 from asyncjobs.job where id = $1", made.id)
    assert await emit("approved", key=7, payload={"by": "kim"}) == 1
    assert await made.result(timeout=PATIENCE) == [[7, 7], {"by": "kim"}]
    assert ran == ["parse"]


async def test_perform_now(jobs: AsyncJobs) -> None:
    ran.clear()
    assert await Cloud(cloud_id=2).perform_now() == 11
    await emit("approved", key=8, payload=1)
    assert await imperative(8).perform_now() == [[8, 8], 1]
    assert ran.count("parse") == 1


async def test_the_status_tells_of_every_step(jobs: AsyncJobs) -> None:
    made = await imperative(9).enqueue()
    await emit("approved", key=9, payload=[1])
    await made.result(timeout=PATIENCE)
    status = await made.status()
    assert [(each.name, each.state, each.result) for each in status.steps] == [
        ("parse", "succeeded", [9, 9]),
        ("cool-down", "succeeded", None),
        ("approved 9", "succeeded", [1]),
    ]
    assert all(each.started_at <= each.finished_at for each in status.steps if each.finished_at)


async def test_a_job_is_run_again_from_a_step(jobs: AsyncJobs) -> None:
    cloud = await Cloud(cloud_id=1).enqueue()
    await cloud
    ran.clear()
    with pytest.raises(
        InvalidOption, match="of a step 'thumbs' of job .*: recorded are moderate, analyze, generate, export"
    ):
        await jobs.retry(cloud.id, from_step="thumbs")
    assert await jobs.retry(cloud.id, from_step="export")
    assert await cloud.result(timeout=PATIENCE) == 11
    assert ran == [f"export {n}" for n in range(5)]


async def test_why_names_what_a_step_waits_for(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    made = await imperative(11).enqueue()
    await until(connection, "select state = 3 from asyncjobs.job where id = $1", made.id)
    assert (await jobs.why(made.id)).startswith("is parked: it waits for the event 'approved' of key '11', until 20")
    assert await made.cancel("enough")
    assert [each.state for each in (await made.status()).steps] == ["succeeded", "succeeded", "waiting"]


@job(kind="steps.child")
async def child(n: int) -> timedelta:
    ran.append(f"child {n}")
    return timedelta(seconds=n)


@job(kind="steps.parent")
async def parent(fails_once: bool) -> list[timedelta]:
    me = current_job()
    found: list[timedelta] = await me.run("children", child(1), child(2))
    if fails_once and me.attempt == 1:
        raise Retry(wait=0)
    return found


@job(kind="steps.interrupted_parent")
async def interrupted_parent() -> list[timedelta]:
    me = current_job()
    children = [child(3), child(4)]
    with mock.patch.object(children[1], "enqueue", broken) if me.attempt == 1 else nullcontext():
        return await me.run("children", *children)


async def broken(**_: Any) -> None:
    raise Retry(wait=0)


async def test_other_jobs_are_run_once_and_their_results_given_back_in_their_types(jobs: AsyncJobs) -> None:
    ran.clear()
    assert await (await parent(True).enqueue()).result(timeout=PATIENCE) == [timedelta(seconds=1), timedelta(seconds=2)]
    assert sorted(ran) == ["child 1", "child 2"]


async def test_a_run_that_was_cut_while_it_enqueued_others_enqueues_the_same_again(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    ran.clear()
    assert await (await interrupted_parent().enqueue()).result(timeout=PATIENCE) == [
        timedelta(seconds=3),
        timedelta(seconds=4),
    ]
    assert sorted(ran) == ["child 3", "child 4"]
    assert await connection.fetchval("select count(*) from asyncjobs.finished where kind = 'steps.child'") == 2
