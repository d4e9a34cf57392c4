"""Who may do what, tried statement by statement; and what the functions for enqueuers refuse."""

import asyncio
import contextlib
import json
import re
from uuid import uuid4

import asyncpg
import cli_jobs
import pytest

import asyncjobs
from asyncjobs import AsyncJobs, JobCancelled, PermissionDenied
from asyncjobs.cli.doctor import definer_findings
from asyncjobs.db import migration_files, queue_figures, reading
from asyncjobs.db.connecting import connect
from tests.cli.conftest import execute
from tests.support.processes import PATIENCE, until_so
from tests.support.rights_matrix import MATRIX, ROLES, markdown
from tests.support.roles import apply, refusals
from tests.support.workers import ROOT

LOGIN_OF = dict(zip(ROLES, ("nobody", "looker", "web", "runner", "keeper"), strict=True))


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_may_do_what_the_matrix_says_and_nothing_else(as_role, url, role):
    [[job], [ended]] = await execute(url, "select asyncjobs.enqueue('k') as id", "select asyncjobs.enqueue('k') as id")
    await execute(url, f"select asyncjobs.cancel('{ended['id']}')")
    tried = {
        statement.replace("$job", str(job["id"])).replace("$ended", str(ended["id"])): role in row.roles
        for row in MATRIX
        for statement in row.statements
    }
    found = await refusals(as_role[LOGIN_OF[role]], *tried)
    assert {statement: found[statement] for statement, may in tried.items() if may and found[statement]} == {}
    assert {
        statement: found[statement] for statement, may in tried.items() if not may and found[statement] != "42501"
    } == {}


def test_the_security_page_shows_the_matrix():
    page = (ROOT / "SECURITY.md").read_text()
    assert re.search(r"<!-- rights -->\n(.*?)<!-- /rights -->", page, re.DOTALL)[1] == markdown()


def more(monkeypatch):
    definer = "create function asyncjobs.more() returns integer language sql security definer as 'select 1'"
    everything = (*migration_files.known(), migration_files.Migration(9999, "more", definer))
    monkeypatch.setattr(migration_files, "known", lambda: everything)


async def everybodys(url):
    [rows] = await execute(
        url,
        "select proname from pg_proc where pronamespace = 'asyncjobs'::regnamespace "
        "and (proacl is null or exists (select from aclexplode(proacl) as a where a.grantee = 0))",
    )
    return [row["proname"] for row in rows]


async def test_no_function_is_everybodys_even_before_the_roles_are_applied(url):
    assert await everybodys(url) == []


async def test_what_a_later_migration_makes_is_nobodys_by_the_same_transaction(
    as_role, database_url, monkeypatch, make_cli
):
    more(monkeypatch)
    script = make_cli(database_url)("db", "sql", "--from", migration_files.known()[-2].number).stdout
    for way in ("migrate", "script"):
        if way == "migrate":
            assert await asyncjobs.migrate(database_url) == ["9999_more"]
        else:
            await execute(
                database_url,
                "delete from asyncjobs.migration where number = 9999",
                "drop function asyncjobs.more()",
                script,
            )
        assert await everybodys(database_url) == []
        assert await refusals(as_role["looker"], "select asyncjobs.more()") == {"select asyncjobs.more()": "42501"}


async def test_doctor_warns_of_functions_that_everybody_may_execute_or_a_superuser_owns(database_url, as_role):
    connection = await connect(database_url)
    assert list(definer_findings(await reading.definers(connection))) == []
    await connection.execute("grant execute on function asyncjobs.adopt to public")
    [finding] = definer_findings(await reading.definers(connection))
    assert (finding.verdict, finding.check) == ("warn", "functions")
    assert "may execute adopt with the rights of asyncjobs_owner" in finding.text
    await connection.execute("alter function asyncjobs.cancel owner to postgres")
    texts = [found.text for found in definer_findings(await reading.definers(connection))]
    assert any("the rights of postgres, a superuser" in text for text in texts)
    assert len(list(definer_findings(await reading.definers(connection), is_private=True))) == 1
    connection.terminate()


ROWS = "select asyncjobs.enqueue_rows(array[gen_random_uuid()], array['{}'], '{}', '{}', '{}', '{}', '{}', %s, %s, '0', '{}')"
ORDERED = "select asyncjobs.enqueue_ordered(gen_random_uuid(), 'k', 'q', 0, now(), %s, '{}', %s, '%s')"
AFTER = '{"after": {"job": "00000000-0000-0000-0000-000000000000"%s}}'
LIMITED = '{"limits": [{"key": "a", "name": "a"%s}]}'


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("select asyncjobs.enqueue(repeat('k', 201))", "kind must have 1 to 200 characters"),
        ("select asyncjobs.enqueue('k', queue => repeat('q', 65))", "queue must be 1 to 64"),
        ("select asyncjobs.enqueue('k', queue => E'a\\x1b')", "queue must be 1 to 64"),
        ("select asyncjobs.enqueue('k', json_build_object('s', repeat('x', 1048576)))", "args must have at most 1048576 bytes"),
        ("select asyncjobs.enqueue('k', priority => 32768)", "priority must be a whole number"),
        (ROWS % ("repeat('k', 201)", "'q'"), "kind must have"),
        (ROWS % ("'k'", "'-q'"), "queue must be"),
        (ROWS % ("'k'", "null"), "queue must be"),
        ("select asyncjobs.emit('e', repeat('k', 201))", "key must have at most 200"),
        ("select asyncjobs.emit('e', 'k', to_json(repeat('x', 1048576)))", "payload must have at most 1048576 bytes"),
        ("select asyncjobs.cancel(gen_random_uuid(), repeat('x', 1001))", "reason must have at most 1000 characters"),
        ("select asyncjobs.cancel(gen_random_uuid(), '', 4001)", "days must be from 0 to 4000, not 4001"),
        ("select asyncjobs.cancel(gen_random_uuid(), '', null)", "days must be from 0 to 4000, not null"),
        ("select asyncjobs.ended(array(select gen_random_uuid() from generate_series(1, 10001)))", "ids must be at most 10000"),
        (ORDERED % ("1e300", "null", AFTER % ""), "delays and expires_ins must be within 1e9 seconds"),
        (ORDERED % ("'nan'", "null", AFTER % ""), "delays and expires_ins must be within 1e9 seconds"),
        (ORDERED % ("null", "1e300", AFTER % ""), "delays and expires_ins must be within 1e9 seconds"),
        (ORDERED % ("null", "null", AFTER % ', "previous": ""'), "`previous` have 40 to 100 characters"),
        (ORDERED % ("null", "null", LIMITED % ', "spacing": 0, "burst": 1'), "a rate must have a spacing"),
        (ORDERED % ("null", "null", LIMITED % ', "spacing": "nan", "burst": 1'), "a rate must have a spacing"),
        (ORDERED % ("null", "null", LIMITED % ', "spacing": 1'), "a rate must have a spacing"),
        (ORDERED % ("null", "null", LIMITED % ', "spacing": 1e6, "burst": 1000'), "and be full after ten years"),
        (ORDERED % ("null", "null", LIMITED % ', "most": -1'), "a limit must be a whole number from 0"),
        (ORDERED % ("null", "null", '{"limits": [{"key": "%s", "name": "a"}]}' % ("k" * 257)), "each with a key of 1 to 256"),
        (ORDERED % ("null", "null", '{"limits": [{"key": "a", "name": "%s"}]}' % ("k" * 257)), "name must have 1 to 256"),
        ("select asyncjobs.take_token('rate:k', -1, 1)", "a rate must have a spacing"),
        ("select asyncjobs.take_token('rate:k', 1e9, 1)", "a rate must have a spacing"),
    ],
)  # fmt: skip
async def test_what_an_enqueuer_gives_is_bounded(as_role, call, says):
    connection = await connect(as_role["web"])
    with pytest.raises(asyncpg.PostgresError, match=re.escape(says)) as raised:
        await connection.execute(call)
    assert raised.value.sqlstate == "22023"
    connection.terminate()


async def test_a_token_that_an_enqueuer_takes_is_one_of_the_rate_as_its_workers_have_it(as_role, sql):
    await sql("insert into asyncjobs.limits (name, spacing, burst, said_at) values ('rate:k', 1, 5, now())")
    await execute(as_role["web"], "select asyncjobs.take_token('rate:k', 3e8, 1)")
    [row] = await sql("select next_start < now() + interval '10 s' as is_soon from asyncjobs.limit_key")
    assert row["is_soon"]


async def test_a_batch_that_an_enqueuer_makes_a_part_of_itself_has_a_status(as_role):
    made = uuid4()
    given = json.dumps([{"id": str(made), "parent": str(made), "description": "x"}])
    await execute(as_role["web"], f"select asyncjobs.begin_batch('{given}')")
    [row] = (await execute(as_role["web"], f"select by_state from asyncjobs.batch_status('{made}')"))[0]
    assert row["by_state"] == "{}"


@pytest.mark.parametrize(
    "wrong", [{"order": '{"labels": ["bad"]}'}, {"order": "no json"}, {"delay": 1e300}, {"id": None}], ids=str
)
async def test_a_batch_whose_callback_would_be_refused_is_refused_itself(as_role, sql, wrong):
    callback = {"id": str(uuid4()), "kind": "k", "queue": "q", "priority": 0, "args": "{}"}
    for given, state in ((callback, None), ({**callback, **wrong}, asyncpg.PostgresError)):
        batch = json.dumps([{"id": str(uuid4()), "description": "x", "on_finish": json.dumps([given])}])
        connection = await connect(as_role["web"])
        with contextlib.nullcontext() if state is None else pytest.raises(state):
            await connection.fetchval("select asyncjobs.begin_batch($1)", batch)
        connection.terminate()
    assert await sql("select from asyncjobs.job") == []
    assert len(await sql("select from asyncjobs.batch")) == 1


@pytest.mark.parametrize("args", ['not json "a"', r'{"a": "\u0000"}', '{"a": ' + "[" * 200_000])
async def test_arguments_that_no_search_can_read_are_found_by_none_and_stop_none(as_role, args):
    connection = await connect(as_role["web"])
    for text in (args, '{"a": 1}'):
        await connection.execute("select asyncjobs.enqueue_row(gen_random_uuid(), 'k', 'q', '0', $1, true)", text)
    connection.terminate()
    async with AsyncJobs(database_url=as_role["runner"]) as jobs:
        assert len(await jobs.find(arguments={"a": 1})) == 1


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (
            "(select json_agg(json_build_object('n', i, 'name', i)) from generate_series(1, 10001) as i)",
            "at most 10000",
        ),
        ("json_build_array(json_build_object('n', 1, 'name', repeat('n', 402)))", "1 to 401 characters"),
        ("'{}'", "must be a JSON array"),
    ],
)
async def test_what_is_adopted_is_bounded(as_role, steps, says):
    connection = await connect(as_role["runner"])
    with pytest.raises(asyncpg.PostgresError, match=says):
        await connection.execute(
            f"select asyncjobs.adopt(gen_random_uuid(), 'k', 'q', 0, '{{}}', '{{}}', {steps}::text)"
        )
    connection.terminate()


@pytest.mark.parametrize(("days", "kept"), [(0, 1), pytest.param(7, 7, marks=pytest.mark.slow), (3990, 366)])
async def test_what_an_enqueuer_cancels_is_kept_for_a_day_at_least_and_a_year_at_most(as_role, url, sql, days, kept):
    [made] = await sql("select asyncjobs.enqueue('k') as id")
    assert await refusals(as_role["web"], f"select asyncjobs.cancel('{made['id']}', '', {days})")
    await execute(as_role["web"], f"select asyncjobs.cancel('{made['id']}', '', {days})")
    [row] = await sql(
        "select expires_on - (clock_timestamp() at time zone 'UTC')::date as days from asyncjobs.finished"
    )
    assert kept <= row["days"] <= kept + 31  # far ahead there is a partition a month
    [row] = await sql("select count(*) as partitions from pg_inherits where inhparent = 'asyncjobs.finished'::regclass")
    assert row["partitions"] < 60


async def test_a_login_with_allowed_kinds_enqueues_no_other(as_role, url, sql):
    await execute(
        url,
        "insert into asyncjobs.allowed_kind values ('aj_web', 'cli_jobs.add'), ('aj_nobody', 'cli_jobs.note')",
    )
    async with AsyncJobs(database_url=as_role["web"]) as client:
        await client.enqueue(cli_jobs.add(1))
        calls = [
            client.enqueue(cli_jobs.add(n) if n % 2 else cli_jobs.note("n")) for n in range(4)
        ]  # share a statement
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(each, PermissionDenied) for each in ended] == [True, False, True, False]
        assert (
            str(ended[0])
            == "login aj_web may not enqueue cli_jobs.note: the kinds that it may are in asyncjobs.allowed_kind"
        )
        for all_jobs in ([cli_jobs.note("x")] * 2, [cli_jobs.note("x") for _ in range(200)]):
            with pytest.raises(PermissionDenied, match="may not enqueue cli_jobs.note"):
                await client.enqueue_all(all_jobs)
        connection = await connect(as_role["web"])
        with pytest.raises(PermissionDenied, match="may not enqueue cli_jobs.note"):
            await client.enqueue(cli_jobs.note("x"), connection=connection)
        connection.terminate()
    assert (await refusals(as_role["web"], "select asyncjobs.enqueue('cli_jobs.note')")).popitem()[1] == "42501"
    rows = await sql("select kind, count(*) as jobs from asyncjobs.job group by kind")
    assert [tuple(row) for row in rows] == [("cli_jobs.add", 3)]


@pytest.mark.parametrize("whose", ["a role that the login is a member of", "a role that it becomes"])
async def test_rows_for_another_role_of_a_login_hold_for_it(as_role, url, sql, whose):
    await apply(
        url,
        "do $$ begin create role aj_shop; exception when duplicate_object then null; end $$;"
        "grant asyncjobs_enqueuer to aj_shop; grant aj_shop to aj_nobody;"
        "insert into asyncjobs.allowed_kind values ('aj_shop', 'cli_jobs.add')",
    )
    become = "" if whose == "a role that the login is a member of" else "set role aj_shop; "
    try:
        await apply(as_role["nobody"], f"{become}select asyncjobs.enqueue('cli_jobs.add')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="may not enqueue cli_jobs.note"):
            await apply(as_role["nobody"], f"{become}select asyncjobs.enqueue('cli_jobs.note')")
    finally:
        await execute(url, "revoke aj_shop from aj_nobody")
    await execute(url, "select asyncjobs.enqueue('cli_jobs.note')")  # a superuser is a member of every role
    await execute(as_role["web"], "select asyncjobs.enqueue('cli_jobs.note')")


async def test_kinds_cannot_be_allowed_to_a_login_that_there_is_not(url):
    with pytest.raises(asyncpg.CheckViolationError, match="login_is_a_role"):
        await execute(url, "insert into asyncjobs.allowed_kind values ('wbe', 'cli_jobs.add')")


async def test_who_listens_learns_no_id(as_role, start, sql):
    worker = start(url=as_role["runner"])
    await worker.wait_for_log("ready: worker")
    connection = await connect(as_role["nobody"])
    heard: list[tuple[str, str]] = []
    for channel in ("ready", "due", "done", "cancel"):
        await connection.add_listener(f"asyncjobs_{channel}", lambda *notice: heard.append((notice[2], notice[3])))
    async with AsyncJobs(database_url=as_role["web"]) as client:
        later, running = [await client.enqueue(each) for each in (cli_jobs.add(1).set(wait=600), cli_jobs.forever())]
        await until_so(lambda: is_running(client, running))
        waits = [asyncio.ensure_future(each.result(timeout=PATIENCE)) for each in (later, running)]
        await until_so(lambda: are_awaited(sql))
        for each in (running, later):
            await each.cancel()
        assert [type(end) for end in await asyncio.gather(*waits, return_exceptions=True)] == [JobCancelled] * 2
    await until_so(lambda: {"asyncjobs_done", "asyncjobs_cancel"} <= {channel for channel, _ in heard})
    connection.terminate()
    said = " ".join(payload for _, payload in heard)
    assert not [each.id for each in (later, running) if str(each.id) in said or each.id.hex in said]
    assert str(running.id)[:18] in said or str(later.id)[:18] in said


async def are_awaited(sql):
    return [row["awaited"] for row in await sql("select awaited from asyncjobs.job")] == [True, True]


async def is_running(client, job):
    return (await client.status(job)).state == "running"


async def test_an_enqueuer_of_an_id_that_it_does_not_know_learns_nothing(as_role):
    connection = await connect(as_role["web"])
    ids = [uuid4()]
    for call in ("ended($1)", "live($1)", "states($1)", "await_jobs($1)"):
        assert await connection.fetch(f"select * from asyncjobs.{call}", ids) == []
    assert await connection.fetchval("select asyncjobs.cancel($1)", ids[0]) is None
    connection.terminate()


async def test_figures_of_queues_are_taken_by_workers_and_read_by_viewers_and_enqueuers_go_without(as_role, url):
    await execute(url, "select asyncjobs.enqueue('k')")

    async def figures(login):
        async with AsyncJobs(database_url=as_role[login]) as jobs:
            return await jobs._in_use().sessions.run(queue_figures.read)

    assert await figures("looker") == ([], 0.0)
    [figure], _ = await figures("runner")
    assert (figure.queue, figure.ready) == ("default", 1)
    await execute(url, "update asyncjobs.queue_figures set taken_at = now() - interval '20 s'")
    [seen], age = await figures("looker")
    assert seen == figure and age >= 20
    async with AsyncJobs(database_url=as_role["web"]) as jobs:
        metrics = jobs.metrics.metrics
        await asyncio.wait_for(queue_figures.keep(jobs._in_use().sessions, metrics), PATIENCE)  # it ends
        assert "asyncjobs_queue_jobs" not in {family.name for family in metrics.samples()}
