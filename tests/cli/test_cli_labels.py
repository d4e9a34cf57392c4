"""`--tag`, `--meta` and `--arg` of `asyncjobs jobs list|retry|discard|cancel`, and what `jobs show` shows of them."""

import asyncio

import pytest

from asyncjobs import AsyncJobs, job

pytestmark = pytest.mark.asyncio


@job(kind="cli_labels.imported", searchable=("user_id", "code"))
async def imported(user_id: int, code: str = "") -> None: ...


@pytest.fixture
async def made(database_url):
    async with AsyncJobs(database_url=database_url):
        one = await imported(42, "7").set(tags=("nightly", "import"), meta={"customer": "acme"}).enqueue()
        two = await imported(7, "42").set(tags=("nightly",), wait=3600).enqueue()
    return str(one.id), str(two.id)


async def listed(cli, *words):
    return [row["id"] for row in await asyncio.to_thread(cli.json, "jobs", "list", *words)]


async def test_a_listing_is_narrowed_by_each_and_by_all_of_them(cli, made):
    one, two = made
    assert await listed(cli, "--tag", "nightly") == [two, one]
    assert await listed(cli, "--tag", "nightly", "--tag", "import") == [one]
    assert await listed(cli, "--meta", "customer=acme") == [one]
    assert await listed(cli, "--arg", "user_id=42") == [one]
    assert await listed(cli, "--arg", "code=42") == [two]  # as text, though it looks like a number
    assert await listed(cli, "--arg", "user_id=42", "--arg", "code=7", "--tag", "import", "--state", "ready") == [one]
    assert await listed(cli, "--arg", "user_id=42", "--arg", "code=42") == []
    assert await listed(cli, "--kind", "cli_labels.imported", "--arg", "user_id=42") == [one]


async def test_a_listing_and_a_job_show_tags_and_meta(cli, made):
    [row] = await asyncio.to_thread(cli.json, "jobs", "list", "--tag", "import")
    assert (row["tags"], row["meta"]) == (["nightly", "import"], {"customer": "acme"})
    shown = (await asyncio.to_thread(cli, "jobs", "show", made[0])).stdout
    assert "nightly, import" in shown
    assert "acme" in shown
    values = await asyncio.to_thread(cli.json, "jobs", "show", made[0])
    assert (values["tags"], values["meta"]) == (["nightly", "import"], {"customer": "acme"})
    assert "searchable" not in shown


async def test_an_empty_answer_says_that_only_searchable_arguments_are_found_without_a_kind(cli, made):
    done = await asyncio.to_thread(cli, "jobs", "list", "--arg", "other=1")
    assert "without --kind only arguments are found that a kind declares as searchable" in done.stderr


async def test_actions_take_all_that_match(cli, made):
    one, two = made
    answer = await asyncio.to_thread(cli.json, "jobs", "discard", "--tag", "nightly", "--arg", "user_id=7", "--yes")
    assert answer["total"] == 1 if "total" in answer else answer
    assert await listed(cli, "--state", "discarded") == [two]
    await asyncio.to_thread(cli, "jobs", "cancel", "--meta", "customer=acme", "--yes")
    assert await listed(cli, "--state", "cancelled") == [one]
    await asyncio.to_thread(cli, "jobs", "retry", "--tag", "import", "--state", "cancelled", "--yes")
    assert await listed(cli, "--state", "ready") == [one]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--arg", "user_id"), "--arg user_id: write NAME=VALUE, as in --arg user_id=42"),
        (("--meta", "=x"), "--meta =x: write NAME=VALUE"),
        (("--arg", "a=1", "--arg", "a=2"), "--arg: a is given twice: give it once"),
        (("--tag", ""), "a tag has 0 characters"),
    ],
)
async def test_what_is_no_filter_is_refused(cli, words, says):
    for command in ("list", "retry"):
        assert says in (await asyncio.to_thread(cli, "jobs", command, *words, code=2)).stderr
