"""The dashboard of an application with other rights, or with a prefix of its own."""

from __future__ import annotations

import asyncpg
import pytest
from web_jobs import Web, double

from tests.support.roles import logins


@pytest.fixture
def as_role(database_url: str) -> dict[str, str]:
    """URLs of the test's database, where the roles are applied, for the login of each."""
    return logins(database_url)


async def test_a_viewer_sees_all_pages_without_arguments_and_changes_nothing(
    make_jobs, as_role, own_connection: asyncpg.Connection
) -> None:
    async with make_jobs() as jobs:
        made = await double(4711).enqueue()
        await jobs.recurring.add("nightly", double(4712), schedule="@daily")
        writing = Web(jobs.dashboard())
        token = await writing.token(f"/confirm?action=discard&id={made.id}", "/do/jobs")
    async with make_jobs(database_url=as_role["looker"]) as jobs:
        web = Web(jobs.dashboard())
        for path in ("/", "/queues", "/jobs", f"/jobs/{made.id}", "/failures", "/recurring", "/batches", "/workers", "/system",
                     "/confirm?action=discard&state=ready"):  # fmt: skip
            answer = await web.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert "4711" not in answer.text
            assert "4712" not in answer.text
        assert "may not read them" in await web.text(f"/jobs/{made.id}")
        assert (await web.get(f"/jobs/{made.id}/arguments")).json() == "(hidden)"
        answer = await web.post("/do/jobs", data={"token": token, "action": "discard", "id": str(made.id)})
        assert answer.status_code == 403
        assert "asyncjobs_worker" in answer.text
    assert await own_connection.fetchval("select count(*) from asyncjobs.job") == 1
    assert await own_connection.fetchval("select count(*) from asyncjobs.audit") == 0


async def test_kinds_with_a_prefix_are_found_and_acted_on_by_either_name(
    make_jobs, own_connection: asyncpg.Connection
) -> None:
    async with make_jobs(kind_prefix="shop.") as jobs:
        await double(1).enqueue()
        web = Web(jobs.dashboard())
        for kind in ("web.double", "shop.web.double"):
            assert [job["kind"] for job in (await web.json(f"/jobs?kind={kind}"))["jobs"]] == ["shop.web.double"]
        answer = await web.submit("/confirm?action=discard&state=ready&kind=shop.web.double", "/do/jobs", action="discard", state="ready",
                                  kind="shop.web.double", back="/jobs")  # fmt: skip
        assert "1 job discarded" in await web.text(answer.headers["location"])
        await jobs.recurring.add("nightly", double(2), schedule="@daily")
        [one] = (await web.json("/recurring"))["recurring"]
        await web.submit("/recurring", "/do/recurring", action="pause", name=one["name"])
        assert (await jobs.recurring.all())[0].paused
