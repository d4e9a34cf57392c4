"""`asyncjobs jobs show` and `jobs why` of a job in a chain."""

import asyncio
import json

import cli_jobs
import pytest

from asyncjobs import AsyncJobs, chain


def chained(count):
    return chain(*(cli_jobs.add(n) for n in range(count)))


@pytest.mark.slow
async def test_cancelled_by_its_first_job_all_of_it_is_counted(url, cli, states, make_cli, as_role):
    async with AsyncJobs(database_url=url):
        first, second, third = chained(4), chained(5), chained(3)
        for each in (first, second, third):
            await each.enqueue()
    along = "of them with those that were named: the rest of a chain, or what a step runs"
    dry = await asyncio.to_thread(cli, "jobs", "cancel", first.jobs[0].id, "--dry-run")
    assert dry.stdout == f"4 jobs would be cancelled, 3 {along}\n"
    done = await asyncio.to_thread(cli, "jobs", "cancel", first.jobs[0].id, "--yes")
    assert done.stdout == f"4 jobs cancelled, 3 {along}\n"
    said = await asyncio.to_thread(cli.json, "jobs", "cancel", second.jobs[2].id, second.jobs[1].id, "--yes")
    assert (said["count"], [each["along"] for each in said["jobs"]]) == (4, [0, 2])
    assert [each["problem"] for each in said["jobs"]] == [None, None]
    # Whoever only enqueues is told the number, too, and of no other job.
    done = await asyncio.to_thread(make_cli(as_role["web"]), "jobs", "cancel", third.jobs[0].id, "--yes")
    assert done.stdout == f"3 jobs cancelled, 2 {along}\n"
    looker = await asyncio.to_thread(make_cli(as_role["looker"]), "jobs", "cancel", second.jobs[0].id, "--dry-run")
    assert looker.stdout == "1 job would be cancelled\n"
    assert await states() == {1: 1, 7: 11}


async def test_named_or_matched_each_of_it_is_cancelled_by_the_call(url, cli, states):
    async with AsyncJobs(database_url=url):
        first, second = chained(3), chained(600)
        for each in (first, second):
            await each.enqueue()
    done = await asyncio.to_thread(cli, "jobs", "cancel", *(each.id for each in reversed(first.jobs)), "--yes")
    assert done.stdout == "3 jobs cancelled\n"
    done = await asyncio.to_thread(cli, "jobs", "cancel", "--all", "--yes")
    assert done.stdout == "600 jobs cancelled\n"
    assert await states() == {7: 603}
    again = await asyncio.to_thread(cli, "jobs", "cancel", first.jobs[1].id, "--yes", code=1)
    assert (again.stdout, "it has ended as cancelled" in again.stderr) == ("0 jobs cancelled\n", True)


async def test_what_a_step_runs_is_counted_and_what_a_running_job_takes_along_later_is_not(url, cli, sql, states):
    async with AsyncJobs(database_url=url) as jobs:
        parent, child, other = cli_jobs.add(1), cli_jobs.add(2), cli_jobs.add(3)
        running = chained(3)
        for each in (parent, child, other):
            await jobs.enqueue(each)
        await running.enqueue()
        assert await jobs.cancel_all(kind="nothing.of_this") == 0
    await sql(
        "insert into asyncjobs.step (job, n, attempt, started_at, name, state, children) values "
        f"('{parent.id}', 1, 1, now(), 'both', 'running', '{{\"jobs\": [{{\"id\": \"{child.id}\"}}]}}'), "
        f"('{parent.id}', 2, 1, now(), 'apart', 'running', '{{\"jobs\": [{{\"id\": \"{other.id}\"}}], \"detached\": true}}')"
    )
    await sql(f"update asyncjobs.job set state = 2, fence = 7 where id in ('{child.id}', '{running.jobs[0].id}')")
    dry = await asyncio.to_thread(cli.json, "jobs", "cancel", parent.id, "--dry-run")
    assert (dry["count"], dry["jobs"][0]["along"]) == (2, 1)
    said = await asyncio.to_thread(cli.json, "jobs", "cancel", parent.id, running.jobs[0].id, "--yes")
    assert (said["count"], [(each["along"], each["state"]) for each in said["jobs"]]) == (
        3,
        [(1, "cancelled"), (0, "running")],
    )
    assert await states() == {0: 2, 1: 1, 2: 2, 7: 1}
    dry = await asyncio.to_thread(cli, "jobs", "cancel", running.jobs[0].id, "--dry-run")
    assert dry.stdout == "1 job would be cancelled\n"


async def test_from_python_all_are_counted_too(url):
    async with AsyncJobs(database_url=url) as jobs:
        await chained(4).enqueue()
        await chain(cli_jobs.note("x"), cli_jobs.add(1), cli_jobs.add(2)).enqueue()
        assert await jobs.cancel_all(kind=cli_jobs.note) == 3
        assert await jobs.cancel_all(limit=1) == 4


async def test_a_chain_is_drawn_and_its_jobs_say_what_they_wait_for(start, database_url, cli):
    first, second, *others = (cli_jobs.add(1), cli_jobs.fail("here"), *(cli_jobs.add(n) for n in range(14)))
    chained = chain(first, second, *others)
    async with AsyncJobs(database_url=database_url):
        await chained.enqueue()
    assert await start("--burst").exit_code() == 0
    shown = await asyncio.to_thread(cli, "jobs", "show", str(others[0].id))
    lines = shown.stdout.partition("chain:\n")[2].splitlines()
    assert lines[0] == f"    {first.kind} {first.id} succeeded"
    assert lines[1] == f"    {second.kind} {second.id} failed"
    assert lines[2] == f"  → {others[0].kind} {others[0].id} scheduled"
    assert lines[-1] == "    … and those after"
    assert len(lines) == 2 + 1 + 10 + 1
    parts = json.loads((await asyncio.to_thread(cli, "jobs", "show", str(first.id), "--json")).stdout)["chain"]
    assert [part["state"] for part in parts[:3]] == ["succeeded", "failed", "scheduled"]
    why = await asyncio.to_thread(cli, "jobs", "why", str(others[0].id))
    assert f"waits for the job before it in its chain, {second.kind} {second.id}, which has failed" in why.stdout
    alone = await asyncio.to_thread(cli, "jobs", "show", str(first.id))
    assert "chain:" in alone.stdout
