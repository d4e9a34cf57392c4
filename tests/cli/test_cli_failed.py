"""`asyncjobs jobs failed`, and what is done with its groups."""

from __future__ import annotations

import asyncio
import json

import pytest


async def run(cli, *words, **options):
    return await asyncio.to_thread(cli, *words, **options)


@pytest.fixture
async def two_groups(end):
    await end(count=3, kind="mail")
    await end(count=1, kind="image")


async def test_groups_are_shown_largest_first_with_the_command_for_one(cli, two_groups):
    printed = (await run(cli, "jobs", "failed")).stdout
    assert printed.index("mail") < printed.index("image")
    assert "`asyncjobs jobs retry --group ID`" in printed
    assert "app.Odd" in (await run(cli, "status")).stdout
    found = json.loads((await run(cli, "jobs", "failed", "--json")).stdout)
    assert [(group["kind"], group["total"], group["error"]) for group in found["groups"]] == [
        ("mail", 3, "app.Odd"),
        ("image", 1, "app.Odd"),
    ]
    assert found["complete"]
    assert json.loads((await run(cli, "status", "--json")).stdout)["failed"] == found


async def test_nothing_failed_is_said(cli):
    assert (await run(cli, "jobs", "failed")).stdout == "no failed jobs\n"


async def test_a_group_is_retried_and_discarded_with_the_usual_asking(cli, two_groups, states):
    mail, image = json.loads((await run(cli, "jobs", "failed", "--json")).stdout)["groups"]
    refused = await run(cli, "jobs", "retry", "--group", mail["id"], code=2)
    assert "say --yes, or look first with --dry-run" in refused.stderr
    said = (await run(cli, "jobs", "retry", "--group", mail["id"], "--dry-run")).stdout
    assert said.startswith("3 jobs would be retried")
    assert json.loads((await run(cli, "jobs", "retry", "--group", mail["id"], "--yes", "--json")).stdout)["count"] == 3
    assert (await run(cli, "jobs", "discard", "--group", image["id"], "--yes")).stdout == "1 job discarded\n"
    assert await states() == {1: 3, 6: 1}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--group", "x"], "is no id of a group: give one that `asyncjobs jobs failed` shows"),
        (["--group", "0123456789"], "no group 0123456789 among the failed jobs"),
        (["--group", "0123456789", "--kind", "k"], "leave out kind="),
        (["--group", "0123456789", "--all"], "--all and a filter both say which jobs"),
    ],
)
async def test_what_is_no_group_is_refused_with_the_remedy(cli, words, says):
    assert says in (await run(cli, "jobs", "retry", *words, "--yes", code=2)).stderr


async def test_who_looks_may_see_the_groups_and_who_enqueues_may_not(make_cli, as_role, two_groups):
    assert "mail" in (await run(make_cli(as_role["looker"]), "jobs", "failed")).stdout
    assert "asyncjobs_viewer" in (await run(make_cli(as_role["web"]), "jobs", "failed", code=3)).stderr
