"""`asyncjobs run`: one process, its signals, its start and its end."""

import asyncio
import json
import signal
import time

import cli_jobs
import pytest

from tests.support.processes import SLACK
from tests.support.proxy import STARTING_UP, Proxy

SHUTDOWN = 0.3
"""shutdown_timeout of the project."""
GRACE = 2.0
"""Seconds after it within which a process has ended, whatever happens."""


async def ended(worker, *, limit):
    """Its exit code, after no more than *limit* seconds and what a busy machine adds."""
    return await worker.exit_code(limit + SLACK)


async def running(start, enqueue, job, *args, **options):
    """A worker that runs the job now."""
    worker = start(*args, **options)
    job_id = await enqueue(job)
    await worker.wait_for_log("begun")
    return worker, job_id


def row_of(job_id):
    return f"select state, attempt, crashes, worker from asyncjobs.job where id = '{job_id}'"


async def test_burst_runs_what_is_ready_and_ends_with_code_0(start, enqueue, sql):
    await enqueue(*(cli_jobs.add(n) for n in range(20)), cli_jobs.fail("x"), cli_jobs.add(1).set(wait=60))
    worker = start("--burst")
    assert await worker.exit_code() == 0
    assert "ready: worker" in worker.log
    assert "16 kinds" in worker.log
    assert "stopped: 21 jobs ended here" in worker.log
    [row] = await sql("select count(*) from asyncjobs.job")
    assert row["count"] == 1


async def test_burst_waits_for_the_jobs_of_a_worker_that_has_just_been_killed(start, enqueue, sql):
    killed, job_id = await running(start, enqueue, cli_jobs.once_forever())
    killed.kill()
    worker = start("--burst")
    assert await worker.exit_code() == 0
    assert "stopped: 1 jobs ended here" in worker.log
    [finished] = await sql("select id, crashes from asyncjobs.finished")
    assert (finished["id"], finished["crashes"]) == (job_id, 1)


async def test_a_signal_lets_running_jobs_finish_and_claims_no_more(start, enqueue, sql):
    worker, job_id = await running(start, enqueue, cli_jobs.brief(), "--shutdown-timeout", "10m")
    worker.stop(signal.SIGINT)
    await worker.wait_for_log("received SIGINT")
    await enqueue(cli_jobs.add(1))
    assert await ended(worker, limit=5) == 0
    [finished] = await sql("select id from asyncjobs.finished")
    assert finished["id"] == job_id
    [left] = await sql("select attempt from asyncjobs.job")
    assert left["attempt"] == 0


async def test_what_is_left_after_the_shutdown_timeout_is_released_unspent(start, enqueue, sql):
    worker, job_id = await running(start, enqueue, cli_jobs.forever(), "--shutdown-timeout", "100ms")
    worker.stop()
    assert await ended(worker, limit=2) == 0
    [row] = await sql(row_of(job_id))
    assert tuple(row) == (1, 0, 0, None)
    [gone] = await sql("select dead_at from asyncjobs.worker")
    assert gone["dead_at"] is not None


async def test_a_second_signal_cancels_at_once_and_a_third_ends_the_process(start, enqueue, sql):
    twice, job_id = await running(start, enqueue, cli_jobs.forever(), "--shutdown-timeout", "10m")
    twice.stop()
    await twice.wait_for_log("received SIGTERM: jobs may finish within 600 s")
    twice.stop()
    assert await ended(twice, limit=GRACE) == 0
    [row] = await sql(row_of(job_id))
    assert tuple(row) == (1, 0, 0, None)
    thrice = start("--shutdown-timeout", "10m")
    await thrice.wait_for_log("begun")
    for count in (1, 2):
        await enqueue(cli_jobs.stubborn())
        await thrice.wait_for_log("begun", count=count + 1)
    thrice.stop()
    await thrice.wait_for_log("received SIGTERM")
    thrice.stop()
    await thrice.wait_for_log("ignored its cancellation", count=2)
    thrice.stop()
    assert await ended(thrice, limit=0.5) == 130


async def test_a_job_that_does_not_end_cannot_keep_the_process(start, enqueue):
    workers = {}
    for kind in ("spin", "stubborn", "thread"):
        workers[kind] = start(ASYNCJOBS_POOLS=json.dumps([{"queues": [kind], "concurrency": 1}]))
        await enqueue(getattr(cli_jobs, kind)().set(queue=kind))
    for kind, worker in workers.items():
        await worker.wait_for_log(f"begun {kind}")
    for worker in workers.values():
        worker.stop()
    for worker in workers.values():
        await worker.wait_for_log("received SIGTERM")  # with spin, the loop is blocked
    codes = await asyncio.gather(*(ended(worker, limit=SHUTDOWN + GRACE) for worker in workers.values()))
    assert codes == [0, 0, 0]
    assert "1 jobs are left: cli_jobs.spin" in workers["spin"].log


async def test_a_frozen_database_cannot_keep_the_process(start, enqueue, database_url):
    async with Proxy.in_front_of(database_url) as proxy:
        url = proxy.url(database_url.partition("?")[0].rpartition("/")[2])
        worker, _ = await running(start, enqueue, cli_jobs.forever(), url=url)
        await enqueue(cli_jobs.brief())  # its end cannot be written
        await worker.wait_for_log("begun brief")
        proxy.freeze()
        worker.stop()
        assert await ended(worker, limit=SHUTDOWN + GRACE) == 0


async def test_sigquit_shows_every_thread_and_the_running_jobs_and_ends_nothing(start, enqueue):
    worker, job_id = await running(start, enqueue, cli_jobs.thread())
    worker.stop(signal.SIGQUIT)
    await worker.wait_for_log("SIGQUIT: 1 jobs run here")
    await worker.wait_for_log(f"  cli_jobs.thread {job_id} attempt 1")
    assert worker.log.count("(most recent call first)") >= 3
    assert "cli_jobs.py" in worker.log  # where the thread of the job is
    worker.stop()
    assert await ended(worker, limit=SHUTDOWN + GRACE) == 0


async def test_a_start_that_cannot_succeed_ends_with_code_3_within_15_seconds(
    start, database_url, empty_database_url, sql
):
    name = database_url.partition("?")[0].rpartition("/")[2]
    async with (
        Proxy.in_front_of(database_url) as silent,
        Proxy.in_front_of(database_url) as closed,
        Proxy.in_front_of(database_url) as wrong,
        Proxy.in_front_of(database_url) as busy,
    ):
        silent.freeze()
        closed.refuse()
        wrong.refuse(error=("28P01", 'password authentication failed for user "postgres"'))
        busy.refuse(error=STARTING_UP)
        begun = time.monotonic()
        starts = {
            "no answer from the database": start(url=silent.url(name)),
            "Connection refused (database: postgresql://postgres@127": start(url=closed.url(name)),
            "password authentication failed": start(url=wrong.url(name)),
            "starting up": start(url=busy.url(name)),
            "asyncjobs db migrate": start(url=empty_database_url),
            "does not exist": start(url=database_url.replace(name, "nowhere")),
        }
        for reason, worker in starts.items():
            assert await worker.exit_code() == 3, reason
            assert reason in worker.log
            assert "Traceback" not in worker.log
        assert time.monotonic() - begun < 15 + SLACK


async def test_a_signal_ends_a_start_that_hangs(start, database_url):
    async with Proxy.in_front_of(database_url) as proxy:
        proxy.freeze()
        worker = start("--log-level", "debug", url=proxy.url("x"))
        await worker.wait_for_log("connecting to postgresql://postgres@127.0.0.1")
        worker.stop()
        assert await ended(worker, limit=SHUTDOWN + GRACE) == 0


async def test_a_server_that_takes_no_writes_is_refused(start, database_url, sql):
    name = database_url.partition("?")[0].rpartition("/")[2]
    await sql(f"alter database {name} set default_transaction_read_only = on")
    worker = start()
    assert await worker.exit_code() == 3
    assert "transactions are read-only here" in worker.log


async def test_migrate_brings_the_schema_up_before_the_work(start, empty_database_url):
    worker = start("--migrate", "--burst", url=empty_database_url)
    assert await worker.exit_code() == 0
    assert "applied 0001_schema" in worker.log


def test_a_file_in_place_of_a_module_is_refused_with_the_modules_name_and_not_imported(cli):
    (cli.directory / "orders.py").write_text("raise SystemExit('imported')\n")
    (cli.directory / "app").mkdir()
    (cli.directory / "app" / "orders.py").touch()
    meant = {
        "orders.py": "orders",
        "./orders.py": "orders",
        "app/orders.py": "app.orders",
        "app/orders": "app.orders",
        "app/__init__.py": "app",
        "app.orders:main": "app.orders",
        f"{cli.directory}/app/orders.py": "app.orders",
    }
    others = ("../orders.py", "my-orders.py", "/elsewhere/orders.py", ".")
    said = cli("run", *meant, *others, code=2).stderr
    for given, name in meant.items():
        assert f"imports: {given!r} is no module's name; did you mean {name!r}?" in said, said
    for given in others:
        assert f"{given!r} is no module's name; give a dotted name, such as 'app.jobs'" in said, said


def test_every_module_that_cannot_be_imported_is_named_at_once(cli):
    (cli.directory / "broken.py").write_text("import os\n1 / 0\n")
    (cli.directory / "leaving.py").write_text("raise SystemExit(0)\n")
    done = cli("run", "nowhere.jobs", "broken", "leaving", code=2)
    assert "there is no module 'nowhere'" in done.stderr
    assert (
        f"broken cannot be imported: ZeroDivisionError: division by zero ({cli.directory}/broken.py:2)" in done.stderr
    )
    assert "leaving cannot be imported: SystemExit" in done.stderr


def test_a_variable_that_keeps_python_from_importing_from_here_is_named(cli, monkeypatch):
    (cli.directory / "here.py").touch()
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    said = cli("run", "here", code=2).stderr
    assert "there is no module 'here'; PYTHONSAFEPATH, or the option -P, keeps Python from importing from" in said


def test_settings_that_cannot_work_are_refused_all_at_once(cli):
    done = cli("run", "--shutdown-timeout", "soon", "--log-level", "loud", code=2)
    assert "argument shutdown_timeout:" in done.stderr
    assert "argument log_level:" in done.stderr


def test_json_log_lines_carry_time_level_logger_message_and_fields(cli):
    done = cli("run", "--burst", "--log-format", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    [ready] = [line for line in lines if line["message"].startswith("ready")]
    assert ready["level"] == "info"
    assert ready["logger"] == "asyncjobs.process"
    assert ready["timestamp"].endswith("Z")
    assert ready["kinds"] == 16
    assert ready["pools"] == ["* x 10"]


def test_a_password_appears_nowhere(make_cli, url):
    asyncio.run(_fill(url))
    cli = make_cli(url.replace("postgres@", "postgres:canary7@"))
    outputs = [
        cli("run", "--burst", "--log-level", "debug", "--log-format", "json"),
        cli("check"),
        cli("status"),
        cli("doctor"),
        cli("db", "url"),
        cli("db", "status"),
        cli("db", "psql", "--", "-c", "select 1"),
        cli("jobs", "list"),
        cli("run", "--processes", "2", "--burst", "--log-level", "debug"),
        make_cli("postgresql://u:canary7@127.0.0.1:1/x")("run", "--log-format", "text", code=3),
        make_cli("postgresql://u:canary7@127.0.0.1:1/x?password=canary7")("status", code=3),
        make_cli("postgresql://u:canary7@no host/x")("check", code=2),
    ]
    for done in outputs:
        assert "canary7" not in done.stdout + done.stderr, done.args


async def _fill(url):
    from asyncjobs import AsyncJobs

    async with AsyncJobs(database_url=url) as client:
        await client.enqueue(cli_jobs.add(1))


async def test_a_worker_serves_the_queues_that_were_chosen_and_says_so(start, enqueue, cli):
    other = await enqueue(cli_jobs.add(1))
    chosen = await enqueue(cli_jobs.Greet(name="Ada"))
    worker = start("--queues", "critical,mail*", "--queues", "-mail.bulk", "--burst")
    ready = await worker.wait_for_log("ready: worker")
    assert "pools critical+mail*+-mail.bulk x 10" in ready
    assert await worker.exit_code() == 0
    jobs = {job["id"]: job["state"] for job in await asyncio.to_thread(cli.json, "jobs", "list")}
    assert jobs == {str(other): "ready", str(chosen): "succeeded"}
    assert "WARNING" not in worker.log  # the rest is for others


async def test_a_choice_that_cannot_be_is_a_usage_error_that_names_what_there_is(cli):
    refused = await asyncio.to_thread(cli, "run", "--pool", "2", code=2)
    assert "--pool 2: there is no such pool; there are pool 1 (*)" in refused.stderr
    refused = await asyncio.to_thread(cli, "run", "--queues", "a b", code=2)
    assert '"a b" is no queue' in refused.stderr
    refused = await asyncio.to_thread(cli, "run", "--queues", "", code=2)  # an unset variable of a script, perhaps
    assert '"" is no queue' in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["worker"], "did you mean `asyncjobs run`?"),
        (["migrate"], "did you mean `asyncjobs db migrate`?"),
        (["retry", "x"], "did you mean `asyncjobs jobs retry`?"),
        (["statsu"], "did you mean `asyncjobs status`?"),
        (["pause", "mailers"], "did you mean `asyncjobs queues pause`?"),
        (["xyz"], "there are demo, init, run"),
    ],
)
def test_a_command_that_there_is_not_is_answered_with_the_one_that_is_meant(cli, words, said):
    assert said in " ".join(cli(*words, code=2).stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "processes",
    [pytest.param((), id="alone", marks=pytest.mark.slow), pytest.param(("--processes", "2"), id="supervised")],
)
async def test_modules_named_to_run_are_imported_in_the_processes_of_jobs_too_and_in_that_order(
    cli, project, sql, processes
):
    (project / "registers.py").write_text("known = ['registers']\n")
    (project / "work.py").write_text(
        "import sys\nfrom asyncjobs import job\n"
        "before = [name for name in sys.modules if name in ('cli_jobs', 'registers')]\n"
        "@job(executor='process')\ndef seen() -> list[str]:\n    return before\n"
    )
    await sql("select asyncjobs.enqueue(kind => 'work.seen', args => '{}')")
    await asyncio.to_thread(cli, "run", "registers", "work", "--burst", *processes)
    [finished] = await sql("select result, errors from asyncjobs.finished")
    assert finished["result"] == '["registers"]', finished
