"""Which client is used where several are open in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from stopping import gates

from asyncjobs import AsyncJobs, Batch, Job, chain, current_job, emit, job
from asyncjobs.client.enqueueing import Enqueuer
from asyncjobs.db.inserts import Inserts

pytestmark = pytest.mark.usefixtures("gate")


@pytest.fixture
def other_url(databases: Any) -> Iterator[str]:
    """The URL of another database."""
    with databases.another() as url:
        yield url


@job(kind="several.quick")
async def quick() -> int:
    return 1


@job(kind="several.opens")
async def opens(url: str) -> list[str | None]:
    """Opens a client of its own, and enqueues inside of its block, by name, and after it."""
    async with AsyncJobs(database_url=url) as other:
        inside = await quick().enqueue()
        named = await other.enqueue(quick())
        gates["arrived"].set()
        await gates["open"].wait()
        assert (await inside.status()).state == (await named.status()).state == "ready"
    after = await quick().enqueue()
    assert await after == 1
    return [str(inside.id), str(named.id)]


class Neighbour(Job, kind="several.Neighbour"):
    """Uses the client of its worker in each way, while another job has a client of its own open."""

    how: str

    async def perform(self) -> Any:
        made = await quick().enqueue() if self.how == "across" else None
        await gates["arrived"].wait()
        match self.how:
            case "across":
                assert made is not None
                await made
            case "one":
                await (await quick().enqueue())
            case "a step":
                await current_job().run("children", quick(), quick())
            case "a batch":
                batch = Batch("b")
                batch.add(quick())
                await (await batch.enqueue())
            case "a chain":
                await (await chain(quick(), quick()).enqueue())
            case "an event":
                await emit("several", key=str(self.id))
                return await self.wait_for("several", key=str(self.id))
            case "a thread":
                await asyncio.to_thread(lambda: quick().enqueue_from_thread().result_from_thread())
        return None


WAYS = ["across", "one", "a step", "a batch", "a chain", "an event", "a thread"]


async def test_a_client_that_a_job_opens_is_used_by_that_job_alone(database_url: str, other_url: str) -> None:
    async with AsyncJobs(database_url=database_url).running() as jobs:
        opening = await opens(other_url).enqueue()
        neighbours = [await Neighbour(how=how).enqueue() for how in WAYS]
        for neighbour in neighbours:
            await neighbour.result(timeout=30)
        assert await jobs.count(kind="several.quick", state="ready") == 0
        gates["open"].set()
        assert len(await opening.result(timeout=30)) == 2
        async with AsyncJobs(database_url=other_url) as other:
            assert await other.count(kind="several.quick", state="ready") == 2


async def test_what_was_enqueued_or_read_by_a_client_is_asked_about_there(database_url: str, other_url: str) -> None:
    async with AsyncJobs(database_url=database_url).running() as jobs:
        batch = Batch("b")
        batch.add(quick())
        await batch.enqueue()
        one, many = await jobs.enqueue(quick()), quick()
        await jobs.enqueue_all([many])
        async with AsyncJobs(database_url=other_url):
            assert await one == await many == await (await jobs.get(one.id, quick)) == 1
            assert (await one.status()).state == "succeeded"
            assert (await (await jobs.get_batch(batch.id)).result(timeout=30)).total == 1
            assert (await batch.status()).finished_at is not None
            assert not await many.cancel()


async def test_a_job_of_a_client_that_is_closed_is_asked_about_by_the_open_one(database_url: str) -> None:
    async with AsyncJobs(database_url=database_url):
        made = await quick().enqueue()
    async with AsyncJobs(database_url=database_url).running():
        assert await made.result(timeout=30) == 1


@pytest.mark.parametrize("how", ["enqueue", "enqueue_all"])
@pytest.mark.parametrize("then", ["enqueue", "enqueue_all"])
async def test_a_call_for_a_job_whose_row_is_being_made_waits_for_that(
    database_url: str, monkeypatch: pytest.MonkeyPatch, how: str, then: str
) -> None:
    """It would overtake: its row might be gone before the first statement makes another."""
    went, may_go, begun = list[str](), asyncio.Event(), asyncio.Event()

    async def gated(original: Any, self: Any, *given: Any, **more: Any) -> Any:
        if not begun.is_set():
            begun.set()
            await may_go.wait()
        went.append(original.__name__)
        return await original(self, *given, **more)

    for where, name in ((Enqueuer, "enqueue"), (Enqueuer, "enqueue_again"), (Inserts, "enqueue_many")):
        original = getattr(where, name)
        monkeypatch.setattr(
            where, name, lambda self, *given, _original=original, **more: gated(_original, self, *given, **more)
        )
    async with AsyncJobs(database_url=database_url) as jobs:
        made = quick()
        calls = {"enqueue": lambda: jobs.enqueue(made), "enqueue_all": lambda: jobs.enqueue_all([made])}
        first = asyncio.ensure_future(calls[how]())
        await begun.wait()
        second = asyncio.ensure_future(calls[then]())
        for _ in range(20):
            await asyncio.sleep(0)
        assert went == [] and not second.done()
        may_go.set()
        await asyncio.gather(first, second)
        assert went[-1] == "enqueue_again" and len(went) == 2
        assert await jobs.count(kind="several.quick", state="ready") == 1
