"""`asyncjobs queues pause|resume`, and where a pause is shown."""

from __future__ import annotations

import asyncio
import json

import cli_jobs
import pytest

from asyncjobs import AsyncJobs
from tests.support.roles import refusals


def test_a_pause_is_shown_until_it_is_resumed(cli):
    said = cli("queues", "pause", "mailers", "--until", "2h", "--reason", "the host is down", "--by", "ada").stdout
    assert said.startswith("queue mailers is paused since ")
    assert said.endswith(", by ada (the host is down)\n")
    for words in (["queues", "list"], ["status"]):
        printed = cli(*words).stdout
        assert "queue mailers" in printed
        assert "the host is down" in printed
    [row] = cli.json("queues", "list")
    assert (row["queue"], row["ready"], row["pause"]["by"]) == ("mailers", 0, "ada")
    [pause] = cli.json("status")["pauses"]
    assert (pause["queue"], pause["kind"], pause["reason"]) == ("mailers", None, "the host is down")
    [found] = [found for found in cli.json("doctor") if found["check"] == "pauses"]
    assert found["verdict"] == "warn"
    assert found["text"].endswith("`asyncjobs queues resume mailers` lets it go on")
    assert cli("queues", "resume", "mailers").stdout == "queue mailers goes on\n"
    assert cli.json("queues", "list") == []


def test_a_kind_is_paused_and_resumed_by_its_name(cli):
    made = cli.json("queues", "pause", "--kind", "cli_jobs.add")
    assert (made["kind"], made["queue"], made["until"], made["reason"]) == ("cli_jobs.add", None, None, "")
    assert "kind cli_jobs.add" in cli("queues", "list").stdout
    assert "--kind cli_jobs.add` lets it go on" in cli("doctor").stdout
    assert cli.json("queues", "resume", "--kind", "cli_jobs.add")["resumed"]


async def test_a_name_that_nobody_knows_is_noted_with_one_that_was_perhaps_meant(cli, enqueue):
    await enqueue(cli_jobs.add(1, 2))
    typo = await asyncio.to_thread(cli, "queues", "pause", "defualt")
    assert typo.stderr.endswith(
        "no job of queue 'defualt' is stored, and no worker or pool names that queue; did you mean default?\n"
    )
    bare = await asyncio.to_thread(cli, "queues", "pause", "--kind", "add")
    assert bare.stderr.endswith("did you mean cli_jobs.add?\n")
    assert (await asyncio.to_thread(cli, "queues", "pause", "default")).stderr == ""


async def test_jobs_why_tells_of_it(cli, enqueue):
    job_id = await enqueue(cli_jobs.add(1))
    await asyncio.to_thread(cli, "queues", "pause", "default", "--by", "ada")
    assert "it waits: queue default is paused, by ada" in (await asyncio.to_thread(cli, "jobs", "why", job_id)).stdout
    assert json.loads((await asyncio.to_thread(cli.json, "jobs", "why", job_id))["facts"]["pause"])["by"] == "ada"


def test_what_is_not_paused_is_not_resumed_and_it_says_what_is(cli):
    cli("queues", "pause", "mailers")
    assert "queue mailer is not paused; paused: queue mailers" in cli("queues", "resume", "mailer", code=1).stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "which? give the name of a queue, or --kind"),
        (["q", "--kind", "k"], "which? give the name of a queue, or --kind"),
        (["mail*"], "is a pattern, and a pause is of one queue"),
        (["q", "--until", "soon"], "--until soon is no time: give a time span such as 45s"),
        (["q", "--until", "2030-01-01T00:00"], "has no time zone: give one, as in 2030-01-01T00:00+01:00"),
        (["q", "--until", "0s"], "--until 0s is no time"),
        (["q", "--until", "2020-01-01T00:00Z"], "has come already, by the database's clock"),
        (["q", "--reason", "r" * 1001], "use at most 1000"),
        (["q", "--by", ""], "by='' is no name"),
    ],
)  # fmt: skip
def test_what_cannot_be_paused_is_refused_with_the_remedy(cli, words, says):
    assert says in cli("queues", "pause", *words, code=2).stderr


async def test_workers_pause_and_viewers_look_and_enqueuers_do_neither(as_role):
    pause = "select asyncjobs.pause('queue', array['q'], null, null, '', '')"
    looks = "select name from asyncjobs.pause"
    for login, may in (("runner", [True, True]), ("looker", [False, True]), ("web", [False, False])):
        found = await refusals(as_role[login], pause, looks)
        assert [not found[pause], not found[looks]] == may
    async with AsyncJobs(database_url=as_role["runner"]) as jobs:
        await jobs.pause(queue="q")
        assert await jobs.resume(queue="q")
