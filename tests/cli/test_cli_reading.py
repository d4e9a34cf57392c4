"""`asyncjobs status`, `queues list`, `jobs list`, `jobs show`."""

import asyncio
import json
from types import SimpleNamespace
from uuid import uuid4

import cli_jobs
import pytest

from asyncjobs.db import reading
from asyncjobs.db.connecting import connect
from asyncjobs.exceptions import DatabaseUnavailable
from tests.cli.conftest import PATH, Cli, enqueue_at, made_project, on_terminal
from tests.support.workers import Workers


async def run(cli, *words, **options):
    return await asyncio.to_thread(cli, *words, **options)


@pytest.fixture(scope="module")
def filled(shared_url, tmp_path_factory):
    """A worker, and four kinds of end and beginning: one succeeded, one failed, one running, one scheduled, one ready.

    For tests that only look, with commands on its database.
    """
    place = tmp_path_factory.mktemp("filled")
    project = made_project(place)
    environment = {"ASYNCJOBS_DATABASE_URL": shared_url, "PYTHONPATH": PATH}

    async def fill(workers):
        def start(*words):
            return workers.start(config=project / "config.toml", args=[*words, "--log-format", "text"])

        await enqueue_at(shared_url, cli_jobs.add(1), cli_jobs.fail("here\x1b[31m"))
        assert await start("--burst").exit_code() == 0
        await enqueue_at(shared_url, cli_jobs.forever())
        worker = start()
        await worker.wait_for_log("begun forever")
        await enqueue_at(shared_url, cli_jobs.add(5).set(wait=600, queue="later"), cli_jobs.add(6))
        return worker

    with asyncio.Runner() as runner:
        workers = Workers(place, environment=environment)
        try:
            worker = runner.run(fill(workers))
            yield SimpleNamespace(pid=worker.pid, cli=Cli(project, environment))
        finally:
            runner.run(workers.__aexit__())


async def test_status_shows_queues_workers_and_ends(filled):
    cli = filled.cli
    shown = await run(cli, "status", "--json")
    status = json.loads(shown.stdout)
    queues = {queue["queue"]: queue for queue in status["queues"]}
    assert queues["later"]["scheduled"] == 1
    assert queues["default"]["running"] >= 1
    [worker] = status["workers"]
    assert worker["pid"] == filled.pid
    assert worker["pools"] == [{"queues": ["*"], "concurrency": 10}]
    assert worker["late"] is False
    assert worker["beat"] < 4
    assert status["finished_24h"]["failed"] == 1
    text = (await run(cli, "status")).stdout
    assert str(filled.pid) in text
    assert "* x 10" in text
    assert "failed" in text
    assert "\x1b" not in text  # nobody looks: no colours


async def test_waiting_jobs_are_counted_and_a_count_that_was_broken_off_is_said_to_be(cli, enqueue, url, monkeypatch):
    await enqueue(*(cli_jobs.add(n) for n in range(5)))
    connection = await connect(url)
    await connection.execute("update asyncjobs.job set state = 3, run_at = 'infinity'")
    [queue] = await asyncio.to_thread(cli.json, "queues", "list")
    assert (queue["waiting"], queue["ready"], queue["exact"]) == (5, 0, True)
    assert "waiting" in (await run(cli, "status")).stdout
    monkeypatch.setattr(reading, "COUNTED", 3)
    [row] = await reading.queues(connection)
    assert (row.waiting, row.exact) == (3, False)
    connection.terminate()


async def test_jobs_are_listed_newest_first_a_page_at_a_time(filled):
    cli = filled.cli
    everything = await asyncio.to_thread(cli.json, "jobs", "list")
    assert [job["kind"].rpartition(".")[2] for job in everything] == ["add", "add", "forever", "fail", "add"]
    first = await run(cli, "jobs", "list", "--limit", 2)
    assert f"more: --before {everything[1]['id']}" in first.stdout
    rest = await asyncio.to_thread(cli.json, "jobs", "list", "--before", everything[1]["id"])
    assert rest == everything[2:]
    for words, count in (
        (["--state", "failed"], 1),
        (["--state", "failed", "--state", "running"], 2),
        (["--kind", "cli_jobs.add"], 3),
        (["--queue", "later"], 1),
        (["-q", "later"], 1),
        (["--error", "ValueError"], 1),
        (["--error", "this fails: here", "--limit", 1], 1),
        (["--error", "LookupError"], 0),
        (["--older-than", "1h"], 0),
        (["--older-than", "0s"], 5),
        (
            ["--older-than", "0s", "--error", "fails", "-q", "default", "--kind", "cli_jobs.fail", "--state", "failed"],
            1,
        ),
        (["--queue", "nowhere"], 0),
    ):
        assert len(await asyncio.to_thread(cli.json, "jobs", "list", *words)) == count, words
    wrong = await run(cli, "jobs", "list", "--state", "broken", code=2)
    assert "give one of scheduled, ready" in wrong.stderr


ENDED = {
    5: (["first", "last " * 100], None),
    6: (["as it was"], "not wanted any more"),
    7: ([], "by\nhand"),
}
"""Messages of its errors and the reason of one job in each of these states."""


def stored(*messages):
    """Errors with these messages, as they are stored: an SQL literal."""
    of_all = {"attempt": 1, "at": "2026-01-31T08:00:00Z", "type": "builtins.OSError", "traceback": ""}
    lines = [json.dumps({**of_all, "message": message}) for message in messages]
    return "'{}'".format("\n".join(lines)) if lines else "null"


@pytest.fixture
async def ended(sql):
    for state, (messages, reason) in ENDED.items():
        why = f"'{reason}'" if reason else "null"
        await sql(
            "insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, attempt, priority, state, crashes, "
            "kind, queue, args, errors, reason) values "
            f"(gen_random_uuid(), 1, current_date, now(), 1, 0, {state}, 0, 'k', 'q', '{{}}', {stored(*messages)}, {why})"
        )


async def test_a_listing_says_of_each_job_its_last_error_or_why_it_was_given_up(ended, cli):
    listed = {job["state"]: job for job in await asyncio.to_thread(cli.json, "jobs", "list")}
    assert listed["failed"]["error"] == {"type": "builtins.OSError", "message": "last " * 100}
    assert listed["discarded"]["error"]["message"] == "as it was"
    assert listed["discarded"]["reason"] == "not wanted any more"
    assert listed["cancelled"]["error"] is None
    shown = (await run(cli, "jobs", "list")).stdout
    assert "OSError: last last last" in shown
    assert "last first" not in shown
    assert "not wanted any more" in shown
    assert "by hand" in shown
    assert max(map(len, shown.splitlines())) < 400


@pytest.mark.parametrize(("state", "shown"), [(0, True), (1, True), (2, False), (3, False)])
async def test_a_listing_shows_the_error_of_an_earlier_attempt_where_it_says_why_the_job_stands_so(
    sql, cli, state, shown
):
    await sql(
        "insert into asyncjobs.job (id, queue, priority, state, run_at, attempt, kind, args, errors, worker) "
        f"values (gen_random_uuid(), 'q', 0, {state}, now(), 1, 'k', '{{}}', {stored('once')}, gen_random_uuid())"
    )
    [listed] = await asyncio.to_thread(cli.json, "jobs", "list")
    assert listed["error"]["message"] == "once"  # a program has all of it
    assert ("OSError" in (await run(cli, "jobs", "list")).stdout) == shown


async def test_a_listing_shows_no_error_beside_a_job_that_has_succeeded(sql, cli):
    await sql(
        "insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, attempt, priority, state, crashes, "
        "kind, queue, args, errors) values "
        f"(gen_random_uuid(), 1, current_date, now(), 2, 0, 4, 0, 'k', 'q', '{{}}', {stored('once')})"
    )
    shown = (await run(cli, "jobs", "list")).stdout
    assert "succeeded" in shown and "OSError" not in shown


async def test_the_error_of_a_listed_job_ends_where_the_terminal_does(ended, cli):
    shown = await asyncio.to_thread(on_terminal, cli, "jobs", "list", COLUMNS="200", NO_COLOR="1")
    rows = [line.rstrip() for line in shown.splitlines()[1:]]
    assert len(rows) == 3
    assert max(map(len, rows)) == 200
    assert any("OSError: last last" in row and row.endswith("…") for row in rows)


async def test_only_the_last_error_of_a_listed_job_is_fetched(ended, url):
    connection = await connect(url)
    try:
        [failed] = await reading.list_jobs(connection, '{"states": [5]}', 10)
        [cancelled] = await reading.list_jobs(connection, '{"states": [7]}', 10)
    finally:
        connection.terminate()
    assert json.loads(failed.error)["message"] == "last " * 100
    assert cancelled.error is None


async def test_show_has_everything_about_a_job_and_nothing_that_steers_a_terminal(filled):
    cli = filled.cli
    [failed] = await asyncio.to_thread(cli.json, "jobs", "list", "--state", "failed")
    shown = (await run(cli, "jobs", "show", failed["id"])).stdout
    assert "cli_jobs.fail" in shown
    assert "attempt 1 at " in shown
    assert "builtins.ValueError: this fails: here\\x1b[31m" in shown
    assert "cli_jobs.py" in shown  # the traceback
    assert "\x1b" not in shown
    values = await asyncio.to_thread(cli.json, "jobs", "show", failed["id"])
    assert values["arguments"] == {"word": "here\x1b[31m"}
    assert values["errors"][0]["type"] == "builtins.ValueError"
    [later] = await asyncio.to_thread(cli.json, "jobs", "list", "--state", "scheduled")
    assert (await asyncio.to_thread(cli.json, "jobs", "show", later["id"]))["expires_at"] is None
    [good] = await asyncio.to_thread(
        cli.json, "jobs", "list", "--state", "succeeded", "--limit", 1, "--before", failed["id"]
    )
    assert (await asyncio.to_thread(cli.json, "jobs", "show", good["id"]))["result"] == 2
    missing = await run(cli, "jobs", "show", uuid4(), code=1)
    assert "can be seen" in missing.stderr
    await run(cli, "jobs", "show", "x", code=2)


async def test_show_and_why_take_the_beginning_of_an_id_unless_several_jobs_have_it(cli, sql):
    one, other = "0190b6d2-7a4f-7c63-9d0e-8b1f6a2c4e90", "0190b6d2-7a4f-7c64-9d0e-8b1f6a2c4e90"
    await sql(f"insert into asyncjobs.job (id, kind) values ('{one}', 'k'), ('{other}', 'k')")
    assert (await asyncio.to_thread(cli.json, "jobs", "show", "0190b6d27a4f7c63"))["id"] == one
    assert (await asyncio.to_thread(cli.json, "jobs", "show", one))["id"] == one
    assert (await asyncio.to_thread(cli.json, "jobs", "why", "0190b6d27a4f7c63"))["id"] == one
    assert "'short' is no id" in (await run(cli, "jobs", "why", "short", code=2)).stderr
    several = await run(cli, "jobs", "show", "0190b6d2-7a4f", code=2)
    assert "give more of it" in several.stderr and other in several.stderr
    assert "no job whose id begins with 0190b6d3" in (await run(cli, "jobs", "show", "0190b6d3", code=1)).stderr
    assert "'short' is no id" in (await run(cli, "jobs", "show", "short", code=2)).stderr


async def test_a_long_value_is_cut_on_the_screen_only(enqueue, cli):
    job_id = await enqueue(cli_jobs.note("x" * 50_000))
    assert len((await run(cli, "jobs", "show", job_id)).stdout) < 5_000
    assert len((await asyncio.to_thread(cli.json, "jobs", "show", job_id))["arguments"]["text"]) == 50_000


async def test_queues_are_counted_to_a_bound(url, sql, monkeypatch):
    monkeypatch.setattr(reading, "COUNTED", 10)
    await sql(
        "insert into asyncjobs.job (id, kind, queue) select gen_random_uuid(), 'k', q from generate_series(1, 50), "
        "unnest(array['a', 'b']) as q"
    )
    connection = await connect(url)
    try:
        rows = await reading.queues(connection)
    finally:
        connection.terminate()
    assert [(row.queue, row.ready) for row in rows] == [("a", 10), ("b", 10)]
    assert rows[0].oldest is not None


def test_what_takes_too_long_is_given_up_and_changes_nothing(url):
    from asyncjobs.cli import command_database
    from asyncjobs.settings import load

    settings = load(database_url=url)

    async def read(statement):
        async with command_database.reader(settings) as connection:
            await connection.fetch(statement)

    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        asyncio.run(read("select pg_sleep(10)"))
    with pytest.raises(DatabaseUnavailable, match="read-only transaction"):
        asyncio.run(read("delete from asyncjobs.job"))


def test_an_empty_database_is_said_to_be_empty(cli):
    shown = cli("status").stdout
    assert "no live jobs" in shown
    assert "no workers" in shown
    assert "nothing finished in 24 h" in shown
    assert cli.json("queues", "list") == []
    assert cli("jobs", "list").stdout == "no jobs\n"


async def test_a_page_of_those_whose_last_error_matches_is_full_though_others_stand_between(cli, enqueue, start, sql):
    for number in range(6):
        await enqueue(cli_jobs.fail("wanted" if number % 3 == 0 else "other"))
    assert await start("--burst").exit_code() == 0
    # Errors from before, which are not the last.
    await sql("update asyncjobs.finished set errors = replace(errors, 'other', 'wanted') || E'\\n' || errors "
              "where errors like '%other%'")  # fmt: skip
    found = await asyncio.to_thread(cli.json, "jobs", "list", "--error", "wanted", "--limit", 2)
    assert [job["error"]["message"] for job in found] == ["this fails: wanted"] * 2


NOBODYS_KIND = "no job of kind {!r} is stored, and no worker knows that kind; "
NOBODYS_QUEUE = "no job of queue {!r} is stored, and no worker or pool names that queue; "


async def test_a_filter_that_names_what_nobody_knows_says_so(filled):
    cli = filled.cli
    for words in (["list"], ["retry", "--yes"], ["discard", "--yes"], ["cancel", "--yes"]):
        for given, note in (
            (["--kind", "cli_jobs.ad"], NOBODYS_KIND.format("cli_jobs.ad") + "did you mean cli_jobs.add?"),
            (["-q", "defualt"], NOBODYS_QUEUE.format("defualt") + "did you mean default?"),
            (["--queue", "xyz"], NOBODYS_QUEUE.format("xyz") + "known are default, later"),
        ):
            done = await run(cli, "jobs", *words, *given)
            assert done.stderr == f"asyncjobs: note: {note}\n"
    for given in (["--kind", "cli_jobs.brief"], ["--kind", "cli_jobs.add", "-q", "later", "--state", "failed"]):
        done = await run(cli, "jobs", "list", *given)
        assert (done.stdout, done.stderr) == ("no jobs\n", "")
    assert await asyncio.to_thread(cli.json, "jobs", "list", "--kind", "nobodys") == []


async def test_names_of_jobs_that_have_all_ended_are_known_without_a_worker(cli, end):
    await end(kind="mail.welcome", queue="mailers")
    for words, near in (
        (["jobs", "list", "--kind", "mail.welcom"], "mail.welcome"),
        (["jobs", "list", "--kind", "welcome"], "mail.welcome"),
        (["queues", "pause", "mailer"], "mailers"),
    ):
        assert (await run(cli, *words)).stderr.endswith(f"did you mean {near}?\n")


async def test_a_kind_stands_for_its_former_names_as_the_workers_know_them(cli, sql, end):
    about = json.dumps({"kinds": ["mail.new", "mail.old"], "aliases": {"mail.new": ["mail.old"], "mail.odd": 5}})
    await sql(
        f"insert into asyncjobs.worker (id, backend_pid, lease, about) values (gen_random_uuid(), 0, '1 h', '{about}')"
    )
    [old] = await end(kind="mail.old")
    [new] = await end(kind="mail.new")
    for kind, found in (("mail.new", [new, old]), ("mail.old", [old])):
        listed = await asyncio.to_thread(cli.json, "jobs", "list", "--kind", kind)
        assert [job["id"] for job in listed] == [str(job_id) for job_id in found]
    assert (await run(cli, "jobs", "retry", "--kind", "mail.new", "--yes")).stdout == "2 jobs retried\n"
    await run(cli, "queues", "pause", "--kind", "mail.new", "--for", "2h")
    paused = [row["name"] for row in await sql("select name from asyncjobs.pause order by name")]
    assert paused == ["mail.new", "mail.old"]
    await run(cli, "queues", "resume", "--kind", "mail.new")
    assert await sql("select name from asyncjobs.pause") == []
