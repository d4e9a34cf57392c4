"""A worker that does not get the connections that it needs claims nothing, and says so."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from asyncjobs.worker.connections import MOST, NEEDED
from tests.faults import jobs as work
from tests.faults import step_jobs
from tests.faults.scene import READY
from tests.support import asking
from tests.support.processes import until_so
from tests.support.proxy import TOO_MANY_CLIENTS, named
from tests.support.sweeps import slowly

BESIDE = 2
"""The client's and the listener's."""


@pytest.fixture
async def limited(connection, database_url) -> AsyncIterator[str]:
    """The database's URL for a worker's role of this test's own, whose limit the test sets."""
    name = f"few_of_{urlsplit(database_url).path.strip('/')}"
    await connection.execute(f"create role {name} login password 'x'")
    for what in (
        "schema asyncjobs",
        "all tables in schema asyncjobs",
        "all sequences in schema asyncjobs",
        "all routines in schema asyncjobs",
    ):
        await connection.execute(f"grant all on {what} to {name}")
    parts = urlsplit(database_url)
    yield urlunsplit(parts._replace(netloc=f"{name}:x@{parts.netloc.rpartition('@')[2]}"))
    await connection.execute(f"drop owned by {name}; drop role {name}")


async def limit(connection, url: str, connections: int) -> None:
    await connection.execute(f"alter role {urlsplit(url).username} connection limit {connections}")


async def test_with_too_few_it_ends_with_one_line_and_has_run_nothing(scene, proxy, proxied_url):
    proxy.refuse(named("asyncjobs worker"), TOO_MANY_CLIENTS)
    jobs = await scene.enqueue(*(work.tiny(n) for n in range(12)))
    worker = scene.begin(url=proxied_url)
    assert await worker.exit_code() == 3
    [critical] = [line for line in worker.log.splitlines() if "CRITICAL" in line]
    assert f"1 of {NEEDED} connections: sorry, too many clients" in critical
    assert "`asyncjobs doctor` says how many" in critical
    assert READY not in worker.log and "Traceback" not in worker.log
    rows = [await scene.row(job) for job in jobs]
    assert {(row["state"], row["attempt"]) for row in rows} == {(1, 0)}


async def test_a_registration_that_is_refused_at_first_is_tried_again_while_there_is_time_to_start(
    scene, proxy, proxied_url
):
    proxy.refuse(named("asyncjobs keeper"))
    worker = scene.begin(url=proxied_url)
    await worker.wait_for_log("renewing the lease: ")
    await proxy.accept()
    await worker.wait_for_log(READY)


async def test_a_worker_that_is_never_registered_ends_with_the_reason(scene, proxy, proxied_url):
    proxy.refuse(named("asyncjobs keeper"), TOO_MANY_CLIENTS)
    worker = scene.begin(url=proxied_url)
    assert await worker.exit_code() == 3
    [critical] = [line for line in worker.log.splitlines() if "CRITICAL" in line]
    assert "sorry, too many clients" in critical and READY not in worker.log


@pytest.mark.parametrize("connections", [NEEDED + 1, *slowly(NEEDED + BESIDE)], ids=["as when idle", "as doctor says"])
async def test_with_as_many_as_it_needs_every_job_runs_once_whatever_its_services_do(
    scene, connection, limited, connections
):
    await limit(connection, limited, connections)
    await scene.start("tests.faults.jobs", "tests.faults.step_jobs", url=limited)
    jobs = [*(work.tiny(n) for n in range(50)), *(step_jobs.Plain() for _ in range(10))]
    rows = await scene.finished(*await scene.enqueue(*jobs))
    assert {row["attempt"] for row in rows} == {1}


async def test_an_idle_worker_has_three_connections_under_load_seven_at_most_and_then_three_again(
    scene, connection, limited
):
    names = "array_agg(application_name order by application_name)"
    open_now = f"select {names} from pg_stat_activity where usename = $1"
    at_rest = f"select {names} = $2 from pg_stat_activity where usename = $1"
    role = urlsplit(limited).username
    idle = ["asyncjobs keeper", "asyncjobs listener", "asyncjobs worker"]
    await scene.start(url=limited, concurrency=100)
    await asking.until(connection, at_rest, role, idle)
    jobs, most = [], 0
    while most <= len(idle):  # as long as it takes
        jobs += await scene.enqueue(*(work.tiny(n) for n in range(100)))
        most = max(most, len(await connection.fetchval(open_now, role)))
    await scene.finished(*jobs)
    assert most <= MOST
    await asking.until(connection, at_rest, role, idle)


async def test_isolated_steps_share_what_is_left_and_keep_none_of_it(scene, connection, limited):
    await connection.execute("create table effect (job uuid, step text); grant all on effect to public")
    await limit(connection, limited, MOST + 2)
    await scene.start("tests.faults.step_jobs", url=limited)
    jobs = await scene.enqueue(*(step_jobs.Six(rows=20) for _ in range(12)))
    rows = await scene.finished(*jobs)
    assert {row["attempt"] for row in rows} == {1}
    isolated = "select 1 from pg_stat_activity where application_name = 'asyncjobs isolated steps' and usename = $1"

    async def none_left() -> bool:
        return not await connection.fetch(isolated, urlsplit(limited).username)

    await scene.eventually(none_left, "end of idle connections")


async def test_while_it_cannot_store_how_jobs_end_it_claims_nothing_and_says_why(
    make_jobs, proxy, proxied_url, client, connection
):
    async with make_jobs(database_url=proxied_url, lease=2).running() as jobs:
        await until_so(lambda: jobs.healthy)
        proxy.refuse(named("asyncjobs worker"), TOO_MANY_CLIENTS)
        assert proxy.cut(named("asyncjobs worker")) >= 1
        await until_so(lambda: not jobs.healthy)
        waiting = await client.enqueue(work.tiny())
        told = "select 1 from asyncjobs.worker where report::json->>'claims_nothing' like '1 of 2 connections: sorry%'"
        await asking.until(connection, told)
        row = await connection.fetchrow("select state, attempt from asyncjobs.job where id = $1", waiting.id)
        assert tuple(row) == (1, 0)
        assert "claims nothing (1 of 2 connections: sorry, too many clients" in await client.why(waiting.id)
        await proxy.heal()
        await waiting.result(timeout=20)
        await until_so(lambda: jobs.healthy)


async def test_a_batch_that_the_database_refuses_for_its_own_sake_stops_the_claims_until_it_is_stored(
    make_jobs, client, connection
):
    full = """create function full_disk() returns trigger language plpgsql as
              $$ begin raise sqlstate '53100' using message = 'the disk is full'; end $$"""
    await connection.execute(full)
    async with make_jobs(lease=2).running() as jobs:
        await connection.execute(
            "create trigger full_disk before insert on asyncjobs.finished for each row execute function full_disk()"
        )
        first = await client.enqueue(work.tiny())
        worker = jobs._worker
        await until_so(lambda: worker.parts.ledger.trouble.reason != "" and not worker.parts.dispatcher._claims)
        second = await client.enqueue(work.tiny())
        await until_so(lambda: not jobs.healthy)
        assert "cannot be stored: the disk is full" in await client.why(second.id)
        row = await connection.fetchrow("select state, attempt from asyncjobs.job where id = $1", second.id)
        assert tuple(row) == (1, 0)
        await connection.execute("drop trigger full_disk on asyncjobs.finished")
        await asyncio.gather(first.result(timeout=20), second.result(timeout=20))
        await until_so(lambda: jobs.healthy)


async def test_a_claim_that_has_waited_for_a_session_takes_nothing_once_no_ends_can_be_stored(jobs, connection):
    dispatcher, trouble = jobs._worker.parts.dispatcher, jobs._worker.parts.ledger.trouble
    sessions, waits, may_go = dispatcher._sessions, asyncio.Event(), asyncio.Event()

    class Late:
        async def run(self, *args, **options):
            if dispatcher._claims:
                waits.set()
                await may_go.wait()
            return await sessions.run(*args, **options)

    dispatcher._sessions = Late()
    job = await jobs.enqueue(work.tiny())
    await waits.wait()
    trouble.begin("how jobs ended cannot be stored")
    may_go.set()
    await until_so(lambda: not dispatcher._claims)
    row = await connection.fetchrow("select state, attempt from asyncjobs.job where id = $1", job.id)
    assert tuple(row) == (1, 0)
    trouble.end()
    dispatcher.look_at_all()
    await job.result(timeout=20)


async def test_nor_does_one_for_suspects(jobs, connection):
    dispatcher, trouble = jobs._worker.parts.dispatcher, jobs._worker.parts.ledger.trouble
    sessions, waits, may_go = dispatcher._sessions, asyncio.Event(), asyncio.Event()
    claims = set()

    class Late:
        async def run(self, *args, **options):
            if asyncio.current_task() in claims:
                waits.set()
                await may_go.wait()
            return await sessions.run(*args, **options)

    dispatcher._sessions = Late()
    await until_so(lambda: jobs.healthy)
    waiting = asyncio.create_task(waits.wait())
    while not waits.is_set():  # one that finds no connection open ends at once
        claim = asyncio.create_task(dispatcher.claim_suspects())
        claims.add(claim)
        await asyncio.wait([claim, waiting], return_when=asyncio.FIRST_COMPLETED)
    made = "insert into asyncjobs.job (id, kind, crashes) values (gen_random_uuid(), $1, 2) returning id"
    job_id = await connection.fetchval(made, work.tiny.kind)
    dispatcher.look_at_all()
    await until_so(lambda: dispatcher.known_queues)  # a claim that knows none finds nothing in any case
    trouble.begin("how jobs ended cannot be stored")
    may_go.set()
    claimed = await claim
    row = await connection.fetchrow("select state, attempt from asyncjobs.job where id = $1", job_id)
    assert (claimed, tuple(row)) == (0, (1, 0))
    trouble.end()
    dispatcher.look_at_all()
    await asking.until(connection, "select 1 from asyncjobs.finished where state = 4")
