"""Cancelling a parent cancels the jobs that its step runs, wherever they and it are; and what is said of them before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from client_jobs import Gate, double, wait_at

from asyncjobs import AsyncJobs, Job, JobCancelled, current_job, job
from asyncjobs.performing.fan_out import FanOut
from tests.support.asking import until
from tests.support.processes import PATIENCE


@job(kind="cancelled.parent")
async def parent(gate: str, detached: bool = False) -> list[Any]:
    return await current_job().run("all", wait_at(gate), later(), detached=detached)


@job(kind="cancelled.grandparent")
async def grandparent(gate: str) -> list[Any]:
    return await current_job().run("all", parent(gate))


@job(kind="cancelled.later", queue="nobody")
async def later() -> None: ...


async def states(connection: asyncpg.Connection) -> dict[str, str]:
    names = ("scheduled", "ready", "running", "waiting", "succeeded", "failed", "discarded", "cancelled")
    found = await connection.fetch(
        "select kind, state from asyncjobs.job union all select kind, state from asyncjobs.finished"
    )
    return {row["kind"].partition(".")[2]: names[row["state"]] for row in found}


async def begun(made: Job[Any], gate: str) -> Job[Any]:
    """Enqueue a job and wait until its running child is there."""
    at = Gate(gate)
    await made.enqueue()
    async with asyncio.timeout(PATIENCE):
        await at.arrived.wait()
    return made


POOLS = [{"queues": ["*", "-nobody"], "concurrency": 10}]
ALL_CANCELLED = {"parent": "cancelled", "wait_at": "cancelled", "later": "cancelled"}


async def test_those_that_run_and_those_that_are_ready_are_cancelled_with_a_running_parent(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    one = await begun(parent("both"), "both")
    assert await one.cancel("enough")
    with pytest.raises(JobCancelled, match="enough"):
        await one.result(timeout=20)
    await until(connection, "select not exists (select from asyncjobs.job)")
    assert await states(connection) == ALL_CANCELLED
    reasons = await connection.fetch("select reason from asyncjobs.finished where id <> $1", one.id)
    assert {row["reason"] for row in reasons} == {f"its parent cancelled.parent {one.id} was cancelled: enough"}


async def test_those_of_those_are_cancelled_too_and_by_sql(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    one = await begun(grandparent("deep"), "deep")
    assert await connection.fetchval("select asyncjobs.cancel($1)", one.id) == "cancelling"
    await until(connection, "select not exists (select from asyncjobs.job)")
    assert await states(connection) == {"grandparent": "cancelled", **ALL_CANCELLED}


async def test_those_of_a_parent_that_does_not_run_are_cancelled_too(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs(pools=POOLS, shutdown_timeout=0):
        async with make_jobs(pools=POOLS, shutdown_timeout=0).running():
            one = await begun(grandparent("stopped"), "stopped")
            await until(connection, "select count(*) = 4 from asyncjobs.job")
        assert set((await states(connection)).values()) == {"ready"}
        assert await one.cancel()
    assert await states(connection) == {"grandparent": "cancelled", **ALL_CANCELLED}
    assert not await connection.fetchval("select count(*) from asyncjobs.step")


async def test_detached_ones_are_left_alone(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    one = await begun(parent("detached", detached=True), "detached")
    assert await one.cancel()
    with pytest.raises(JobCancelled):
        await one.result(timeout=20)
    assert await states(connection) == {"parent": "cancelled", "wait_at": "running", "later": "ready"}
    Gate.all["detached"].open.set()


async def test_those_that_are_enqueued_while_the_parent_is_being_cancelled_are_cancelled_after_it(
    jobs: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue = FanOut._enqueue_until_answered

    async def cancelled_first(self: Any, of: Job[Any]) -> None:
        assert await connection.fetchval("select asyncjobs.cancel($1)", of.id) == "cancelling"
        await enqueue(self, of)

    monkeypatch.setattr(FanOut, "_enqueue_until_answered", cancelled_first)
    Gate("raced")
    one = await parent("raced").enqueue()
    with pytest.raises(JobCancelled):
        await one.result(timeout=20)
    await until(connection, "select not exists (select from asyncjobs.job)")
    assert await states(connection) == ALL_CANCELLED


async def test_what_is_final_is_left_as_it_is(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    done = await double(2).enqueue()
    assert await done.result(timeout=20) == 4
    one = await begun(parent("final"), "final")
    Gate.all["final"].open.set()
    await until(connection, """select children like '%"state":"succeeded"%' from asyncjobs.step""")
    assert await one.cancel()
    await until(connection, "select not exists (select from asyncjobs.job)")
    assert await states(connection) == {**ALL_CANCELLED, "wait_at": "succeeded", "double": "succeeded"}
    assert not await one.cancel()


async def test_why_and_status_say_which_a_parent_waits_for(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    one = await begun(parent("asked"), "asked")
    await until(connection, """select children like '%"enqueued":true%' from asyncjobs.step""")
    first, second = (await one.status()).steps[0].children or []
    assert (first.kind, first.state, second.kind, second.state) == (
        "client.wait_at", "running", "cancelled.later", "ready"
    )  # fmt: skip
    sentence = await jobs.why(one.id)
    assert sentence.startswith(
        f"waits for 2 of 2 jobs that its step 'all' runs, client.wait_at {first.id} (running), "
        f"cancelled.later {second.id} (ready); it runs since 2"
    )
    Gate.all["asked"].open.set()
    await until(connection, """select children like '%"state":"succeeded"%' from asyncjobs.step""")
    assert (await jobs.why(one.id)).startswith("waits for 1 of 2 jobs that its step 'all' runs, cancelled.later ")
    step = (await one.status()).steps[0]
    assert step.state == "running"
    assert [child.state for child in step.children or []] == ["succeeded", "ready"]
    assert [child.id for child in step.left] == [second.id]


async def test_a_cancelled_parent_that_is_retried_has_its_children_run_again(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    one = await begun(grandparent("again"), "again")
    assert await one.cancel()
    await until(connection, "select not exists (select from asyncjobs.job)")
    Gate.all["again"].open.set()
    assert await jobs.retry(one.id)
    await until(connection, "select count(*) = 1 from asyncjobs.finished where state = 4")
    assert await states(connection) == {
        "grandparent": "running", "parent": "running", "wait_at": "succeeded", "later": "ready"
    }  # fmt: skip
    assert await connection.fetchval("select count(distinct id) from asyncjobs.job") == 3, "the same jobs"
