"""A worker says what goes wrong in it while it does: what blocks its loop, what ignores its cancellation, that it drains."""

import inspect
import re
import sys

import pytest

from asyncjobs.worker.job_log import LINES
from tests.faults import jobs as work
from tests.faults.scene import LEASE, LEASE_LOST, SHUTDOWN_TIMEOUT
from tests.support.processes import SLACK

WARNING = 0.2
"""The default of `loop_warning`."""
BLOCKS = "has blocked the event loop for"
BLOCKED = " blocked the event loop for"
TOLD = re.compile(r"asyncjobs\.worker: (.*) has blocked .* for ([\d.]+) s and goes on, at \S*/(\w+\.py):(\d+) in (\w+)")


def told(line):
    """Who blocks, for how long, in which file, on which line, in which function."""
    found = TOLD.search(line)
    assert found, line
    who, seconds, file, number, function = found.groups()
    return who, float(seconds), file, int(number), function


def lines_of(function):
    lines, first = inspect.getsourcelines(function)
    return range(first, first + len(lines))


async def test_a_job_that_blocks_the_loop_is_named_with_its_line_and_the_time_while_it_blocks(scene):
    worker = await scene.start(name="only", loop_warning=WARNING)
    await scene.start(name="second", queues=["nothing"])  # would bury it
    [job] = await scene.enqueue(work.block(scene.gate()))
    who, first, file, line, function = told(await worker.wait_for_log(BLOCKS))
    assert (who, file, function) == (f"faults.block {job.id}", "jobs.py", "block")
    assert line in lines_of(work.block._definition.function)
    # Its keeper tells of it, too, while the loop does nothing.
    shown = await scene.reported(worker, lambda shown: shown["blocked"].get("faults.block"))
    assert shown["blocked"]["faults.block"]["count"] == 1
    assert shown["blocked"]["faults.block"]["longest"] >= 0.2
    assert re.search(r"/jobs\.py:\d+ in block$", shown["blocked"]["faults.block"]["place"])
    shown = await scene.reported(worker, lambda shown: shown["lag"] is not None and shown["waits"])
    assert shown["lag"] >= 0.0 and sum(waits["starts"] for waits in shown["waits"].values()) > 0
    [found] = [found for found in await scene.asked("doctor") if found["check"] == "event loop"]
    assert (found["verdict"], "faults.block blocked it 1 times" in found["text"]) == ("warn", True)
    assert "anyio.to_thread" in found["text"]
    *_, last = [told(line)[1] for line in worker.log.splitlines() if BLOCKS in line]
    assert last >= first >= 0.2
    assert BLOCKED not in worker.log.replace(BLOCKS, "")  # it is not over
    scene.open(scene.gate())
    end = await worker.wait_for_log(f"{job.id}{BLOCKED}")
    assert float(end.split()[-2]) >= last
    [row] = await scene.finished(job)
    assert (row["attempt"], row["crashes"]) == (1, 0)
    assert scene.buried() == [] and LEASE_LOST not in worker.log
    await scene.clean(max_attempts=1)


async def test_the_stack_begins_with_the_jobs_own_code_and_a_long_block_is_told_of_seldom(scene):
    worker = await scene.start(name="only", loop_warning=WARNING)
    [job] = await scene.enqueue(work.block(scene.gate()))
    lasted = [told(await worker.wait_for_log(BLOCKS, count=count))[1] for count in (1, 2, 3)]
    assert all(later >= 1.5 * earlier for earlier, later in zip(lasted, lasted[1:], strict=False)), lasted
    scene.open(scene.gate())
    await scene.finished(job)
    _, _, stack = worker.log.partition("(most recent call last):\n")
    assert re.match(r' +File "\S+/tests/faults/jobs.py", line \d+, in block\n', stack)
    assert "/asyncjobs/worker/" not in stack


async def test_a_task_that_a_job_started_is_named_and_where_python_tells_its_job(scene):
    worker = await scene.start(name="only", loop_warning=WARNING)
    [job] = await scene.enqueue(work.block_in_child(scene.gate()))
    who, _, file, _, function = told(await worker.wait_for_log(BLOCKS))
    is_known = sys.version_info >= (3, 12)
    assert who == (f"faults.block_in_child {job.id}" if is_known else "a child (no job's own task)")
    assert (file, function) == ("jobs.py", "child")
    scene.open(scene.gate())
    await scene.finished(job)


async def test_a_call_that_lets_no_other_thread_run_is_told_of_as_soon_as_it_does_and_named_if_seen(scene):
    worker = await scene.start(name="only", lease=300, loop_warning=WARNING / 2)  # meanwhile its keeper cannot beat
    [job] = await scene.enqueue(work.compute(20_000_000))
    line = await worker.wait_for_log(" the event loop ")
    # Which of the waiting threads gets the interpreter at its end is the system's choice: on a busy machine the loop itself
    # may be faster than the watchdog, which then knows that it was blocked, and not by whom.
    assert BLOCKS in line or "one call let no other thread run" in line
    if BLOCKS in line:
        who, seconds, file, _, function = told(line)
        assert (who, file, function) == (f"faults.compute {job.id}", "jobs.py", "compute")
        assert seconds > WARNING / 2
    await scene.finished(job)


async def test_a_worker_that_was_stopped_by_a_signal_blames_nobody_when_it_goes_on(scene):
    worker = await scene.start(name="only", queues=["one"], lease=60, environment={"ASYNCJOBS_LOOP_WARNING": "1s"})
    other = await scene.start(name="other", queues=["two"])
    [held] = await scene.enqueue(work.turn(scene.gate()).set(queue="one"))  # in its code nearly always
    await scene.running(held)
    worker.freeze()
    await scene.finished(*await scene.enqueue(work.nap(2).set(queue="two")))
    worker.thaw()
    scene.open(scene.gate())
    await scene.finished(held)
    assert BLOCKED not in worker.log
    assert other.running


async def test_a_kind_that_blocks_again_and_again_is_counted_and_told_of_a_few_times(scene):
    worker = await scene.start(name="only", environment={"ASYNCJOBS_LOOP_WARNING": "20ms"})
    await scene.finished(*await scene.enqueue(*(work.block_for(0.08) for _ in range(4 * LINES))))
    # Some in one turn of the loop, each for itself all the same.
    shown = await scene.reported(
        worker, lambda shown: shown["blocked"].get("faults.block_for", {"count": 0})["count"] > 2 * LINES
    )
    assert 0.06 <= shown["blocked"]["faults.block_for"]["longest"] < 1
    named = {told(line)[0] for line in worker.log.splitlines() if BLOCKS in line and "faults.block_for" in line}
    assert 0 < len(named) <= 2 * LINES  # two periods at most


async def test_a_loop_that_is_blocked_by_a_log_handler_keeps_its_lease(scene):
    first = await scene.start(name="first", queues=["one"])
    second = await scene.start(name="second", queues=["two"])  # would bury it
    [job] = await scene.enqueue(work.block_in_log(scene.gate()).set(queue="one"))
    await scene.running(job)
    await scene.finished(*await scene.enqueue(work.nap(1.2 * LEASE).set(queue="two")))
    assert scene.buried() == []
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert row["attempt"] == 1
    assert LEASE_LOST not in first.log and second.running


async def test_a_job_that_swallows_its_cancellation_is_shown_as_stuck_and_keeps_slot_and_lease_and_the_drain_ends(
    scene,
):
    gate = scene.gate()
    first = await scene.start(name="first", concurrency=1)
    job, other = await scene.enqueue(work.ignore(gate), work.tiny())
    await scene.running(job)
    await scene.start(name="second", queues=["nothing"])  # would rescue it
    assert await scene.jobs.cancel(job.id)
    await first.wait_for_log(f"faults.ignore {job.id} is stuck")
    shown = await scene.reported(first, lambda shown: shown["stuck"])
    [stuck] = shown["stuck"]
    assert (stuck["id"], stuck["kind"], stuck["reason"]) == (str(job.id), "faults.ignore", "user")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stuck["since"])
    [found] = [found for found in await scene.asked("doctor") if found["check"] == "stuck"]
    assert (found["verdict"], str(job.id) in found["text"]) == ("warn", True)
    assert scene.events(event="start", job_id=other.id) == []
    row = await scene.row(job)
    assert (row["state"], row["attempt"]) == (2, 1)
    assert scene.buried() == []
    first.stop()
    assert await first.exit_code(SHUTDOWN_TIMEOUT + SLACK) == 0


async def test_a_job_that_ends_after_all_is_stuck_no_more(scene):
    worker = await scene.start(name="only")
    [job] = await scene.enqueue(work.ignore(scene.gate()))
    await scene.running(job)
    assert await scene.jobs.cancel(job.id)
    await scene.reported(worker, lambda shown: shown["stuck"])
    scene.open(scene.gate())
    await scene.reported(worker, lambda shown: not shown["stuck"])
    await scene.finished(job)


async def test_a_draining_worker_is_shown_as_such_at_once_and_serves_nobody(scene):
    # With such a lease the next beat by itself is 15 s away.
    worker = await scene.start(name="only", lease=300, shutdown_timeout=60)
    [job] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(job)
    assert not (await scene.reported(worker, lambda shown: True))["draining"]
    worker.stop()
    await worker.wait_for_log("stopping: 1 jobs may finish")

    async def draining():
        [shown] = (await scene.asked("status"))["workers"]
        return shown["draining"]

    await scene.eventually(draining, "draining worker")
    await scene.enqueue(work.tiny())
    found = {found["check"]: (found["verdict"], found["text"]) for found in await scene.asked("doctor")}
    assert found["workers"][0] == "warn" and "draining" in found["workers"][1]
    assert found["jobs"] == ("ok", "1 ready")
    scene.open(scene.gate())
    assert await worker.exit_code() == 0


@pytest.mark.slow
async def test_two_thousand_jobs_that_all_fail_leave_a_few_lines(scene):
    worker = await scene.start(name="only")
    jobs = [work.throw("ValueError") for _ in range(2_000)]
    await scene.jobs.enqueue_all(jobs)
    rows = await scene.finished(*jobs)
    assert {(row["state"], row["attempt"]) for row in rows} == {(5, 1)}
    assert len([line for line in worker.log.splitlines() if "faults.throw" in line]) < 10 * LINES
    assert len(worker.log.splitlines()) < 20 * LINES
