"""Jobs that await each other: what a running job awaits is told after a while, and a cycle is refused by name."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from client_jobs import Gate, wait_at

from asyncjobs import AsyncJobs, AwaitCycle, Job, JobFailed, current_job, job, retry_on
from asyncjobs.client import waiting_jobs
from asyncjobs.client.waiting_jobs import cycle
from asyncjobs.db.awaits import Waiter
from tests.support.asking import until

opened: list[AsyncJobs] = []


@pytest.fixture(autouse=True)
def known(jobs: AsyncJobs) -> None:
    opened[:] = [jobs]


limits: dict[UUID, asyncio.Timeout] = {}


@job(kind="cycles.awaits")
@retry_on(AwaitCycle, wait=0, attempts=50)
async def awaits(other: UUID, timeout: float | None = None) -> str:
    found = await opened[0].get(other)
    try:
        async with asyncio.timeout(None) as limits[other]:
            await found.result(timeout=timeout)
    except TimeoutError:
        return "went on"
    return "awaited"


@job(kind="cycles.runs")
async def runs() -> Any:
    return await current_job().run("all", awaits(current_job().id))


@job(kind="cycles.catches")
async def catches(other: UUID) -> str:
    try:
        await (await opened[0].get(other))
    except AwaitCycle as error:
        return str(error)
    return "awaited"


async def ring(length: int) -> list[Job[Any]]:
    """Enqueue jobs each of which awaits the next, and the last one the first."""
    ids = [uuid4() for _ in range(length)]
    made = [awaits(other) for other in [*ids[1:], ids[0]]]
    for one, job_id in zip(made, ids, strict=True):
        one._id = job_id
    await opened[0].enqueue_all(made)
    return made


async def errors_of(made: list[Job[Any]]) -> list[JobFailed]:
    ended = await asyncio.gather(*(one.result(timeout=20) for one in made), return_exceptions=True)
    assert all(isinstance(error, JobFailed) for error in ended), ended
    return ended


@pytest.mark.parametrize("length", [2, 3, 5])
async def test_jobs_that_await_each_other_are_refused_by_name_and_one_error_is_the_cause(
    jobs: AsyncJobs, length: int
) -> None:
    made = await ring(length)
    errors = await errors_of(made)
    refused = [error for error in errors if error.error_type == "asyncjobs.exceptions.AwaitCycle"]
    assert len(refused) == 1
    assert "jobs await each other and would wait for ever: " in refused[0].error_message
    assert all(f"cycles.awaits {one.id}" in refused[0].error_message for one in made)


async def test_a_job_whose_child_awaits_it_is_no_hang(jobs: AsyncJobs) -> None:
    one = await runs().enqueue()
    with pytest.raises(JobFailed):
        await one.result(timeout=20)


async def test_a_job_may_catch_it_and_go_on(jobs: AsyncJobs) -> None:
    first, second = catches(uuid4()), catches(uuid4())
    first._id, second._id = second._values["other"], first._values["other"]
    await jobs.enqueue_all([first, second])
    said = sorted([await first.result(timeout=20), await second.result(timeout=20)])
    assert said[0] == "awaited"
    assert said[1].startswith("jobs await each other")


async def test_an_await_with_a_timeout_ends_by_itself_and_is_no_cycle(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    first, second = awaits(uuid4(), timeout=3600), awaits(uuid4())
    first._id, second._id = second._values["other"], first._values["other"]
    await jobs.enqueue_all([first, second])
    await until(connection, "select count(*) = 2 from asyncjobs.job where waits_fence = fence")
    assert (await jobs.why(first.id)).startswith(
        f"waits for 1 job that it awaits, cycles.awaits {second.id} (running);"
    )
    limits[second.id].reschedule(0)
    assert await first.result(timeout=20) == "went on"
    assert await second.result(timeout=20) == "awaited"


async def test_why_says_what_a_job_awaits_and_that_it_waits_no_more(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    gate = Gate("awaited")
    other = await wait_at("awaited").enqueue()
    one = await awaits(other.id).enqueue()
    await until(connection, "select waits_for is not null from asyncjobs.job where id = $1", one.id)
    assert (await jobs.why(one.id)).startswith(
        f"waits for 1 job that it awaits, client.wait_at {other.id} (running); it runs since 2"
    )
    gate.open.set()
    assert await one.result(timeout=20) == "awaited"


@job(kind="cycles.awaits_then_stays")
async def awaits_then_stays(other: UUID, gate: str) -> None:
    await (await opened[0].get(other))
    Gate.all[gate].arrived.set()
    await Gate.all[gate].open.wait()


async def test_a_job_that_goes_on_is_known_to_wait_no_more(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    first, then = Gate("first"), Gate("then")
    other = await wait_at("first").enqueue()
    one = await awaits_then_stays(other.id, "then").enqueue()
    await until(connection, "select waits_for is not null from asyncjobs.job where id = $1", one.id)
    first.open.set()
    await then.arrived.wait()
    await until(connection, "select waits_for is null from asyncjobs.job where id = $1", one.id)
    assert (await jobs.why(one.id)).startswith("runs since 2")
    then.open.set()
    await one.result(timeout=20)


async def test_what_an_earlier_attempt_waited_for_counts_no_more(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    gate = Gate("earlier")
    one = await wait_at("earlier").enqueue()
    await gate.arrived.wait()
    await connection.execute("update asyncjobs.job set waits_for = array[id], waits_fence = fence - 1")
    assert (await jobs.why(one.id)).startswith("runs since 2")
    gate.open.set()
    await one.result(timeout=20)


async def test_a_wait_that_is_over_sooner_tells_the_database_nothing(
    jobs: AsyncJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(waiting_jobs.WaitsInside, "tell", lambda _self: told.append(1) or asyncio.sleep(0))
    gate = Gate("sooner")
    other = await wait_at("sooner").enqueue()
    gate.open.set()
    assert await (await awaits(other.id).enqueue()).result(timeout=20) == "awaited"
    assert told == []


def test_the_shortest_way_back_is_found_and_none_where_there_is_none() -> None:
    a, b, c, d = (UUID(int=n) for n in range(4))
    graph = {one: Waiter(one, "k", others) for one, others in {a: [d, b], b: [c], c: [a, b], d: [d]}.items()}
    assert cycle(graph, a) == [a, b, c]
    assert cycle(graph, b) == [b, c]
    assert cycle(graph, d) == [d]
    assert cycle({a: Waiter(a, "k", [b]), b: Waiter(b, "k", [])}, a) is None
