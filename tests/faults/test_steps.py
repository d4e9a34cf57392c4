"""Jobs with steps whose workers are killed and stopped, and whose database crashes."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from functools import partial

import pytest

from asyncjobs.failing.stored_errors import read_errors
from tests.faults import alchemy_jobs
from tests.faults import step_jobs as work
from tests.faults.conftest import scene_of
from tests.support.postgres import MIGRATED, ThrowAwayPostgres
from tests.support.processes import SLACK, group_lives, until

WORK = "tests.faults.step_jobs"
INTERRUPTED = "asyncjobs.exceptions.JobInterrupted"


async def with_effects(scene):
    await scene.fetch("create table effect (job uuid, name text)")
    return scene


async def whole(scene, *jobs, timeout):
    """Wait until all have succeeded, and see that each did everything, and nothing twice that was committed."""
    rows = await scene.finished(*jobs, timeout=timeout)
    total = sum(range(1, work.ROWS + 1))
    assert {(row["state"], row["result"]) for row in rows} == {(4, str(total))}, rows[0]["errors"]
    effects = await scene.fetch("select job, name, count(*) as count from effect group by job, name")
    assert {(row["job"], row["name"], row["count"]) for row in effects} == {
        (job.id, name, 1) for job in jobs for name in ("charge", "last")
    }
    by_job = defaultdict(list)
    for event in scene.events():
        by_job[event.job_id].append(event)
    for job in jobs:
        committed, seen = set(), Counter()
        for event in by_job[str(job.id)]:
            name = event.fields.get("step")
            match event.event:
                case "step_committed":
                    committed.add(name)
                case "step_start":
                    assert name not in committed, f"{name} began again after its commit"
                case "row":
                    assert name not in committed, f"{name} went on after its commit"
                    seen[name, event.fields["n"]] += 1
        wanted = [("export", n) for n in range(1, work.ROWS + 1)] + [("fan_out", n) for n in range(1, 101)]
        assert set(seen) == set(wanted), "a row was skipped"
        assert committed == set(work.NAMES)
    assert not await scene.fetch("select from asyncjobs.step")
    return rows


def begun_or_over(scene, jobs, **wanted):
    """Whether a worker has come to a step; when the other was quicker with all the jobs, any moment will do."""
    return scene.events(**wanted) or all(scene.events(event="end", job_id=job.id, how="ok") for job in jobs)


@pytest.mark.parametrize("deaths", [3, pytest.param(200, marks=pytest.mark.slow)])
async def test_workers_killed_at_any_moment_repeat_no_committed_step_no_effect_and_skip_no_row(scene, deaths):
    await with_effects(scene)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    victim, all_jobs = await scene.start(WORK, concurrency=4), []
    for _ in range(deaths):
        heir = scene.begin(WORK, concurrency=4)
        fresh = await scene.enqueue(*(work.Six() for _ in range(2)))
        all_jobs += fresh
        name = rng.choice(work.NAMES[:3] + work.NAMES[4:])
        event = "row" if name in ("export", "fan_out") else "step_start"
        assert await until(partial(begun_or_over, scene, fresh, event=event, step=name, worker=victim.name))
        await asyncio.sleep(rng.random() * (0.15 if event == "row" else 0.02))
        victim.kill()
        killed_at = time.monotonic_ns()
        # Suspects run in processes of their own, which die with it; one may have begun just now.
        assert await until(lambda group=victim.pid: not group_lives(group))
        for pid in {event.pid for event in scene.events(event="start", worker=victim.name)} - {victim.pid}:
            scene.oracle.write("killed", of=pid, name=victim.name, ns=killed_at)
        await scene.all_ready(heir)
        victim = heir
    await whole(scene, *all_jobs, timeout=120)
    await scene.clean()


async def test_a_worker_that_is_stopped_hands_its_cursor_over_at_once(scene):
    first = await scene.start(WORK, name="first")
    [job] = await scene.enqueue(work.Slow(gate=scene.gate()))
    await scene.oracle.wait_for(event="row", job_id=job.id, count=50)
    await scene.start(WORK, name="second", polling_interval=60)
    first.stop()
    [_, again] = await scene.oracle.wait_for(event="export", job_id=job.id, count=2)
    [end] = scene.events(event="end", job_id=job.id)
    assert (end.worker, end.fields["how"], again.worker) == ("first", "Interrupted", "second")
    rows = [event.fields["n"] for event in scene.events(event="row", job_id=job.id) if event.worker == "first"]
    assert again.fields["at"] == rows[-1] == max(rows)
    assert (again.ns - end.ns) / 1e9 < 1 + SLACK  # no poll has found it
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert (row["state"], row["attempt"], row["errors"], row["crashes"]) == (4, 1, None, 0)
    assert await first.exit_code() == 0
    numbers = [event.fields["n"] for event in scene.events(event="row", job_id=job.id)]
    assert numbers == list(range(1, len(numbers) + 1))
    await scene.clean(max_attempts=1)


async def test_a_suspect_in_a_process_of_its_own_goes_on_with_its_steps(scene):
    await with_effects(scene)
    workers = [await scene.start(WORK, name=name) for name in ("first", "second", "third")]
    [job] = await scene.enqueue(work.Deadly(gate=scene.gate()))
    [apart] = await scene.oracle.wait_for(event="apart", job_id=job.id)
    assert apart.pid not in {worker.pid for worker in workers}
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert (row["state"], row["attempt"], row["result"]) == (4, 3, str(apart.pid))
    assert len(scene.events(event="first", job_id=job.id)) == len(scene.events(event="charge", job_id=job.id)) == 1
    numbers = [event.fields["n"] for event in scene.events(event="row", job_id=job.id)]
    assert set(numbers) == set(range(1, 101)) and len(numbers) <= 102
    assert len(await scene.fetch("select from effect")) == 1
    errors = (await scene.jobs.status(job.id)).errors
    assert len(errors) == 2 and all("; its last step: " in error.message for error in errors)


async def test_a_suspect_in_a_process_of_its_own_is_interrupted_when_its_worker_stops(scene):
    await with_effects(scene)
    [job] = await scene.enqueue(work.Slow(gate=scene.gate()))
    await scene.fetch("update asyncjobs.job set crashes = 2 where id = $1 returning id", job.id)
    first = await scene.start(WORK, name="first")
    await scene.oracle.wait_for(event="row", job_id=job.id, count=50)
    first.stop()
    [end] = await scene.oracle.wait_for(event="end", job_id=job.id)
    assert end.pid != first.pid and end.fields["how"] == "Interrupted"
    assert await first.exit_code() == 0
    row = await scene.row(job)
    assert (row["state"], row["attempt"], row["crashes"], row["errors"]) == (1, 0, 2, None)
    await scene.start(WORK, name="second")
    [_, again] = await scene.oracle.wait_for(event="export", job_id=job.id, count=2)
    assert again.fields["at"] == len(scene.events(event="row", job_id=job.id, pid=end.pid))
    scene.open(scene.gate())
    await scene.finished(job)


@pytest.mark.parametrize("crashes", [2, pytest.param(20, marks=pytest.mark.slow)])
async def test_a_database_that_crashes_at_any_moment_costs_no_attempt_and_repeats_nothing(tmp_path, crashes):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    async with ThrowAwayPostgres() as postgres:
        async with scene_of(postgres.url(MIGRATED), tmp_path) as scene:
            await with_effects(scene)
            await scene.start(alchemy_jobs.__name__, concurrency=4)
            all_jobs = []
            for _ in range(crashes):
                batch = await scene.enqueue(*(alchemy_jobs.SixOnSQLAlchemy() for _ in range(3)))
                all_jobs += batch
                name = rng.choice(work.NAMES[:3] + work.NAMES[4:])
                await scene.oracle.wait_for(event="step_start", step=name, job_id=batch[0].id)
                await asyncio.sleep(rng.random() * (0.15 if name in ("export", "fan_out") else 0.02))
                await postgres.stop("immediate")
                await postgres.start()
            rows = await whole(scene, *all_jobs, timeout=120)
            assert {(row["attempt"], row["crashes"]) for row in rows} == {(1, 0)}
            # A run that had recorded nothing when the database went says so; it has spent nothing.
            errors = [error for row in rows for error in read_errors(row["errors"])]
            assert {(error.type, error.attempt) for error in errors} <= {(INTERRUPTED, 1)}
            await scene.clean(max_attempts=1)
