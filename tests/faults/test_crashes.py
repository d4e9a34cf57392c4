"""Jobs that end their process: charged, kept apart, and given up with what is known of it."""

import os
import re
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from asyncjobs import JobFailed
from tests.faults import few_apart, late_here, only_here
from tests.faults import jobs as work
from tests.faults.conftest import on_its_loop
from tests.faults.scene import LEASE
from tests.support.processes import alive, until

LASTING = ("tests.faults.jobs",)
ENDED = {"SIGKILL": "SIGKILL", "SIGSEGV": "SIGSEGV", "exit": "exit code 7"}


@pytest.fixture
def little_memory():
    """A cgroup whose processes have 256 MiB, and the kernel kills who takes more."""
    limit = str(2**28)
    group = Path("/sys/fs/cgroup/memory") / f"asyncjobs-tests-{os.getpid()}"
    bounds = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
    if not group.parent.is_dir():
        group, bounds = Path("/sys/fs/cgroup") / group.name, ["memory.max", "memory.swap.max"]
    try:
        group.mkdir()
        for bound in bounds:
            with suppress(FileNotFoundError):
                (group / bound).write_text("0" if "swap.max" in bound else limit)
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield group
    group.rmdir()


async def supervised(scene, *, concurrency=120, cgroup=None):
    """Two processes under a supervisor, which starts them again and sees how they end."""
    # Nobody else finds a worker dead before the supervisor has said how it ended: that takes a sixth of the lease.
    config = scene.config("supervised", concurrency=concurrency, lease=10 * LEASE)
    words = ["-m", "asyncjobs", "run", "tests.faults.jobs", "--config", str(config), "--processes", "2"]
    supervisor = scene.workers.start(command=[sys.executable, *words], name="supervised", cgroup=cgroup)
    await supervisor.wait_for_log("ready: worker", count=2)
    return supervisor


@pytest.mark.parametrize(
    "how", [*(pytest.param(how, marks=pytest.mark.slow) for how in ("SIGKILL", "SIGSEGV")), "exit"]
)
async def test_a_bomb_fails_after_three_deaths_that_count_and_all_its_neighbours_succeed(scene, how):
    await supervised(scene)
    neighbours = [work.nap(0.2) for _ in range(10)]
    bomb = work.bomb(how)
    more = [work.nap(0.2) for _ in range(10)]
    await scene.enqueue(*neighbours, bomb, *more)
    rows = await scene.finished(*neighbours, *more)
    [row] = await scene.finished(bomb)
    runs = len(
        scene.oracle.runs(bomb.id)
    )  # four at most: where there are enough processes, a suspect has one to itself
    assert 3 <= runs <= 4
    assert (row["state"], row["attempt"], row["crashes"]) == (5, runs, 3)
    assert {(row["state"], row["result"]) for row in rows} == {(4, '"supervised"')}
    status = await scene.jobs.status(bomb.id)
    assert [error.type for error in status.errors] == ["asyncjobs.exceptions.JobCrashed"] * runs
    assert all(f"({ENDED[how]}) while it ran" in error.message for error in status.errors)
    assert all(error.started_at and error.started_at < error.at and error.worker for error in status.errors)
    assert sum("not charged to it" in error.message for error in status.errors) == runs - 3
    assert status.reason == "its process died 3 times while it ran; max_crashes is 3"
    with pytest.raises(JobFailed, match="JobCrashed"):
        await (await scene.jobs.get(bomb.id, work.bomb))


async def test_a_job_that_takes_all_memory_fails_after_three_deaths_and_all_its_neighbours_succeed(
    little_memory, scene
):
    await supervised(scene, cgroup=little_memory)
    neighbours = [work.nap(0.2) for _ in range(10)]
    bomb = work.bomb("OOM")
    await scene.enqueue(*neighbours, bomb)
    rows = await scene.finished(*neighbours)
    [row] = await scene.finished(bomb)
    assert (row["state"], row["attempt"], row["crashes"]) == (5, 3, 3)
    assert {row["state"] for row in rows} == {4}
    status = await scene.jobs.status(bomb.id)
    told = [error.message for error in status.errors]
    assert all("(SIGKILL) while it ran" in message for message in told[:2]), told
    # The kernel may kill the forking process as well, which alone can read how its child has ended.
    assert re.search(r"died( \(SIGKILL\))? while it ran", told[2]), told


async def test_where_memory_runs_out_a_job_s_own_process_goes_before_its_worker_and_that_before_its_supervisor(scene):
    supervisor = await supervised(scene)
    here, apart = work.hold(scene.gate()), work.apart(scene.gate())
    await scene.enqueue(here, apart)
    await scene.running(here, apart)
    pids = [supervisor.pid, *(scene.events(event="start", job_id=held.id)[0].pid for held in (here, apart))]
    first, *others = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in pids]
    assert others == [min(first + more, 1000) for more in (100, 200)]
    scene.open(scene.gate())
    await scene.finished(here, apart)


async def test_after_its_second_crash_a_job_ends_no_worker_any_more(scene):
    workers = [await scene.start(concurrency=5, name=name) for name in ("first", "second", "third")]
    [bomb] = await scene.enqueue(work.bomb("SIGKILL"))
    [row] = await scene.finished(bomb)
    assert (row["state"], row["crashes"]) == (5, 3)
    assert sum(worker.running for worker in workers) == 1


async def test_after_its_first_crash_a_job_runs_again_in_the_worker_with_as_many_others_as_there_are_slots(scene):
    first = await scene.start(name="first", concurrency=60)
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(50)))
    await scene.running(*held)
    second = await scene.start(name="second", concurrency=60)
    first.kill()
    await scene.running(*held, attempt=2)
    assert {event.pid for event in scene.events(event="start", attempt=2)} == {second.pid}
    scene.open(scene.gate())
    rows = await scene.finished(*held)
    assert {(row["state"], row["crashes"]) for row in rows} == {(4, 1)}


SUSPECT = "update asyncjobs.job set crashes = 2, attempt = 2 returning id"


class TestSuspects:
    """Jobs that have crashed twice."""

    async def held(self, scene, count):
        """So many of them, none of which ends."""
        held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(count)))
        await scene.fetch(SUSPECT)
        return held

    async def worker_of_few(self, scene):
        """One that has few processes for them."""
        modules = ("tests.faults.jobs", few_apart.__name__)
        return await scene.start(*modules, concurrency=30, environment={few_apart.VARIABLE: "yes"})

    def pids(self, scene, *, attempt):
        return [event.pid for event in scene.events(event="start", attempt=attempt)]

    async def test_each_have_a_process_of_their_own_where_there_are_enough(self, scene):
        held = await self.held(scene, 10)
        worker = await scene.start()
        await scene.running(*held, attempt=3)
        pids = self.pids(scene, attempt=3)
        assert len({*pids, worker.pid}) == 11
        scene.open(scene.gate())
        rows = await scene.finished(*held)
        assert {(row["state"], row["crashes"], row["attempt"]) for row in rows} == {(4, 2, 3)}

    async def test_share_processes_when_they_are_many_and_the_death_of_one_splits_its_group_and_is_charged_to_nobody(
        self, scene
    ):
        held = await self.held(scene, 20)
        worker = await self.worker_of_few(scene)
        await scene.running(*held, attempt=3)
        together = Counter(self.pids(scene, attempt=3))
        assert worker.pid not in together and len(together) < few_apart.MOST
        pid, count = together.most_common(1)[0]
        lost = {event.job_id for event in scene.events(event="start", attempt=3) if event.pid == pid}
        os.kill(pid, signal.SIGKILL)
        again = [job for job in held if str(job.id) in lost]
        await scene.running(*again, attempt=4)
        assert len(again) == count > 1
        assert max(Counter(self.pids(scene, attempt=4)).values()) <= count // 2
        rows = [await scene.row(job) for job in again]
        assert {(row["state"], row["crashes"]) for row in rows} == {(2, 2)}
        assert all(f"died (SIGKILL) while it ran among {count} suspects" in row["errors"] for row in rows)
        assert all("not charged to it" in row["errors"] for row in rows)
        scene.open(scene.gate())
        rows = await scene.finished(*held)
        assert {(row["state"], row["attempt"]) for row in rows} == {(4, 3), (4, 4)}
        assert worker.running

    async def test_are_not_charged_with_the_death_of_their_worker(self, scene):
        held = await self.held(scene, 3)
        first = await scene.start(name="first")
        await scene.running(*held, attempt=3)
        first.kill()
        await scene.start(name="second")
        await scene.running(*held, attempt=4)
        scene.open(scene.gate())
        rows = await scene.finished(*held)
        assert {(row["state"], row["crashes"], row["attempt"]) for row in rows} == {(4, 2, 4)}
        assert all("not charged to it: it ran in a process of its own" in row["errors"] for row in rows)

    async def test_stay_in_the_worker_one_at_a_time_where_they_are_not_to_be_isolated(self, scene):
        held = await self.held(scene, 3)
        worker = await scene.start(environment={"ASYNCJOBS_ISOLATE_SUSPECTS": "false"})
        await scene.finished(*await scene.enqueue(*(work.tiny(n) for n in range(20))))
        assert sorted([(await scene.row(job))["state"] for job in held]) == [1, 1, 2]
        scene.open(scene.gate())
        rows = await scene.finished(*held)
        assert {row["state"] for row in rows} == {4}
        assert {*self.pids(scene, attempt=3)} == {worker.pid}

    async def test_of_a_group_end_log_and_are_cancelled_as_others_do(self, scene):
        """A timeout, a cancellation, an error, a wait for another job, and a log line, each in a group of two and more."""
        gate = scene.gate()
        jobs = await scene.enqueue(
            *(work.hold(gate) for _ in range(10)), *(work.waits_for_another() for _ in range(4)),
            *(work.throw("ValueError") for _ in range(4)), *(work.says("a line of a suspect") for _ in range(4)),
        )  # fmt: skip
        held, waiting, throwing, saying = jobs[:10], jobs[10:14], jobs[14:18], jobs[18:]
        await scene.fetch(SUSPECT)
        worker = await self.worker_of_few(scene)
        rows = await scene.finished(*waiting, *throwing, *saying)
        assert [row["state"] for row in rows] == [4] * 4 + [5] * 4 + [4] * 4
        assert {row["crashes"] for row in rows} == {2}
        await worker.wait_for_log("a line of a suspect", count=4)
        assert await scene.jobs.cancel(held[0].id, "enough")
        [row] = await scene.finished(held[0])
        assert (row["state"], row["reason"]) == (7, "enough")
        worker.stop()
        assert await worker.exit_code() == 0
        rows = [await scene.row(job) for job in held[1:]]
        assert {(row["state"], row["attempt"], row["crashes"], row["errors"]) for row in rows} == {(1, 2, 2, None)}


async def test_a_crash_frees_the_only_slot_for_what_waits_behind_it(scene):
    first = await scene.start(name="first", concurrency=1)
    held, behind = work.hold(scene.gate()), work.tiny(1)
    await scene.enqueue(held)
    await scene.running(held)
    await scene.enqueue(behind)
    await scene.start(name="second", concurrency=1)
    await scene.finished(behind)
    first.kill()
    await scene.running(held, attempt=2)
    scene.open(scene.gate())
    await scene.finished(held)
    await scene.clean(max_attempts=2)


async def test_a_job_that_may_crash_once_fails_at_its_first_crash_and_its_callback_is_called_once(scene):
    await scene.start(name="first")
    await scene.start(name="second")
    [bomb] = await scene.enqueue(work.bomb_once("SIGKILL"))
    [row] = await scene.finished(bomb)
    assert (row["state"], row["attempt"], row["crashes"]) == (5, 1, 1)
    assert len(scene.events(job_id=str(bomb.id), event="discarded JobCrashed")) == 1


async def test_where_no_process_of_its_own_can_be_had_suspects_run_one_after_the_other_and_none_fails(scene):
    held = await scene.enqueue(*(only_here.only_here(scene.gate()) for _ in range(3)))
    await scene.fetch(SUSPECT)
    worker = await scene.start("tests.faults.only_here", name="only", environment={only_here.VARIABLE: "yes"})
    await worker.wait_for_log("this module is for workers only")
    scene.open(scene.gate())
    rows = await scene.finished(*held)
    assert {(row["state"], row["attempt"], row["crashes"]) for row in rows} == {(4, 3, 2)}
    [asking] = await scene.enqueue(only_here.apart_from_here())
    [row] = await scene.finished(asking)
    assert row["state"] == 5 and "CannotFork" in row["errors"]


async def test_while_the_forking_process_starts_suspects_hold_one_slot_and_the_others_run_ordinary_jobs(scene):
    suspects = [work.tiny(n) for n in range(6)]
    await scene.enqueue(*suspects)
    await scene.fetch("update asyncjobs.job set crashes = 2, attempt = 2")
    gate = scene.gate("imported")
    worker = await scene.start(
        "tests.faults.jobs", late_here.__name__, name="only", concurrency=2, environment={late_here.VARIABLE: gate}
    )
    await scene.finished(*await scene.enqueue(*(work.tiny(n) for n in range(6, 10))))
    assert {row["state"] for row in await scene.fetch("select state from asyncjobs.job")} == {1, 2}
    scene.open(gate)
    await scene.finished(*suspects)
    assert worker.running


class TestAProcessJob:
    async def test_runs_in_a_process_of_its_own(self, scene):
        worker = await scene.start()
        gate = scene.gate()
        jobs = await scene.enqueue(work.apart(gate), work.apart(gate))
        await scene.running(*jobs)
        scene.open(gate)
        rows = await scene.finished(*jobs)
        pids = {int(row["result"]) for row in rows}
        assert len(pids) == 2 and worker.pid not in pids
        await scene.clean(max_attempts=1)

    @on_its_loop
    async def test_that_exceeds_its_timeout_is_killed(self, lasting):
        [job] = await lasting.enqueue(work.spin(lasting.gate()))
        [row] = await lasting.finished(job)
        [start] = lasting.events(job_id=str(job.id), event="start")
        assert row["state"] == 5 and "TimeoutError" in row["errors"]
        assert await until(lambda: not alive(start.pid))

    @on_its_loop
    async def test_that_is_cancelled_is_killed(self, lasting):
        [job] = await lasting.enqueue(work.apart(lasting.gate()))
        await lasting.running(job)
        assert await lasting.jobs.cancel(job.id, "enough")
        [row] = await lasting.finished(job)
        [start] = lasting.events(job_id=str(job.id), event="start")
        assert (row["state"], row["reason"]) == (7, "enough")
        assert await until(lambda: not alive(start.pid))

    @on_its_loop
    async def test_that_dies_is_run_again_and_its_worker_takes_no_notice(self, lasting):
        gate = lasting.gate()
        [job] = await lasting.enqueue(work.apart(gate))
        await lasting.running(job)
        [start] = lasting.events(job_id=str(job.id), event="start")
        os.kill(start.pid, signal.SIGKILL)
        await lasting.running(job, attempt=2)
        lasting.open(gate)
        [row] = await lasting.finished(job)
        assert (row["state"], row["attempt"], row["crashes"]) == (4, 2, 1)
        assert "died (SIGKILL)" in row["errors"]
        assert lasting.workers.started[0].running

    async def test_dies_with_its_worker_and_is_not_charged(self, scene):
        first = await scene.start(name="first")
        gate = scene.gate()
        [job] = await scene.enqueue(work.apart(gate))
        await scene.running(job)
        [start] = scene.events(job_id=str(job.id), event="start")
        first.kill()
        assert await until(lambda: not alive(start.pid))
        await scene.start(name="second")
        await scene.running(job, attempt=2)
        scene.open(gate)
        [row] = await scene.finished(job)
        assert (row["state"], row["attempt"], row["crashes"]) == (4, 2, 0)
        assert "not charged to it: it ran in a process of its own" in row["errors"]

    async def test_is_given_back_unspent_by_a_worker_that_stops(self, scene):
        first = await scene.start(name="first")
        gate = scene.gate()
        [job] = await scene.enqueue(work.apart(gate))
        await scene.running(job)
        first.stop()
        assert await first.exit_code() == 0
        row = await scene.row(job)
        assert (row["state"], row["attempt"], row["crashes"]) == (1, 0, 0)

    @on_its_loop
    async def test_that_logs_what_cannot_be_logged_goes_on(self, lasting):
        [job] = await lasting.enqueue(work.logs_apart())
        [row] = await lasting.finished(job)
        assert (row["state"], row["result"]) == (4, '"went on"')
        await lasting.workers.started[0].wait_for_log("a line from pid")

    @on_its_loop
    async def test_is_given_the_time_to_send_on_what_it_has_put_off(self, lasting, tmp_path):
        path = tmp_path / "sent"
        await lasting.finished(*await lasting.enqueue(work.puts_off(str(path))))
        for what in ("printed", "reported"):
            assert await until(Path(f"{path}-{what}").exists)
