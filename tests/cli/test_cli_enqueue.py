"""`asyncjobs enqueue`."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from asyncjobs import Unique, job
from asyncjobs.cli.enqueue import read_arguments
from asyncjobs.exceptions import InvalidOption


@job(kind="cli_enqueue.single", unique=Unique())
async def single() -> None: ...


@job(kind="cli_enqueue.debounced", unique=Unique(on_conflict="replace"))
async def debounced(n: int) -> None: ...


async def run(cli, *words, **options):
    return await asyncio.to_thread(cli, *words, **options)


async def test_words_become_typed_arguments_and_the_id_is_printed(cli, sql):
    done = await run(cli, "enqueue", "cli_jobs.add", "a=40", "b=2", "--priority", "-5", "-q", "mine")
    [row] = await sql("select id, args, priority, queue, state from asyncjobs.job")
    assert done.stdout == f"{row['id']}\n"
    assert json.loads(row["args"]) == {"a": 40, "b": 2}
    assert tuple(row)[2:] == (-5, "mine", 1)


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["text=42"], {"text": "42", "many": None}),
        (["text=x", "many=[1, 2]"], {"text": "x", "many": [1, 2]}),
        (["text=a=b", "many:=null"], {"text": "a=b", "many": None}),
        (['{"text": "x", "many": [3]}'], {"text": "x", "many": [3]}),
    ],
)
async def test_a_value_is_text_where_text_fits_and_else_json(cli, sql, words, arguments):
    await run(cli, "enqueue", "cli_jobs.note", *words)
    [row] = await sql("select args from asyncjobs.job")
    assert json.loads(row["args"]) == arguments


async def test_in_and_at_say_when(cli, sql):
    moment = datetime.now(UTC) + timedelta(hours=3)
    await run(cli, "enqueue", "cli_jobs.add", "a=1", "--at", moment.isoformat())
    await run(cli, "enqueue", "no.such.kind", "x=1", "--unknown-kind", "--in", "5m")
    rows = await sql("select kind, state, run_at, args, run_at - now() as left from asyncjobs.job order by kind")
    assert rows[0]["run_at"] == moment
    assert rows[1]["state"] == 0
    assert timedelta(minutes=4) < rows[1]["left"] <= timedelta(minutes=5)
    assert json.loads(rows[1]["args"]) == {"x": 1}


async def test_tags_and_meta_are_stored_also_with_an_unknown_kind(cli):
    for words in (["cli_jobs.add", "a=1"], ["no.such.kind", "--unknown-kind"]):
        chosen = ["--tag", "nightly", "--tag", "import", "--meta", "customer=acme"]
        made = (await run(cli, "enqueue", *words, *chosen)).stdout.strip()
        [listed] = await asyncio.to_thread(cli.json, "jobs", "list", "--kind", words[0])
        assert (listed["id"], set(listed["tags"]), listed["meta"]) == (
            made,
            {"nightly", "import"},
            {"customer": "acme"},
        )
        refused = await run(cli, "enqueue", *words, "--tag", "t" * 101, code=2)
        assert "a tag has 101 characters" in refused.stderr
    assert "--meta" in (await run(cli, "enqueue", "cli_jobs.add", "a=1", "--meta", "customer", code=2)).stderr


async def test_a_job_that_was_there_already_is_told_from_a_new_one(cli):
    first = await run(cli, "enqueue", "cli_enqueue.single")
    assert first.stderr == ""
    again = await run(cli, "enqueue", "cli_enqueue.single")
    assert again.stdout == first.stdout
    assert "note: nothing was enqueued: job " in again.stderr and "was there already" in again.stderr
    shown = await asyncio.to_thread(cli.json, "enqueue", "cli_enqueue.single")
    assert shown == {"id": first.stdout.strip(), "disposition": "duplicate"}
    made = await asyncio.to_thread(cli.json, "enqueue", "cli_enqueue.debounced", "n=1")
    assert made["disposition"] == "enqueued"
    replaced = await run(cli, "enqueue", "cli_enqueue.debounced", "n=2")
    assert replaced.stdout.strip() == made["id"]
    assert "it has the new arguments now" in replaced.stderr


async def test_wait_prints_the_result_and_a_failure_is_exit_code_1(cli, start):
    worker = start()
    await worker.wait_for_log("ready: worker")
    assert (await run(cli, "enqueue", "cli_jobs.Greet", "name=you", "--wait")).stdout == '"hello you"\n'
    shown = json.loads((await run(cli, "enqueue", "cli_jobs.add", "a=1", "--wait", "--json")).stdout)
    assert shown["result"] == 2
    failed = await run(cli, "enqueue", "cli_jobs.fail", "word=x", "--wait", code=1)
    assert "builtins.ValueError: this fails: x" in failed.stderr
    late = await run(cli, "enqueue", "cli_jobs.forever", "--wait", "--timeout", "100ms", code=1)
    assert "did not end within 100ms" in late.stderr


async def test_a_program_that_waits_is_told_how_the_job_ended(cli, start):
    worker = start()
    await worker.wait_for_log("ready: worker")

    async def ending(*words, code=1):
        return json.loads((await run(cli, "enqueue", *words, "--wait", "--json", code=code)).stdout)

    failed = await ending("cli_jobs.fail", "word=x")
    assert failed["state"] == "failed"
    assert failed["error"]["type"] == "builtins.ValueError"
    assert failed["error"]["message"] == "this fails: x"
    assert "cli_jobs.py" in failed["error"]["traceback"]
    shown = await asyncio.to_thread(cli.json, "jobs", "show", failed["id"])
    assert shown["state"] == "failed"
    discarded = await ending("cli_jobs.unwanted", "why=too late")
    assert (discarded["state"], discarded["error"], discarded["reason"]) == ("discarded", None, "too late")
    late = await ending("cli_jobs.forever", "--timeout", "100ms")
    assert late["state"] is None
    assert (await asyncio.to_thread(cli.json, "jobs", "show", late["id"]))["state"] in ("ready", "running")
    assert (await ending("cli_jobs.add", "a=1", code=0))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["cli_jobs.ad", "a=1"], "did you mean 'cli_jobs.add'?"),
        (["cli_jobs.add", "a=x"], "cli_jobs.add: invalid arguments: a:"),
        (["cli_jobs.add"], "a: is missing"),
        (["cli_jobs.add", "a"], "write NAME=VALUE"),
        (["cli_jobs.add", "a=1", "--in", "soon"], "--in:"),
        (["cli_jobs.add", "a=1", "--in", "5m", "--at", "2030-01-01T00:00:00Z"], "give one of them"),
        (["cli_jobs.add", "a=1", "--at", "2030-01-01T00:00:00"], "has no time zone"),
        (["cli_jobs.add", "a=1", "-q", "not a queue"], "is no queue name"),
        (["cli_jobs.add", "a=1", "--timeout", "5s"], "give --wait, too"),
    ],
)
def test_what_cannot_be_enqueued_is_refused_in_one_line(cli, words, reason):
    done = cli("enqueue", *words, code=2)
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_arguments_are_read_once_each():
    assert read_arguments(["a=1", "b:=[1]"]) == {"a": ("1", 1), "b": ([1], [1])}
    assert read_arguments(["a=", "b=x=y"]) == {"a": ("", ""), "b": ("x=y", "x=y")}
    for words in (["a=1", "a=2"], ["a:=x"], ["{bad"], ["=1"]):
        with pytest.raises(InvalidOption):
            read_arguments(words)


async def test_who_waits_without_a_worker_is_told_what_the_job_waits_for(cli):
    late = await run(cli, "enqueue", "cli_jobs.add", "a=1", "--wait", "--timeout", "100ms", code=1)
    assert "waits for a worker: none is alive; start one with `asyncjobs run`" in late.stderr
    assert "did not end within 100ms; it goes on" in late.stderr
