"""Behind PgBouncer: nothing of ours stays on its sessions, jobs run, and those of a killed worker are rescued."""

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator

import pytest

from asyncjobs import AsyncJobs, DatabaseError
from asyncjobs.db import migrating, poolers
from asyncjobs.db.connecting import connect
from asyncjobs.db.poolers import Pooler
from asyncjobs.db.transactions import Transaction, isolated_sessions
from tests.faults import jobs as work
from tests.faults.scene import LEASE
from tests.support import warm
from tests.support.pgbouncer import PgBouncer, find
from tests.support.postgres import ThrowAwayPostgres
from tests.support.processes import until_so

SIZE = 12
ASKED = (
    *("enable_seqscan", "enable_hashjoin", "plan_cache_mode", "jit", "statement_timeout", "lock_timeout"),
    *("search_path", "default_transaction_read_only"),
)


@pytest.fixture
async def postgres() -> AsyncIterator[ThrowAwayPostgres]:
    find()
    async with ThrowAwayPostgres() as server:
        yield server


@pytest.fixture
async def bouncer(own_scene, postgres) -> AsyncIterator[PgBouncer]:
    """In transaction mode, in front of the scene's server."""
    async with PgBouncer(postgres, "transaction", SIZE) as made:
        yield made


async def left(bouncer: PgBouncer) -> set[tuple[str, ...]]:
    """What is set on the sessions of the pooler, by what each of them says to another application."""
    clients = [await bouncer.connect("faults") for _ in range(SIZE - 3)]
    found = set()
    transactions = [client.transaction() for client in clients]
    for transaction in transactions:
        await transaction.start()  # each has a session of its own by now
    asked = ", ".join(f"current_setting('{name}')" for name in ASKED)
    for client in clients:
        listening = await client.fetchval("select count(*) from pg_listening_channels()")
        statements = await client.fetchval("select count(*) from pg_prepared_statements")
        found.add((*(await client.fetchrow(f"select {asked}")), listening, statements))
    for client in clients:
        client.terminate()
    return found


async def other_work(bouncer: PgBouncer) -> None:
    connection = await bouncer.connect("faults")
    try:
        while True:
            await connection.execute(f"select pg_sleep({random.random() * 0.05})")
            await asyncio.sleep(random.random() * 0.05)
    finally:
        connection.terminate()


@contextlib.asynccontextmanager
async def at_work(bouncer: PgBouncer) -> AsyncIterator[None]:
    """Other applications use the pool."""
    tasks = [asyncio.ensure_future(other_work(bouncer)) for _ in range(4)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_in_transaction_mode_jobs_run_and_nothing_of_ours_stays_on_its_sessions(own_scene, bouncer):
    scene, url = own_scene, bouncer.url("faults")
    before = await left(bouncer)
    assert len(before) == 1
    async with at_work(bouncer):
        worker = await scene.start(url=url, polling_interval=0.2)
        await worker.wait_for_log("a pooler in transaction mode stands before the database")
        async with AsyncJobs(database_url=url, lease=LEASE) as client:
            made = [work.tiny(n) for n in range(20)]
            await asyncio.gather(*(client.enqueue(each) for each in made))
            assert await made[0].result(timeout=20) == worker.name
            assert await client.enqueue_all(work.tiny(n) for n in range(100)) == 100
            assert poolers.known(url) is Pooler.transaction and not client.listening and client.healthy
            assert "a pooler in transaction mode is in between" in await doctor(scene, url)
            assert await made[-1].result(timeout=20) == worker.name
            assert await left(bouncer) == before
        worker.stop()
        assert await worker.exit_code() == 0
    assert await left(bouncer) == before


async def doctor(scene, url) -> str:
    command = [sys.executable, "-m", "asyncjobs", "doctor", "--config", str(scene.config("doctor", url=url))]
    return (await asyncio.to_thread(warm.run, command)).stdout


async def test_in_transaction_mode_an_isolated_step_has_one_transaction(own_scene, bouncer):
    sessions = isolated_sessions(bouncer.url("faults"), size=1, deadline=20)

    async def body(connection):
        await connection.execute("create table isolated (n integer)")
        await connection.executemany("insert into isolated values ($1)", [(1,), (2,)])
        return await connection.fetchval("select count(*) from isolated where n > $1", 0)

    transaction = Transaction(body, sessions=sessions, cleans=True)
    await sessions.run(transaction.run, endless=True)
    sessions.close()
    assert (transaction.value, transaction.error) == (2, None)


async def test_in_transaction_mode_the_jobs_of_a_killed_worker_run_elsewhere(own_scene, bouncer):
    scene, url = own_scene, bouncer.url("faults")
    async with at_work(bouncer):
        first = await scene.start(name="first", url=url, polling_interval=0.2)
        [held] = await scene.enqueue(work.hold(scene.gate()))
        await scene.running(held)
        await scene.start(name="second", url=url, polling_interval=0.2)
        first.kill()
        scene.open(scene.gate())
        [row] = await scene.finished(held)
    assert row["attempt"] == 2


async def test_a_pooler_in_session_mode_is_told_from_it_and_notices_come(own_scene, postgres):
    async with PgBouncer(postgres, "session") as bouncer:
        url = bouncer.url("faults")
        async with AsyncJobs(database_url=url, lease=LEASE).running() as jobs:
            await until_so(lambda: jobs.listening and jobs.healthy)
            assert poolers.known(url) is Pooler.session


async def test_no_migration_is_begun_through_one_in_transaction_mode(own_scene, bouncer):
    connection = await connect(bouncer.url("faults"))
    with pytest.raises(DatabaseError, match="with the URL of the database itself"):
        await migrating.migrate(connection)
    connection.terminate()


async def test_with_a_pool_of_one_session_it_is_found_out_too(own_scene, postgres):
    async with PgBouncer(postgres, "transaction", 1) as bouncer:
        connection = await connect(bouncer.url("faults"))
        assert not poolers.is_own(connection)
        connection.terminate()
