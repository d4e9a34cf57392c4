"""`asyncjobs jobs retry|discard|cancel|why|show`: what they do, what they refuse, and when they ask."""

import asyncio
import json
import os
import pty
import re
import sys
from uuid import UUID, uuid4

import cli_jobs
import pytest

from tests.cli.conftest import on_terminal
from tests.support import warm
from tests.support.asking import until


async def run(cli, *words, **options):
    return await asyncio.to_thread(cli, *words, **options)


async def read(cli, *words, **options):
    return await asyncio.to_thread(cli.json, *words, **options)


def answering(cli, answer, *words):
    """Run a command on a terminal and answer its question; its exit code and all it showed."""
    ours, theirs = pty.openpty()
    process = warm.start(
        [sys.executable, "-m", "asyncjobs", *map(str, words)],
        cwd=cli.directory,
        env={**os.environ, **cli.environment, "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "200"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
            if b"[y/N]" in shown and answer is not None:
                os.write(ours, answer)
                answer = None
        return process.wait(20), shown.decode()
    finally:
        os.close(ours)


async def test_jobs_are_retried_by_their_ids_and_what_cannot_be_is_said(end, cli, sql, states):
    failed, discarded = (await end(5))[0], (await end(6))[0]
    assert (await run(cli, "jobs", "retry", failed, discarded)).stdout == "2 jobs retried\n"
    assert await states() == {1: 2}
    succeeded, unknown = (await end(4))[0], uuid4()
    [other] = await end(5)
    done = await run(cli, "jobs", "retry", other, failed, succeeded, unknown, code=1)
    assert done.stdout == "1 job retried\n"
    assert f"job {failed} was not retried: it is ready" in done.stderr
    assert f"job {succeeded} was not retried: it succeeded: say --force to run it again" in done.stderr
    assert f"no job {unknown} can be seen" in done.stderr
    assert (await run(cli, "jobs", "retry", succeeded, "--force")).stdout == "1 job retried\n"
    assert (await run(cli, "jobs", "retry", succeeded, "--force", code=1)).stdout == "0 jobs retried\n"
    await run(cli, "jobs", "retry", "x", code=2)


async def test_a_dry_run_by_ids_says_the_same_and_changes_nothing(end, cli, states):
    ids = [*await end(5), *await end(4), uuid4()]
    done = await run(cli, "jobs", "retry", *ids, "--dry-run", code=1)
    assert done.stdout == "1 job would be retried\n"
    assert "it succeeded" in done.stderr
    assert await states() == {5: 1, 4: 1}
    values = await read(cli, "jobs", "retry", *ids, "--dry-run", code=1)
    assert (values["action"], values["dry_run"], values["count"]) == ("retry", True, 1)
    assert [(job["id"], job["done"], job["state"]) for job in values["jobs"]] == [
        (str(ids[0]), True, "failed"),
        (str(ids[1]), False, "succeeded"),
        (str(ids[2]), False, None),
    ]
    assert "--force" in values["jobs"][1]["problem"]


async def test_a_dry_run_by_filter_lists_the_first_and_changes_nothing(end, cli, states):
    ids = await end(5, 13, message='say "no"\n' + "x" * 500)
    shown = (await run(cli, "jobs", "retry", "--kind", "k", "--dry-run")).stdout.splitlines()
    assert shown[0] == "13 jobs would be retried"
    assert [line.split()[0] for line in shown[2:12]] == [str(job_id) for job_id in ids[:10]]
    assert 'app.Odd: say "no"' in shown[2]
    assert shown[12] == "and 3 more"
    assert await states() == {5: 13}
    values = await read(cli, "jobs", "discard", "--all", "--dry-run", "--limit", 3)
    assert (values["action"], values["dry_run"], values["count"]) == ("discard", True, 3)
    assert [job["id"] for job in values["first"]] == [str(job_id) for job_id in ids[:3]]
    assert values["first"][0]["error"]["type"] == "app.Odd"
    assert values["first"][0]["error"]["message"].startswith('say "no"\nxxx')


async def test_filters_narrow_and_go_together(end, cli, states):
    await end(5, 2)
    await end(5, 3, kind="other", queue="low")
    await end(5, 1, message="time is up", age="3 h")
    await end(7, 4)
    for words, count in (
        (["--kind", "other"], 3),
        (["--queue", "low"], 3),
        (["--error", "Odd"], 6),
        (["--error", "is up"], 1),
        (["--older-than", "2h"], 1),
        (["--state", "cancelled"], 4),
        (["--state", "Cancelled", "--state", "failed"], 10),
        (["--all"], 6),
        (["--all", "--limit", "2"], 2),
        (["--kind", "k", "--error", "brok"], 2),
        (["--kind", "nothing"], 0),
    ):
        assert (await read(cli, "jobs", "retry", *words, "--dry-run"))["count"] == count, words
    assert (
        await run(cli, "jobs", "discard", "--kind", "other", "--reason", "known", "--yes")
    ).stdout == "3 jobs discarded\n"
    assert (await run(cli, "jobs", "retry", "--all", "--yes")).stdout == "3 jobs retried\n"
    assert (await run(cli, "jobs", "cancel", "--queue", "q", "--yes", "--limit", "2")).stdout == "2 jobs cancelled\n"
    assert (await run(cli, "jobs", "cancel", "--queue", "nowhere", "--yes")).stdout == "0 jobs cancelled\n"
    assert await states() == {1: 1, 6: 3, 7: 6}


async def test_a_running_job_is_not_discarded_but_cancelled(start, enqueue, cli, connection):
    job_id = await enqueue(cli_jobs.forever())
    worker = start()
    await worker.wait_for_log("begun forever")
    refused = await run(cli, "jobs", "discard", job_id, "--yes", code=1)
    assert f"job {job_id} was not discarded: it runs: cancel it" in refused.stderr
    assert (await run(cli, "jobs", "cancel", job_id, "--yes", "--reason", "by hand")).stdout == "1 job cancelled\n"
    await until(connection, "select true from asyncjobs.finished where state = 7 and reason = 'by hand'")
    assert "it has ended as cancelled" in (await run(cli, "jobs", "cancel", job_id, "--yes", code=1)).stderr


async def test_a_job_that_failed_in_a_worker_is_retried_there(start, enqueue, cli, connection):
    job_id = await enqueue(cli_jobs.fail("once"))
    worker = start()
    await worker.wait_for_log("begun fail")
    failed = "select true from asyncjobs.finished where state = 5 and attempt = $1"
    await until(connection, failed, 1)
    await run(cli, "jobs", "retry", "--error", "this fails", "--yes")
    await until(connection, failed, 2)
    values = await read(cli, "jobs", "show", job_id)
    assert [error["attempt"] for error in values["errors"]] == [1, 2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["retry"], "or --all to retry all there are"),
        (["discard", "--limit", "3", "--yes"], "--group, --older-than, --tag, --meta and --arg, or --all to discard"),
        (["cancel", str(UUID(int=5)), "--kind", "k", "--yes"], "ids and a filter"),
        (["cancel", str(UUID(int=5)), "--all", "--yes"], "ids and a filter"),
        (["retry", "--all", "--kind", "k", "--yes"], "--all and a filter"),
        (["retry", "--kind", "k", "--force", "--yes"], "--force is for single jobs"),
        (["retry", "--state", "succeeded", "--yes"], "use failed, discarded, cancelled, scheduled"),
        (["discard", "--state", "running", "--yes"], "use scheduled, ready, waiting, failed"),
        (["cancel", "--older-than", "soon", "--yes"], "--older-than"),
        (["cancel", "--queue", "-x", "--yes"], "is no queue name"),
        (["discard", "--all", "--reason", "x" * 1001, "--yes"], "use at most 1000"),
        (["retry", "--all", "--error", "", "--yes"], "1 to 1000 characters"),
    ],
)
def test_what_does_not_say_which_jobs_is_a_usage_error(cli, words, said):
    assert said in cli("jobs", *words, code=2).stderr


async def test_without_a_terminal_nothing_is_changed_unless_it_is_agreed_to(end, cli, states):
    ids = await end(5, 2)
    for words in (
        ["discard", ids[0]],
        ["discard", "--all"],
        ["cancel", ids[0]],
        ["cancel", "--all"],
        ["retry", "--all"],
    ):
        refused = await run(cli, "jobs", *words, code=2)
        assert "say --yes, or look first with --dry-run" in refused.stderr
    assert await states() == {5: 2}
    await run(cli, "jobs", "retry", ids[0])  # one that was named is retried without a question


async def test_on_a_terminal_it_asks_and_shows_what_it_asks_about(end, cli, states):
    ids = await end(5, 2)
    code, shown = await asyncio.to_thread(answering, cli, b"n\n", "jobs", "retry", "--kind", "k")
    assert code == 1
    assert "retry 2 jobs? [y/N]" in shown
    assert str(ids[0]) in shown
    assert "nothing was changed" in shown
    assert await states() == {5: 2}
    code, shown = await asyncio.to_thread(answering, cli, b"y\n", "jobs", "discard", ids[0])
    assert code == 0
    assert "discard 1 job? [y/N]" in shown
    assert "1 job discarded" in shown
    code, shown = await asyncio.to_thread(answering, cli, b"y\n", "jobs", "retry", "--kind", "k")
    assert "1 job retried" in shown
    code, shown = await asyncio.to_thread(answering, cli, None, "jobs", "retry", "--kind", "k")
    assert (code, "0 jobs retried" in shown, "[y/N]" in shown) == (0, True, False)


async def test_why_says_what_a_job_waits_for(enqueue, cli, sql):
    job_id = await enqueue(cli_jobs.add(1).set(wait=600))
    shown = (await run(cli, "jobs", "why", job_id)).stdout
    assert shown.startswith("it waits for its time, at 2")
    values = await read(cli, "jobs", "why", job_id)
    assert (values["id"], values["state"]) == (str(job_id), "scheduled")
    assert values["why"].startswith("waits for its time, at 2")
    assert 590 < values["facts"]["due_in"] < 600
    assert (values["facts"]["workers"], values["facts"]["kind"], values["facts"]["error"]) == (0, "cli_jobs.add", None)
    ready = await enqueue(cli_jobs.fail("\x1b[31m"))
    assert "none is alive" in (await run(cli, "jobs", "why", ready)).stdout
    await sql("update asyncjobs.job set cancel_reason = E'\\x1b[31m' where state = 1")
    assert "\x1b" not in (await run(cli, "jobs", "why", ready)).stdout
    assert "can be seen" in (await run(cli, "jobs", "why", uuid4(), code=1)).stderr


async def test_show_has_every_attempt_and_what_is_counted_of_a_live_job(sql, cli):
    lines = [
        {"attempt": n, "at": f"2026-01-31T08:00:0{n}Z", "type": "app.Odd", "message": f"m{n}", "traceback": f"Traceback {n}\n" + "deep\n" * n}
        for n in (1, 2)
    ]  # fmt: skip
    errors = "\n".join(map(json.dumps, lines))
    [row] = await sql(
        "insert into asyncjobs.job (id, kind, state, attempt, crashes, errors, counts, expires_at, cancel_reason, worker) values "
        f"(gen_random_uuid(), 'k', 2, 2, 1, '{errors}', '{{\"app.Odd\": 2}}', '2030-01-01 00:00+00', 'asked', "
        "gen_random_uuid()) returning id"
    )
    values = await read(cli, "jobs", "show", row["id"])
    assert (values["crashes"], values["counts"], values["cancel_reason"]) == (1, {"app.Odd": 2}, "asked")
    assert values["expires_at"].startswith("2030-01-01")
    assert [error["message"] for error in values["errors"]] == ["m1", "m2"]
    shown = (await run(cli, "jobs", "show", row["id"])).stdout
    for part in ('counts         {"app.Odd": 2}', "cancel_reason  asked", "expires_at     2030-01-01T00:00:00.000Z"):
        assert part in shown, shown
    assert "finished_at" not in shown
    first, second = shown.index("attempt 1 at 2026-01-31T08:00:01"), shown.index("attempt 2 at 2026-01-31T08:00:02")
    assert first < second
    assert shown[second:].count("  deep") == 2


async def test_counts_written_by_hand_are_no_obstacle(sql, cli):
    for counts in ("no JSON", "[]", '{"a": "b"}'):
        [row] = await sql(
            f"insert into asyncjobs.job (id, kind, counts) values (gen_random_uuid(), 'k', '{counts}') returning id"
        )
        assert (await read(cli, "jobs", "show", row["id"]))["counts"] == {}


@pytest.mark.slow
async def test_a_job_that_ran_five_hundred_others_is_readable_and_their_results_are_what_they_were(cli, sql):
    jobs = [
        {"id": str(UUID(int=n)), "kind": "k.child", "of": "", "state": "succeeded", "result": n} for n in range(500)
    ]
    children = {
        "n": 1, "name": "children", "state": "succeeded", "attempt": 1, "started_at": "2026-01-31T08:00:00Z",
        "finished_at": "2026-01-31T08:00:01Z", "cursor": None, "result": None, "error": None, "event": None, "key": None,
        "wakes_at": None, "children": json.dumps({"jobs": jobs, "enqueued": True}),
    }  # fmt: skip
    many = [{**children, "n": n, "name": f"page {n}" * 20, "children": None, "result": "1"} for n in range(2, 600)]
    [row] = await sql(
        "insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, finished_at, attempt, priority, state, "
        "crashes, kind, queue, args, result, progress, steps) select asyncjobs.new_id(), 1, current_date + 1, now(), now(), 1, 0, "
        f"4, 0, 'k', 'q', '{{}}', '{json.dumps(list(range(500)))}', '{{}}', '{json.dumps([*many, children])}' returning id"
    )
    values = await read(cli, "jobs", "show", row["id"])
    assert values["steps"][-1]["result"] == list(range(500))
    shown = (await run(cli, "jobs", "show", row["id"])).stdout.splitlines()
    [steps, last] = [line for line in shown if "500 jobs:" in line or "earlier steps" in line]
    assert steps.startswith("children") and "500 jobs: 500 succeeded" in steps and "[0, 1, 2, 3," in steps
    assert last == "99 earlier steps are not shown; --json prints them all"
    assert max(len(line) for line in shown if not line.startswith("result")) < 260
    screen = await asyncio.to_thread(on_terminal, cli, "jobs", "show", str(row["id"]), COLUMNS="100", NO_COLOR="1")
    assert [line for line in re.sub(r"\x1b\[[0-9;]*m", "", screen).splitlines() if len(line) > 100] == []


def test_by_hand_no_middleware_of_the_project_is_needed(cli):
    file = cli.directory / "config.toml"
    file.write_text(file.read_text().replace("[default]", '[default]\nmiddleware = ["nowhere.to_be.Found"]', 1))
    for action in ("retry", "discard", "cancel"):
        cli("jobs", action, "--all", "--yes")
