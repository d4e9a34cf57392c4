"""What `status` and `doctor` make of what workers tell of themselves."""

import asyncio
import json

import pytest

STUCK = {
    "id": "01a20cf4-0dc0-797c-adfe-5633a58eaa77",
    "kind": "app.deaf",
    "reason": "timeout",
    "since": "2026-01-31T08:00:00Z",
}
DRAINING = {"draining": True}
TROUBLED = {"stuck": [STUCK], "blocked": {"app.block": {"count": 3, "longest": 1.24, "place": "/srv/app.py:7"}}}
BLOCKING = {"blocked": {"app.block": {"count": 2, "longest": 0.3}}}


@pytest.fixture
def workers(sql):
    """Have workers alive, each with its report."""

    async def workers(*reports):
        about = {"host": "h", "pid": 7, "pools": [{"queues": ["*"], "concurrency": 3}], "kinds": ["app.block"]}
        for report in reports:
            await sql(
                "insert into asyncjobs.worker (id, backend_pid, lease, about, report) values "
                f"(gen_random_uuid(), 0, '1 hour', '{json.dumps(about)}', '{json.dumps(report)}')"
            )

    return workers


async def status(cli):
    return (await asyncio.to_thread(cli, "status")).stdout


async def diagnose(cli, check):
    findings = await asyncio.to_thread(cli.json, "doctor")
    return [(found["verdict"], found["text"]) for found in findings if found["check"] == check]


async def test_status_names_stuck_jobs_and_what_blocks_over_all_workers(cli, workers):
    await workers(TROUBLED, BLOCKING, {})
    lines = [line.split() for line in (await status(cli)).splitlines()]
    assert [STUCK["id"], "app.deaf", "timeout", STUCK["since"]] in [line[:4] for line in lines]
    assert ["app.block", "5", "1.2s", "/srv/app.py:7"] in lines
    shown = (await asyncio.to_thread(cli.json, "status"))["workers"]
    assert [(worker["draining"], worker["stuck"]) for worker in shown] == [(False, [STUCK]), (False, []), (False, [])]
    assert shown[0]["blocked"] == TROUBLED["blocked"]


async def test_status_says_nothing_of_troubles_where_there_are_none(cli, workers):
    await workers({}, DRAINING, {"stuck": "?", "blocked": 3})
    shown = await status(cli)
    assert shown.count("(draining)") == 1
    assert "stuck" not in shown and "event loop" not in shown


async def test_doctor_has_a_remedy_for_what_is_stuck_and_what_blocks(cli, workers):
    await workers(TROUBLED, BLOCKING)
    [(verdict, text)] = await diagnose(cli, "stuck")
    assert verdict == "warn"
    assert f"app.deaf {STUCK['id']} goes on at h, pid 7, cancelled since {STUCK['since']} (timeout)" in text
    [(verdict, text)] = await diagnose(cli, "event loop")
    assert (verdict, text.startswith("app.block blocked it 5 times, for up to 1.2 s, at /srv/app.py:7, and")) == (
        "warn",
        True,
    )
    assert 'executor="process"' in text


async def test_doctor_counts_no_draining_worker_as_serving(cli, workers, sql):
    await sql("select asyncjobs.enqueue(kind => 'app.block')")
    await workers(DRAINING)
    [(verdict, text)] = await diagnose(cli, "workers")
    assert (verdict, "draining" in text) == ("warn", True)
    assert await diagnose(cli, "jobs") == [("ok", "1 ready")]
    await workers({})
    [(verdict, text)] = await diagnose(cli, "workers")
    assert (verdict, text.startswith("2 alive, 1 of them draining")) == ("ok", True)
    assert await diagnose(cli, "jobs") == [("ok", "1 ready, all served")]
