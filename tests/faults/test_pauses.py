"""Pauses when workers die: what is paused stays so, whoever held it, until it is resumed."""

import pytest

from tests.faults import jobs as work


@pytest.mark.parametrize("deaths", [2, pytest.param(10, marks=pytest.mark.slow)])
async def test_a_paused_queue_starts_nothing_though_its_workers_are_killed_and_all_of_it_runs_after_the_resume(
    scene, deaths
):
    victim = await scene.start(name="first", concurrency=2)
    [held] = await scene.enqueue(work.hold(scene.gate()).set(queue="held"))
    await scene.running(held)
    await scene.jobs.pause(queue="held", reason="a fault upstream")
    paused = await scene.enqueue(*(work.tiny(n).set(queue="held") for n in range(20)))
    before = len(scene.events(event="start"))
    others = []
    for n in range(deaths):
        heir = scene.begin(name=f"heir {n}", concurrency=2)
        victim.kill()
        await scene.all_ready(heir)
        others += await scene.enqueue(*(work.tiny(n) for n in range(10)))
        await scene.finished(*others)
        victim = heir
    # The job of the first was rescued by then, or is: it waits like the others.
    await scene.eventually(lambda: is_ready(scene, held), "the rescue")
    others += await scene.enqueue(*(work.tiny(n) for n in range(10)))
    await scene.finished(*others)
    assert len(scene.events(event="start")) - before == len(others)
    assert await scene.jobs.resume(queue="held")
    scene.open(scene.gate())
    rows = await scene.finished(held, *paused)
    assert {row["state"] for row in rows} == {4}
    await scene.clean(max_attempts=2)


async def is_ready(scene, job):
    return (await scene.row(job))["state"] == 1
