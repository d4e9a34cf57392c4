"""Workers that die, freeze, or lose their row; and workers that only look dead."""

import os
import random

import pytest

from tests.faults import jobs as work
from tests.faults.scene import LEASE, LEASE_LOST
from tests.support.sweeps import slowly


async def test_all_jobs_of_a_killed_worker_run_again_elsewhere_and_finished_ones_do_not(scene):
    first = await scene.start(name="first", concurrency=60)
    done = await scene.enqueue(*(work.tiny(n) for n in range(20)))
    await scene.finished(*done)
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(50)))
    await scene.running(*held)
    second = await scene.start(name="second", concurrency=60)
    first.kill()
    await scene.running(*held, attempt=2)
    await second.wait_for_log("is dead: its 50 jobs run elsewhere")
    scene.open(scene.gate())
    rows = await scene.finished(*held)
    assert {(row["attempt"], row["crashes"], row["result"]) for row in rows} == {(2, 1, '"second"')}
    assert all(scene.ends(job) == [("first", 1, "killed"), ("second", 2, "ok")] for job in held)
    assert all(scene.ends(job) == [("first", 1, "ok")] for job in done)
    await scene.clean(max_attempts=2)


async def test_a_job_longer_than_the_lease_is_never_rescued_from_a_healthy_worker(scene):
    await scene.start(name="first", concurrency=5)
    [long] = await scene.enqueue(work.nap(1.2 * LEASE))
    await scene.running(long)
    await scene.start(name="second")
    short = await scene.enqueue(*(work.tiny(n) for n in range(100)))
    [row] = await scene.finished(long)
    assert (row["attempt"], row["crashes"]) == (1, 0)
    await scene.finished(*short)
    assert scene.buried() == []
    await scene.clean(max_attempts=1)


@pytest.mark.parametrize("other_is", ["running", *slowly("done")])
async def test_a_write_of_a_thawed_worker_is_refused_when_another_has_its_job(scene, other_is):
    zombie = await scene.start(name="zombie")
    gate = scene.gate()
    [job] = await scene.enqueue(work.block_apart(gate))  # ends the moment it thaws, before anybody can cancel it
    await scene.running(job)
    zombie.freeze()
    await scene.start(name="other")
    await scene.running(job, attempt=2)
    if other_is == "done":
        scene.open(f"{gate}-other")
        await scene.finished(job)
    scene.open(f"{gate}-zombie")
    zombie.thaw()
    await scene.oracle.wait_for(event="end", job_id=job.id, pid=zombie.pid, how="ok")
    await zombie.wait_for_log(f"job {job.id}: its lease was lost before its end could be written")
    if other_is == "running":
        assert (await scene.row(job))["attempt"] == 2
        scene.open(f"{gate}-other")
    [row] = await scene.finished(job)
    assert (row["result"], row["attempt"]) == ('"other"', 2)
    verdict = await scene.clean(max_attempts=2)
    assert len(verdict.zombie_overlaps) == 1


async def test_a_thawed_worker_cancels_the_job_that_another_runs_and_works_on_under_a_new_id(scene):
    zombie = await scene.start(name="zombie")
    [job] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(job)
    zombie.freeze()
    other = await scene.start(name="other")
    await scene.running(job, attempt=2)
    lease = (await scene.row(job))["worker"]
    zombie.thaw()
    await zombie.wait_for_log(LEASE_LOST)
    await scene.oracle.wait_for(event="end", job_id=job.id, pid=zombie.pid, how="CancelledError")
    row = await scene.row(job)
    assert (row["state"], row["worker"], row["attempt"]) == (2, lease, 2)
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert row["result"] == '"other"'
    other.kill()
    [next_one] = await scene.enqueue(work.tiny())
    [row] = await scene.finished(next_one)
    assert row["result"] == '"zombie"'
    await scene.clean(max_attempts=2)


async def test_a_worker_whose_row_is_deleted_loses_its_jobs_and_works_on_under_a_new_id(scene):
    worker = await scene.start(name="only")
    [job] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(job)
    [before] = await scene.fetch("delete from asyncjobs.worker returning id")
    await scene.running(job, attempt=2)
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert row["attempt"] == 2
    assert [how for _, _, how in scene.ends(job)] == ["CancelledError", "ok"]
    [after] = await scene.fetch("select id from asyncjobs.worker where dead_at is null")
    assert before["id"] != after["id"]
    assert worker.running
    await scene.clean()


async def test_a_worker_started_again_on_the_same_host_does_not_hide_the_jobs_of_its_first_life(scene):
    first = await scene.start(name="first")
    [job] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(job)
    first.kill()
    await scene.start(name="second")
    await scene.running(job, attempt=2)
    scene.open(scene.gate())
    await scene.finished(job)
    about = await scene.fetch("select distinct about::json ->> 'host' from asyncjobs.worker")
    assert len(about) == 1
    await scene.clean(max_attempts=2)


@pytest.mark.parametrize(("deaths", "jobs"), [(3, 40), pytest.param(30, 66, marks=pytest.mark.slow)])
async def test_nothing_is_lost_and_everything_finishes_once_while_workers_are_killed_at_random(scene, deaths, jobs):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    await scene.start(name="survivor", concurrency=1)
    victim, all_jobs = await scene.start(concurrency=20), []
    for _ in range(deaths):
        heir = scene.begin(concurrency=20)
        batch = [work.sturdy_nap(rng.random() / 50) for _ in range(jobs)]
        event = rng.choice(["start", "end"])
        before = len(scene.events(event=event))
        await scene.enqueue(*batch)
        all_jobs += batch
        await scene.oracle.wait_for(event=event, count=before + rng.randrange(1, jobs // 4))
        victim.kill()
        await scene.all_ready(heir)
        victim = heir
    rows = await scene.finished(*all_jobs)
    # Each death charges what that worker had claimed; nothing else spends an attempt.
    assert all(row["attempt"] == row["crashes"] + 1 <= deaths + 1 for row in rows)
    verdict = await scene.clean()
    print(f"{len(verdict.repeated)} of {len(all_jobs)} ran to their end twice")


async def test_a_call_that_keeps_the_interpreter_beyond_the_lease_loses_the_job_and_its_result_is_refused(scene):
    keeps = await scene.start(name="keeps")
    os.mkfifo(fifo := scene.gate())
    [job] = await scene.enqueue(work.keep_interpreter(fifo))
    await scene.running(job)
    await scene.start(name="other")
    [row] = await scene.finished(job)
    assert (row["result"], row["attempt"]) == ('"other"', 2)
    os.close(os.open(fifo, os.O_WRONLY))
    await scene.oracle.wait_for(event="end", job_id=job.id, pid=keeps.pid, how="ok")
    await keeps.wait_for_log(f"job {job.id}: its lease was lost before its end could be written")
    [after] = await scene.finished(job)
    assert after == row and keeps.running


async def test_workers_that_all_sleep_beyond_their_lease_lose_nothing_and_work_on(scene):
    workers = [await scene.start(name=name, concurrency=5) for name in ("first", "second")]
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(6)))
    await scene.running(*held)
    for worker in workers:
        worker.freeze()

    async def slept():
        return not await scene.fetch("select from asyncjobs.worker where beat_at > clock_timestamp() - 1.5 * lease")

    await scene.eventually(slept, "sleep beyond the lease")
    for worker in workers:
        worker.thaw()
    scene.open(scene.gate())
    more = await scene.enqueue(*(work.tiny(n) for n in range(10)))
    await scene.finished(*held, *more)
    assert all(worker.running for worker in workers)
    await scene.clean()
