"""A worker inside a web application: when it crashes, the application goes on and the worker comes back."""

import asyncio
import re
import signal
import sys

import httpx
import pytest

from tests.faults import jobs as work
from tests.support.processes import SLACK
from tests.support.sweeps import slowly


@pytest.fixture
async def web(scene):
    """A client of the application."""
    worker = scene.begin(
        name="web",
        command=[sys.executable, "-m", "uvicorn", "tests.faults.web_app:app", "--port", "0"],
        environment={"WEB_APP_CONFIG": str(scene.directory / "web.toml")},
        loop_warning=0.2,
    )
    running = await worker.wait_for_log("Uvicorn running on ")
    async with httpx.AsyncClient(base_url=re.search(r"http://\S+", running)[0]) as client:
        yield client


async def healthy(web):
    return (await web.get("/healthy")).raise_for_status().json()


@pytest.mark.parametrize("part", ["dispatcher", *slowly("ledger", "keeper")])
async def test_a_crashed_worker_turns_health_false_and_is_started_again_while_the_application_serves(scene, web, part):
    await scene.eventually(lambda: healthy(web), "healthy worker")
    held, other = await scene.enqueue(work.hold(scene.gate()), work.hold(scene.gate()))
    await scene.running(held, other)
    (await web.get(f"/crash/{part}")).raise_for_status()
    if part == "ledger":  # it notices with the first end
        await scene.enqueue(work.tiny(1))

    async def unhealthy():
        return not await healthy(web)

    await scene.eventually(unhealthy, "ill health")
    await scene.workers.started[0].wait_for_log("the embedded worker crashed; starting it again")
    await scene.eventually(lambda: healthy(web), "healthy worker")
    # What ran under the old lease is not stranded by it.
    await scene.oracle.wait_for(event="start", job_id=held.id, count=2)
    await scene.oracle.wait_for(event="start", job_id=other.id, count=2)
    scene.open(scene.gate())
    await scene.finished(held, other, *await scene.enqueue(work.tiny(2)))
    assert scene.oracle.overlaps() == []
    rows = await scene.fetch("select 1 from asyncjobs.worker where dead_at is null and beat_at > now() - lease / 5")
    assert len(rows) == 1


async def test_an_application_that_is_interrupted_twice_ends_at_once_and_its_jobs_run_elsewhere(scene, web):
    await scene.eventually(lambda: healthy(web), "healthy worker")
    [held] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(held)
    await scene.start(name="second")
    [worker] = [each for each in scene.workers.started if each.name == "web"]
    for _ in range(2):
        worker.stop(signal.SIGINT)
    await worker.exit_code()
    await scene.oracle.wait_for(event="start", job_id=held.id, worker="second")
    scene.open(scene.gate())
    [row] = await scene.finished(held)
    assert row["result"] == '"second"'
    assert "Task was destroyed" not in worker.log and "failed: CancelledError" not in worker.log


async def test_the_applications_signals_are_its_own_and_its_end_releases_its_jobs(scene, web):
    await scene.eventually(lambda: healthy(web), "healthy worker")
    assert (await web.get("/signals")).json() == ["Server.handle_exit", "Server.handle_exit"]
    short, long = await scene.enqueue(work.nap(0.5), work.hold(scene.gate()))
    await scene.running(short, long)
    [worker] = scene.workers.started
    await scene.start(name="second")
    worker.stop()
    assert await worker.exit_code(2 + 2 + SLACK) in {0, -signal.SIGTERM}  # uvicorn raises the signal again at its end
    scene.open(scene.gate())
    rows = await scene.finished(short, long)
    assert [(row["attempt"], row["result"]) for row in rows] == [(1, '"web"'), (1, '"second"')]
    assert "Task was destroyed" not in worker.log and "Traceback" not in worker.log
    await scene.clean(max_attempts=1)


async def test_a_handler_that_blocks_the_loop_is_named_as_what_is_no_job(scene, web):
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(web.get("/block", params={"gate": scene.gate()}))
        line = await scene.workers.started[0].wait_for_log("has blocked the event loop for")
        assert re.search(r"Task-\d+ \(no job's own task\) has blocked .*/web_app\.py:\d+ in block$", line), line
        scene.open(scene.gate())
        (await asked).raise_for_status()
