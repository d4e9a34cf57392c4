"""What can be done in the dashboard, end to end, and what is noted of it."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import pytest
from web_jobs import Gate, Web, double, fail, failed_import, wait_at_gate

from asyncjobs import AsyncJobs, JobFailed, job
from asyncjobs.db import audit, job_actions, looking
from asyncjobs.web import actions, forms
from tests.support.asking import until

STATE = "select state from asyncjobs.job_status where id = $1"


async def fail_twice(jobs: AsyncJobs) -> list[str]:
    made = [await fail("the disk is full").enqueue() for _ in range(2)]
    for one in made:
        with pytest.raises(JobFailed):
            await one
    return [str(one.id) for one in made]


async def entries(connection: asyncpg.Connection) -> list[audit.Entry]:
    return await audit.read(connection)


async def test_one_job_is_retried_and_its_page_says_by_whom(
    working: Web, jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await failed_import(jobs)
    page = f"/jobs/{made.id}"
    answer = await working.submit(page, "/do/jobs", action="retry", id=str(made.id))
    assert answer.status_code == 303
    back = answer.headers["location"]
    assert back.startswith(f"{page}?notice=")
    assert "1 job retried" in await working.text(back)
    with pytest.raises(JobFailed):
        await made
    [entry] = await entries(connection)
    assert entry[4:] == ("127.0.0.1", "retry", "job", str(made.id), "")
    assert (entry.jobs, entry.ended_at is not None) == (1, True)
    assert "127.0.0.1 retry" in await working.text(page)


async def test_a_job_is_retried_from_one_of_its_steps(
    working: Web, jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await failed_import(jobs)
    await working.submit(f"/jobs/{made.id}", "/do/jobs", action="retry", id=str(made.id), from_step="fetch")
    with pytest.raises(JobFailed):
        await made
    assert (await entries(connection))[0].detail == "from step fetch, at once"
    [step] = (await made.status()).steps
    assert step.attempt == 2


async def test_a_scheduled_job_is_run_now(working: Web, connection: asyncpg.Connection) -> None:
    made = await double(4).set(wait=3600).enqueue()
    await working.submit(f"/jobs/{made.id}", "/do/jobs", action="run", id=str(made.id))
    assert await made.result(timeout=10) == 8


async def test_a_running_job_is_cancelled_after_a_question(working: Web, connection: asyncpg.Connection) -> None:
    made = await wait_at_gate().enqueue()
    await Gate.arrived.wait()
    question = f"/confirm?action=cancel&id={made.id}&back=/jobs/{made.id}"
    assert "Cancel 1 job?" in await working.text(question)
    await working.submit(question, "/do/jobs", action="cancel", id=str(made.id), reason="not needed", back="/jobs")
    await until(connection, "select count(*) = 1 from asyncjobs.finished where state = 7")
    status = await made.status()
    assert (status.state, status.reason) == ("cancelled", "not needed")


async def test_all_that_match_are_retried_after_a_question_that_counts_them(
    working: Web, jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await fail_twice(jobs)
    made = await failed_import(jobs)
    question = "/confirm?action=retry&state=failed&error=disk&back=/jobs"
    assert "Retry 2 jobs?" in await working.text(question)
    token = await working.token(question, "/do/jobs")
    fields = {"token": token, "action": "retry", "state": "failed", "error": "disk", "back": "/jobs"}
    answer = await working.post("/do/jobs", data=fields)
    assert "2 jobs retried" in await working.text(answer.headers["location"])
    assert (await made.status()).attempt == 1
    [entry] = await entries(connection)
    assert (entry.jobs, entry.subject) == (2, "failed jobs, with the error disk")


@job(kind="web.renamed", aliases=("web.before",))
async def renamed() -> None: ...


async def test_of_a_kind_only_what_the_page_shows_is_acted_on(
    working: Web, jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "select asyncjobs.enqueue(name, queue => 'nobody') from unnest('{web.renamed,web.before}'::text[]) as name"
    )
    [shown] = (await working.json("/jobs?kind=web.renamed"))["jobs"]
    question = "/confirm?action=cancel&state=ready&kind=web.renamed&back=/jobs"
    token = await working.token(question, "/do/jobs")
    fields = {"token": token, "action": "cancel", "state": "ready", "kind": "web.renamed", "back": "/jobs"}
    answer = await working.post("/do/jobs", data=fields)
    assert "1 job cancelled" in await working.text(answer.headers["location"])
    assert str(await connection.fetchval("select id from asyncjobs.finished")) == shown["id"]


async def test_a_group_of_failures_is_discarded(working: Web, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    await fail_twice(jobs)
    [group] = (await working.json("/failures"))["groups"]
    question = f"/confirm?action=discard&group={group['id']}&back=/failures"
    assert "Discard 2 jobs? failed jobs of kind web.fail, with ValueError: the disk is full" in await working.text(
        question
    )
    answer = await working.submit(
        question, "/do/jobs", action="discard", group=group["id"], reason="a test", back="/failures"
    )
    assert "2 jobs discarded: a test." in await working.text(answer.headers["location"])
    assert "discard failed jobs of kind web.fail, with ValueError: the disk is full" in await working.text("/system")
    assert [row["reason"] for row in await connection.fetch("select reason from asyncjobs.finished")] == ["a test"] * 2


async def test_of_chosen_jobs_each_has_an_entry_of_its_own_beside_that_of_all(
    web: Web, connection: asyncpg.Connection
) -> None:
    made = [await double(n).enqueue() for n in range(3)]
    gone = uuid4()
    ids = [str(job.id) for job in made[:2]] + [str(gone)]
    question = "/confirm?action=discard&back=/jobs&" + "&".join(f"id={job_id}" for job_id in ids)
    assert "Discard 3 jobs?" in await web.text(question)
    answer = await web.submit(question, "/do/jobs", action="discard", id=ids, back="/jobs")
    assert "2 jobs discarded: nothing was done: it is not there any more" in await web.text(answer.headers["location"])
    assert [(entry.scope, entry.jobs) for entry in await entries(connection)] == [
        ("jobs", 2),
        ("job", 0),
        ("job", 1),
        ("job", 1),
    ]
    assert await connection.fetchval(STATE, made[2].id) == 1


async def test_a_retry_that_another_job_stands_in_the_way_of_says_which(
    web: Web, client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await double(1).enqueue()
    other = await double(2).enqueue()
    await client.discard(made)
    await connection.execute("update asyncjobs.finished set unique_key = 'k', unique_until = 0")
    await connection.execute("update asyncjobs.job set unique_key = 'k', unique_until = 0 where id = $1", other.id)
    answer = await web.submit(f"/jobs/{made.id}", "/do/jobs", action="retry", id=str(made.id))
    assert f"job {other.id} has its unique key" in await web.text(answer.headers["location"])


async def test_an_action_and_its_entry_are_stored_together_or_not_at_all(
    web: Web, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await double(1).enqueue()

    async def broken(*_: object, **__: object) -> None:
        raise asyncpg.UniqueViolationError("no")

    question = f"/confirm?action=discard&id={made.id}"
    token = await web.token(question, "/do/jobs")
    monkeypatch.setattr(audit, "add", broken)
    answer = await web.post("/do/jobs", data={"token": token, "action": "discard", "id": str(made.id)})
    assert answer.status_code == 500
    assert await connection.fetchval(STATE, made.id) == 1
    assert await entries(connection) == []


async def test_what_takes_long_goes_on_behind_and_its_entry_says_how_far_it_is(
    web: Web, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(6):
        await double(n).enqueue()
    going, seen, discard = asyncio.Event(), asyncio.Event(), job_actions.discard

    async def slowly(*given: object, **named: object) -> list[job_actions.Done]:
        if seen.is_set():
            await going.wait()
        seen.set()
        return await discard(*given, **named)

    monkeypatch.setattr(job_actions, "discard", slowly)
    monkeypatch.setattr(job_actions, "BATCH", 4)
    monkeypatch.setattr("asyncjobs.client.job_actions.BATCH", 4)
    monkeypatch.setattr(actions, "PATIENCE", 0.05)
    question = "/confirm?action=discard&state=ready"
    answer = await web.submit(question, "/do/jobs", action="discard", state="ready", back="/jobs")
    page = answer.headers["location"]
    await until(connection, "select jobs = 4 from asyncjobs.audit")
    assert "Under way: discard of ready jobs, 4 jobs so far" in await web.text(page)
    going.set()
    await until(connection, "select ended_at is not null from asyncjobs.audit")
    assert "6 jobs discarded" in await web.text(page)


async def test_an_action_that_is_cut_short_says_so_and_how_far_it_came(
    make_jobs, own_connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, discard = asyncio.Event(), job_actions.discard

    async def slowly(*given: object, **named: object) -> list[job_actions.Done]:
        if seen.is_set():
            await asyncio.Event().wait()
        seen.set()
        return await discard(*given, **named)

    monkeypatch.setattr(job_actions, "discard", slowly)
    monkeypatch.setattr(job_actions, "BATCH", 2)
    monkeypatch.setattr("asyncjobs.client.job_actions.BATCH", 2)
    monkeypatch.setattr(actions, "PATIENCE", 0.05)
    async with make_jobs() as jobs:
        for n in range(4):
            await double(n).enqueue()
        web = Web(jobs.dashboard())
        await web.submit(
            "/confirm?action=discard&state=ready", "/do/jobs", action="discard", state="ready", back="/jobs"
        )
        await until(own_connection, "select jobs = 2 from asyncjobs.audit")
    [entry] = await entries(own_connection)
    assert (entry.jobs, entry.detail) == (2, "ended early: the dashboard was stopped")
    assert entry.ended_at is not None


async def test_a_queue_is_paused_and_resumed(web: Web, client: AsyncJobs, connection: asyncpg.Connection) -> None:
    await double(1).enqueue()
    await web.submit("/queues", "/do/queue", action="pause", queue="numbers", reason="a move", until="2h")
    [pause] = await client.pauses()
    assert (pause.queue, pause.reason, pause.by) == ("numbers", "a move", "127.0.0.1")
    assert pause.until is not None
    assert "by 127.0.0.1: a move" in await web.text("/queues")
    await web.submit("/queues", "/do/queue", action="resume", queue="numbers")
    assert await client.pauses() == []
    assert [(entry.action, entry.subject, entry.detail) for entry in await entries(connection)] == [
        ("resume", "numbers", ""), ("pause", "numbers", "for 2h, a move")]  # fmt: skip


async def test_a_schedule_is_run_paused_and_resumed(
    web: Web, client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await client.recurring.add("nightly", double(1), schedule="@daily")
    answer = await web.submit("/recurring", "/do/recurring", action="run", name="nightly")
    assert "Done: run recurring nightly" in await web.text(answer.headers["location"])
    assert await connection.fetchval("select count(*) from asyncjobs.job") == 1
    for action, paused in (("pause", True), ("resume", False)):
        await web.submit("/recurring", "/do/recurring", action=action, name="nightly")
        assert (await client.recurring.all())[0].paused is paused
    answer = await web.submit("/recurring", "/do/recurring", action="run", name="weekly")
    assert answer.status_code == 404


async def test_a_quiet_worker_claims_nothing_until_it_is_told_to_go_on(
    make_jobs, own_connection: asyncpg.Connection
) -> None:
    async with make_jobs().running() as jobs:
        working = Web(jobs.dashboard())
        await until(own_connection, "select count(*) = 1 from asyncjobs.worker where dead_at is null")
        [worker] = (await working.json("/workers"))["workers"]
        await working.submit("/workers", "/do/worker", action="quiet", id=worker["id"])
        await until(own_connection, "select report like '%told to be quiet%' from asyncjobs.worker")
        made = await double(21).enqueue()
        text = await working.text("/workers")
        assert "quiet" in text
        assert "it is drained: nothing runs here" in text
        assert "quiet" in await jobs.why(made)
        # Under another id, too, which it takes where others have buried it.
        await own_connection.execute("delete from asyncjobs.worker")
        await until(own_connection, "select bool_and(quiet) from asyncjobs.worker")
        [worker] = (await working.json("/workers"))["workers"]
        await working.submit("/workers", "/do/worker", action="go on", id=worker["id"])
        assert await made.result(timeout=10) == 42
        assert not (await working.json("/workers"))["workers"][0]["quiet"]


async def test_a_read_only_dashboard_shows_no_form_and_takes_none(client: AsyncJobs) -> None:
    made = await double(1).enqueue()
    writing, web = Web(client.dashboard()), Web(client.dashboard(read_only=True))
    token = await writing.token(f"/confirm?action=discard&id={made.id}", "/do/jobs")
    for page in ("/", "/queues", "/jobs?state=ready", f"/jobs/{made.id}", "/recurring", "/workers"):
        assert 'method="post"' not in (await web.get(page)).text
    answer = await web.post("/do/jobs", data={"token": token, "action": "discard", "id": str(made.id)})
    assert answer.status_code == 404
    assert (await made.status()).state == "ready"
    assert ">read-only<" in (await web.get("/")).text


async def test_the_name_that_auth_gives_is_noted(client: AsyncJobs, connection: asyncpg.Connection) -> None:
    async def allow(request) -> str:
        return f"dana via {request.headers['x-team']}"

    web = Web(
        client.dashboard(auth=allow), headers={"x-team": "ops"}, base="https://ops.example.com", client="10.0.0.7"
    )
    await double(1).enqueue()
    await web.submit("/queues", "/do/queue", action="pause", queue="numbers")
    assert [entry.who for entry in await entries(connection)] == ["dana via ops"]
    assert (await client.pauses())[0].by == "dana via ops"


async def test_the_system_page_lists_what_was_done_page_by_page(
    web: Web, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        await audit.begin(connection, who="dana", action="pause", scope="queue", subject=f"q{n}")
    monkeypatch.setattr("asyncjobs.web.pages.system.AUDITED", 2)
    first = await web.json("/system")
    second = await web.json(f"/system?before={first['next']}")
    assert [entry["subject"] for entry in (*first["audit"], *second["audit"])] == ["q4", "q3", "q2", "q1"]
    assert re.search("dana pause .* queue q4", await web.text("/system"))


async def test_entries_are_forgotten_after_ninety_days(connection: asyncpg.Connection) -> None:
    for n in range(3):
        await audit.begin(connection, who="dana", action="pause", scope="queue", subject=f"q{n}")
    await connection.execute("update asyncjobs.audit set at = at - interval '91 days' where subject <> 'q2'")
    assert await audit.forget(connection, 1) == 1
    assert await audit.forget(connection, 500) == 1
    assert [entry.subject for entry in await audit.read(connection)] == ["q2"]


def test_each_state_says_what_can_be_done_with_all_of_it() -> None:
    for state, named in forms.BULK.items():
        for name in named:
            assert state in [each.name for each in forms.ACTIONS[name].action.states], (state, name)


async def test_a_question_looks_at_so_many_jobs_however_few_match(
    web: Web, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fail().enqueue()
    for n in range(5):
        await double(n).enqueue()
    assert "Cancel 1 job?" in await web.text("/confirm?action=cancel&state=ready&kind=web.fail")
    assert "Cancel no job?" in await web.text("/confirm?action=cancel&state=ready&kind=web.other")
    monkeypatch.setattr(looking, "COUNTED_FEW", 4)
    text = await web.text("/confirm?action=cancel&state=ready&kind=web.other")
    assert "Cancel all that match? ready jobs of kind web.other" in text
    assert "None was among those that were looked at." in text


async def test_a_filter_stands_in_the_address_as_browsers_write_it(web: Web) -> None:
    page = "/jobs?state=failed&tag=tenant:7&kind=app.jobs/a;b,c@d!"
    made = await fail().enqueue()
    question = await web.get(f"/confirm?action=discard&id={made.id}&back={quote(page)}")
    assert question.status_code == 200
    assert (await web.get(f"/confirm?action=discard&id={made.id}&back=//elsewhere.example")).status_code == 400


async def test_a_queue_is_neither_paused_nor_resumed_without_an_action(
    working: Web, connection: asyncpg.Connection
) -> None:
    await double(1).enqueue()
    answer = await working.submit("/queues", "/do/queue", queue="default")
    assert (answer.status_code, "action must be pause or resume" in answer.text) == (400, True)
    assert not await connection.fetch("select from asyncjobs.pause")
