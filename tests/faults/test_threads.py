"""A thread cannot be stopped: whatever is done to its job, the slot and the lease stay taken until it returns."""

import asyncio

import pytest

from asyncjobs import JobFailed
from tests.faults import jobs as work
from tests.faults.scene import LEASE, SHUTDOWN_TIMEOUT
from tests.support.oracle import PATH_VARIABLE
from tests.support.processes import PATIENCE, SLACK, until
from tests.support.sweeps import slowly


@pytest.fixture
async def embedded(scene, make_jobs, monkeypatch):
    """A worker on this loop with a single slot."""
    monkeypatch.setenv(PATH_VARIABLE, str(scene.oracle.path))
    async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}], shutdown_timeout=0).running() as jobs:
        yield jobs


async def test_a_thread_job_that_outlives_the_drain_is_given_back_unspent_as_its_process_goes(scene):
    first = await scene.start(name="first")
    [job] = await scene.enqueue(work.thread(scene.gate()))
    await scene.running(job)
    first.stop()
    await scene.oracle.wait_for(event="told", job_id=job.id)
    await first.wait_for_log("cancelling 1 jobs")
    row = await scene.row(job)
    assert (row["state"], row["attempt"]) == (2, 1)  # running still, and nobody else's
    assert await first.exit_code(SHUTDOWN_TIMEOUT + 2 + SLACK) == 0
    await scene.start(name="second")
    await scene.oracle.wait_for(event="start", job_id=job.id, worker="second")
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert scene.ends(job) == [("first", 1, "exited"), ("second", 1, "ok")]
    assert (row["result"], row["attempt"], row["crashes"], row["errors"]) == ('"second"', 1, 0, None)
    await scene.clean(max_attempts=1)


async def test_the_result_of_a_cancelled_thread_is_dropped_and_its_slot_is_free_only_then(scene, embedded):
    gate = scene.gate()
    job, other = await scene.enqueue(work.thread(gate), work.tiny())
    await scene.running(job)
    worker = embedded._worker
    worker.parts.executor.cancel_all("shutdown")
    await scene.oracle.wait_for(event="told", job_id=job.id)
    assert [claimed.id for claimed in worker.parts.executor.left()] == [job.id]
    assert worker.parts.pools[0].running == 1
    assert (await scene.row(job))["state"] == 2
    assert scene.events(event="start", job_id=other.id) == []
    scene.open(gate)
    rows = await scene.finished(job, other)
    assert [row["attempt"] for row in rows] == [1, 1]  # released unspent, and run again
    assert [how for _, _, how in scene.ends(job)] == ["ok", "ok"]
    assert scene.oracle.overlaps() == []


async def test_a_second_cancellation_does_not_abandon_a_thread_either(scene, embedded):
    [job] = await scene.enqueue(work.thread(scene.gate()))
    await scene.running(job)
    attempt = embedded._worker.parts.executor._attempts[job.id]
    for _ in range(3):
        attempt.task.cancel()
        await asyncio.sleep(0)
    assert embedded._worker.parts.pools[0].running == 1
    scene.open(scene.gate())
    await scene.finished(job)


async def test_a_thread_whose_lease_is_lost_keeps_its_slot_and_writes_nothing(scene, embedded):
    gate = scene.gate()
    [job] = await scene.enqueue(work.thread(gate))
    await scene.running(job)
    worker = embedded._worker
    await scene.fetch("delete from asyncjobs.worker")
    second = await scene.start(name="second")
    await scene.running(job, attempt=2)
    assert await until(lambda: worker.lease.worker is not None)  # under a new id
    assert worker.parts.pools[0].running == 1
    scene.open(gate)
    [row] = await scene.finished(job)
    assert (row["attempt"], row["result"]) == (2, f'"{second.name}"')
    assert await until(lambda: worker.parts.pools[0].running == 0)


async def test_a_worker_that_is_closed_on_a_living_loop_keeps_the_lease_of_its_thread(scene, make_jobs, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, str(scene.oracle.path))
    gate = scene.gate()
    async with make_jobs(shutdown_timeout=0, cleanup_timeout=0).running():
        [job] = await scene.enqueue(work.thread(gate))
        await scene.running(job)
    # The block has ended, the thread has not. Another worker has the time to find it dead, if it is.
    second = await scene.start(name="second", queues=["*"])
    try:
        [bystander] = await scene.enqueue(work.nap(1.3 * LEASE))
        await scene.finished(bystander)
        assert scene.ends(job) == [("", 1, "")]
        assert scene.buried() == []
    finally:
        scene.open(gate)
    # Then its lease ends, and the job is run again: not charged, since its worker was told to stop.
    [row] = await scene.finished(job)
    assert scene.ends(job)[-1] == (second.name, 1, "ok") and row["crashes"] == 0
    assert scene.oracle.overlaps() == []


@pytest.mark.parametrize(
    "error", ["SystemExit", "CancelledError", *slowly("KeyboardInterrupt", "GeneratorExit", "ValueError")]
)
async def test_whatever_a_thread_raises_is_its_jobs_error(scene, embedded, error):
    [job] = await scene.enqueue(work.throw_in_thread(error))
    with pytest.raises(JobFailed) as failed:
        await job.result(timeout=PATIENCE)
    assert failed.value.error_type.endswith(error)
