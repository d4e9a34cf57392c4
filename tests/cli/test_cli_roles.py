"""`asyncjobs db sql --roles`: each role can do its work and nothing else."""

import asyncio
from uuid import uuid4

import cli_jobs
import pytest

import asyncjobs
from asyncjobs import AsyncJobs, JobFailed, JobNotFound, KindMismatch, PermissionDenied
from asyncjobs.cli.db import ROLES
from asyncjobs.db import jobs, migration_files, workers
from asyncjobs.db.connecting import connect
from tests.cli.conftest import execute
from tests.support.processes import PATIENCE, until_so
from tests.support.roles import all_refused, apply, refusals


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
        [row] = await connection.fetch("select state from asyncjobs.status($1)", by_sql)
        assert row["state"] == 4
        connection.terminate()
        worker.stop()
        assert await worker.exit_code() == 0


async def test_an_enqueuer_that_waits_in_vain_is_told_that_alone(as_role, make_cli):
    late = await asyncio.to_thread(
        make_cli(as_role["web"]), "enqueue", "cli_jobs.add", "a=1", "--wait", "--timeout", "100ms", code=1
    )
    assert "did not end within 100ms; it goes on" in late.stderr and "Traceback" not in late.stderr
    assert len(late.stderr.splitlines()) == 1


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
        "select id from asyncjobs.job",
        "select id from asyncjobs.finished",
        "insert into asyncjobs.job (id, kind) values (gen_random_uuid(), 'x')",
        "select asyncjobs.adopt(gen_random_uuid(), 'x', 'q', 0, '{}', '{}', '[]')",
        "select * from asyncjobs.worker",
        "insert into asyncjobs.worker (id, backend_pid, lease) values (gen_random_uuid(), 1, '1 s')",
        "select nextval('asyncjobs.fence_seq')",
        "select asyncjobs.make_partitions(current_date)",
        "select asyncjobs.drop_expired()",
        "select asyncjobs.retry(array[gen_random_uuid()])",
        "select asyncjobs.discard(array[gen_random_uuid()])",
        "select asyncjobs.steps_shown('[]')",
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
        for words in (["status"], ["queues", "list"], ["jobs", "list"], ["jobs", "show", job_id], ["doctor"], ["top"])
    ]
    assert "cli_jobs.note" in outputs[2].stdout
    assert "(this role may not read them)" in outputs[3].stdout
    assert "ok    rights: aj_looker can look" in outputs[4].stdout
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
    ready = await enqueue(cli_jobs.add(2))
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
    for words in (["retry", failed], ["cancel", "--all"], ["why", failed], ["why", ready]):
        dry = [] if words[0] == "why" else ["--dry-run"]
        await asyncio.to_thread(looker, "jobs", *words, *dry)
        await asyncio.to_thread(web, "jobs", *words, *dry, code=3)
    for words in (["retry", failed], ["discard", failed, "--yes"], ["why", failed], ["retry", "--all", "--yes"]):
        await asyncio.to_thread(runner, "jobs", *words)
    async with AsyncJobs(database_url=as_role["web"]) as client:
        assert await client.cancel(live)
    rows = await sql("select state from asyncjobs.finished order by state")
    assert [row["state"] for row in rows] == [6, 7]


def test_the_roles_are_printed_for_psql_which_stops_at_the_first_error(cli, make_cli, empty_database_url):
    script = cli.directory / "roles.sql"
    script.write_text(cli("db", "sql", "--roles").stdout)
    assert script.read_text() == "\\set ON_ERROR_STOP on\n" + ROLES.read_text()
    cli("db", "psql", "--", "-q", "-f", script)
    refused = make_cli(empty_database_url)("db", "psql", "--", "-q", "-f", script, code=3)  # there is no schema
    assert refused.stderr.count("ERROR") == 1


class Own:
    """Roles of one test's own, an owner with CREATEROLE among them, who has migrated; the server is shared."""

    def __init__(self, admin_url, url):
        self.admin_url, self.url = admin_url, url
        self.roles = ROLES.read_text().replace("asyncjobs_", "own_")

    def url_of(self, login):
        return self.url.replace("postgres@", f"{login}@")


@pytest.fixture
async def own(server, empty_database_url):
    admin = server.url("postgres")
    name = empty_database_url.partition("?")[0].rpartition("/")[2]
    [(connected,)] = await execute(admin, "select current_user")
    assert connected["current_user"] == "postgres"
    await execute(
        admin, "create role own_deploy login createrole", f"alter database {name} owner to own_deploy",
        "create role own_web login", "create role own_other login",
    )  # fmt: skip
    made = Own(admin, empty_database_url)
    await asyncjobs.migrate(made.url_of("own_deploy"))
    yield made
    await execute(made.url, "drop schema if exists asyncjobs cascade", f"alter database {name} owner to postgres")
    rows = (await execute(admin, "select rolname from pg_roles where rolname like 'own\\_%'"))[0]
    for row in rows:
        await execute(made.url, f"drop owned by {row['rolname']}")
        await execute(admin, f"drop role {row['rolname']}")


def add_a_migration(monkeypatch):
    more = migration_files.Migration(
        9999, "more", "create function asyncjobs.more() returns integer language sql as 'select 1'"
    )
    everything = (*migration_files.known(), more)
    monkeypatch.setattr(migration_files, "known", lambda: everything)


async def test_the_owner_with_createrole_applies_the_roles_and_goes_on_migrating(own, monkeypatch):
    deploy = own.url_of("own_deploy")
    for _ in range(2):
        await apply(deploy, own.roles)
    await execute(own.admin_url, "grant own_enqueuer to own_web")
    async with AsyncJobs(database_url=own.url_of("own_web")) as client:
        made = await client.enqueue(cli_jobs.add(1))
        assert (await made.status()).state == "ready"
    add_a_migration(monkeypatch)
    assert await asyncjobs.migrate(deploy) == ["9999_more"]
    [owners] = await execute(deploy, "select distinct proowner::regrole::text as owner from pg_proc "
                             "where pronamespace = 'asyncjobs'::regnamespace")  # fmt: skip
    assert [row["owner"] for row in owners] == ["own_owner"]


async def test_who_has_migrated_goes_on_when_a_superuser_applies_the_roles(own, make_cli):
    await apply(own.url, own.roles)
    cli = make_cli(own.url_of("own_deploy"))
    for words in (["db", "status"], ["db", "migrate"], ["doctor"]):
        await asyncio.to_thread(cli, *words)
    assert await refusals(own.url_of("own_deploy"), "create table asyncjobs.mine (id int)") == {
        "create table asyncjobs.mine (id int)": None
    }


async def test_a_missing_right_is_said_with_the_role_that_has_it(own, make_cli, as_role):
    other, web, looker = own.url_of("own_other"), as_role["web"], make_cli(as_role["looker"])
    cli = make_cli(other)
    refused = await asyncio.to_thread(cli, "db", "migrate", code=3)
    assert "the schema belongs to own_deploy: migrate as that, or `grant own_deploy to own_other`" in refused.stderr
    for words in (["status"], ["db", "status"], ["jobs", "list"]):
        refused = await asyncio.to_thread(cli, *words, code=3)
        assert "`grant asyncjobs_enqueuer to own_other` if it enqueues" in refused.stderr
    refused = await asyncio.to_thread(looker, "enqueue", "cli_jobs.add", "a=1", code=3)
    assert "that takes the role asyncjobs_enqueuer" in refused.stderr
    assert "`grant asyncjobs_enqueuer to aj_looker`" in refused.stderr
    refused = await asyncio.to_thread(looker, "jobs", "retry", uuid4(), code=3)
    assert "`grant asyncjobs_worker to aj_looker`" in refused.stderr
    async with AsyncJobs(database_url=web) as client:
        made = await client.enqueue(cli_jobs.add(1))
        for call in (client.retry(made.id), client.discard(made.id)):
            with pytest.raises(PermissionDenied, match="`grant asyncjobs_worker to aj_web`"):
                await call
        with pytest.raises(PermissionDenied, match="`grant asyncjobs_viewer to aj_web`"):
            await client.why(made.id)
        async with AsyncJobs(database_url=as_role["looker"]) as looking:
            connection = await connect(as_role["looker"])
            with pytest.raises(PermissionDenied, match="takes the role asyncjobs_enqueuer"):
                await looking.enqueue(cli_jobs.add(1), connection=connection)
            connection.terminate()
            with pytest.raises(PermissionDenied, match="`grant asyncjobs_enqueuer to aj_looker`"):
                await looking.enqueue_all(cli_jobs.add(n) for n in range(2_000))


async def test_who_may_not_make_a_schema_is_told_the_grant(own):
    await execute(own.url, "drop schema asyncjobs cascade")
    name = own.url.partition("?")[0].rpartition("/")[2]
    with pytest.raises(PermissionDenied, match=f"`grant create on database {name} to own_other`"):
        await asyncjobs.migrate(own.url_of("own_other"))


async def test_who_migrates_and_is_no_member_of_the_owner_is_told_so(as_role, monkeypatch):
    add_a_migration(monkeypatch)
    with pytest.raises(PermissionDenied, match="takes the role asyncjobs_owner.* `grant asyncjobs_owner to aj_runner`"):
        await asyncjobs.migrate(as_role["runner"])


@pytest.mark.parametrize("also", [[], ["asyncjobs_viewer"]])
async def test_an_enqueuer_has_the_status_of_a_job_by_its_id_without_arguments_and_results(
    as_role, start, enqueue, make_cli, database_url, also
):
    login = f"aj_web{len(also)}"
    [there] = await execute(database_url, f"select from pg_roles where rolname = '{login}'")
    if not there:
        await execute(database_url, f"create role {login} login in role {', '.join(['asyncjobs_enqueuer', *also])}")
    url = database_url.replace("postgres@", f"{login}@")
    done, failed, later = [
        await enqueue(each) for each in (cli_jobs.note("canary7"), cli_jobs.fail("x"), cli_jobs.add(1).set(wait=600))
    ]
    stepped = await enqueue(cli_jobs.Stepped(secret="canary7"))
    worker = start("--burst", url=as_role["runner"])
    assert await worker.exit_code() == 0
    async with AsyncJobs(database_url=url) as client:
        for job_id, state in ((done, "succeeded"), (failed, "failed"), (later, "scheduled"), (stepped, "succeeded")):
            status = await client.status(job_id)
            assert (status.id, status.state, status.arguments) == (job_id, state, {})
            assert "canary7" not in repr(status) or also  # a viewer sees results
            found = await client.get(job_id)
            assert (found.id, found.state, found.arguments) == (job_id, state, {})
        assert "this fails" in (await client.status(failed)).errors[0].message
        steps = (await client.status(stepped)).steps
        assert [(each.name, each.state) for each in steps] == [("one", "succeeded"), ("two", "succeeded")]
        assert await (await client.get(done, cli_jobs.note)).result(timeout=PATIENCE) == "canary7 None"
        with pytest.raises(KindMismatch):
            await client.get(done, cli_jobs.add)
        with pytest.raises(JobNotFound):
            await client.status(uuid4())
    shown = (await asyncio.to_thread(make_cli(url), "jobs", "show", done)).stdout
    assert ("(this role may not read it)" in shown) is (not also) and ("canary7" in shown) is bool(also)


async def test_a_viewers_client_has_a_status_too(as_role, enqueue):
    job_id = await enqueue(cli_jobs.note("canary7"))
    async with AsyncJobs(database_url=as_role["looker"]) as client:
        status = await client.status(job_id)
        assert (status.state, status.arguments) == ("ready", {})


async def test_the_functions_for_callers_are_an_enqueuers_in_every_form(as_role):
    args = """'{"a": 1}'"""
    found = await refusals(
        as_role["web"],
        *(f"select asyncjobs.enqueue('x', {args}{cast})" for cast in ("", "::text", "::json", "::jsonb")),
        *(
            f"select asyncjobs.emit('e', {key}, {args}{cast})"
            for key in ("'k'", "7")
            for cast in ("", "::json", "::jsonb")
        ),
    )
    assert set(found.values()) == {None}, found


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


async def test_doctor_of_a_login_that_may_not_look_fails_nothing_and_says_so(as_role, make_cli):
    done = await asyncio.to_thread(make_cli(as_role["web"]), "doctor")
    assert "rights: aj_web can enqueue" in done.stdout
    assert "workers, jobs: aj_web may not look at them" in done.stdout
    assert "fail" not in done.stdout


async def test_an_embedded_worker_that_lacks_the_right_says_so_in_a_line(as_role, caplog):
    async with AsyncJobs(database_url=as_role["web"]).running() as jobs:
        await until_so(lambda: "cannot run" in caplog.text)
        assert not jobs.healthy
    [record] = [record for record in caplog.records if "cannot run" in record.message][:1]
    assert "asyncjobs_worker" in record.message
    assert record.exc_info is None
    assert "Traceback" not in caplog.text


async def test_a_worker_that_could_not_store_an_end_runs_no_job(as_role, sql, caplog):
    await sql("revoke execute on function asyncjobs.fold_steps from asyncjobs_worker")
    [made] = await sql("select asyncjobs.enqueue('cli_jobs.add', '{\"a\": 1}') as id")
    async with AsyncJobs(database_url=as_role["runner"]).running():
        await until_so(lambda: "cannot run" in caplog.text)
    assert "permission denied for function fold_steps; that takes the role asyncjobs_worker" in caplog.text
    assert "has to be run again after a migration" in caplog.text
    [row] = await sql(f"select state, attempt from asyncjobs.job where id = '{made['id']}'")
    assert (row["state"], row["attempt"]) == (1, 0)
