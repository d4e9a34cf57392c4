"""Django's tasks: stored in the request's transaction, performed by a worker, their results read.

Django's own tests of its backends are in its repository and in no release, and each is about one backend of Django's; what
they ask of any backend is asked here.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import pytest
import pytest_asyncio

import asyncjobs
from asyncjobs import AsyncJobs, InvalidArguments, InvalidSettings, JobError, QueueFull, job
from asyncjobs.db.connecting import connect
from tests.support.asking import until
from tests.support.processes import PATIENCE
from tests.support.workers import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROJECT = "tests.integrations.django_project"
WORKER = "asyncjobs.integrations.django.worker"
BACKEND = "asyncjobs.integrations.django.Backend"


@job(kind="integrations.native")
async def native() -> None: ...


def place_of(url: str) -> dict[str, str]:
    """What `DATABASES` has of a database."""
    parts = urlsplit(url)
    hosts = parse_qs(parts.query).get("host", [parts.hostname or ""])
    return {
        "NAME": parts.path[1:],
        "USER": unquote(parts.username or ""),
        "HOST": hosts[0],
        "PORT": str(parts.port or ""),
    }


@pytest.fixture(scope="module")
def shop(shared_url: str) -> Iterator[SimpleNamespace]:
    """The project, on the module's database."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DJANGO_SETTINGS_MODULE", f"{PROJECT}.settings")
        environment.setenv("TZ", "")  # Django sets it: the tests that follow have it back
        import django
        from asgiref.sync import sync_to_async
        from django.db import connections
        from django.test.utils import setup_test_environment, teardown_test_environment

        django.setup()
        setup_test_environment()
        found = importlib.import_module("asyncjobs.integrations.django.api")
        connections.settings["default"].update(place_of(shared_url))
        modules = {name: importlib.import_module(f"{PROJECT}.{name}") for name in ("shop.tasks", "elsewhere")}
        yield SimpleNamespace(url=shared_url, api=found, tasks=modules["shop.tasks"], elsewhere=modules["elsewhere"])
        teardown_test_environment()
        asyncio.run(sync_to_async(connections.close_all)())  # in the thread that all tests here have used
    time.tzset()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jobs(shop: SimpleNamespace, plain_config: Path) -> AsyncIterator[AsyncJobs]:
    """A worker of the project's tasks."""
    from asgiref.sync import sync_to_async
    from django.core.management import call_command

    await sync_to_async(call_command)("migrate", run_syncdb=True, verbosity=0)
    pools = [{"queues": ["*"], "concurrency": 5}]
    settings: dict[str, Any] = {"config": plain_config, "imports": [WORKER], "pools": pools, "lease": 600}
    async with AsyncJobs(database_url=shop.url, **settings).running() as running:
        yield running


async def ended(jobs: AsyncJobs, result: Any) -> Any:
    """The result of a task, when it is over."""
    try:
        await jobs.result(result.id, timeout=PATIENCE)
    except JobError:
        assert result.status == "READY"
    await result.arefresh()
    return result


@pytest.mark.parametrize("name", ["add", "add_async"])
async def test_a_task_is_performed_under_a_kind_of_its_own_and_its_result_is_read(
    shop: SimpleNamespace, jobs: AsyncJobs, name: str
) -> None:
    task = getattr(shop.tasks, name)
    made = await task.aenqueue(1, b=4)
    assert (made.status, made.is_finished, made.attempts, made.task) == ("READY", False, 0, task)
    assert (await jobs.status(made.id)).kind == task.module_path
    at_first = made.enqueued_at
    result = await ended(jobs, made)
    assert (result.status, result.return_value, result.attempts, result.errors) == ("SUCCESSFUL", 5, 1, [])
    assert (result.args, result.kwargs, result.backend, result.task) == ([1], {"b": 4}, "default", task)
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert await task.aget_result(made.id) == result
    assert result.enqueued_at == at_first


async def test_it_is_in_the_transaction_in_which_it_was_enqueued(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    from asgiref.sync import sync_to_async
    from django.db import transaction

    later = shop.tasks.add.using(run_after=datetime.now(UTC) + timedelta(hours=1))

    def begin() -> tuple[Any, str]:
        block = transaction.atomic()
        block.__enter__()
        made = later.enqueue(1)
        assert later.get_result(made.id).id == made.id  # here it is seen
        return block, made.id

    def end(block: Any, *, commits: bool) -> None:
        transaction.set_rollback(not commits)
        block.__exit__(None, None, None)

    for commits in (True, False):
        block, job_id = await sync_to_async(begin)()
        with pytest.raises(asyncjobs.JobNotFound):
            await jobs.status(job_id)
        await sync_to_async(end)(block, commits=commits)
        if commits:
            assert (await jobs.status(job_id)).state == "scheduled"
        else:
            with pytest.raises(asyncjobs.JobNotFound):
                await jobs.status(job_id)
            with pytest.raises(shop.api.TaskResultDoesNotExist):
                await later.aget_result(job_id)


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("fail", ValueError, "ValueError: no\n"),
        ("leave", SystemExit, "SystemExit: no\n"),
        ("unstorable", TypeError, "Unsupported type"),
        ("give_up", asyncjobs.JobDiscarded, "nobody wants it"),
    ],
)
async def test_what_a_task_raises_is_in_its_result(
    shop: SimpleNamespace, jobs: AsyncJobs, name: str, error: type[BaseException], text: str
) -> None:
    task = getattr(shop.tasks, name)
    result = await ended(jobs, await task.aenqueue(*(["no"] if name in ("fail", "leave") else [])))
    assert (result.status, result.is_finished, len(result.errors)) == ("FAILED", True, 1)
    assert result.errors[0].exception_class is error
    assert text in result.errors[0].traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


async def test_a_policy_on_its_function_retries_it_and_its_context_counts_attempts(
    shop: SimpleNamespace, jobs: AsyncJobs
) -> None:
    result = await ended(jobs, await shop.tasks.third_time_lucky.aenqueue())
    assert (result.status, result.return_value, result.attempts) == ("SUCCESSFUL", 3, 3)
    assert [error.exception_class for error in result.errors] == [ConnectionError] * 2
    assert result.started_at <= result.last_attempted_at <= result.finished_at


async def test_a_task_may_take_its_context(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    result = await ended(jobs, await shop.tasks.about.aenqueue("w"))
    assert result.return_value == ["w", 1, result.id, "RUNNING", ["w"], shop.tasks.about.module_path]
    result = await ended(jobs, await shop.tasks.about_async.aenqueue("w"))
    assert result.return_value == ["w", 1, shop.tasks.about_async.module_path]


async def test_tasks_of_other_modules_are_imported_when_they_are_performed(
    shop: SimpleNamespace, jobs: AsyncJobs
) -> None:
    assert (await ended(jobs, await shop.elsewhere.kind.aenqueue())).return_value == "django.task"
    assert (await ended(jobs, await shop.elsewhere.kind_async.aenqueue())).return_value == "django.async_task"
    with pytest.raises(shop.api.InvalidTask, match=r'"imports": \["tests.integrations.django_project.elsewhere"\]'):
        await shop.elsewhere.with_policy.aenqueue()


async def test_a_kind_of_a_task_performs_no_other(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    connection = await connect(shop.url)
    try:
        args = {"task": shop.tasks.fail.module_path, "args": [2], "kwargs": {}}
        enqueue = "select asyncjobs.enqueue($1, $2::text)"
        made = await connection.fetchval(enqueue, shop.tasks.add.module_path, json.dumps(args))
        assert await jobs.result(made, timeout=PATIENCE) == 3
        for wrong in ("os.path.join", "os.no_such", "no_module.at_all", "plain"):
            made = await connection.fetchval(enqueue, "django.task", json.dumps({**args, "task": wrong}))
            with pytest.raises(asyncjobs.JobFailed, match="ImportError|ModuleNotFoundError"):
                await jobs.result(made, timeout=PATIENCE)
    finally:
        connection.terminate()


async def test_priority_queue_and_time_are_stored(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    task = shop.tasks.add.using(priority=7, queue_name="mails", run_after=at)
    made = await task.aenqueue(1)
    status = await jobs.status(made.id)
    assert (status.priority, status.queue, status.run_at, status.state) == (-7, "mails", at, "scheduled")
    result = await task.aget_result(made.id)
    assert (result.status, result.task) == ("READY", task)
    assert await jobs.cancel(made.id, "not wanted")
    await result.arefresh()
    assert (result.status, result.errors[0].exception_class) == ("FAILED", asyncjobs.JobCancelled)
    assert "not wanted" in result.errors[0].traceback


async def test_values_of_json_come_as_they_were_and_others_are_refused(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    given = [None, True, 1.5, "é\n", {"a": [1, {}]}]
    result = await ended(jobs, await shop.tasks.as_it_was.aenqueue(*given, word=given))
    assert result.return_value == [given, {"word": given}]
    for wrong, error in (
        (object(), TypeError),
        ("\x00", InvalidArguments),
        (2**70, InvalidArguments),
        (float("nan"), InvalidArguments),
    ):
        with pytest.raises(error):
            await shop.tasks.as_it_was.aenqueue([wrong])
    with pytest.raises(InvalidArguments, match=r"args\[0\].*NUL"):
        await shop.tasks.as_it_was.aenqueue("\x00")


async def test_what_no_worker_could_perform_is_refused(
    shop: SimpleNamespace, jobs: AsyncJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(shop.api.InvalidTask, match="_misnamed is no task but what one was made of"):
        await shop.tasks.misnamed.aenqueue()
    for task, message in ((shop.tasks.add, "stands in the program itself"), (shop.tasks.fail, "cannot be imported")):
        module = "__main__" if task is shop.tasks.add else "no.such.module"
        monkeypatch.setattr(task.func, "__module__", module)
        with pytest.raises(shop.api.InvalidTask, match=message):
            await task.aenqueue(1)
    with pytest.raises(shop.api.InvalidTask, match="Queue 'other' is not valid"):
        shop.tasks.give_up.using(queue_name="other")


async def test_a_result_that_is_not_there_is_said_not_to_be(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    other = await jobs.enqueue(native())
    for wrong in ("123", str(uuid4()), str(other.id)):
        with pytest.raises(shop.api.TaskResultDoesNotExist):
            await shop.tasks.add.aget_result(wrong)
    made = await shop.tasks.add.aenqueue(1)
    with pytest.raises(Exception, match="Task does not match") as caught:
        await shop.tasks.fail.aget_result(made.id)
    assert type(caught.value).__name__ == "TaskResultMismatch"


async def test_a_login_that_reads_no_arguments_has_results_of_tasks_with_kinds_of_their_own(
    shop: SimpleNamespace, jobs: AsyncJobs
) -> None:
    made, other, native_job = (
        await shop.tasks.add.aenqueue(1),
        await shop.elsewhere.kind.aenqueue(),
        await jobs.enqueue(native()),
    )
    await ended(jobs, made)
    backend = shop.api.task_backends["default"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backend.__dict__, "_reads", "read_status_by_function")
        result = await backend.aget_result(made.id)
        assert (result.task, result.return_value, result.args) == (shop.tasks.add, 2, [])
        with pytest.raises(asyncjobs.PermissionDenied, match="which task"):
            await backend.aget_result(other.id)
        with pytest.raises(shop.api.TaskResultDoesNotExist):
            await backend.aget_result(str(native_job.id))


async def test_no_session_of_django_is_left_behind_a_task(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    connection = await connect(shop.url)
    try:
        before = {
            row[0] for row in await connection.fetch("select pid from pg_stat_activity where application_name = 'shop'")
        }
        tasks = [shop.tasks.take_order, shop.tasks.take_order_async, shop.tasks.session] * 2
        results = [
            await ended(jobs, await task.aenqueue(*(["n"] if task is not shop.tasks.session else []))) for task in tasks
        ]
        assert {result.status for result in results} == {"SUCCESSFUL"}
        left = "select count(*) from pg_stat_activity where application_name = 'shop' and pid <> all($1::int[])"
        # The thread in which this test speaks to Django has one, too.
        assert await connection.fetchval(left, list(before)) <= 1
    finally:
        connection.terminate()


async def test_a_cancelled_task_whose_thread_goes_on_holds_up_no_other(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    made = await shop.tasks.wait_in_thread.aenqueue()
    connection = await connect(shop.url)
    try:
        await until(connection, "select state = 2 from asyncjobs.job where id = $1", made.id)
        assert await jobs.cancel(made.id)
        assert (await ended(jobs, await shop.tasks.add_async.aenqueue(1))).return_value == 2
        shop.tasks.GOES_ON.set()
        assert (await ended(jobs, made)).errors[-1].exception_class is asyncjobs.JobCancelled
    finally:
        shop.tasks.GOES_ON.set()
        connection.terminate()


async def test_djangos_signals_are_sent_and_its_log_has_the_traceback(
    shop: SimpleNamespace, jobs: AsyncJobs, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[tuple[str, str, str]] = []

    def note(name: str) -> Any:
        def receive(sender: type, task_result: Any, **_: Any) -> None:
            sent.append((name, task_result.status, sender.__name__))

        return receive

    names = ("task_enqueued", "task_started", "task_finished")
    receivers = {name: note(name) for name in names}
    for name in names:
        getattr(shop.api, name).connect(receivers[name])
    try:
        with caplog.at_level(logging.INFO):
            for task, arguments in ((shop.tasks.add, [1]), (shop.tasks.add_async, [1]), (shop.tasks.fail, ["oh no"])):
                await ended(jobs, await task.aenqueue(*arguments))
    finally:
        for name in names:
            getattr(shop.api, name).disconnect(receivers[name])
    begun = [("task_enqueued", "READY", "Backend"), ("task_started", "RUNNING", "Backend")]
    done = [*begun, ("task_finished", "SUCCESSFUL", "Backend")]
    # A worker may be so fast that it starts a task before the signal that this is enqueued.
    assert sorted(sent) == sorted([*done, *done, *begun, ("task_finished", "FAILED", "Backend")])
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR and "tasks" in record.name]
    assert record.exc_info is not None and str(record.exc_info[1]) == "oh no"


async def test_a_queue_that_is_full_takes_nothing(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    from django.test import override_settings

    await jobs.pause(queue="mails")
    options = {"queues": {"mails": {"max_depth": 2}}}
    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": [], "OPTIONS": options}}):
        task = shop.tasks.add.using(queue_name="mails")
        for n in range(2):
            await task.aenqueue(n)
        with pytest.raises(QueueFull):
            await task.aenqueue(3)
    await jobs.resume(queue="mails")


async def test_a_prefix_of_kinds_is_in_what_is_stored(shop: SimpleNamespace, jobs: AsyncJobs) -> None:
    from django.test import override_settings

    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "OPTIONS": {"kind_prefix": "pre."}}}):
        made = await shop.tasks.add.aenqueue(1)
        assert (await jobs.status(made.id)).kind == f"pre.{shop.tasks.add.module_path}"
        assert (await shop.tasks.add.aget_result(made.id)).id == made.id


async def test_wrong_settings_are_found_by_djangos_checks(shop: SimpleNamespace) -> None:
    from django.db import connections
    from django.test import override_settings

    def found(options: dict[str, Any]) -> list[tuple[str, str]]:
        with override_settings(TASKS={"default": {"BACKEND": BACKEND, "OPTIONS": options}}):
            return [(message.id, message.msg) for message in shop.api.task_backends["default"].check()]

    assert found({}) == []
    assert found({"shutdown_timeout": "2m", "pools": [{"queues": ["*"], "concurrency": 3}]}) == []
    [(number, text)] = found({"shutdown_timout": 5})
    assert number == "asyncjobs.E002" and "did you mean shutdown_timeout?" in text
    connections.settings["other"] = {"ENGINE": "django.db.backends.sqlite3"}
    [(number, text)] = found({"database": "other"})
    assert number == "asyncjobs.E001" and "sqlite3: asyncjobs needs PostgreSQL" in text
    del connections.settings["other"]
    assert found({"database": "nowhere"})[0][0] == "asyncjobs.E001"


async def test_without_time_zones_times_are_naive_and_mean_those_of_the_settings(shop: SimpleNamespace) -> None:
    from django.test import override_settings

    from asyncjobs.integrations.django.results import as_aware, as_django

    moment = datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert as_django(moment) is moment and as_aware(moment) is moment
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Paris"):
        assert as_django(moment) == datetime(2026, 7, 1, 12)
        assert as_aware(datetime(2026, 7, 1, 12)) == moment
    assert as_django(None) is None and as_aware(None) is None


@pytest.mark.parametrize(
    ("database", "url"),
    [
        ({"NAME": "shop"}, "postgresql:///shop"),
        (
            {"NAME": "s p", "USER": "a@b", "PASSWORD": "p/w:d", "HOST": "db", "PORT": 5433},
            "postgresql://a%40b:p%2Fw%3Ad@db:5433/s%20p",
        ),
        ({"NAME": "shop", "HOST": "/run/pg", "PORT": "5432"}, "postgresql:///shop?host=%2Frun%2Fpg&port=5432"),
        ({"NAME": "shop", "HOST": "::1"}, "postgresql://[::1]/shop"),
        (
            {
                "NAME": "shop",
                "OPTIONS": {"sslmode": "verify-full", "sslrootcert": "/a b", "pool": True, "isolation_level": 2},
            },
            "postgresql:///shop?sslmode=verify-full&sslrootcert=%2Fa%20b",
        ),
        ({"NAME": None, "OPTIONS": {"service": "shop"}}, "postgresql:///?service=shop"),
    ],
)
async def test_the_url_of_workers_is_that_of_djangos_database(
    shop: SimpleNamespace, database: dict[str, Any], url: str
) -> None:
    from asyncjobs.integrations.django.database import url_of

    assert url_of("default", {"ENGINE": "django.db.backends.postgresql", **database}) == url
    with pytest.raises(InvalidSettings, match="needs PostgreSQL"):
        url_of("default", {"ENGINE": "django.db.backends.mysql", **database})


@pytest.fixture
def empty_url(databases: Any) -> Iterator[str]:
    """The URL of a database without a schema."""
    with databases.one("django_commands", "template template0") as url:
        yield url


@pytest.mark.slow  # docs/guides/django.md does the same
async def test_manage_migrates_and_runs_what_is_enqueued(empty_url: str) -> None:
    place = {f"SHOP_{name}": value for name, value in place_of(empty_url).items()}
    environment = {**os.environ, **place, "PYTHONPATH": str(ROOT), "ASYNCJOBS_SHUTDOWN_TIMEOUT": "1"}

    async def manage(*words: str) -> str:
        command = [sys.executable, str(ROOT / PROJECT.replace(".", "/") / "manage.py"), *words]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            env=environment,
            cwd=ROOT / "tests",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Applied 0001_schema of asyncjobs" in await manage("migrate", "--run-syncdb")
    connection = await connect(empty_url)
    try:
        path = f"{PROJECT}.shop.tasks.take_order"
        args = json.dumps({"task": path, "args": ["n"], "kwargs": {}})
        made = await connection.fetchval("select asyncjobs.enqueue($1, $2::text)", path, args)
        await manage("asyncjobs_run", "--burst")
        assert await connection.fetchval("select result from asyncjobs.finished where id = $1", made) == "1"
    finally:
        connection.terminate()
