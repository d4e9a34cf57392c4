"""What the pages show, and the JSON of the same."""

from __future__ import annotations

import json
import os
import socket
from bisect import bisect_left
from types import SimpleNamespace
from uuid import UUID

import asyncpg
import pytest
from web_jobs import Gate, Import, Web, double, fail, failed_import, wait_at_gate

from asyncjobs import AsyncJobs, Batch, chain
from asyncjobs.db import looking, sql
from asyncjobs.web.pages import batches
from asyncjobs.worker.watching.waits import BOUNDS
from tests.support.asking import until

PAGES = ("/", "/queues", "/jobs", "/failures", "/recurring", "/batches", "/workers", "/system")
LISTS = {"/jobs": "jobs", "/failures": "groups", "/recurring": "recurring", "/batches": "batches",
         "/workers": "workers"}  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
async def test_each_page_of_an_empty_database_is_made_and_says_so(web: Web, path: str) -> None:
    assert "None" not in await web.text(path)
    values = await web.json("/overview" if path == "/" else path)
    if path in LISTS:
        assert values[LISTS[path]] == []


async def test_the_overview_counts_by_state_and_says_what_needs_somebody(web: Web, client: AsyncJobs) -> None:
    for number in range(3):
        await double(number).enqueue()
    values = await web.json("/overview")
    assert values["states"]["ready"] == {"jobs": 3, "more": False}
    assert [one["text"] for one in values["attention"]] == [
        "Jobs are ready and no worker is alive: start `asyncjobs run`."
    ]
    assert "no worker is alive" in await web.text("/")


async def test_the_overview_says_who_has_paused_what_for_how_long_and_why_and_leads_there(
    web: Web, client: AsyncJobs
) -> None:
    await double(1).enqueue()
    await client.pause(queue="numbers", reason="the warehouse moves", until=7200, by="dana")
    await client.pause(kind="web.fail", by="kim")
    values = await web.json("/overview")
    assert [(one["text"], one["path"]) for one in values["attention"]][1:] == [
        ("Queue numbers is paused for another 1h 59m, by dana: the warehouse moves; 1 ready", "/queues#queue-numbers"),
        ("Kind web.fail is paused, until it is resumed, by kim", "/queues#paused-kinds"),
    ]
    assert 'href="/queues#queue-numbers"' in (await web.get("/")).text
    queues = (await web.get("/queues")).text
    assert 'id="queue-numbers"' in queues and 'id="paused-kinds"' in queues
    text = await web.text("/")
    assert "ready 1 in paused queues" in text and "nothing waits" not in text


async def test_queues_without_jobs_are_shown_and_can_be_paused_ahead(
    web: Web, client: AsyncJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = client._in_use().settings.pools[0]
    pools = (pool.model_copy(update={"queues": ("letters", "mail*", "-bulk")}),)
    monkeypatch.setitem(client._in_use().settings.__dict__, "pools", pools)
    shown = [queue["queue"] for queue in (await web.json("/queues"))["queues"]]
    assert {"letters", "numbers", "imports"} <= set(shown) and not {"mail*", "-bulk", "bulk"} & set(shown)
    answer = await web.submit("/queues", "/do/queue", action="pause", queue="next-year", reason="not yet", until="2h")
    assert answer.status_code == 303
    [paused] = [queue for queue in (await web.json("/queues"))["queues"] if queue["queue"] == "next-year"]
    assert (paused["pause"]["reason"], paused["ready"]["jobs"]) == ("not yet", 0)


async def test_what_ended_lately_is_counted_by_minute_and_by_half_hour(
    working: Web, connection: asyncpg.Connection
) -> None:
    await double(1).enqueue()
    await until(connection, "select count(*) = 1 from asyncjobs.finished")
    for span, width in (("1h", 60.0), ("24h", 1800.0)):
        flow = (await working.json(f"/overview?span={span}"))["throughput"]
        assert (flow["seconds_each"], flow["succeeded_in_all"], flow["others_in_all"], flow["shortened"]) == (
            width,
            1,
            0,
            False,
        )


async def test_where_counting_takes_too_long_a_shorter_time_is_counted_and_said_so(
    working: Web, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await double(1).enqueue()
    await until(connection, "select count(*) = 1 from asyncjobs.finished")
    await connection.execute("update asyncjobs.finished set finished_at = finished_at - interval '5 s'")
    slow = sql.read("read_throughput").replace(
        "from asyncjobs.finished", "from asyncjobs.finished, pg_sleep(case when $1 > 5 then 0.2 else 0 end)"
    )
    monkeypatch.setattr(
        looking, "sql", SimpleNamespace(read=lambda name: slow if name == "read_throughput" else sql.read(name))
    )
    for span in ("24h", "1h"):
        flow = (await working.json(f"/overview?span={span}"))["throughput"]
        assert (flow["seconds"], flow["shortened"], flow["succeeded_in_all"]) == (60, True, 1)
    assert "Ended in the last 1 minute" in await working.text("/")


async def test_jobs_are_found_by_state_kind_queue_and_error_and_counts_follow_the_filter(
    working: Web, connection: asyncpg.Connection
) -> None:
    for message in ("the disk is full", "the disk is gone", "no such customer"):
        await fail(message).enqueue()
    await double(4).enqueue()
    await until(connection, "select count(*) = 4 from asyncjobs.finished")
    for query, found in (("", 4), ("?state=failed", 3), ("?state=succeeded", 1), ("?kind=web.double", 1), ("?queue=default", 3),
                         ("?state=failed&error=disk", 2), ("?error=ValueError", 3), ("?state=ready", 0)):  # fmt: skip
        assert len((await working.json(f"/jobs{query}"))["jobs"]) == found, query
    counts = (await working.json("/jobs?error=disk&kind=web.fail"))["counts"]
    assert {state: count["jobs"] for state, count in counts.items() if count["jobs"]} == {"failed": 2}
    [one] = (await working.json("/jobs?state=failed&error=customer"))["jobs"]
    assert one["error"] == {"type": "builtins.ValueError", "message": "no such customer"}
    assert "ValueError no such customer" in await working.text("/jobs?state=failed")


async def test_a_job_is_found_by_the_beginning_of_its_id_that_pages_show_and_several_are_listed(
    web: Web, client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    one, other = UUID("0190b6d2-7a4f-7c63-9d0e-8b1f6a2c4e90"), UUID("0190b6d2-7a4f-7c64-9d0e-8b1f6a2c4e90")
    for job_id in (one, other):
        await connection.execute("insert into asyncjobs.job (id, kind) values ($1, 'web.double')", job_id)
    assert "0190b6d2-7a4f-7c63 " in await web.text("/jobs")
    for given in ("0190b6d2-7a4f-7c63", "0190B6D27A4F7C63", str(one)):
        answer = await web.get(f"/jobs?id={given}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{one}")
    assert [job["id"] for job in (await web.json("/jobs?id=0190b6d2"))["jobs"]] == [str(other), str(one)]
    first = await web.json("/jobs?id=0190b6d2&limit=1")
    assert ([job["id"] for job in first["jobs"]], first["next"]) == ([str(other)], str(other))
    second = await web.json(f"/jobs?id=0190b6d2&limit=1&before={other}")
    assert ([job["id"] for job in second["jobs"]], second["next"]) == ([str(one)], None)
    assert "Older jobs" in await web.text("/jobs?id=0190b6d2&limit=1")
    assert "No job and no batch" in await web.text("/jobs?id=0190b6d3")
    for given in ("0190b6d", "8b1f6a2c4e9g"):
        assert "at least 8 of 0-9 a-f" in await web.text(f"/jobs?id={given}", 400)


async def test_of_a_batch_that_is_not_counted_to_its_end_no_share_is_shown(
    web: Web, client: AsyncJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COUNTED_IN_LIST", "COUNTED"):
        monkeypatch.setattr(batches, name, 2)
    batch = await Batch("large").add(*(double(n) for n in range(4))).enqueue()
    for page in ("/batches", f"/batches/{batch.id}"):
        text = await web.text(page)
        assert "more than 2" in text and " of 3" not in text


async def test_a_batch_is_found_by_the_beginning_of_its_id(web: Web, client: AsyncJobs) -> None:
    batch = Batch("Receipts of July")
    batch.add(double(3))
    await batch.enqueue()
    short = str(batch.id)[:18]
    assert f"Receipts of July {short}" in await web.text("/batches")
    assert (await web.get(f"/jobs?id={short}")).headers["location"] == f"/batches/{batch.id}"


async def test_kinds_are_shown_whole_and_a_piece_of_one_leads_to_it(web: Web, client: AsyncJobs) -> None:
    await wait_at_gate().enqueue()
    assert "web.wait_at_gate" in await web.text("/jobs")
    for piece in ("gate", "wait_at", "wait_at_gaet"):
        assert "web.wait_at_gate" in (await web.json(f"/jobs?kind={piece}"))["near"], piece
    assert 'href="/jobs?state=ready&amp;kind=web.wait_at_gate"' in (await web.get("/jobs?state=ready&kind=gate")).text
    assert (await web.json("/jobs?kind=web.fail"))["near"] == []


@pytest.mark.parametrize("state", ["", "state=ready", "state=scheduled"])
async def test_a_list_is_read_page_by_page_and_shows_each_job_once(web: Web, client: AsyncJobs, state: str) -> None:
    made = [await double(n).set(wait=600 if "scheduled" in state else None).enqueue() for n in range(7)]
    found, path = [], f"/jobs?limit=3&{state}"
    while path:
        page = await web.json(path)
        found += [job["id"] for job in page["jobs"]]
        path = page["next"] and f"/jobs?limit=3&{state}&before={page['next']}"
    assert found == [str(job.id) for job in reversed(made)]


async def test_a_page_looks_at_so_many_jobs_and_says_where_to_look_further(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest = await double(0).enqueue()
    for n in range(10):
        await fail(str(n)).enqueue()
    monkeypatch.setattr(looking, "LOOKS", (2, 4))
    page = await web.json("/jobs?kind=web.double")
    assert page["jobs"] == []
    assert "Look further" in await web.text("/jobs?kind=web.double")
    for _ in range(3):
        if page["jobs"]:
            break
        page = await web.json(f"/jobs?kind=web.double&before={page['next']}")
    assert [job["id"] for job in page["jobs"]] == [str(oldest.id)]


async def test_of_a_state_with_few_jobs_all_are_found_behind_however_many_others(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = await double(0).set(wait=600).enqueue()
    for n in range(10):
        await double(n).enqueue()
    monkeypatch.setattr(looking, "LOOKS", (2, 4))
    assert [job["id"] for job in (await web.json("/jobs?state=scheduled"))["jobs"]] == [str(later.id)]


async def test_the_page_of_a_job_shows_its_way_steps_arguments_and_errors(working: Web, jobs: AsyncJobs) -> None:
    made = await failed_import(jobs)
    values = await working.json(f"/jobs/{made.id}")
    job = values["job"]
    assert job["arguments"] == {"file": "july.csv"}
    assert job["attributes"] == {"rows": 12}
    assert [(step["name"], step["state"], step["result"]) for step in job["steps"]] == [("fetch", "succeeded", 12)]
    assert [event["what"] for event in values["timeline"]] == [
        "enqueued", "attempt 1 started", "attempt 1 failed", "failed",
    ]  # fmt: skip
    assert values["timeline"][1]["detail"] == f"on {socket.gethostname()}, pid {os.getpid()}"
    times = [event["at"] for event in values["timeline"]]
    assert times[1] == job["errors"][0]["started_at"] < times[2]
    text = await working.text(f"/jobs/{made.id}")
    for part in ("It failed", "july.csv", "the warehouse is away", "in store", "fetch", "Retry from it", "web.Import"):
        assert part in text, part


async def test_the_time_line_has_each_attempt_and_where_an_old_error_names_no_start_that_of_the_row(
    web: Web, connection: asyncpg.Connection
) -> None:
    made = await double(1).enqueue()
    error = {
        "attempt": 1,
        "at": "2026-01-31T08:00:05+00:00",
        "type": "builtins.OSError",
        "message": "away",
        "traceback": "",
    }
    told = {**error, "started_at": "2026-01-31T08:00:02+00:00", "worker": "shop-1, pid 7"}
    last = {**error, "attempt": 2, "at": "2026-01-31T08:10:00+00:00"}
    await connection.execute(
        "update asyncjobs.job set state = 0, attempt = 2, started_at = '2026-01-31 08:09:00Z', errors = $2 where id = $1",
        made.id, f"{json.dumps(told)}\n{json.dumps(last)}",
    )  # fmt: skip
    events = (await web.json(f"/jobs/{made.id}"))["timeline"]
    assert [(event["at"][11:19], event["what"], event["detail"]) for event in events[1:5]] == [
        ("08:00:02", "attempt 1 started", "on shop-1, pid 7"),
        ("08:00:05", "attempt 1 failed", "after 3.0s, OSError: away"),
        ("08:09:00", "attempt 2 started", ""),
        ("08:10:00", "attempt 2 failed", "after 1m, OSError: away"),
    ]


async def test_a_running_job_is_shown_with_its_worker_and_can_be_cancelled(working: Web) -> None:
    made = await wait_at_gate().enqueue()
    await Gate.arrived.wait()
    text = await working.text(f"/jobs/{made.id}")
    assert "running" in text
    assert "Cancel…" in text
    assert "pid" in text
    Gate.open.set()
    assert await made == "through"
    assert '"through"' in await working.text(f"/jobs/{made.id}")


async def test_chain_batch_and_children_lead_to_each_other(web: Web, client: AsyncJobs) -> None:
    one, other = double(1), double(2)
    await chain(one, other).enqueue()
    assert [link["id"] for link in (await web.json(f"/jobs/{one.id}"))["job"]["chain"]] == [str(one.id), str(other.id)]
    batch = Batch("Receipts of July")
    batch.add(double(3), fail())
    await batch.enqueue()
    [listed] = (await web.json("/batches"))["batches"]
    assert (listed["description"], listed["total"], listed["done"]) == ("Receipts of July", 2, 0)
    page = await web.json(f"/batches/{batch.id}")
    assert len(page["jobs"]) == 2
    assert (await web.json(f"/jobs/{page['jobs'][0]['id']}"))["job"]["batch"] == str(batch.id)
    assert "Receipts of July" in await web.text(f"/batches/{batch.id}")


async def test_failures_are_shown_in_groups_of_kind_error_and_line(
    working: Web, connection: asyncpg.Connection
) -> None:
    for _ in range(3):
        await fail("the disk is full").enqueue()
    await Import(file="x").enqueue()
    await until(connection, "select count(*) = 4 from asyncjobs.finished")
    groups = (await working.json("/failures"))["groups"]
    assert [(group["kind"], group["error"], group["total"]) for group in groups] == [
        ("web.fail", "builtins.ValueError", 3), ("web.Import", "builtins.ConnectionError", 1)]  # fmt: skip
    assert "ValueError the disk is full" in await working.text("/failures")


async def test_schedules_are_shown_in_words_with_their_next_times(web: Web, client: AsyncJobs) -> None:
    await client.recurring.add("nightly", double(1), schedule="30 2 * * 1-5", timezone="Europe/Paris")
    [one] = (await web.json("/recurring"))["recurring"]
    assert one["in_words"].startswith("At 02:30")
    assert len(one["next_times"]) == 5
    assert "Europe/Paris" in await web.text("/recurring")


async def test_workers_are_shown_with_pools_and_what_blocks_their_loops(
    web: Web, connection: asyncpg.Connection
) -> None:
    report = {"draining": False, "stuck": [], "claims_nothing": "", "left_out": [],
              "blocked": {"web.double": {"count": 2, "longest": 1.5, "place": "/srv/shop.py:12 in double"}},
              "lag": 0.0123, "waits": {"numbers": {bisect_left(BOUNDS, 0.02): 94, bisect_left(BOUNDS, 3.0): 6}}}  # fmt: skip
    about = {"host": "shop-1", "pid": 7, "pools": [{"queues": ["*"], "concurrency": 10}], "kinds": ["web.double"]}
    await connection.execute(
        "insert into asyncjobs.worker (id, backend_pid, backend_start, lease, about, report) "
        "values (gen_random_uuid(), 1, now(), interval '1 hour', $1, $2)",
        json.dumps(about),
        json.dumps(report),
    )
    [worker] = (await web.json("/workers"))["workers"]
    assert worker["slots"] == 10
    assert worker["late"] is False
    text = await web.text("/workers")
    assert "web.double /srv/shop.py:12 in double 2 1.5s" in text
    assert "late by 12 ms at most" in text
    [numbers] = [queue for queue in (await web.json("/queues"))["queues"] if queue["queue"] == "numbers"]
    assert numbers["waits"] == {
        "p50": pytest.approx(0.02, rel=0.1),
        "p95": pytest.approx(3.0, rel=0.1),
        "starts": 100,
    }
    assert "has blocked the event loop, for 1.5s at the longest, at /srv/shop.py:12 in double" in await web.text("/")


async def test_the_system_shows_schema_tables_days_and_settings_without_the_password(
    web: Web, client: AsyncJobs
) -> None:
    client._in_use().settings.__dict__["database_url"] = "postgresql://me:s3cret@db/x"
    values = await web.json("/system")
    assert values["settings"]["database_url"] == "postgresql://me:***@db/x"
    assert {"job", "finished", "audit"} <= {table["name"] for table in values["tables"]}
    assert "s3cret" not in (await web.get("/system")).text
    assert "s3cret" not in json.dumps(values)


async def test_long_values_are_left_out_of_a_page_and_one_link_away(web: Web, connection: asyncpg.Connection) -> None:
    made = await double(1).enqueue()
    long = json.dumps({"number": 1, "text": "x" * 300_000})
    await connection.execute("update asyncjobs.job set args = $2 where id = $1", made.id, long)
    page = await web.get(f"/jobs/{made.id}")
    assert len(page.content) < 20_000
    assert "They are long." in page.text
    assert (await web.get(f"/jobs/{made.id}/arguments")).json() == json.loads(long)


async def test_a_value_that_fits_a_page_is_cut_there_after_so_many_characters(
    web: Web, connection: asyncpg.Connection
) -> None:
    made = await double(1).enqueue()
    await connection.execute(
        "update asyncjobs.job set args = $2 where id = $1", made.id, json.dumps({"text": "y" * 50_000})
    )
    assert (await web.get(f"/jobs/{made.id}")).text.count("y" * 100) < 50


async def test_a_refresh_is_the_content_alone(web: Web) -> None:
    answer = await web.get("/queues", headers={"hx-request": "true"})
    assert answer.text.lstrip().startswith("<h1>")
    assert "<html" not in answer.text


async def test_a_job_that_is_not_there_is_a_404_in_html_and_in_json(web: Web) -> None:
    unknown = "01900000-0000-7000-8000-000000000001"
    for path in (f"/jobs/{unknown}", f"/batches/{unknown}", f"/jobs/{unknown}/result", "/nothing", "/jobs/x"):
        assert (await web.get(path)).status_code == 404, path
    answer = await web.get(f"/api/jobs/{unknown}")
    assert (answer.status_code, answer.json()["error"]) == (404, "Not found")


async def test_jobs_are_found_by_tag_and_by_argument_and_their_page_shows_tags_and_meta(
    web: Web, client: AsyncJobs
) -> None:
    tagged = await double(7).set(tags=("import", "customer-7"), meta={"request": "r-1"}).enqueue()
    await double(8).set(tags=("import",)).enqueue()
    await double(9).enqueue()
    values = await web.json("/jobs?tag=import")
    assert [job["tags"] for job in values["jobs"]] == [["import"], ["import", "customer-7"]]
    assert values["counts"]["ready"] == {"jobs": 2, "more": False}
    assert [job["id"] for job in (await web.json("/jobs?tag=import&arg=number=7"))["jobs"]] == [str(tagged.id)]
    assert (await web.json("/jobs?arg=number=10&kind=web.double"))["jobs"] == []
    first = await web.json("/jobs?tag=import&limit=1")
    assert [len(first["jobs"]), first["next"]] == [1, first["jobs"][0]["id"]]
    assert "write NAME=VALUE" in await web.text("/jobs?arg=7", 400)
    text = await web.text(f"/jobs/{tagged.id}")
    assert "customer-7" in text and "r-1" in text


async def test_all_with_a_tag_are_discarded(web: Web, client: AsyncJobs) -> None:
    made = [await double(n).set(tags=("old",) if n % 2 else ()).enqueue() for n in range(4)]
    page = "/confirm?action=discard&state=ready&tag=old"
    assert "Discard 2 jobs? ready jobs, with the tag old" in await web.text(page)
    await web.submit(page, "/do/jobs", back="/jobs", action="discard", state="ready", tag="old")
    assert [(await each.status()).state for each in made] == ["ready", "discarded", "ready", "discarded"]


async def test_the_page_of_a_job_shows_its_progress_and_the_end_of_its_stream(
    web: Web, client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await double(7).enqueue()
    await connection.execute("insert into asyncjobs.live_job (job, done, total, note, shown_at) "
                             "values ($1, 30, 40, '<b>pages</b>', now())", made.id)  # fmt: skip
    await connection.execute("insert into asyncjobs.stream_item (job, n, sent_at, attempt, value) "
                             "select $1, n, now(), 1, '\"<i>' || n || '\"' from generate_series(1, 50) as n", made.id)  # fmt: skip
    values = (await web.json(f"/jobs/{made.id}"))["job"]
    assert (values["progress"]["done"], values["progress"]["of"], values["items"]) == (30, 40, 50)
    assert [item["n"] for item in values["stream"]] == list(range(31, 51))
    text = await web.text(f"/jobs/{made.id}")
    assert "30 of 40: <b>pages</b>" in text and "50 items" in text and "<i>50" in text
