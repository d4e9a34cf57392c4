"""Limits and unique keys when workers die, freeze and stop: nothing leaks, and no limit is exceeded at any instant."""

import random
from collections import defaultdict

import pytest

from tests.faults import order_jobs as work
from tests.faults.scene import Scene
from tests.support.runs import runs_of

MODULE = "tests.faults.order_jobs"


def most_at_once(scene: Scene, kind_key: str) -> dict[object, int]:
    """How many runs of each key were going on at one instant, at most; a killed worker's end with it."""
    moments: defaultdict[object, list[tuple[int, int]]] = defaultdict(list)
    keys = {event.job_id: event.fields[kind_key] for event in scene.oracle.events() if event.event == "start"}
    for run in runs_of(scene.oracle.events()):
        moments[keys[run.job_id]] += [(run.start, 1), (run.end, -1)]
    found = {}
    for key, changes in moments.items():
        running = most = 0
        for _, change in sorted(changes):
            running += change
            most = max(most, running)
        found[key] = most
    return found


async def test_the_place_of_a_killed_worker_is_free_again_and_never_two_run(scene):
    first = await scene.start(MODULE, name="first")
    held, waits = await scene.enqueue(work.alone(scene.gate()), work.alone(scene.gate("other")))
    await scene.running(held)
    await scene.start(MODULE, name="second")
    first.kill()
    await scene.running(waits)  # the one that ran is behind it now
    assert (await scene.row(held))["state"] == 1
    scene.open(scene.gate("other"))
    await scene.running(held, attempt=2)
    scene.open(scene.gate())
    rows = await scene.finished(held, waits)
    assert {row["result"] for row in rows} == {'"second"'}
    await scene.clean(max_attempts=2)


async def test_a_crash_in_the_last_attempt_fails_the_job_and_frees_its_key_and_its_place(scene):
    first = await scene.start(MODULE, name="first")
    [doomed] = await scene.enqueue(work.last_attempt(1, scene.gate()))
    await scene.running(doomed)
    await scene.start(MODULE, name="second")
    first.kill()
    [row] = await scene.finished(doomed)
    assert row["state"] == 5
    scene.open(scene.gate())
    [again] = await scene.enqueue(work.last_attempt(1, scene.gate()))
    assert again.disposition == "enqueued"
    [row] = await scene.finished(again)
    assert (row["state"], row["attempt"]) == (4, 1)


@pytest.mark.parametrize("deaths", [3, pytest.param(20, marks=pytest.mark.slow)])
async def test_no_limit_is_exceeded_while_workers_are_killed_at_random(scene, deaths):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    await scene.start(MODULE, name="survivor", concurrency=2)
    victim, all_jobs = await scene.start(MODULE, concurrency=10), []
    for _ in range(deaths):
        heir = scene.begin(MODULE, concurrency=10)
        batch = [work.limited(n % 5, rng.random() / 50) for n in range(20)]
        before = len(scene.events(event="start"))
        await scene.enqueue(*batch)
        all_jobs += batch
        await scene.oracle.wait_for(event="start", count=before + rng.randrange(1, 15))
        victim.kill()
        await scene.all_ready(heir)
        victim = heir
    rows = await scene.finished(*all_jobs)
    assert {row["state"] for row in rows} == {4}
    assert max(most_at_once(scene, "key").values()) <= 2
    await scene.clean()


async def test_a_worker_that_stops_gives_its_places_to_others_at_once(scene):
    first = await scene.start(MODULE, name="first")
    held, waits = await scene.enqueue(work.alone(scene.gate()), work.alone(scene.gate("other")))
    await scene.running(held)
    await scene.start(MODULE, name="second")
    first.stop()
    await scene.running(held, attempt=1)
    scene.open(scene.gate())
    scene.open(scene.gate("other"))
    rows = await scene.finished(held, waits)
    assert {(row["state"], row["attempt"]) for row in rows} == {(4, 1)}
    assert await first.exit_code() == 0
