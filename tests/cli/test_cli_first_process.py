"""Commands as the first process of a container, and without standard streams."""

import os
import signal
import subprocess

import cli_jobs
import orphan_jobs
import pytest

from tests.support.processes import children
from tests.support.warm import FIRST
from tests.support.workers import Workers


def can_be_first():
    try:
        return subprocess.run([*FIRST, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.fixture
async def start(tmp_path, project, database_url):
    """Start `asyncjobs run …` with options of `warm.start`; ended with the test."""
    environment = {"ASYNCJOBS_LOG_FORMAT": "text", "ASYNCJOBS_DATABASE_URL": database_url}
    async with Workers(tmp_path, environment=environment) as workers:

        def start(args, **options):
            return workers.start(config=project / "config.toml", args=args, **options)

        yield start


CLOSED = {"2>&-": [2], "<&-": [0], "<&- >&- 2>&-": [0, 1, 2]}
"""As a shell says it."""
SUPERVISED = ["--burst", "--processes", "2"]


def case(args, streams, *marks):
    name = "supervised" if args == SUPERVISED else "alone"
    return pytest.param(streams, args, id=f"{name}-{streams}", marks=marks)


@pytest.mark.parametrize(
    ("streams", "args"),
    [
        case(["--burst"], "2>&-"),
        case(["--burst"], "<&-", pytest.mark.slow),
        case(["--burst"], "<&- >&- 2>&-", pytest.mark.slow),
        case(SUPERVISED, "2>&-", pytest.mark.slow),
        case(SUPERVISED, "<&-", pytest.mark.slow),
        case(SUPERVISED, "<&- >&- 2>&-"),
    ],
)
async def test_a_worker_runs_without_standard_streams(start, enqueue, sql, streams, args):
    await enqueue(cli_jobs.add(1))
    assert await start(args, closing=CLOSED[streams]).exit_code() == 0
    assert await sql("select state from asyncjobs.finished") == [(4,)]


first = pytest.mark.skipif(not can_be_first(), reason="needs Linux, root and unshare, for a process 1")


@first
@pytest.mark.parametrize(
    "args", [pytest.param(["--burst"], id="alone"), pytest.param(SUPERVISED, id="supervised", marks=pytest.mark.slow)]
)
async def test_as_process_1_it_reaps_what_its_jobs_leave(start, enqueue, sql, args):
    await enqueue(orphan_jobs.orphan())
    assert await start(["orphan_jobs", *args], first=True).exit_code() == 0
    assert await sql("select result from asyncjobs.finished") == [("true",)]


@first
async def test_as_process_1_it_stops_in_order_at_a_signal(start, enqueue, sql):
    job_id = await enqueue(cli_jobs.forever())
    worker = start([], first=True)
    await worker.wait_for_log("begun")
    [process_1] = children(worker.pid)
    os.kill(process_1, signal.SIGTERM)
    assert await worker.exit_code() == 0
    assert await sql(f"select state, attempt, crashes from asyncjobs.job where id = '{job_id}'") == [(1, 0, 0)]


@first
async def test_as_process_1_it_ends_as_the_worker_does(start, enqueue):
    await enqueue(cli_jobs.forever())
    assert await start(["--pool", "7"], first=True).exit_code() == 2
    worker = start([], first=True)
    await worker.wait_for_log("begun")
    [process_1] = children(worker.pid)
    [child] = children(process_1)
    os.kill(child, signal.SIGKILL)
    assert await worker.exit_code() == 128 + signal.SIGKILL
