"""PostgreSQL crashes, restarts and is away, while jobs are enqueued, claimed, run and finished."""

import asyncio
from functools import partial

import asyncpg
import pytest

from asyncjobs import DatabaseError, EnqueueOutcomeUnknown
from tests.faults import jobs as work
from tests.faults.conftest import scene_of
from tests.faults.scene import LEASE, LEASE_LOST
from tests.support.postgres import MIGRATED, ThrowAwayPostgres


async def test_a_crash_of_the_database_costs_nothing_that_was_acknowledged_and_no_attempt(own_scene, postgres):
    scene = own_scene
    workers = [await scene.start(concurrency=15) for _ in range(2)]
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(10)))
    await scene.running(*held)
    stream, over = [], asyncio.Event()

    async def keep_enqueueing():
        """As an application does: what failed is tried again with the same job."""
        while not over.is_set():
            job = work.nap(0.01)
            stream.append(job)
            scene.oracle.write("try", job_id=job.id)
            while True:
                try:
                    await scene.jobs.enqueue(job)
                    break
                except EnqueueOutcomeUnknown:
                    scene.oracle.write("unknown", job_id=job.id)
                except DatabaseError:
                    pass
                await asyncio.sleep(0.05)
            scene.oracle.write("ok", job_id=job.id)

    enqueuers = [asyncio.ensure_future(keep_enqueueing()) for _ in range(4)]
    for n, crash in enumerate(("immediate", "kill"), 1):
        await scene.oracle.wait_for(event="end", how="ok", count=25 * n)
        await postgres.stop(crash)
        await postgres.start()
        await scene.eventually(partial(enqueues, scene, back := work.tiny()), "enqueue after the restart")
        await scene.finished(back)
    over.set()
    await asyncio.gather(*enqueuers)
    scene.open(scene.gate())
    for job, row in zip(held, await scene.finished(*held), strict=True):
        assert row["attempt"] == 1, scene.ends(job)
    await scene.finished(*stream)
    assert scene.buried() == [] and all(worker.running for worker in workers)
    await scene.clean(max_attempts=1)


async def enqueues(scene, job):
    scene.oracle.write("try", job_id=job.id)
    try:
        await scene.jobs.enqueue(job)
    except DatabaseError:
        return False
    scene.oracle.write("ok", job_id=job.id)
    return True


@pytest.mark.parametrize("down", [pytest.param(LEASE / 3, marks=pytest.mark.slow), 1.2 * LEASE])
async def test_the_first_worker_back_after_a_restart_does_not_bury_the_others(own_scene, postgres, down):
    scene = own_scene
    workers = [scene.begin(concurrency=2) for _ in range(3)]
    await scene.all_ready(*workers)
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(6)))
    await scene.running(*held)
    assert len({event.pid for event in scene.events(event="start")}) == 3
    await postgres.restart("fast", down=down)
    # By a worker's own word its lease is whole again; and then everybody has had the time to judge everybody.
    await scene.eventually(lambda: whole_links(scene, 3), "whole links of three workers")
    [probe] = await scene.enqueue(work.tiny())
    scene.open(scene.gate())
    rows = await scene.finished(*held, probe)
    assert scene.buried() == []
    assert {row["attempt"] for row in rows} == {1}
    assert all(len(scene.ends(job)) == 1 for job in held)  # it was away for everybody: nobody let anything go
    await scene.clean(max_attempts=1)


async def whole_links(scene, count):
    """Whether so many workers live that may judge others by now, and have had a round to do so."""
    try:
        rows = await scene.fetch(
            "select 1 from asyncjobs.worker where dead_at is null and linked_at < now() - lease / 3"
            " and beat_at > now() - lease / 5"
        )
    except DatabaseError:
        return False
    return len(rows) >= count


async def test_a_job_that_blocks_the_loop_past_the_lease_while_the_database_restarts_keeps_it(own_scene, postgres):
    scene = own_scene
    blocked = await scene.start(name="blocked")
    [job] = await scene.enqueue(work.block(scene.gate()))
    await scene.running(job)
    await scene.start(name="other")
    await postgres.restart("immediate", down=LEASE)
    await scene.eventually(lambda: whole_links(scene, 2), "whole links of both workers")
    scene.open(scene.gate())
    [row] = await scene.finished(job)
    assert (row["attempt"], row["result"]) == (1, '"blocked"')
    assert scene.buried() == [] and LEASE_LOST not in blocked.log
    await scene.clean(max_attempts=1)


async def test_heartbeats_go_on_while_the_server_takes_no_more_connections(tmp_path):
    small = {"max_connections": "25", "superuser_reserved_connections": "0"}
    async with ThrowAwayPostgres(small) as postgres, scene_of(postgres.url(MIGRATED), tmp_path) as scene:
        worker = await scene.start(name="first")
        held, first = await scene.enqueue(work.hold(scene.gate()), work.tiny())
        await scene.finished(first)
        await scene.start(name="other", queues=["nothing"])  # would bury it
        fillers = []
        watch = await postgres.connect("faults")
        try:
            while True:
                fillers.append(await postgres.connect("faults"))
        except asyncpg.TooManyConnectionsError:
            pass
        begun = await watch.fetchval("select now()")

        async def beaten():
            sql = "select count(*) = 2 from asyncjobs.worker where dead_at is null and beat_at > $1::timestamptz + 2 * lease"
            return await watch.fetchval(sql, begun)

        await scene.eventually(beaten, "beats for twice the lease")
        await watch.execute("select asyncjobs.enqueue('faults.tiny', '{\"n\": 7}')")
        await scene.oracle.wait_for(event="start", n=7)  # claimed over the connections it has
        for filler in fillers:
            filler.terminate()
        watch.terminate()
        scene.open(scene.gate())
        [row] = await scene.finished(held)
        assert row["attempt"] == 1
        assert scene.buried() == [] and LEASE_LOST not in worker.log


async def test_heartbeats_go_on_while_jobs_hold_every_connection_of_the_client(scene, make_jobs, connection):
    async with make_jobs(database_connections=2).running() as jobs:
        await scene.start(name="other", queues=["nothing"])
        [held] = await scene.enqueue(work.hold(scene.gate()))
        await scene.eventually(lambda: is_running(connection, held), "running job")
        let_go = asyncio.Event()
        busy = [asyncio.ensure_future(jobs._in_use().sessions.run(lambda _: let_go.wait())) for _ in range(2)]
        begun = await connection.fetchval("select now()")

        async def beaten():
            sql = "select count(*) = 2 from asyncjobs.worker where dead_at is null and beat_at > $1::timestamptz + 1.5 * lease"
            return await connection.fetchval(sql, begun)

        await scene.eventually(beaten, "beats for longer than the lease")
        let_go.set()
        await asyncio.gather(*busy)
        scene.open(scene.gate())
        [row] = await scene.finished(held)
        assert row["attempt"] == 1 and scene.buried() == []


async def is_running(connection, job):
    return await connection.fetchval("select state = 2 from asyncjobs.job where id = $1", job.id)
