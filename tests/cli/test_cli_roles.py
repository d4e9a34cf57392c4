"""`asyncjobs db sql --roles`: each role can do its work and nothing else."""

import asyncio

import asyncpg
import cli_jobs
import pytest

from asyncjobs import AsyncJobs, JobFailed
from asyncjobs.cli.db import ROLES
from asyncjobs.db import jobs, workers
from asyncjobs.db.connecting import connect
from tests.cli.conftest import execute

LOGINS = {"web": "asyncjobs_enqueuer", "runner": "asyncjobs_worker", "looker": "asyncjobs_viewer", "nobody": None}


@pytest.fixture
def as_role(database_url):
    """URLs of the test's database for the login of each role."""
    for _ in range(2):  # it may be run again
        asyncio.run(apply(database_url, ROLES.read_text()))
    asyncio.run(_make_logins(database_url))
    return {login: database_url.replace("postgres@", f"aj_{login}@") for login in LOGINS}


async def apply(url, script):
    connection = await connect(url)
    try:
        await connection.execute(script)
    finally:
        connection.terminate()


async def _make_logins(url):
    for login, role in LOGINS.items():
        [there] = await execute(url, f"select from pg_roles where rolname = 'aj_{login}'")
        if not there:
            await execute(url, f"create role aj_{login} login" + (f" in role {role}" if role else ""))


async def refusals(url, *statements):
    """The SQLSTATE of each statement."""
    connection = await connect(url)
    found = {}
    try:
        for statement in statements:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(statement)
                found[statement] = None
            except asyncpg.PostgresError as error:
                found[statement] = error.sqlstate
            await transaction.rollback()
    finally:
        connection.terminate()
    return found


def all_refused(found):
    return {statement: state for statement, state in found.items() if state != "42501"} == {}


async def test_an_enqueuer_enqueues_in_every_way_and_awaits(as_role, start):
    async with AsyncJobs(database_url=as_role["web"]) as client:
        one = await client.enqueue(cli_jobs.add(1))
        assert await client.enqueue_all(cli_jobs.add(n) for n in range(5)) == 5
        assert await client.enqueue_all([cli_jobs.add(1).set(wait=1), cli_jobs.add(2)]) == 2
        later = await client.enqueue(cli_jobs.add(1).set(wait=0.1))
        await client.enqueue(later)  # a resend, which looks into the history
        bad = await client.enqueue(cli_jobs.fail("x"))
        connection = await connect(as_role["web"])
        async with connection.transaction():
            mine = await client.enqueue(cli_jobs.note("t"), connection=connection)
        by_sql = await connection.fetchval("""select asyncjobs.enqueue(kind => 'cli_jobs.add', args => '{"a": 1}')""")
        worker = start(url=as_role["runner"])
        assert await one.result(timeout=20) == 2
        assert await later.result(timeout=20) == 2
        assert await mine.result(timeout=20) == "t None"
        with pytest.raises(JobFailed, match="this fails"):
            await bad.result(timeout=20)
        [row] = await connection.fetch("select state from asyncjobs.finished where id = $1", by_sql)
        assert row["state"] == 4
        connection.terminate()
        worker.stop()
        assert await worker.exit_code() == 0


async def test_an_enqueuer_can_neither_read_arguments_nor_touch_what_others_enqueued(as_role, enqueue):
    await enqueue(cli_jobs.add(1))
    found = await refusals(
        as_role["web"],
        "select args from asyncjobs.job",
        "select * from asyncjobs.job",
        "select kind from asyncjobs.job",
        "select args from asyncjobs.finished",
        "delete from asyncjobs.job",
        "delete from asyncjobs.finished",
        "update asyncjobs.job set state = 0",
        "update asyncjobs.job set args = '{}'",
        "insert into asyncjobs.job (id, kind, fence) values (gen_random_uuid(), 'x', 1)",
        "insert into asyncjobs.finished select * from asyncjobs.finished",
        "truncate asyncjobs.job",
        "select * from asyncjobs.worker",
        "insert into asyncjobs.worker (id, backend_pid, lease) values (gen_random_uuid(), 1, '1 s')",
        "select nextval('asyncjobs.fence_seq')",
        "select asyncjobs.make_partitions(current_date)",
        "select asyncjobs.drop_expired()",
        "select asyncjobs.retry(array[gen_random_uuid()])",
        "select asyncjobs.discard(array[gen_random_uuid()])",
        "create table asyncjobs.mine (id int)",
        "drop table asyncjobs.job",
        "update asyncjobs.migration set checksum = ''",
    )
    assert all_refused(found), found


async def test_a_whole_run_works_as_worker(as_role, start, enqueue, sql, database_url):
    await enqueue(
        *(cli_jobs.add(n) for n in range(30)),
        cli_jobs.fail("x"),
        cli_jobs.Greet(name="you"),
        cli_jobs.add(7).set(wait=60),
    )
    worker = start("--burst", url=as_role["runner"])
    assert await worker.exit_code() == 0
    assert "permission denied" not in worker.log
    [row] = await sql(
        "select count(*) filter (where state = 4) as good, count(*) filter (where state = 5) as bad from asyncjobs.finished"
    )
    assert row["good"] == 31
    assert row["bad"] == 1
    connection = await connect(as_role["runner"])
    await jobs.rescue(connection, 10)
    await jobs.make_partitions(connection, 40)
    await jobs.drop_expired(connection)
    await workers.forget(connection)
    connection.terminate()


async def test_a_worker_makes_and_empties_no_tables(as_role):
    found = await refusals(
        as_role["runner"],
        "truncate asyncjobs.job",
        "truncate asyncjobs.finished",
        "drop table asyncjobs.finished",
        "alter table asyncjobs.job add column mine int",
        "create table asyncjobs.mine (id int)",
        "create index on asyncjobs.job (kind)",
        "create function asyncjobs.mine() returns int language sql as 'select 1'",
        "delete from asyncjobs.migration",
        "delete from asyncjobs.finished",
        "update asyncjobs.finished set result = '1'",
        "alter sequence asyncjobs.ready_seq restart",
        "set role asyncjobs_owner",
    )
    assert all_refused(found), found


async def test_a_viewer_sees_everything_but_arguments(as_role, make_cli, enqueue):
    job_id = await enqueue(cli_jobs.note("canary7"), cli_jobs.fail("z"))
    cli = make_cli(as_role["looker"])
    outputs = [
        await asyncio.to_thread(cli, *words)
        for words in (["status"], ["queues", "list"], ["jobs", "list"], ["jobs", "show", job_id], ["doctor"])
    ]
    assert "cli_jobs.note" in outputs[2].stdout
    assert "(this role may not read them)" in outputs[3].stdout
    assert "can look and nothing else" in outputs[4].stdout
    assert not any("canary7" in done.stdout + done.stderr for done in outputs)
    refused = await asyncio.to_thread(cli, "enqueue", "cli_jobs.add", "a=1", code=3)
    assert "asyncjobs db sql --roles" in refused.stderr
    found = await refusals(
        as_role["looker"],
        "select args from asyncjobs.job",
        "select args from asyncjobs.finished",
        "select * from asyncjobs.job",
        "insert into asyncjobs.job (id, kind) values (gen_random_uuid(), 'x')",
        "update asyncjobs.job set awaited = true",
        "delete from asyncjobs.job",
        "update asyncjobs.worker set dead_at = now()",
        "select asyncjobs.enqueue('x')",
        "select asyncjobs.retry(array[gen_random_uuid()])",
        "select asyncjobs.discard(array[gen_random_uuid()])",
        "select asyncjobs.cancel(gen_random_uuid())",
        "select nextval('asyncjobs.ready_seq')",
    )
    assert all_refused(found), found


async def test_who_works_retries_and_discards_and_an_enqueuer_only_cancels(as_role, make_cli, start, enqueue, sql):
    failed, live = await enqueue(cli_jobs.fail("x")), await enqueue(cli_jobs.add(1).set(wait=600))
    worker = start("--burst", url=as_role["runner"])
    assert await worker.exit_code() == 0
    looker, web, runner = (make_cli(as_role[login]) for login in ("looker", "web", "runner"))
    for words in (
        ["retry", failed],
        ["retry", "--all", "--yes"],
        ["discard", live, "--yes"],
        ["discard", "--all", "--yes"],
    ):
        for cli in (web, looker):
            refused = await asyncio.to_thread(cli, "jobs", *words, code=3)
            assert "asyncjobs db sql --roles" in refused.stderr
    for words in (["retry", failed], ["cancel", "--all"], ["why", failed]):
        dry = [] if words[0] == "why" else ["--dry-run"]
        await asyncio.to_thread(looker, "jobs", *words, *dry)
        await asyncio.to_thread(web, "jobs", *words, *dry, code=3)
    for words in (["retry", failed], ["discard", failed, "--yes"], ["why", failed], ["retry", "--all", "--yes"]):
        await asyncio.to_thread(runner, "jobs", *words)
    async with AsyncJobs(database_url=as_role["web"]) as client:
        assert await client.cancel(live)
    rows = await sql("select state from asyncjobs.finished order by state")
    assert [row["state"] for row in rows] == [6, 7]


def test_the_roles_are_printed_for_psql(cli):
    script = cli.directory / "roles.sql"
    script.write_text(cli("db", "sql", "--roles").stdout)
    assert script.read_text() == ROLES.read_text()
    cli("db", "psql", "--", "-q", "-v", "ON_ERROR_STOP=1", "-f", script)


async def test_everybody_else_can_do_nothing(as_role):
    found = await refusals(
        as_role["nobody"], "select id from asyncjobs.job", "select asyncjobs.new_id()", "select asyncjobs.enqueue('x')"
    )
    assert all_refused(found), found


async def test_the_functions_run_with_the_owners_rights_and_no_superusers(as_role, sql):
    rows = await sql(
        "select p.proname, r.rolname, r.rolsuper, r.rolcanlogin from pg_proc p join pg_roles r on r.oid = p.proowner "
        "where p.pronamespace = 'asyncjobs'::regnamespace"
    )
    assert {(row["rolname"], row["rolsuper"], row["rolcanlogin"]) for row in rows} == {
        ("asyncjobs_owner", False, False)
    }
