"""`asyncjobs run --http`, `asyncjobs health`, and what systemd is told."""

import asyncio
import os
import re
import signal
import socket

import cli_jobs
import pytest

from tests.support.probing import address_of, ask, until_answered
from tests.support.processes import PATIENCE, SLACK, until_so
from tests.support.proxy import Proxy

HTTP = ("--http", "127.0.0.1:0")


async def test_a_worker_says_that_it_lives_and_is_ready_and_shows_its_metrics(start, enqueue):
    worker = start(*HTTP)
    port = await address_of(worker)
    await worker.wait_for_log("ready: worker")
    assert (await ask(port, "/livez")).facts["ok"] is True
    ready = await until_answered(port, "/readyz", 200)
    assert re.search(rf"ready: worker {ready.facts['worker']}", worker.log)
    await enqueue(cli_jobs.add(1))
    await worker.wait_for_log("succeeded")
    shown = await ask(port, "/metrics")
    assert shown.headers["content-type"].startswith("text/plain; version=")
    labels = 'kind="cli_jobs.add",outcome="succeeded",queue="default"'
    assert f"asyncjobs_jobs_ended_total{{{labels}}} 1.0" in shown.body
    assert "process_cpu_seconds_total" in shown.body  # what prometheus_client tells of every program


async def test_what_a_killed_worker_ran_is_counted_once_where_it_ends(start, enqueue):
    killed = start()
    await killed.wait_for_log("ready: worker")
    await enqueue(cli_jobs.once_forever())
    await killed.wait_for_log("begun once_forever")
    killed.kill()
    other = start(*HTTP)
    port = await address_of(other)
    await other.wait_for_log("succeeded")
    shown = (await ask(port, "/metrics")).body
    assert "asyncjobs_jobs_rescued_total 1.0" in shown
    assert re.findall(r"^asyncjobs_jobs_(?:started|ended)_total\{.*\} (.*)$", shown, re.MULTILINE) == ["1.0", "1.0"]


@pytest.mark.slow
async def test_a_job_that_ends_its_process_is_counted_as_crashed(start, enqueue):
    worker = start(*HTTP)
    port = await address_of(worker)
    await enqueue(cli_jobs.ends_its_process())
    await worker.wait_for_log("died")
    async with asyncio.timeout(PATIENCE):
        while 'outcome="crashed"' not in (shown := await ask(port, "/metrics")).body:
            continue
    assert 'asyncjobs_jobs_ended_total{kind="cli_jobs.ends_its_process",outcome="crashed"' in shown.body


async def test_while_a_job_blocks_the_loop_its_worker_answers_and_says_what_blocks_it(start, enqueue):
    worker = start(*HTTP, ASYNCJOBS_LOOP_DEAD="0.5")
    port = await address_of(worker)
    job_id = await enqueue(cli_jobs.spin())
    await worker.wait_for_log("begun spin")
    dead = await until_answered(port, "/livez", 503)
    assert dead.facts["loop_blocked"] > 0.5
    assert dead.facts["by"].startswith(f"cli_jobs.spin {job_id}, at ")
    assert re.search(r"cli_jobs\.py:\d+ in spin$", dead.facts["by"])
    assert (await ask(port, "/metrics")).status == 200


@pytest.mark.slow
async def test_with_loop_dead_0_a_blocked_loop_is_alive(start, enqueue):
    worker = start(*HTTP, ASYNCJOBS_LOOP_DEAD="0", ASYNCJOBS_LOOP_WARNING="0")
    port = await address_of(worker)
    await enqueue(cli_jobs.spin())
    await worker.wait_for_log("begun spin")
    async with asyncio.timeout(PATIENCE):
        while (found := await ask(port, "/livez")).facts["loop_blocked"] < 0.5:
            assert found.status == 200
    assert found.status == 200


async def test_a_worker_is_not_ready_while_the_database_is_away_and_ready_when_it_is_back(start, database_url):
    async with Proxy.in_front_of(database_url) as proxy:
        worker = start(*HTTP, url=proxy.url(database_url.partition("?")[0].rpartition("/")[2]), ASYNCJOBS_LEASE="2")
        port = await address_of(worker)
        await until_answered(port, "/readyz", 200)
        proxy.refuse()
        proxy.cut()
        away = await until_answered(port, "/readyz", 503)
        assert away.facts["problems"]
        assert (await ask(port, "/livez")).status == 200  # a restart would not bring the database back
        await proxy.accept()
        await until_answered(port, "/readyz", 200)


async def test_a_worker_that_stops_is_not_ready(start, enqueue):
    worker = start(*HTTP, "--shutdown-timeout", "10m")
    port = await address_of(worker)
    await enqueue(cli_jobs.forever())
    await worker.wait_for_log("begun forever")
    worker.stop()
    stopping = await until_answered(port, "/readyz", 503)
    assert stopping.facts["problems"] == ["it stops"]
    assert (await ask(port, "/livez")).status == 200
    worker.stop()
    assert await worker.exit_code(2 + SLACK) == 0


async def test_an_address_that_is_taken_ends_a_start_with_code_2_and_the_remedy(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = start("--http", f"127.0.0.1:{port}")
        assert await worker.exit_code() == 2
    assert f"http: cannot listen on 127.0.0.1:{port}" in worker.log
    assert "give each a port of its own" in worker.log


async def test_a_supervisor_answers_for_all_of_its_processes(start, enqueue):
    worker = start(*HTTP, "--processes", "2", ASYNCJOBS_LOOP_DEAD="0.5")
    port = await address_of(worker)
    await worker.wait_for_log("ready: worker", count=2)
    ready = await until_answered(port, "/readyz", 200)
    assert sorted(ready.facts["processes"]) == ["1", "2"]
    await enqueue(*(cli_jobs.add(n) for n in range(20)))
    await worker.wait_for_log("succeeded", count=20)
    shown = (await ask(port, "/metrics")).body
    ended = re.findall(r'^asyncjobs_jobs_ended_total\{.*process="(\d)".*\} ([\d.]+)$', shown, re.MULTILINE)
    assert sum(float(count) for _, count in ended) == 20
    assert shown.count("# TYPE asyncjobs_jobs_ended_total counter") == 1
    assert len(re.findall(r'^asyncjobs_worker_slots\{.*process="[12]".*\} 10.0$', shown, re.MULTILINE)) == 2
    await enqueue(cli_jobs.spin())
    await worker.wait_for_log("begun spin")
    dead = await until_answered(port, "/livez", 503)
    assert sorted(each["ok"] for each in dead.facts["processes"].values()) == [False, True]


class Manager:
    """A service manager's socket."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(path.replace("@", "\0"))
        self.told = []

    def close(self):
        self._socket.close()

    def heard(self, text):
        """Whether it was ever told so."""
        while True:
            try:
                self.told += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return any(line.startswith(text) for line in self.told)


@pytest.fixture
def manager(request, tmp_path):
    path = f"@asyncjobs-{os.getpid()}-{tmp_path.name}" if request.param == "abstract" else str(tmp_path / "notify")
    manager = Manager(path)
    yield manager, {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}
    manager.close()


@pytest.mark.parametrize("manager", ["file"], indirect=True)
async def test_systemd_is_told_of_start_life_and_stop_and_not_of_a_dead_loop(start, enqueue, manager):
    manager, environment = manager
    worker = start(**environment, ASYNCJOBS_LOOP_DEAD="0.3")
    await until_so(lambda: manager.heard("READY=1"))
    await until_so(lambda: manager.heard("WATCHDOG=1"))
    await enqueue(cli_jobs.spin())
    await worker.wait_for_log("the service manager is told no more that this process is alive")
    manager.heard("")
    manager.told.clear()
    worker.stop()
    await until_so(lambda: manager.heard("STOPPING=1"))
    assert manager.heard("EXTEND_TIMEOUT_USEC=")
    assert "WATCHDOG=1" not in manager.told
    assert "NOTIFY_SOCKET" not in worker.log
    await worker.exit_code(0.3 + 2 + SLACK)


@pytest.mark.parametrize("manager", ["abstract"], indirect=True)
@pytest.mark.slow
async def test_a_supervisor_tells_systemd_of_all_of_its_processes(start, manager):
    manager, environment = manager
    worker = start("--processes", "2", **environment)
    await until_so(lambda: manager.heard("READY=1"))
    assert worker.log.count("ready: worker") == 2
    await until_so(lambda: manager.heard("WATCHDOG=1"))
    manager.told.clear()
    worker.stop(signal.SIGHUP)
    await until_so(lambda: manager.heard("READY=1"))
    assert manager.told.index("RELOADING=1") < manager.told.index("READY=1")
    assert worker.log.count("was replaced") == 2
    worker.stop()
    await until_so(lambda: manager.heard("STOPPING=1"))
    assert await worker.exit_code(3 + SLACK) == 0


async def test_health_ends_with_0_while_a_worker_of_this_host_holds_its_lease_and_else_with_3(cli, start):
    assert "the database knows of none" in (await asyncio.to_thread(cli, "health", code=3)).stderr
    worker = start()
    await worker.wait_for_log("ready: worker")
    said = (await asyncio.to_thread(cli, "health")).stdout
    assert "is alive: its last beat was" in said
    assert "it counts as lost 4.0s after its last beat, at the latest" in said
    found = await asyncio.to_thread(cli.json, "health")
    assert (found["healthy"], found["host"], found["workers"][0]["pid"]) == (True, socket.gethostname(), worker.pid)
    assert await asyncio.to_thread(cli.json, "health", "--host", "elsewhere", code=3) == {
        "healthy": False,
        "host": "elsewhere",
        "workers": [],
    }
    worker.stop()
    assert await worker.exit_code(3 + SLACK) == 0
    assert "has ended, or was declared dead" in (await asyncio.to_thread(cli, "health", code=3)).stderr


async def test_health_knows_a_worker_whose_lease_is_over_though_nobody_has_declared_it_dead(cli, sql):
    await sql(
        "insert into asyncjobs.worker (id, backend_pid, lease, host, beat_at) "
        f"values (asyncjobs.new_id(), 0, '30 s', '{socket.gethostname()}', now() - interval '31 s')"
    )
    assert "is silent" in (await asyncio.to_thread(cli, "health", code=3)).stderr


def test_health_without_a_database_ends_with_3(make_cli):
    assert make_cli("postgresql://nobody@127.0.0.1:1/none")("health", code=3).stderr
