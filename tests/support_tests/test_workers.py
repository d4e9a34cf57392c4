import signal
import sys

import pytest

from tests.support.oracle import Oracle
from tests.support.processes import group_lives
from tests.support.workers import Workers


def stand_in(*words):
    return [sys.executable, "-m", "tests.support_tests.jobs", *words]


@pytest.fixture
def oracle(tmp_path):
    return Oracle(tmp_path / "oracle")


async def test_a_worker_logs_runs_and_ends(tmp_path, oracle):
    async with Workers(tmp_path, oracle=oracle) as workers:
        worker = workers.start(command=stand_in("once"), name="first")
        assert await worker.wait_for_log("ready") == "ready"
        assert await worker.exit_code() == 0
    (run,) = oracle.runs("job-1")
    assert (run.worker, run.pid, run.how) == ("first", worker.pid, "ok")


async def test_a_killed_workers_run_is_over(tmp_path, oracle):
    async with Workers(tmp_path, oracle=oracle) as workers:
        first = workers.start(command=stand_in("sleep"))
        await oracle.wait_for(event="start")
        first.kill()
        assert await first.exit_code() == -signal.SIGKILL
        second = workers.start(command=stand_in("once", "2"))
        assert await second.exit_code() == 0
    assert [run.how for run in oracle.runs("job-1")] == ["killed", "ok"]
    assert oracle.overlaps() == []


async def test_a_signal_is_answered_by_the_worker_itself(tmp_path, oracle):
    async with Workers(tmp_path, oracle=oracle) as workers:
        worker = workers.start(command=stand_in("sleep"))
        await oracle.wait_for(event="start")
        worker.stop(signal.SIGTERM)
        assert await worker.exit_code() == 5
    assert oracle.runs()[0].how == "SystemExit"


async def test_a_frozen_workers_run_is_a_zombies(tmp_path, oracle):
    async with Workers(tmp_path, oracle=oracle) as workers:
        first = workers.start(command=stand_in("sleep"))
        await oracle.wait_for(event="start")
        first.freeze()
        second = workers.start(command=stand_in("once", "2"))
        assert await second.exit_code() == 0
        first.thaw()
        first.stop()
        assert await first.exit_code() == 5
    ((one, other),) = oracle.overlaps()
    assert (one.frozen, other.frozen) == (True, False)


async def test_the_end_takes_even_frozen_workers_and_their_children(tmp_path, oracle):
    async with Workers(tmp_path, oracle=oracle) as workers:
        frozen = workers.start(command=stand_in("sleep"))
        parent = workers.start(command=stand_in("children", "2"))
        await oracle.wait_for(event="start", count=2)
        await parent.exit_code()
        frozen.freeze()
    assert not frozen.running
    assert not any(group_lives(worker.pid) for worker in (frozen, parent))


async def test_waiting_for_what_never_comes_shows_the_log(tmp_path):
    async with Workers(tmp_path) as workers:
        ended = workers.start(command=stand_in("fail"))
        with pytest.raises(RuntimeError, match=r"ended with 1, without 'nonsense'[\s\S]*ValueError"):
            await ended.wait_for_log("nonsense")
        sleeping = workers.start(command=stand_in("sleep"))
        await sleeping.wait_for_log("ready")
        with pytest.raises(TimeoutError, match="ready"):
            await sleeping.wait_for_log("nonsense", timeout=0.05)
        with pytest.raises(TimeoutError, match="still runs"):
            await sleeping.exit_code(timeout=0.05)


async def test_without_a_command_the_real_worker_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "config.toml").write_text("")
    monkeypatch.setattr(sys, "executable", "/bin/echo")
    async with Workers(tmp_path) as workers:
        worker = workers.start("app.jobs", config=tmp_path / "config.toml", args=["--burst"])
        await worker.exit_code()
    assert worker.log == f"-m asyncjobs run app.jobs --config {tmp_path}/config.toml --burst\n"
