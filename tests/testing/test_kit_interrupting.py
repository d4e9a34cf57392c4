from __future__ import annotations

import kit_jobs
import pytest
from kit_jobs import Import, Mapped, lines

from asyncjobs import InvalidOption
from asyncjobs.testing import Jobs


@pytest.fixture(autouse=True)
def _lines(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kit_jobs, "LINES", tmp_path / "lines")
    kit_jobs.reset()


async def test_a_run_is_interrupted_at_the_cursor_and_goes_on_behind_it(jobs: Jobs) -> None:
    job = await Import().enqueue()
    async with jobs.interrupt_during(Import, "load", cursor=2):
        assert await jobs.perform_enqueued() == 1
    status = await job.status()
    assert (status.state, status.attempt, status.errors) == ("ready", 0, [])
    assert lines() == ["parse", "parsed", "1", "2"]
    assert await jobs.perform_enqueued() == 1
    assert lines() == ["parse", "parsed", "1", "2", "3", "4", "report"]
    await jobs.assert_performed(Import)


async def test_a_map_that_is_interrupted_is_not_over(jobs: Jobs) -> None:
    job = await Mapped().enqueue()
    async with jobs.interrupt_during(Mapped, "load", cursor=None):
        await jobs.perform_enqueued()
    assert (await job.status()).state == "ready"
    assert 0 < len(lines()) < 30
    await jobs.perform_enqueued()
    assert set(lines()) == {str(row) for row in range(1, 31)}


async def test_without_a_value_the_first_checkpoint_of_the_step_interrupts(jobs: Jobs) -> None:
    await Import().enqueue()
    async with jobs.interrupt_during(Import, "load"):
        await jobs.perform_enqueued()
    assert lines() == ["parse", "parsed", "1"]


async def test_a_step_without_a_cursor_is_cancelled_where_it_waits_and_runs_again(jobs: Jobs) -> None:
    await Import(rows=0).enqueue()
    async with jobs.interrupt_during(Import, "parse"):
        await jobs.perform_enqueued()
    assert lines() == ["parse"]
    await jobs.perform_enqueued()
    assert lines() == ["parse", "parse", "parsed", "report"]


async def test_a_run_is_interrupted_between_a_step_and_the_next(jobs: Jobs) -> None:
    job = await Import(rows=1).enqueue()
    async with jobs.interrupt_after(Import, "load"):
        await jobs.perform_enqueued()
    assert lines() == ["parse", "parsed", "1"]
    assert (await job.status()).state == "ready"
    await jobs.perform_enqueued()
    assert lines()[-1:] == ["report"] and lines().count("1") == 1


async def test_one_job_alone_is_interrupted_when_one_is_named(jobs: Jobs) -> None:
    one, other = await Import(rows=1).enqueue(), await Import(rows=1).enqueue()
    async with jobs.interrupt_after(one, "parse"):
        assert await jobs.perform_enqueued() == 2
    assert (await one.status()).state == "ready"
    assert (await other.status()).state == "succeeded"


async def test_awaited_it_performs_the_job_itself(jobs: Jobs) -> None:
    job = Import()
    await jobs.interrupt_during(job, "load", cursor=3)
    assert lines() == ["parse", "parsed", "1", "2", "3"]
    assert (await job.status()).state == "ready"


async def test_an_interruption_that_never_came_fails_the_test(jobs: Jobs) -> None:
    await Import().enqueue()
    with pytest.raises(
        AssertionError, match="no run of .*Import was interrupted during step 'load' with its cursor at 99"
    ):
        async with jobs.interrupt_during(Import, "load", cursor=99):
            await jobs.perform_enqueued()
    with pytest.raises(InvalidOption, match="has no step 'lode': it has parse, load, report"):
        jobs.interrupt_after(Import, "lode")
