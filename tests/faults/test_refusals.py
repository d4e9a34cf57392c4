"""A server that refuses for a while: writes, logins, or for want of room on its disk."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.faults import jobs as work
from tests.faults.conftest import scene_of
from tests.faults.scene import LEASE, LEASE_LOST
from tests.support.postgres import MIGRATED, ThrowAwayPostgres, unprivileged_user


@pytest.mark.slow
async def test_a_server_that_takes_no_writes_for_longer_than_the_lease_costs_no_attempt(own_scene, postgres):
    scene = own_scene
    workers = [await scene.start(name=name, concurrency=4) for name in ("first", "second")]
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(4)))
    await scene.running(*held)
    admin = await postgres.connect("faults", server_settings={"default_transaction_read_only": "off"})
    await admin.execute("alter system set default_transaction_read_only = on")
    await admin.execute("select pg_reload_conf()")
    for worker in workers:
        await worker.wait_for_log("renewing the lease: ")
    begun = await admin.fetchval("select clock_timestamp()")

    async def beyond_the_lease():
        return await admin.fetchval(
            "select clock_timestamp() > $1::timestamptz + make_interval(secs => $2)", begun, 1.2 * LEASE
        )

    await scene.eventually(beyond_the_lease, "passing of time")
    scene.open(scene.gate())  # their ends have to wait
    await scene.oracle.wait_for(event="end", how="ok", count=4)
    await admin.execute("alter system reset default_transaction_read_only")
    await admin.execute("select pg_reload_conf()")
    admin.terminate()
    rows = await scene.finished(*held)
    assert {(row["state"], row["attempt"], row["crashes"]) for row in rows} == {(4, 1, 0)}
    [later] = await scene.enqueue(work.tiny())
    await scene.finished(later)
    assert scene.buried() == [] and not any(LEASE_LOST in worker.log for worker in workers)
    await scene.clean(max_attempts=1)


async def test_a_worker_whose_login_is_refused_for_a_while_goes_on_when_it_is_taken_again(
    scene, connection, database_url
):
    role = f"refused_{id(scene)}"
    await connection.execute(f"create role {role} superuser login")
    try:
        worker = await scene.start(url=database_url.replace("postgres@", f"{role}@", 1))
        [held] = await scene.enqueue(work.hold(scene.gate()))
        await scene.running(held)
        await connection.execute(f"alter role {role} nologin")
        await connection.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'")
        await worker.wait_for_log("is not permitted to log in")
        scene.open(scene.gate())
        [later] = await scene.enqueue(work.tiny())
        await scene.oracle.wait_for(event="end", job_id=held.id, how="ok")
        await connection.execute(f"alter role {role} login")
        rows = await scene.finished(held, later)
        assert {(row["state"], row["attempt"]) for row in rows} == {(4, 1)}
        assert worker.running
        worker.kill()
        await worker.exit_code()
    finally:
        await connection.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'")
        await connection.execute(f"drop role {role}")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 24 MB that the server may write to."""
    user = unprivileged_user()
    if user is None:
        pytest.skip("only root mounts a small disk")
    directory = Path(tempfile.mkdtemp(prefix="asyncjobs-disk-"))
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, directory)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", str(directory)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        undo.callback(subprocess.run, ["umount", str(directory)], check=True)
        place = directory / "tables"
        place.mkdir()
        shutil.chown(place, user.pw_uid, user.pw_gid)
        yield place


async def test_a_full_disk_is_waited_out_and_costs_no_job(small_disk, tmp_path):
    async with ThrowAwayPostgres() as postgres, scene_of(postgres.url(MIGRATED), tmp_path) as scene:
        await scene.fetch(f"create tablespace small location '{small_disk}'")
        for name in ("job", "worker"):  # what is live; the history stays where there is room
            await scene.fetch(f"alter table asyncjobs.{name} set tablespace small")
        worker = await scene.start(concurrency=5)
        [held] = await scene.enqueue(work.hold(scene.gate()))
        await scene.running(held)
        with pytest.raises(asyncpg.DiskFullError):
            await scene.fetch(
                "create table filler tablespace small as select repeat(n::text, 400) from generate_series(1, 100000) as n"
            )
        filler = small_disk.parent / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"0" * 4096)
        refused = 0
        acknowledged = []
        for _ in range(3_000):  # what has room in the pages that there are is taken still
            job = work.nap(30)
            try:
                acknowledged += await scene.enqueue(job)
            except Exception:
                refused += 1
                break
        assert refused, "the disk was never full"
        filler.unlink()
        scene.open(scene.gate())
        [row] = await scene.finished(held)
        assert row["attempt"] == 1
        for job in acknowledged:
            await scene.jobs.cancel(job)
        [later] = await scene.enqueue(work.tiny())
        await scene.finished(later)
        assert worker.running and scene.buried() == []
