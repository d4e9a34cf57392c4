"""Clocks that are wrong, roles with impatient settings, locks of an administrator."""

import resource
import time
from collections.abc import Iterator

import pytest

from tests.faults import jobs as work
from tests.faults import wrong_clock
from tests.faults.kept_jobs import kept
from tests.faults.scene import LEASE, LEASE_LOST
from tests.support import faketime
from tests.support.asking import until

KEEPER_WAITS = (
    "select exists (select from pg_stat_activity where application_name = 'asyncjobs keeper' and wait_event_type = 'Lock'"
    " and datname = current_database())"
)
HOUR = 3600.0

WORK = ("tests.faults.jobs", wrong_clock.__name__)


def clock_shifted_by(seconds: float) -> dict[str, str]:
    """What makes a worker that runs `WORK` see another time, its monotonic clock left alone."""
    if (library := faketime.find("libfaketimeMT.so.1")) is not None:
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME": f"{seconds:+.0f}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
        }
    return {wrong_clock.VARIABLE: str(seconds)}


@pytest.fixture
def no_files_of_faketime() -> Iterator[None]:
    with faketime.nothing_left():
        yield


@pytest.mark.usefixtures("no_files_of_faketime")  # they go when the processes of the scene have gone
@pytest.mark.slow
@pytest.mark.parametrize("shift", [HOUR, -HOUR])
async def test_a_worker_with_a_wrong_clock_keeps_leases_and_schedules(scene, shift):
    wrong = await scene.start(*WORK, name="wrong", environment=clock_shifted_by(shift))
    [asked] = await scene.finished(*await scene.enqueue(work.clock()))
    assert float(asked["result"]) - time.time() == pytest.approx(shift, abs=60)
    [held] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(held)
    right = await scene.start(name="right", queues=["nothing", "default"])
    # One made due here, one by the worker whose clock is wrong.
    [ours] = await scene.enqueue(work.tiny(1).set(wait=1.5))
    [parent] = await scene.enqueue(work.later(2, 1.5))
    await scene.finished(ours, parent)
    await scene.oracle.wait_for(event="end", n=2)
    sql = """
        select extract(epoch from started_at - enqueued_at)::float8 as waited from asyncjobs.finished
        where kind = 'faults.tiny'"""

    async def both():
        rows = await scene.fetch(sql)
        return rows if len(rows) == 2 else None

    assert all(1.5 <= row["waited"] < HOUR / 2 for row in await scene.eventually(both, "two delayed jobs"))

    async def past_the_lease():
        since = f"clock_timestamp() - interval '{1.2 * LEASE} s'"
        return await scene.fetch(f"select 1 from asyncjobs.job where started_at < {since}")

    await scene.eventually(past_the_lease, "job older than its lease")
    scene.open(scene.gate())
    [row] = await scene.finished(held)
    assert row["attempt"] == 1
    assert scene.buried() == [] and LEASE_LOST not in wrong.log + right.log


@pytest.mark.usefixtures("no_files_of_faketime")
async def test_a_worker_with_a_wrong_clock_is_rescued_by_the_databases(scene):
    first = await scene.start(*WORK, name="first", environment=clock_shifted_by(HOUR))
    [held] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(held)
    await scene.start(*WORK, name="second", environment=clock_shifted_by(-HOUR))
    first.kill()
    await scene.running(held, attempt=2)
    scene.open(scene.gate())
    await scene.finished(held)
    await scene.clean(max_attempts=2)


@pytest.fixture
async def impatient_url(scene, connection, database_url):
    """The database as seen by a role whose statements, locks and transactions are cut short."""
    role = f"impatient_{id(scene)}"
    await connection.execute(f"create role {role} superuser login")
    settings = {"statement_timeout": "50ms", "lock_timeout": "20ms", "idle_in_transaction_session_timeout": "100ms"}
    for name, value in settings.items():
        await connection.execute(f"alter role {role} set {name} = '{value}'")
    yield database_url.replace("postgres@", f"{role}@", 1)
    await connection.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'")
    await connection.execute(f"drop role {role}")


async def test_timeouts_set_on_the_workers_role_are_waited_out_and_leave_nothing_half_owned(
    scene, connection, impatient_url
):
    modules = ("tests.faults.jobs", "tests.faults.kept_jobs")
    workers = [scene.begin(*modules, url=impatient_url, concurrency=5) for _ in range(2)]
    await scene.all_ready(*workers)
    held, *jobs = await scene.enqueue(work.hold(scene.gate()), *(work.nap(0.01) for _ in range(200)))
    await scene.running(held)
    jobs += await scene.enqueue(kept())  # its days of history do not exist yet, and are not made within 50 ms
    for table in ("job", "finished", "worker", "job"):
        async with connection.transaction():
            await connection.execute(f"lock table asyncjobs.{table} in access exclusive mode")
            await connection.execute("select pg_sleep(0.4)")  # many statements of theirs are cancelled meanwhile
    scene.open(scene.gate())
    rows = await scene.finished(held, *jobs)
    assert {(row["state"], row["attempt"]) for row in rows} == {(4, 1)}
    assert any("canceling statement due to" in worker.log for worker in workers)
    assert scene.buried() == [] and all(worker.running for worker in workers)
    [left] = await scene.fetch("select count(*) from asyncjobs.job")
    assert left["count"] == 0
    verdict = await scene.clean(max_attempts=1)
    assert not verdict.repeated


async def test_an_administrators_lock_on_the_workers_is_waited_for_and_nobody_is_buried_after_it(scene, connection):
    workers = [scene.begin(concurrency=2) for _ in range(2)]
    await scene.all_ready(*workers)
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(4)))
    await scene.running(*held)
    async with connection.transaction():
        await connection.execute("lock table asyncjobs.worker in access exclusive mode")
        await connection.execute(f"select pg_sleep({1.2 * LEASE})")

    async def judged():
        sql = "select 1 from asyncjobs.worker where dead_at is null and linked_at < now() - lease / 3"
        return len(await scene.fetch(sql)) >= 2

    await scene.eventually(judged, "whole links of both workers")
    scene.open(scene.gate())
    rows = await scene.finished(*held)
    assert {row["attempt"] for row in rows} == {1}
    assert scene.buried() == []
    await scene.clean(max_attempts=1)


async def test_a_worker_without_a_free_descriptor_waits_for_one_and_loses_nothing(scene, connection):
    worker = await scene.start(name="poor", lease=20)
    [held] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(held)
    before = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (3, before[1]))  # what is open stays so
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name = 'asyncjobs worker'"
    )
    jobs = await scene.enqueue(*(work.tiny(n) for n in range(5)))
    await worker.wait_for_log("Too many open files")
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, before)
    scene.open(scene.gate())
    rows = await scene.finished(held, *jobs)
    assert {(row["state"], row["attempt"]) for row in rows} == {(4, 1)}
    assert worker.running and scene.buried() == []
    await scene.clean(max_attempts=1)


async def test_a_beat_waits_for_a_lock_for_longer_than_the_workers_role_would(scene, connection, impatient_url):
    worker = await scene.start(url=impatient_url, lease=60)
    async with connection.transaction():
        await connection.execute("lock table asyncjobs.worker in access exclusive mode")
        await until(connection, KEEPER_WAITS)
        await connection.execute("select pg_sleep(0.2)")  # ten times the role's lock_timeout
        assert await connection.fetchval(KEEPER_WAITS)
    assert "renewing the lease" not in worker.log
