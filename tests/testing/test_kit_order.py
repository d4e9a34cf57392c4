"""Batches, chains and `then` in the test kit: performed with all that follows, and cut everywhere."""

from __future__ import annotations

import asyncio

import kit_jobs
import pytest
from kit_jobs import lines, reset, write

from asyncjobs import Batch, Job, attribute, chain, current_attempt, current_job, job, step
from asyncjobs.db.connecting import connect
from asyncjobs.testing import Jobs


@pytest.fixture(autouse=True)
def _lines(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kit_jobs, "LINES", tmp_path / "lines")
    kit_jobs.reset()


@job
async def says(word: str) -> str:
    write(word)
    if word.startswith("bad"):
        raise ValueError(word)
    return word


@job
async def adds(count: int) -> None:
    batch = current_attempt().batch
    assert batch is not None
    for n in range(count):
        await batch.enqueue(says(f"added-{n}"))


@job
async def is_followed(word: str) -> str:
    await asyncio.sleep(0)
    await says("inner").perform_now()
    current_job().then(says(f"{word}-then"), chain(says("one"), says(chain.previous)))
    return word


@job
async def parent() -> list[str]:
    return await current_job().run("children", is_followed("y"), says("z"))


class FansOut(Job):
    """Enqueues a batch once, awaits it, and leaves something to follow."""

    batch_id: str = attribute(default="")

    @step(isolated=True)
    async def fan_out(self, connection) -> None:
        batch = Batch(on_finish=says("finish"), on_success=says("success")).add(says("a"), adds(1))
        await batch.enqueue(connection=connection)
        self.batch_id = str(batch.id)

    async def perform(self) -> None:
        await self.run_steps()
        jobs = kit_jobs.JOBS
        await (await jobs.get_batch(self.batch_id))
        self.then(says("after"))


def observed() -> list[str]:
    return sorted(word for word in lines() if word != "inner")


async def test_what_follows_is_performed_too(jobs: Jobs) -> None:
    await Batch(on_finish=says("finish"), on_discard=says("discard")).add(says("a"), says("bad"), adds(2)).enqueue()
    await chain(says("x"), says(chain.previous)).enqueue()
    await is_followed("y").enqueue()
    await jobs.perform_enqueued()
    assert observed() == sorted(
        ["finish", "discard", "a", "bad", "added-0", "added-1", "x", "x", "y-then", "one", "one"]
    )


async def test_a_step_that_runs_jobs_with_all_of_it(jobs: Jobs) -> None:
    await parent().enqueue()
    await jobs.perform_enqueued()
    await jobs.assert_performed(parent)
    assert observed() == ["one", "one", "y-then", "z"]


@pytest.fixture
async def stored(jobs: Jobs):
    """Reads what was enqueued: whoever is killed with the job may have run twice, and has one row."""
    connection = await connect(jobs.database_url, is_lent=True)

    async def read() -> list[tuple[str, int]]:
        rows = await connection.fetch(
            "select kind || args as said, state from asyncjobs.job_status where kind !~ 'FansOut' order by 1, 2"
        )
        return [(row["said"], row["state"]) for row in rows]

    yield read
    connection.terminate()


async def test_what_follows_comes_once_wherever_the_job_is_cut(jobs: Jobs, stored) -> None:
    assert await jobs.crash_everywhere(lambda: is_followed("y"), reset=reset, observe=stored) > 3
    assert len(await stored()) == 4


@pytest.mark.slow
async def test_a_batch_comes_once_wherever_the_job_is_cut_that_makes_it(
    jobs: Jobs, monkeypatch, stored, every: int
) -> None:
    monkeypatch.setattr(kit_jobs, "JOBS", jobs, raising=False)
    assert await jobs.crash_everywhere(FansOut, reset=reset, observe=stored) > 5
    assert len(await stored()) == 6
