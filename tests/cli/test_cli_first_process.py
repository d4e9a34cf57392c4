"""Commands as the first process of a container, and without standard streams."""

import os
import signal
import subprocess
import sys

import cli_jobs
import orphan_jobs
import pytest

from tests.support.processes import children
from tests.support.workers import Workers

ALONE = ["unshare", "--pid", "--fork", "--kill-child"]


def can_be_first():
    try:
        return subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.fixture
async def start(tmp_path, project, database_url):
    """Start `asyncjobs run …` behind the words of another program; ended with the test."""
    environment = {"ASYNCJOBS_LOG_FORMAT": "text", "ASYNCJOBS_DATABASE_URL": database_url}
    async with Workers(tmp_path, environment=environment) as workers:

        def start(*before, args):
            asked = [sys.executable, "-m", "asyncjobs", "run", "--config", str(project / "config.toml")]
            return workers.start(command=[*before, *asked], args=args)

        yield start


def closing(streams):
    return ["sh", "-c", f'exec "$0" "$@" {streams}']


@pytest.mark.parametrize("streams", ["2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("args", [["--burst"], ["--burst", "--processes", "2"]], ids=["alone", "supervised"])
async def test_a_worker_runs_without_standard_streams(start, enqueue, sql, streams, args):
    await enqueue(cli_jobs.add(1))
    assert await start(*closing(streams), args=args).exit_code() == 0
    assert await sql("select state from asyncjobs.finished") == [(4,)]


first = pytest.mark.skipif(not can_be_first(), reason="needs Linux, root and unshare, for a process 1")


@first
@pytest.mark.parametrize("args", [["--burst"], ["--burst", "--processes", "2"]], ids=["alone", "supervised"])
async def test_as_process_1_it_reaps_what_its_jobs_leave(start, enqueue, sql, args):
    await enqueue(orphan_jobs.orphan())
    assert await start(*ALONE, args=["orphan_jobs", *args]).exit_code() == 0
    assert await sql("select result from asyncjobs.finished") == [("true",)]


@first
async def test_as_process_1_it_stops_in_order_at_a_signal(start, enqueue, sql):
    job_id = await enqueue(cli_jobs.forever())
    worker = start(*ALONE, args=[])
    await worker.wait_for_log("begun")
    [process_1] = children(worker.pid)
    os.kill(process_1, signal.SIGTERM)
    assert await worker.exit_code() == 0
    assert await sql(f"select state, attempt, crashes from asyncjobs.job where id = '{job_id}'") == [(1, 0, 0)]


@first
async def test_as_process_1_it_ends_as_the_worker_does(start, enqueue):
    await enqueue(cli_jobs.forever())
    assert await start(*ALONE, args=["--pool", "7"]).exit_code() == 2
    worker = start(*ALONE, args=[])
    await worker.wait_for_log("begun")
    [process_1] = children(worker.pid)
    [child] = children(process_1)
    os.kill(child, signal.SIGKILL)
    assert await worker.exit_code() == 128 + signal.SIGKILL
