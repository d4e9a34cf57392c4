"""A process job and what it has started: one whole, that ends in time whoever holds what open."""

import os
import signal

import pytest

from tests.faults import group_jobs as groups
from tests.faults.conftest import on_its_loop
from tests.support.processes import alive, children, until
from tests.support.sweeps import slowly

LASTING = ("tests.faults.jobs", "tests.faults.group_jobs")


@pytest.fixture
async def worker(scene):
    return await scene.start(*LASTING, name="one", concurrency=10)


async def started(scene, job, count=1):
    """The processes that a job has started, and its own."""
    told = await scene.oracle.wait_for(event="started", job_id=job.id, count=count)
    told += scene.events(event="leads", job_id=job.id)
    return [event.fields["child"] for event in told]


@on_its_loop
@pytest.mark.parametrize("how", ["pool", "program", *slowly("executor", "daemon", "grandchild")])
async def test_the_timeout_of_a_process_job_ends_it_and_all_that_it_has_started(lasting, how):
    [job] = await lasting.enqueue(groups.limited(how))
    pids = await started(lasting, job, 2 if how == "pool" else 1)
    [row] = await lasting.finished(job)
    assert row["state"] == 5 and "TimeoutError" in row["errors"]
    assert await until(lambda: not alive(*pids))


@on_its_loop
@pytest.mark.parametrize("how", groups.WAYS)
async def test_a_cancelled_process_job_ends_with_all_that_it_has_started(lasting, how):
    [job] = await lasting.enqueue(groups.going_on(how))
    pids = await started(lasting, job, 2 if how == "pool" else 1)
    assert await job.cancel()
    [row] = await lasting.finished(job)
    assert row["state"] == 7
    assert await until(lambda: not alive(*pids))


@on_its_loop
@pytest.mark.parametrize("how", groups.WAYS)
async def test_the_death_of_a_process_job_is_known_while_what_it_has_started_lives_and_ends_that(lasting, how):
    [job] = await lasting.enqueue(groups.dies(how))
    pids = await started(lasting, job, 2 if how == "pool" else 1)
    [row] = await lasting.finished(job)
    assert (row["state"], row["crashes"]) == (5, 1) and "SIGKILL" in row["errors"]
    assert await until(lambda: not alive(*pids))


@on_its_loop
async def test_what_a_process_job_leaves_when_it_returns_is_ended(lasting):
    [job] = await lasting.enqueue(groups.leaves())
    pids = await started(lasting, job, 2)
    [row] = await lasting.finished(job)
    assert row["state"] == 4
    assert await until(lambda: not alive(*pids))


@on_its_loop
async def test_a_process_job_that_closes_its_way_to_the_worker_has_died(lasting):
    [job] = await lasting.enqueue(groups.closes())
    [row] = await lasting.finished(job)
    assert row["state"] == 5 and "died (exit code 1) while it ran" in row["errors"]


@pytest.mark.parametrize("who", ["the forking process", "the worker", *slowly("both")])
async def test_what_a_process_job_has_started_dies_with(scene, worker, who):
    [job] = await scene.enqueue(groups.going_on("grandchild"))
    pids = await started(scene, job)
    [forking] = children(worker.pid)
    if who != "the forking process":
        worker.kill()
    if who != "the worker":
        os.kill(forking, signal.SIGKILL)
    assert await until(lambda: not alive(*pids, forking))


@on_its_loop
async def test_no_signal_is_handled_in_what_a_job_forks_as_its_worker_handles_it(lasting):
    apart, here = await lasting.enqueue(groups.terminates(), groups.terminates_in_worker())
    rows = await lasting.finished(apart, here)
    assert [row["result"] for row in rows] == [str(-signal.SIGTERM)] * 2


@on_its_loop
async def test_no_link_to_the_database_is_open_in_what_a_job_forks(lasting):
    [job] = await lasting.enqueue(groups.inherits())
    here, there = await job.result(timeout=20)
    assert here >= 3 and there == 0


@on_its_loop
async def test_a_def_process_job_runs_in_the_main_thread_with_all_that_a_def_job_may_do(lasting):
    [job] = await lasting.enqueue(groups.handles())
    result = await job.result(timeout=20)
    assert result == [[True] * 3, [signal.SIGUSR1], True, "performed inside", 1, True]


async def test_a_stop_that_a_process_job_is_told_before_its_worker_is_no_crash(scene, worker):
    [job] = await scene.enqueue(groups.going_on("program"))
    pids = await started(scene, job)
    os.kill(pids[-1], signal.SIGTERM)  # to every process of a service, in any order
    worker.stop()
    assert await worker.exit_code() == 0
    row = await scene.row(job)
    assert (row["state"], row["attempt"], row["crashes"], row["errors"]) == (1, 0, 0, None)
