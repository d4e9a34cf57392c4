"""Jobs that run and await others, over several workers that die."""

import asyncio
import random
import time
from uuid import uuid4

import pytest

from tests.faults import child_jobs as work
from tests.support.processes import group_lives, until

WORK = "tests.faults.child_jobs"


@pytest.mark.parametrize("deaths", [2, pytest.param(4, marks=pytest.mark.slow)])
async def test_no_part_is_run_twice_and_each_has_its_own_result_whatever_kills_the_parents_workers(scene, deaths):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    gate = scene.gate("held")
    parents = {"parents1": await scene.start(WORK, name="parents1", queues=["parents"])}
    await scene.start(WORK, name="parts", queues=["default"], concurrency=4)
    whole = work.Whole(parts=60, gate=gate).set(queue="parents")
    await scene.enqueue(whole)
    for death in range(2, 2 + deaths):
        await asyncio.sleep(rng.random() * 0.3)
        heir = parents[f"parents{death}"] = scene.begin(WORK, name=f"parents{death}", queues=["parents"])
        starts = await scene.oracle.wait_for(count=death - 1, event="start", job_id=str(whole.id))
        killed = parents[starts[-1].worker]  # the heir itself, when it was ready before the job was given back
        await asyncio.sleep(rng.random() * 0.2)
        killed.kill()
        killed_at = time.monotonic_ns()
        assert await until(lambda group=killed.pid: not group_lives(group))
        for pid in {event.pid for event in scene.events(event="start", worker=killed.name)} - {killed.pid}:
            scene.oracle.write("killed", of=pid, name=killed.name, ns=killed_at)
        if heir is not killed:
            await scene.all_ready(heir)
    scene.open(gate)
    [row] = await scene.finished(whole)
    results = [*range(60), "held"]
    assert row["state"] == 4, row["errors"]
    assert row["result"] in (
        repr(results).replace("'", '"').replace(" ", ""),
        repr(results[::-1]).replace("'", '"').replace(" ", ""),
    )
    starts = [event.fields["n"] for event in scene.events(event="start") if "n" in event.fields]
    assert sorted(starts) == list(range(60))


async def test_jobs_that_await_each_other_on_two_workers_are_refused_by_name(scene):
    await scene.start(WORK, name="left", queues=["left"])
    await scene.start(WORK, name="right", queues=["right"])
    first, second = work.awaits(uuid4()).set(queue="left"), work.awaits(uuid4()).set(queue="right")
    first._id, second._id = second._values["other"], first._values["other"]
    await scene.jobs.enqueue_all([first, second])  # at once: a job that is not there yet cannot be awaited
    rows = await scene.finished(first, second)
    refused = [row for row in rows if "jobs await each other and would wait for ever: " in (row["result"] or "")]
    assert refused, [row["errors"] for row in rows]
    assert all(str(job.id) in row["result"] for row in refused for job in (first, second))
