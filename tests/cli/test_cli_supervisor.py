"""`asyncjobs run` with several processes."""

import asyncio
import os
import re
import signal
import sys

import cli_jobs
import pytest

from asyncjobs import AsyncJobs
from asyncjobs.operating_system.child_processes import command
from asyncjobs.processes.supervisor import ChildSpec, KeepRunning, Supervisor
from tests.support import warm
from tests.support.forking import OfLoop
from tests.support.processes import SLACK, alive, group_lives, until, until_so


def pids(worker):
    """Pids of the children started so far, oldest first."""
    return [int(pid) for pid in re.findall(r"child \d+ started: pid (\d+)", worker.log)]


def ids(worker):
    return re.findall(r"started: pid \d+, worker ([0-9a-f-]{36})", worker.log)


async def ended(worker, *, limit):
    """Its exit code, after no more than *limit* seconds and what a busy machine adds; nobody of its group is left."""
    code = await worker.exit_code(limit + SLACK)
    assert not group_lives(worker.pid)
    return code


async def test_each_child_runs_the_pools_that_have_as_many_processes(start, project):
    config = project / "config.toml"
    config.write_text(config.read_text() + '[[default.pools]]\nqueues = ["critical"]\nconcurrency = 3\nprocesses = 2\n')
    worker = start()
    await worker.wait_for_log("ready: worker", count=2)
    ready = dict(re.findall(r"ready: worker (\S+), pools (.*?), \d+ kinds", worker.log))
    assert set(ready) == set(ids(worker))
    assert sorted(ready.values()) == ["* x 10, critical x 3", "critical x 3"]
    worker.stop()
    assert await ended(worker, limit=3) == 0


async def test_children_serve_what_was_chosen(start, project):
    config = project / "config.toml"
    config.write_text(
        config.read_text() + '[[default.pools]]\nqueues = ["critical", "mail*"]\nconcurrency = 3\nprocesses = 2\n'
    )
    worker = start("--pool", "2", "--queues", "mailers,-mailers.bulk")
    await worker.wait_for_log("ready: worker", count=2)
    assert re.findall(r"pools (.*?), \d+ kinds", worker.log) == ["mailers x 3"] * 2
    worker.stop()
    assert await ended(worker, limit=3) == 0


async def test_a_killed_child_of_those_that_run_every_pool_is_declared_dead_at_once_and_replaced(start, enqueue, sql):
    worker = start(
        "--processes", "2", ASYNCJOBS_LEASE="1h"
    )  # only the supervisor's word can say in time that it is dead
    await worker.wait_for_log("ready: worker", count=2)
    await enqueue(cli_jobs.forever())
    await worker.wait_for_log("begun forever")
    [row] = await sql("select worker from asyncjobs.job")
    victim = pids(worker)[ids(worker).index(str(row["worker"]))]
    os.kill(victim, signal.SIGKILL)
    await worker.wait_for_log("ended (SIGKILL); starting it again in 0.5 s")
    [gone] = await sql(f"select dead_at from asyncjobs.worker where id = '{row['worker']}'")
    assert gone["dead_at"] is not None
    await worker.wait_for_log("ready: worker", count=3)
    assert len(set(ids(worker))) == 3
    worker.stop()
    await worker.wait_for_log("received SIGTERM")
    worker.stop()
    assert await ended(worker, limit=2) == 0


async def test_quit_and_the_second_signal_reach_the_children(start, enqueue, sql):
    worker = start("--processes", "2", "--shutdown-timeout", "10m")
    await worker.wait_for_log("ready: worker", count=2)  # one that is still starting has nothing to tell of
    await enqueue(cli_jobs.forever())
    await worker.wait_for_log("begun forever")
    worker.stop(signal.SIGQUIT)
    await worker.wait_for_log("cli_jobs.forever")
    worker.stop()
    await worker.wait_for_log("the supervisor stops: jobs may finish within 600 s", count=2)
    worker.stop()
    assert await ended(worker, limit=2) == 0
    [row] = await sql("select state, attempt from asyncjobs.job")
    assert tuple(row) == (1, 0)


async def test_a_signal_to_the_whole_group_counts_once(start, enqueue, sql):
    """As systemd sends SIGTERM, and a terminal Ctrl-C."""
    worker = start("--processes", "2", "--shutdown-timeout", "10m")
    await enqueue(cli_jobs.brief())
    await worker.wait_for_log("ready: worker", count=2)
    await worker.wait_for_log("begun brief")
    os.killpg(worker.pid, signal.SIGTERM)
    assert await ended(worker, limit=5) == 0
    [row] = await sql("select state, attempt from asyncjobs.finished")
    assert tuple(row) == (4, 1)


async def test_a_child_that_does_not_answer_is_killed_in_time(start):
    worker = start("--processes", "2")
    await worker.wait_for_log("ready: worker", count=2)
    frozen = pids(worker)[0]
    os.kill(frozen, signal.SIGSTOP)
    worker.stop()
    assert await ended(worker, limit=4) == 0
    assert f"(pid {frozen}) did not end in time: killed" in worker.log


async def test_children_stop_when_the_supervisor_is_killed(start):
    worker = start("--processes", "2")
    await worker.wait_for_log("ready: worker", count=2)
    worker.kill()
    await until(lambda: not group_lives(worker.pid))
    assert not group_lives(worker.pid)
    assert worker.log.count("the supervisor is gone: jobs may finish") == 2
    assert worker.log.count("stopped: 0 jobs ended here") == 2


async def test_a_start_that_cannot_succeed_is_not_tried_for_ever(start, empty_database_url, project):
    unmigrated = start("--processes", "2", url=empty_database_url)
    assert await unmigrated.exit_code() == 3
    assert pids(unmigrated) == []
    (project / "config.toml").write_text('[default]\nimports = ["nowhere"]\n')
    unimportable = start("--processes", "2")
    assert await unimportable.exit_code() == 2
    assert "there is no module 'nowhere'" in unimportable.log


async def test_a_child_stopped_by_hand_is_replaced(start):
    worker = start("--processes", "2")
    await worker.wait_for_log("ready: worker", count=2)
    os.kill(pids(worker)[0], signal.SIGTERM)
    await worker.wait_for_log("ended (exit code 0); starting it again")
    await worker.wait_for_log("ready: worker", count=3)
    worker.stop()
    assert await ended(worker, limit=3) == 0


async def test_burst_ends_when_every_child_has_nothing_left(start, enqueue, sql):
    await enqueue(*(cli_jobs.add(n) for n in range(50)))
    worker = start("--processes", "2", "--burst")
    assert await worker.exit_code() == 0
    [row] = await sql("select count(*) from asyncjobs.finished")
    assert row["count"] == 50


async def test_at_a_hangup_each_child_is_replaced_by_one_that_is_ready_before_it_goes(start, enqueue, sql):
    worker = start("--processes", "2", "--shutdown-timeout", "10m")
    await worker.wait_for_log("ready: worker", count=2)
    await enqueue(cli_jobs.brief())
    await worker.wait_for_log("begun brief")
    before = pids(worker)
    worker.stop(signal.SIGHUP)
    await worker.wait_for_log("was replaced", count=2)
    await worker.wait_for_log("the supervisor stops", count=2)  # which the old ones say, each when it goes
    lines = [line for line in worker.log.splitlines() if "ready: worker" in line or "the supervisor stops" in line]
    assert ["ready" in line for line in lines] == [True, True, True, False, True, False]
    assert worker.running and len(pids(worker)) == 4 and not any(map(alive, before))
    [row] = await sql("select state, attempt from asyncjobs.finished")
    assert tuple(row) == (4, 1)
    worker.stop()
    assert await ended(worker, limit=5) == 0


async def test_at_a_hangup_a_new_child_that_cannot_start_leaves_the_old_ones_running(start, project):
    worker = start("--processes", "2")
    await worker.wait_for_log("ready: worker", count=2)
    before = pids(worker)
    (project / "config.toml").write_text('[default]\nimports = ["nowhere"]\n')
    worker.stop(signal.SIGHUP)
    await worker.wait_for_log("the new child 1 has not become ready: the old processes go on")
    assert all(map(alive, before))
    worker.stop()
    assert await ended(worker, limit=3) == 0


async def test_what_a_killed_child_leaves_at_the_end_of_a_stop_is_given_back_unspent(start, enqueue, sql):
    worker = start("--processes", "2", "--shutdown-timeout", "0s")
    await worker.wait_for_log("ready: worker", count=2)
    await enqueue(cli_jobs.forever())
    await worker.wait_for_log("begun forever")
    [row] = await sql("select worker from asyncjobs.job")
    os.kill(pids(worker)[ids(worker).index(str(row["worker"]))], signal.SIGSTOP)
    worker.stop()
    await worker.wait_for_log("did not end in time: killed")
    assert await ended(worker, limit=4) == 0
    [row] = await sql("select state, attempt, crashes, errors from asyncjobs.job")
    assert tuple(row) == (1, 0, 0, None)


@pytest.fixture
def forked(monkeypatch):
    """A supervisor of this process has its children forked, whatever bytecode this one may write."""

    async def start(*args, **options):
        return OfLoop(warm.start([word for word in args if word != "-B"], **options))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)


CHILD = """
import asyncio, pathlib, threading
from asyncjobs.processes import link as links

links.QUIET_LIMIT = 60

async def main():
    link, loop, stopped = links.Link(), asyncio.get_running_loop(), asyncio.Event()
    stop = lambda *_: loop.call_soon_threadsafe(stopped.set)
    threading.Thread(target=link.listen, args=[stop], daemon=True).start()
    link.ready()
    await stopped.wait()
    if link.share == 1:
        await asyncio.to_thread(pathlib.Path("gate").read_text)  # a claim takes its time
    print(f"{link.share} is quiet", flush=True)
    await link.quiet()
    print(f"{link.share} goes on", flush=True)

asyncio.run(main())
"""


async def test_none_gives_anything_back_before_all_of_them_claim_no_more(tmp_path, monkeypatch, forked, database_url):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("gate")
    log = tmp_path / "log"
    (tmp_path / "child.py").write_text(CHILD)
    command = [sys.executable, "child.py"]
    spec = ChildSpec(command=command, url=database_url, shutdown_timeout=60, log=log)
    ready = []
    supervisor = Supervisor(spec, KeepRunning(ends_alone=True), shares=[1, 2], on_ready=ready.append)
    running = asyncio.create_task(supervisor.run())
    await until_so(lambda: len(ready) == 2)
    supervisor.stop(1)
    await until_so(lambda: "2 is quiet" in log.read_text())
    await asyncio.to_thread((tmp_path / "gate").write_text, "done")
    assert await running == 0
    said = log.read_text().splitlines()
    assert said[:2] == ["2 is quiet", "1 is quiet"]
    assert sorted(said[2:]) == ["1 goes on", "2 goes on"]


async def test_what_a_stopping_worker_runs_is_its_own_until_the_others_claim_no_more(database_url, enqueue, sql):
    seen = []

    async def look():
        seen.append(await sql("select state from asyncjobs.job"))

    async with AsyncJobs(database_url=database_url, shutdown_timeout=0) as jobs:
        worker = jobs._in_use().make_worker(on_quiet=look)
        working = asyncio.create_task(worker.run())
        await enqueue(cli_jobs.forever())
        await until_so(lambda: worker.running)
        worker.stop()
        await working
    assert seen == [[(2,)]]
    assert await sql("select state from asyncjobs.job") == [(1,)]


async def test_one_that_is_cancelled_stops_its_children_first(forked, database_url):
    spec = ChildSpec(command=command("asyncjobs", "run"), url=database_url, shutdown_timeout=60)
    ready = asyncio.Event()
    supervisor = Supervisor(spec, KeepRunning(ends_alone=False), on_ready=lambda _: ready.set())
    running = asyncio.create_task(supervisor.run())
    await ready.wait()
    [child] = supervisor.children
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled() and child.process.returncode == 0
