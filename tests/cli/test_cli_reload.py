"""`asyncjobs run --reload`: the worker runs the code as it is now."""

import asyncio
import os
import re
import signal

import pytest

from tests.support.processes import alive, children, until_so
from tests.support.sweeps import slowly
from tests.support.workers import Workers

JOBS = """
from asyncjobs import job

@job(kind="reloaded.version")
async def version() -> int:
    print("this is version {0}", flush=True)
    return {0}
"""


@pytest.fixture
async def reloading(tmp_path, project, database_url):
    """A worker with `--reload` in a project whose one module is `reloaded.py`."""
    (project / "reloaded.py").write_text(JOBS.format(1))
    async with Workers(tmp_path, environment={"ASYNCJOBS_LOG_FORMAT": "text"}) as workers:
        environment = {"ASYNCJOBS_DATABASE_URL": database_url, "ASYNCJOBS_IMPORTS": "[]"}
        yield workers.start("reloaded", args=["--reload"], environment=environment, directory=project)


async def enqueue_one(cli):
    await asyncio.to_thread(cli, "enqueue", "reloaded.version", "--unknown-kind")


async def test_a_change_starts_it_again_with_the_new_code(reloading, project, cli):
    await reloading.wait_for_log("ready: worker")
    await enqueue_one(cli)
    await reloading.wait_for_log("this is version 1")
    # Of another size: by that alone is told in one second that what was compiled of it is old.
    (project / "reloaded.py").write_text(JOBS.format(22))
    await reloading.wait_for_log("changed: reloaded.py")
    await reloading.wait_for_log("ready: worker", count=2)
    await enqueue_one(cli)
    await reloading.wait_for_log("this is version 22")


@pytest.mark.slow
async def test_code_that_cannot_be_imported_is_waited_out(reloading, project):
    await reloading.wait_for_log("ready: worker")
    (project / "reloaded.py").write_text("this is no Python")
    await reloading.wait_for_log("it is started again when the code changes")
    (project / "reloaded.py").write_text(JOBS.format(3))
    await reloading.wait_for_log("ready: worker", count=2)


@pytest.mark.parametrize("number", [signal.SIGTERM, *slowly(signal.SIGINT, signal.SIGKILL)])
async def test_its_end_is_its_workers(reloading, number):
    await reloading.wait_for_log("ready: worker")
    worker = max(children(reloading.pid))
    os.kill(reloading.pid, number)
    assert await reloading.exit_code() == (-number if number == signal.SIGKILL else 0)
    await until_so(lambda: not alive(worker))
    assert not re.search("Traceback", reloading.log)


@pytest.mark.slow
async def test_a_change_of_the_same_size_in_the_same_second_is_seen(reloading, project, cli):
    await reloading.wait_for_log("ready: worker")
    before = (project / "reloaded.py").stat()
    (project / "new").write_text(JOBS.format(2))
    os.utime(project / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (project / "new").rename(project / "reloaded.py")
    await reloading.wait_for_log("ready: worker", count=2)
    await enqueue_one(cli)
    await reloading.wait_for_log("this is version 2")


@pytest.mark.slow
async def test_a_change_that_comes_while_a_worker_imports_does_not_wait_for_it(reloading, project):
    await reloading.wait_for_log("ready: worker")
    os.mkfifo(project / "gate")
    # Nobody opens the other end: this import ends with its process.
    (project / "reloaded.py").write_text("print('importing', flush=True)\nopen('gate')\n")
    await reloading.wait_for_log("importing")
    (project / "reloaded.py").write_text(JOBS.format(3))
    await reloading.wait_for_log("ready: worker", count=2)
