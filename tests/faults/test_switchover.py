"""A server that takes no writes for a while: by its settings, and after a switchover to a standby behind a stale name."""

from functools import partial
from pathlib import Path

import asyncpg
import pytest

from asyncjobs import DatabaseError
from tests.faults import jobs as work
from tests.faults.conftest import scene_of
from tests.support.postgres import MIGRATED, ThrowAwayPostgres, find_binaries
from tests.support.processes import until_so
from tests.support.proxy import Proxy


async def enqueues(jobs, job) -> bool:
    try:
        await jobs.enqueue(job)
    except DatabaseError:
        return False
    return True


async def test_after_a_database_was_read_only_worker_and_client_go_on_as_soon_as_it_is_not(own_scene, make_jobs):
    scene = own_scene
    worker = await scene.start()
    [before] = await scene.enqueue(work.tiny())
    await scene.finished(before)
    async with make_jobs(
        database_url=scene.url, lease=1, pools=[{"queues": ["web"], "concurrency": 1}]
    ).running() as web:
        await until_so(lambda: web.healthy)
        await scene.fetch("alter database faults set default_transaction_read_only = on")
        ended = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'faults' and pid <> pg_backend_pid()"
        await scene.fetch(ended)
        for what in ("renewing the lease", "making due jobs ready"):
            await worker.wait_for_log(f"{what}: ")
        await until_so(lambda: not web.healthy)  # for a lease by then, in which every session was opened anew
        assert not await enqueues(web, work.tiny())
        writer = await asyncpg.connect(scene.url)
        await writer.execute("set default_transaction_read_only = off")
        await writer.execute("alter database faults reset default_transaction_read_only")
        await writer.close()
        await scene.eventually(partial(enqueues, web, after := work.tiny()), "enqueue by the client")
        await scene.finished(after)
        await until_so(lambda: web.healthy)


async def test_after_a_switchover_behind_a_name_that_is_stale_for_a_while_everybody_follows(tmp_path: Path):
    if not (find_binaries() / "pg_basebackup").exists():
        pytest.skip("pg_basebackup is not installed (Debian: apt-get install postgresql)")
    async with ThrowAwayPostgres({"wal_level": "replica"}) as first:
        url = first.url(MIGRATED)
        async with (
            ThrowAwayPostgres(standby_of=first) as second,
            Proxy.in_front_of(url) as proxy,
            scene_of(f"{proxy.url()}?sslmode=disable", tmp_path) as scene,
        ):
            await scene.start()
            held, before = await scene.enqueue(work.hold(scene.gate()), work.tiny())
            await scene.running(held)
            await scene.finished(before)
            await caught_up(first, second)
            await first.stop()
            await promoted(second)
            # The old one is back as a standby, and the name leads to it still: sessions are opened there that take no writes.
            (first.directory / "data" / "standby.signal").touch(mode=0o644)
            await first.start()
            assert not await enqueues(scene.jobs, work.tiny())
            proxy.lead_to(second.socket_directory, second.port)
            await scene.eventually(partial(enqueues, scene.jobs, after := work.tiny()), "enqueue at the new primary")
            await scene.finished(after)
            scene.open(scene.gate())
            await scene.finished(held)


async def caught_up(primary: ThrowAwayPostgres, standby: ThrowAwayPostgres) -> None:
    leading, following = await primary.connect(), await standby.connect()
    position = await leading.fetchval("select pg_current_wal_lsn()::text")
    replayed = "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
    await until_so(lambda: following.fetchval(replayed, position))
    await leading.close()
    await following.close()


async def promoted(standby: ThrowAwayPostgres) -> None:
    connection = await standby.connect()
    assert await connection.fetchval("select pg_promote(true, 60)")
    await connection.close()
