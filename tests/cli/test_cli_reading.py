"""`asyncjobs status`, `queues list`, `jobs list`, `jobs show`."""

import asyncio
from uuid import uuid4

import cli_jobs
import pytest

from asyncjobs.db import reading
from asyncjobs.db.connecting import connect
from asyncjobs.exceptions import DatabaseUnavailable


async def run(cli, *words, **options):
    return await asyncio.to_thread(cli, *words, **options)


@pytest.fixture
async def filled(start, enqueue, cli):
    """Four kinds of end and beginning: one succeeded, one failed, one running, one scheduled, one ready."""
    await enqueue(cli_jobs.add(1), cli_jobs.fail("here\x1b[31m"))
    burst = start("--burst")
    assert await burst.exit_code() == 0
    await enqueue(cli_jobs.forever())
    worker = start()
    await worker.wait_for_log("begun forever")
    await enqueue(cli_jobs.add(5).set(wait=600, queue="later"))
    async with asyncio.timeout(5):
        await enqueue(cli_jobs.add(6))
    return worker


async def test_status_shows_queues_workers_and_ends(filled, cli):
    shown = await run(cli, "status", "--json")
    import json

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


async def test_jobs_are_listed_newest_first_a_page_at_a_time(filled, cli):
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
        (["--queue", "nowhere"], 0),
    ):
        assert len(await asyncio.to_thread(cli.json, "jobs", "list", *words)) == count, words
    wrong = await run(cli, "jobs", "list", "--state", "broken", code=2)
    assert "give one of scheduled, ready" in wrong.stderr


async def test_show_has_everything_about_a_job_and_nothing_that_steers_a_terminal(filled, cli):
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
    [good] = await asyncio.to_thread(
        cli.json, "jobs", "list", "--state", "succeeded", "--limit", 1, "--before", failed["id"]
    )
    assert (await asyncio.to_thread(cli.json, "jobs", "show", good["id"]))["result"] == 2
    missing = await run(cli, "jobs", "show", uuid4(), code=1)
    assert "can be seen" in missing.stderr
    await run(cli, "jobs", "show", "x", code=2)


async def test_a_long_value_is_cut_on_the_screen_only(enqueue, cli):
    job_id = await enqueue(cli_jobs.note("x" * 50_000))
    assert len((await run(cli, "jobs", "show", job_id)).stdout) < 5_000
    assert len((await asyncio.to_thread(cli.json, "jobs", "show", job_id))["arguments"]["text"]) == 50_000


async def test_queues_are_counted_to_a_bound(database_url, sql, monkeypatch):
    monkeypatch.setattr(reading, "COUNTED", 10)
    await sql(
        "insert into asyncjobs.job (id, kind, queue) select gen_random_uuid(), 'k', q from generate_series(1, 50), "
        "unnest(array['a', 'b']) as q"
    )
    connection = await connect(database_url)
    try:
        rows = await reading.queues(connection)
    finally:
        connection.terminate()
    assert [(row.queue, row.ready) for row in rows] == [("a", 10), ("b", 10)]
    assert rows[0].oldest is not None


def test_what_takes_too_long_is_given_up_and_changes_nothing(database_url):
    from asyncjobs.cli import database
    from asyncjobs.settings import load

    settings = load(database_url=database_url)

    async def read(statement):
        async with database.reader(settings) as connection:
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
