"""Streams whose workers and readers die: no item is missed, and none comes twice."""

import asyncio
import contextlib
import re
import signal
import sys
from itertools import groupby

import httpx
import pytest

from tests.faults import live_jobs as work
from tests.support.processes import PATIENCE

MODULES = ["tests.faults.jobs", "tests.faults.live_jobs"]


async def read(scene, job):
    async with asyncio.timeout(PATIENCE):
        return [item async for item in scene.jobs.stream(job)]


@pytest.mark.slow
async def test_after_its_worker_was_killed_a_stream_goes_on_without_a_gap(scene):
    first = await scene.start(*MODULES, name="first")
    [job] = await scene.enqueue(work.tell(scene.gate(), 500))
    reading = asyncio.create_task(read(scene, job))
    await scene.eventually(lambda: scene.fetch("select from asyncjobs.stream_item where n = 500"), "half of the items")
    await scene.start(*MODULES, name="second")
    first.kill()
    await scene.running(job, attempt=2)
    scene.open(f"{scene.gate()}-second")
    items = await reading
    assert [item.n for item in items] == list(range(1, 1501))
    assert [item.attempt for item in items] == [1] * 500 + [2] * 1000
    assert items[-1].value == ["second", 1, 499]
    assert (await job.status()).progress.done == 1000
    await scene.clean(max_attempts=2)


async def test_a_worker_that_was_frozen_adds_nothing_to_a_stream_that_is_anothers(scene):
    zombie = await scene.start(*MODULES, name="zombie")
    [job] = await scene.enqueue(work.tell_on(scene.gate()))
    await scene.eventually(lambda: scene.fetch("select from asyncjobs.stream_item where n = 20"), "items")
    zombie.freeze()
    await scene.start(*MODULES, name="other")
    await scene.eventually(lambda: scene.fetch("select from asyncjobs.stream_item where attempt = 2"), "items")
    zombie.thaw()
    await scene.oracle.wait_for(event="end", job_id=job.id, pid=zombie.pid)
    scene.open(scene.gate())
    items = await read(scene, job)
    assert [item.n for item in items] == list(range(1, len(items) + 1))
    assert [key for key, _ in groupby((item.attempt, item.value) for item in items)] == [(1, "zombie"), (2, "other")]
    await scene.clean(max_attempts=2)


@pytest.fixture
async def serve(scene):
    """Starts the application, with a worker inside; its address."""

    async def start(name):
        worker = scene.begin(
            name=name,
            command=[sys.executable, "-m", "uvicorn", "tests.faults.web_app:app", "--port", "0"],
            environment={"WEB_APP_CONFIG": str(scene.directory / f"{name}.toml")},
        )
        running = await worker.wait_for_log("Uvicorn running on ")
        return worker, re.search(r"http://\S+", running)[0]

    return start


async def events(address, job, last=None):
    """The events of a job as a browser gets them, until the link is lost: names, ids and data."""
    headers = {} if last is None else {"Last-Event-ID": last}
    fields = {}
    async with (
        httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client,
        client.stream("GET", f"/events/{job.id}", headers=headers) as answer,
    ):
        if answer.status_code == httpx.codes.NO_CONTENT:
            return
        async for line in answer.aiter_lines():
            if not line:
                if "data" in fields:
                    yield fields.get("event"), fields.get("id"), fields["data"]
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value


async def test_a_browser_whose_server_was_killed_goes_on_at_another_and_misses_no_item(scene, serve):
    first, address = await serve("first")
    [job] = await scene.enqueue(work.tell(scene.gate(), 200))
    ids = []
    with pytest.raises(httpx.HTTPError):
        async for event, number, _ in events(address, job):
            if event is None:
                ids.append(number)
            if number == "150":
                _, address = await serve("second")
                first.kill()
    scene.open(f"{scene.gate()}-second")
    seen = []
    async for event, number, data in events(address, job, ids[-1]):
        seen.append(event)
        if event is None:
            ids.append(number)
        last = event, number, data
    assert ids == [str(n) for n in range(1, 601)]
    assert last == ("end", "end", '{"state":"succeeded","reason":""}')
    assert "progress" in seen
    assert [found async for found in events(address, job, "end")] == []


async def test_an_open_stream_does_not_keep_the_server_from_stopping(scene, serve):
    worker, address = await serve("web")
    [job] = await scene.enqueue(work.tell(scene.gate(), 3))
    reader = events(address, job)
    assert (await anext(reader))[2]
    worker.stop()
    assert await worker.exit_code() == -signal.SIGTERM  # uvicorn ends by the signal, once it has stopped in order
    with contextlib.suppress(httpx.HTTPError):  # the answer is cut off
        async for _ in reader:
            pass
    [row] = await scene.fetch("select state, attempt from asyncjobs.job")
    assert tuple(row) == (1, 0)
