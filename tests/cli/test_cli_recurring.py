"""`asyncjobs recurring …`, and what `check`, `doctor` and each role have to do with it."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta

import cli_jobs
import pytest

from asyncjobs import AsyncJobs, PermissionDenied, Unique, job
from asyncjobs.cli.doctor import recurring_findings
from asyncjobs.db.connecting import connect
from asyncjobs.jobs.recurring import RecurringStatus
from tests.support.asking import until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DECLARED = """
[default.recurring.report]
job = "cli_jobs.note"
args = { text = "hello" }
schedule = "30 2 * * *"
timezone = "Europe/Paris"
"""


@pytest.fixture
def declared(project):
    """The project's configuration, with something that recurs."""
    path = project / "config.toml"
    path.write_text(path.read_text() + DECLARED)


@job(kind="cli_recurring.single", unique=Unique())
async def single() -> None: ...


async def added(url):
    async with AsyncJobs(database_url=url) as jobs:
        await jobs.recurring.add("minutely", cli_jobs.add(1), schedule="every 1 minutes")
        await jobs.recurring.add("daily", cli_jobs.note("x"), schedule="30 2 * * *", timezone="Europe/Paris")
        run = await jobs.recurring.run("daily")
        await jobs.cancel(run)
        return run


async def test_list_shows_when_in_words_what_came_of_the_last_and_when_it_is_next(cli, url):
    run = await added(url)
    shown = await asyncio.to_thread(cli, "recurring", "list")
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert lines[0] == "name schedule in words last ended next kind"
    assert lines[1].startswith("daily 30 2 * * * At 02:30 every day (Europe/Paris) 2")
    assert "cancelled" in lines[1] and "02:30:00+0" in lines[1] and "(in " in lines[1]
    assert lines[2].startswith("minutely every 1 minutes Every minute 2") or "Every minute" in lines[2]
    daily, minutely = await asyncio.to_thread(cli.json, "recurring", "list")
    assert (daily["name"], daily["last_job"], daily["last_state"]) == ("daily", str(run.id), "cancelled")
    assert (daily["in_words"], daily["paused"]) == ("At 02:30 every day (Europe/Paris)", False)
    assert (minutely["last_at"], minutely["kind"]) == (None, "cli_jobs.add")
    assert "args" not in daily


async def test_a_run_by_hand_says_that_its_job_was_there_already(cli, url):
    async with AsyncJobs(database_url=url) as jobs:
        await jobs.recurring.add("once", single(), schedule="@yearly")
    made = await asyncio.to_thread(cli, "recurring", "run", "once")
    assert made.stderr == ""
    again = await asyncio.to_thread(cli, "recurring", "run", "once")
    assert again.stdout == made.stdout
    assert again.stderr.startswith(f"asyncjobs: note: nothing was enqueued: job {made.stdout.strip()} was there")
    values = await asyncio.to_thread(cli.json, "recurring", "run", "once")
    assert (values["job"], values["disposition"]) == (made.stdout.strip(), "duplicate")


async def test_an_empty_list_says_how_something_is_made_to_recur(cli):
    assert "nothing recurs: declare it" in (await asyncio.to_thread(cli, "recurring", "list")).stdout


async def test_next_shows_its_next_times_in_its_zone_and_in_utc(cli, url):
    await added(url)
    shown = await asyncio.to_thread(cli, "recurring", "next", "daily", "--count", "10")
    lines = shown.stdout.splitlines()
    assert len(lines) == 11 and lines[0].split()[0] == "Europe/Paris"
    assert all(" 02:30:00+0" in line or " 03:00:00+02:00" in line for line in lines[1:])
    found = await asyncio.to_thread(cli.json, "recurring", "next", "daily", "--count", "400")
    times = [datetime.fromisoformat(time) for time in found["times"]]
    assert len(times) == 400
    assert all(
        timedelta(hours=22) < later - time < timedelta(hours=26) for time, later in zip(times, times[1:], strict=False)
    )
    refused = await asyncio.to_thread(cli, "recurring", "next", "dayly", code=2)
    assert "nothing recurs under the name 'dayly': there are daily, minutely" in refused.stderr


async def test_run_pause_and_resume(cli, url, sql):
    await added(url)
    assert "minutely is paused" in (await asyncio.to_thread(cli, "recurring", "pause", "minutely")).stdout
    assert "paused" in (await asyncio.to_thread(cli, "recurring", "list")).stdout.splitlines()[2]
    made = (await asyncio.to_thread(cli, "recurring", "run", "minutely")).stdout.strip()
    [row] = await sql(f"select kind, args, tick is not null as has_tick from asyncjobs.job where id = '{made}'")
    assert tuple(row) == ("cli_jobs.add", '{"a":1,"b":1}', True)
    assert await asyncio.to_thread(cli.json, "recurring", "resume", "minutely") == {"name": "minutely", "paused": False}
    assert (await asyncio.to_thread(cli.json, "recurring", "list"))[1]["paused"] is False
    for command in ("run", "pause", "resume"):
        done = await asyncio.to_thread(cli, "recurring", command, "nothing", code=2)
        assert "nothing recurs under the name 'nothing': there are daily, minutely" in done.stderr


async def test_check_shows_what_recurs_and_a_worker_stores_it(declared, make_cli, start, database_url, sql):
    checked = make_cli("postgresql://u@127.0.0.1:1/x")
    assert "At 02:30 every day (Europe/Paris)" in checked("check").stdout
    [what] = checked.json("check")["recurring"]
    assert (what["name"], what["kind"], what["declared"]) == ("report", "cli_jobs.note", "config")
    worker = start()
    await worker.wait_for_log("recurring report is added: cli_jobs.note, '30 2 * * *' in Europe/Paris")
    [row] = await sql("select args, declared from asyncjobs.recurring")
    assert tuple(row) == ('{"text":"hello","many":null}', "config")


@pytest.mark.parametrize(
    ("line", "becomes", "says"),
    [
        ('job = "cli_jobs.note"', 'job = "cli_jobs.nothing"', "config.toml:10: default.recurring.report.job: no job of kind 'cli_jobs.nothing'"),
        ('job = "cli_jobs.note"', 'job = "absent.report"', "config.toml:10: default.recurring.report.job: no job of kind 'absent.report' is known (there is no module 'absent'"),
        ('text = "hello"', "text = [1]", "config.toml:9: default.recurring.report: cli_jobs.note: invalid arguments: text"),
        ('schedule = "30 2 * * *"', 'schedule = "0 0 30 2 *"', "config.toml:12: default.recurring.report.schedule: schedule='0 0 30 2 *' never happens"),
        ('"Europe/Paris"', '"Mars/Olympus"', "config.toml:13: default.recurring.report.timezone: timezone='Mars/Olympus' is no known time zone"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "run"])
def test_what_cannot_recur_is_named_with_its_line_before_anything_is_connected(
    declared, make_cli, project, command, line, becomes, says
):
    path = project / "config.toml"
    path.write_text(path.read_text().replace(line, becomes))
    done = make_cli("postgresql://u@127.0.0.1:1/x")(command, code=2)
    assert says in done.stderr


def status(**given):
    said = dict.fromkeys(RecurringStatus.__dataclass_fields__)
    said |= {"name": "daily", "kind": "app.daily", "schedule": "@daily", "timezone": "UTC", "next_at": NOW}
    return RecurringStatus(**{**said, **given})


def test_doctor_judges_what_recurs():
    def judged(*rows):
        return [(finding.verdict, finding.text) for finding in recurring_findings(rows, NOW)]

    assert judged() == []
    assert judged(status(), status(next_at=None)) == [("ok", "2 on time, 1 of them paused or not enabled")]
    [(verdict, text)] = judged(status(next_at=NOW - timedelta(minutes=3)))
    assert verdict == "warn" and "has been due for 3m" in text and "start one that knows app.daily" in text
    left, late = recurring_findings([status(next_at=NOW - timedelta(minutes=3))], NOW, [("daily", "daily is left out")])
    assert (
        left.text.startswith("daily is left out: give that one") and "app.daily and can read its schedule" in late.text
    )
    [(verdict, text)] = judged(status(trouble="queue must be …", next_at=NOW - timedelta(minutes=3)))
    assert verdict == "warn" and "could not be enqueued, and is tried again: queue must be" in text


async def test_what_a_worker_cannot_read_is_shown_with_the_worker_as_long_as_it_is_so(
    cli, database_url, start, sql, connection
):
    await added(database_url)
    await sql(
        "update asyncjobs.recurring set timezone = 'Mars/Olympus', next_at = clock_timestamp() where name = 'daily'"
    )
    worker = start()
    await worker.wait_for_log("recurring daily is left to other workers: timezone='Mars/Olympus' is no known time zone")
    await until(connection, "select report like '%Mars/Olympus%' from asyncjobs.worker where dead_at is null")
    said = f"daily is left to others by {socket.gethostname()}, pid {worker.pid}: timezone='Mars/Olympus' is no known time zone"
    shown = await asyncio.to_thread(cli, "recurring", "list")
    assert said in shown.stdout
    daily, minutely = await asyncio.to_thread(cli.json, "recurring", "list")
    assert (daily["left_out"][0].startswith(said), minutely["left_out"]) == (True, [])
    found = await asyncio.to_thread(cli.json, "doctor")
    [finding] = [each for each in found if each["check"] == "recurring"]
    assert finding["verdict"] == "warn" and said in finding["text"] and "tzdata" in finding["text"]
    await sql("update asyncjobs.recurring set timezone = 'UTC', revision = revision + 1 where name = 'daily'")
    shown = await asyncio.to_thread(cli, "recurring", "list")
    assert "is left to others" not in shown.stdout


async def test_each_role_may_do_with_what_recurs_what_it_may(as_role, database_url, make_cli, start):
    await added(as_role["runner"])
    for role in ("looker", "runner"):
        listed = await asyncio.to_thread(make_cli(as_role[role]).json, "recurring", "list")
        assert [each["name"] for each in listed] == ["daily", "minutely"]
    for role in ("web", "looker"):
        async with AsyncJobs(database_url=as_role[role]) as jobs:
            for call in (jobs.recurring.pause("daily"), jobs.recurring.remove("daily"), jobs.recurring.run("daily"),
                         jobs.recurring.add("mine", cli_jobs.add(1), schedule="@daily")):  # fmt: skip
                with pytest.raises(PermissionDenied):
                    await call
    async with AsyncJobs(database_url=as_role["runner"]) as jobs:
        await jobs.recurring.add("beat", cli_jobs.add(1), schedule="* * * * * *")
    worker = start(url=as_role["runner"])
    await worker.wait_for_log("ready: worker")
    connection = await connect(database_url)
    await until(connection, "select count(*) > 1 from asyncjobs.recurring_tick where name = 'beat'")
    connection.terminate()
    assert "permission denied" not in worker.log
