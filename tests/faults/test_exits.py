"""SystemExit and KeyboardInterrupt of what a job has started: that job's end, and neither its worker's nor its neighbours'."""

import asyncio
import sys

import pytest

from asyncjobs import JobFailed
from tests.faults import exit_jobs as work
from tests.faults import jobs
from tests.support.sweeps import slowly

HOWS = ["task", "group", "gather", "library", "of a task"]
# Since then what it waits for is no task of its own, and what the job's own code catches is its affair.
if sys.version_info < (3, 12):
    HOWS.append("wait_for")


async def test_a_task_that_exits_fails_its_job_and_the_worker_and_its_neighbours_go_on(scene):
    worker = await scene.start("tests.faults.exit_jobs", "tests.faults.jobs", concurrency=50)
    gate = scene.gate()
    [neighbour] = await scene.enqueue(jobs.hold(gate))
    await scene.running(neighbour)
    bad = await scene.enqueue(*(work.in_a_task(what, how) for what in work.WHATS for how in HOWS))
    rows = await scene.finished(*bad)
    assert {(row["state"], row["attempt"], row["crashes"]) for row in rows} == {(5, 1, 0)}
    for row in rows:
        assert '"builtins.SystemExit"' in row["errors"] or '"builtins.KeyboardInterrupt"' in row["errors"]
    assert worker.log.count("a task that it started raised") == len(bad)
    assert "exits.in_a_task" in worker.log
    scene.open(gate)
    [row] = await scene.finished(neighbour)
    assert (row["state"], row["attempt"]) == (4, 1)
    worker.stop()
    assert await worker.exit_code() == 0


@pytest.mark.parametrize("what", [work.WHATS[0], *slowly(*work.WHATS[1:]), "stop"])
async def test_a_callback_that_exits_or_stops_the_loop_stops_nothing(scene, what):
    worker = await scene.start("tests.faults.exit_jobs", "tests.faults.jobs")
    gate = scene.gate()
    [neighbour] = await scene.enqueue(jobs.hold(gate))
    await scene.running(neighbour)
    [made] = await scene.enqueue(work.in_a_callback(what))
    [row] = await scene.finished(made)
    assert row["state"] == 4
    await worker.wait_for_log("a callback has stopped the event loop")
    assert f"faults.hold {neighbour.id}" in worker.log
    scene.open(gate)
    [row] = await scene.finished(neighbour)
    assert (row["state"], row["attempt"]) == (4, 1)
    worker.stop()
    assert await worker.exit_code() == 0


async def test_a_worker_whose_loop_is_stopped_again_and_again_ends_as_at_a_crash(scene):
    worker = await scene.start("tests.faults.exit_jobs", "tests.faults.jobs")
    [neighbour] = await scene.enqueue(jobs.hold(scene.gate()))
    await scene.running(neighbour)
    await scene.enqueue(work.again_and_again())
    assert await worker.exit_code() == 1
    await scene.start("tests.faults.jobs", name="heir")
    await scene.running(neighbour, attempt=2)
    assert (await scene.row(neighbour))["crashes"] == 1
    scene.open(scene.gate())


async def test_a_program_that_a_worker_is_embedded_in_lives_on(make_jobs):
    async with make_jobs().running():
        for what in work.WHATS:
            for how in HOWS:
                with pytest.raises(JobFailed):
                    await (await work.in_a_task(what, how).enqueue()).result(timeout=20)
        assert await (await work.left_behind("SystemExit(0)").enqueue()).result(timeout=20) == "done"
        await asyncio.wait(work.left)
