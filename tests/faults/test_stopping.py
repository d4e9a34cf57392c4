"""Signals, while jobs end in time, end late, take no notice, or block the loop; with and without a database."""

import asyncio
import signal

import pytest

from tests.faults import child_jobs as family
from tests.faults import jobs as work
from tests.faults.scene import LEASE, LEASE_LOST, SHUTDOWN_TIMEOUT
from tests.support.oracle import PATH_VARIABLE
from tests.support.processes import SLACK
from tests.support.sweeps import slowly

BOUND = SHUTDOWN_TIMEOUT + 2


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
async def test_at_a_signal_short_jobs_finish_and_all_others_move_unspent(scene, number):
    gate = scene.gate()
    first = await scene.start(name="first")
    short, long, deaf = await scene.enqueue(work.nap(0.5), work.hold(gate), work.ignore(gate))
    await scene.running(short, long, deaf)
    first.stop(number)
    await scene.oracle.wait_for(event="ignored", job_id=deaf.id)
    row = await scene.row(deaf)
    assert (row["state"], row["attempt"]) == (2, 1)
    assert await first.exit_code(BOUND + SLACK) == 0
    await scene.start(name="second")
    await scene.oracle.wait_for(event="start", job_id=deaf.id, worker="second")
    scene.open(gate)
    rows = await scene.finished(short, long, deaf)
    assert [(row["attempt"], row["crashes"]) for row in rows] == [(1, 0), (1, 0), (1, 0)]
    assert scene.ends(short) == [("first", 1, "ok")]
    assert scene.ends(long) == [("first", 1, "CancelledError"), ("second", 1, "ok")]
    assert scene.ends(deaf) == [("first", 1, "exited"), ("second", 1, "ok")]
    await scene.clean(max_attempts=1)


async def test_what_is_waiting_in_a_stopping_worker_is_given_back_and_nothing_more_is_claimed(scene):
    first = await scene.start(name="first", concurrency=1, shutdown_timeout=30)
    [held] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(held)
    waiting = await scene.enqueue(*(work.tiny(n) for n in range(20)))
    first.stop()
    await first.wait_for_log("stopping: 1 jobs may finish")
    await scene.start(name="second")
    rows = await scene.finished(*waiting)
    assert {(row["attempt"], row["result"]) for row in rows} == {(1, '"second"')}
    scene.open(scene.gate())
    [row] = await scene.finished(held)
    assert row["result"] == '"first"'
    assert await first.exit_code() == 0
    await scene.clean(max_attempts=1)


async def test_five_signals_in_a_row_lose_nothing(scene):
    first = await scene.start(name="first")
    long, deaf = await scene.enqueue(work.hold(scene.gate()), work.ignore(scene.gate()))
    await scene.running(long, deaf)
    for _ in range(5):
        first.stop()
    assert await first.exit_code(BOUND + SLACK) in {0, 130}
    await scene.start(name="second")
    await scene.oracle.wait_for(event="start", worker="second", count=2)
    scene.open(scene.gate())
    await scene.finished(long, deaf)
    await scene.clean(max_attempts=2)


async def test_sigquit_ends_nothing(scene):
    worker = await scene.start(name="only")
    [job] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(job)
    worker.stop(signal.SIGQUIT)
    await worker.wait_for_log("SIGQUIT: 1 jobs run here")
    scene.open(scene.gate())
    later = await scene.enqueue(work.tiny())
    await scene.finished(job, *later)
    assert worker.running
    await scene.clean(max_attempts=1)


@pytest.mark.parametrize(
    "kind",
    [work.hold, *slowly(work.thread, work.ignore, work.block)],
)
async def test_a_worker_whose_database_is_frozen_ends_in_time_and_its_job_runs_elsewhere(
    scene, proxy, proxied_url, kind
):
    first = await scene.start(name="first", url=proxied_url)
    [job] = await scene.enqueue(kind(scene.gate()))
    await scene.running(job)
    proxy.freeze()
    first.stop()
    assert await first.exit_code(BOUND + SLACK) == 0
    await scene.start(name="second")
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert row["result"] == '"second"'
    assert scene.oracle.overlaps() == []
    proxy.thaw()  # what was held on the way to the server arrives now, and must change nothing
    [after] = await scene.finished(job)
    assert after == row
    await scene.clean(max_attempts=2)


async def test_a_job_that_blocks_the_loop_three_times_its_lease_keeps_it_and_others_are_late_not_lost(scene):
    first = await scene.start(name="first")
    [job] = await scene.enqueue(work.block_for(3 * LEASE))
    await scene.running(job)
    neighbours = await scene.enqueue(*(work.tiny(n) for n in range(20)))
    await scene.start(name="second", queues=["nothing"])  # would bury it
    rows = await scene.finished(job, *neighbours)
    assert {(row["attempt"], row["crashes"]) for row in rows} == {(1, 0)}
    assert scene.buried() == [] and LEASE_LOST not in first.log
    await scene.clean(max_attempts=1)


async def test_a_signal_is_noted_while_a_job_blocks_the_loop(scene):
    worker = await scene.start(name="only", shutdown_timeout=30)
    [job] = await scene.enqueue(work.block(scene.gate()))
    await scene.running(job)
    worker.stop()
    await worker.wait_for_log("received SIGTERM")
    scene.open(scene.gate())
    assert await worker.exit_code() == 0
    [row] = await scene.finished(job)
    assert (row["attempt"], row["result"]) == (1, '"only"')


@pytest.mark.parametrize("loop", ["uvloop", *slowly("asyncio")])
async def test_whatever_a_job_raises_is_its_own_end_and_nobody_elses(scene, loop):
    modules = ["tests.faults.jobs", *(["tests.faults.no_uvloop"] if loop == "asyncio" else [])]
    worker = await scene.start(*modules, name="only", concurrency=20)
    neighbours = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(3)))
    await scene.running(*neighbours)
    errors = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "BaseException", "StopIteration")
    raising = await scene.enqueue(*(kind(error) for error in errors for kind in (work.throw, work.throw_in_thread)))
    rows = await scene.finished(*raising)
    assert {(row["state"], row["attempt"]) for row in rows} == {(5, 1)}
    for job, row in zip(raising, rows, strict=True):
        asked = job.arguments["error"]
        assert asked in row["errors"], job
    scene.open(scene.gate())
    rows = await scene.finished(*neighbours)
    assert {(row["state"], row["attempt"]) for row in rows} == {(4, 1)}
    assert worker.running
    [row] = await scene.finished(*await scene.enqueue(work.which_loop()))
    assert row["result"] == f'"{loop}"'
    worker.stop()
    assert await worker.exit_code() == 0
    await scene.clean(max_attempts=1)


@pytest.mark.parametrize("kind", [*slowly(work.ignore, work.thread), work.block])
async def test_what_a_stopping_worker_cannot_end_is_given_back_unspent_before_it_is_gone(scene, kind):
    worker = await scene.start()
    [job] = await scene.enqueue(kind(scene.gate()))
    await scene.running(job)
    worker.stop(signal.SIGHUP)  # a closed terminal; as a SIGTERM
    assert await worker.exit_code(BOUND + SLACK) == 0
    row = await scene.row(job)
    assert (row["state"], row["attempt"], row["crashes"], row["errors"]) == (1, 0, 0, None)
    scene.open(scene.gate())
    await scene.start(name="second")
    [row] = await scene.finished(job)
    assert (row["attempt"], row["result"]) == (1, '"second"')


async def test_what_a_third_signal_leaves_is_given_back_unspent(scene):
    worker = await scene.start(shutdown_timeout=60)
    [job] = await scene.enqueue(work.block(scene.gate()))
    await scene.running(job)
    for count in range(3):
        worker.stop()
        if count < 2:
            await worker.wait_for_log("received SIGTERM", count=count + 1)
    assert await worker.exit_code() == 130
    row = await scene.row(job)
    assert (row["state"], row["attempt"], row["crashes"], row["errors"]) == (1, 0, 0, None)


async def test_a_hangup_that_was_ignored_when_the_worker_was_started_is_ignored(scene):
    worker = await scene.start(ignoring=signal.SIGHUP)
    worker.stop(signal.SIGHUP)
    await scene.finished(*await scene.enqueue(work.tiny()))
    worker.stop()
    await worker.wait_for_log("received SIGTERM")
    assert await worker.exit_code() == 0 and "SIGHUP" not in worker.log


FAMILY = "tests.faults.child_jobs"
LONG = 600
"""Seconds that a worker would let its jobs finish: nothing here lasts as long."""


@pytest.mark.parametrize(
    "kind",
    [
        family.runs_held,
        *slowly(family.awaits_held, family.gathers_held, family.awaits_held_in_thread),
        family.awaits_held_apart,
    ],
)
async def test_a_stopping_worker_gives_back_at_once_a_job_that_waits_for_others(scene, kind):
    gate = scene.gate()
    scene.open(f"{gate}-own")
    first = await scene.start(FAMILY, name="first", queues=["default"], shutdown_timeout=LONG)
    [parent] = await scene.enqueue(kind(gate))
    await scene.awaited(family.held.kind)
    first.stop()
    assert await first.exit_code() == 0
    row = await scene.row(parent)
    assert (row["state"], row["attempt"], row["crashes"], row["errors"]) == (1, 0, 0, None)
    scene.open(gate)
    await scene.start(FAMILY, name="second")
    [row] = await scene.finished(parent)
    assert (row["state"], row["attempt"], row["crashes"], row["errors"]) == (4, 1, 0, None)


async def test_a_job_that_comes_to_wait_for_another_while_its_worker_stops_is_given_back_then(scene):
    gate = scene.gate()
    first = await scene.start(FAMILY, name="first", queues=["default"], shutdown_timeout=LONG)
    [parent] = await scene.enqueue(family.awaits_held(gate))
    await scene.running(parent)
    first.stop()
    await first.wait_for_log("stopping: 1 jobs may finish")
    scene.open(f"{gate}-own")
    assert await first.exit_code() == 0
    row = await scene.row(parent)
    assert (row["state"], row["attempt"], row["errors"]) == (1, 0, None)


async def test_what_runs_beside_a_waiting_job_may_finish(scene):
    gate = scene.gate()
    worker = await scene.start(FAMILY, name="only", shutdown_timeout=LONG)
    [parent] = await scene.enqueue(family.runs_held(gate))
    await scene.awaited(family.held.kind)
    await scene.oracle.wait_for(event="start", worker="only", count=3)
    worker.stop()
    await worker.wait_for_log("stopping: 1 jobs that wait for other jobs are given back")
    await worker.wait_for_log("stopping: 2 jobs may finish")
    scene.open(gate)
    assert await worker.exit_code() == 0
    states = await scene.fetch("select state from asyncjobs.finished where kind = 'children.held'")
    assert [row["state"] for row in states] == [4, 4]
    assert (await scene.row(parent))["attempt"] == 0
    await scene.start(FAMILY, name="second")
    [row] = await scene.finished(parent)
    assert (row["result"], row["attempt"]) == ('["held","held"]', 1)


@pytest.mark.parametrize("kind", [family.runs_held, family.awaits_held, family.awaits_held_in_thread])
async def test_a_program_whose_job_waits_for_others_ends_its_worker_at_once(scene, make_jobs, monkeypatch, kind):
    monkeypatch.setenv(PATH_VARIABLE, str(scene.oracle.path))
    gate = scene.gate()
    scene.open(f"{gate}-own")
    program = make_jobs(pools=[{"queues": ["default"], "concurrency": 1}], shutdown_timeout=LONG)
    async with asyncio.timeout(LONG / 10), program.running():
        [parent] = await scene.enqueue(kind(gate))
        await scene.awaited(family.held.kind)
    row = await scene.row(parent)
    assert (row["state"], row["attempt"], row["crashes"], row["errors"]) == (1, 0, 0, None)
