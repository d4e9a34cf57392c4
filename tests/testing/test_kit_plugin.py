"""The plugin in pytest runs of its own: with each async plugin, with none, with xdist, on each kind of server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asyncjobs.db.connecting import connect
from tests.support import warm
from tests.support.imports import imported_by

ASYNC = """
async def test_signup(jobs):
    async with jobs.expect(send_welcome, user_id=42, queue="mailers"):
        await send_welcome(42).enqueue()
    assert await jobs.perform_enqueued() == 1
    await jobs.assert_performed(send_welcome)

async def test_the_next_one_finds_nothing(jobs):
    await jobs.refute_enqueued(send_welcome)
    with pytest.raises(AssertionError):
        await jobs.assert_performed(send_welcome)
"""

FIXTURE = """
async def made(jobs):
    job = await send_welcome(1).enqueue()
    yield job
    await send_welcome(2).enqueue()

async def test_a_fixture_of_the_users_enqueues_before_and_after(made, jobs):
    assert await jobs.perform(made) == "hello 1"
"""

SYNC = """
def test_signup_sync(jobs_sync):
    async def signup():
        await send_welcome(42).enqueue()
    with jobs_sync.expect(send_welcome, user_id=42, count=2):
        asyncio.run(signup())
        jobs_sync.run(signup)
    assert jobs_sync.perform_enqueued() == 2
    jobs_sync.assert_performed(send_welcome)

def test_what_recurs(jobs_sync):
    jobs_sync.recurring.add("nightly", send_welcome(42), schedule="@daily")
    jobs_sync.recurring.run("nightly")
    jobs_sync.assert_enqueued(send_welcome, user_id=42)
    assert [each.name for each in jobs_sync.recurring.all()] == ["nightly"]

def test_a_thread_that_enqueues(jobs_sync):
    import anyio.from_thread
    job = send_welcome(1)
    jobs_sync.run(lambda: anyio.from_thread.run(job.enqueue))
    assert jobs_sync.perform(job) == jobs_sync.result(job) == jobs_sync.result(job.id) == "hello 1"

def test_the_async_fixture_says_what_to_use(jobs):
    from asyncjobs import NotOpen
    with pytest.raises(NotOpen, match="jobs_sync"):
        jobs.enqueue(send_welcome(1)).send(None)
"""


async def databases(url: str) -> list[str]:
    connection = await connect(url)
    try:
        return [
            row["datname"]
            for row in await connection.fetch("select datname from pg_database where datname like 'suite%'")
        ]
    finally:
        connection.terminate()


def test_it_works_under_pytest_asyncio_in_auto_mode(run_pytest) -> None:
    run_pytest(f"{ASYNC}\n@pytest.fixture\n{FIXTURE.lstrip()}{SYNC}", "-o", "asyncio_mode=auto").passed(7)


@pytest.mark.slow
def test_it_works_under_pytest_asyncio_in_strict_mode(run_pytest) -> None:
    text = ASYNC.replace("async def test", "@pytest.mark.asyncio\nasync def test")
    fixture = FIXTURE.replace("async def made", "import pytest_asyncio\n@pytest_asyncio.fixture\nasync def made")
    fixture = fixture.replace("async def test", "@pytest.mark.asyncio\nasync def test")
    run_pytest(text + fixture, "-o", "asyncio_mode=strict").passed(3)


def test_it_works_under_anyios_plugin(run_pytest) -> None:
    text = f"""
pytestmark = pytest.mark.anyio
@pytest.fixture(params=["asyncio", ("asyncio", {{"use_uvloop": True}})])
def anyio_backend(request): return request.param
{ASYNC}
@pytest.fixture
{FIXTURE.lstrip()}"""
    run_pytest(
        text,
        "-p",
        "no:asyncio",
        "-o",
        "asyncio_default_fixture_loop_scope=",
        "-W",
        "ignore::pytest.PytestConfigWarning",
    ).passed(6)


def test_it_works_in_plain_tests_without_any_async_plugin(run_pytest) -> None:
    words = ("-p", "no:asyncio", "-p", "no:anyio", "-W", "ignore::pytest.PytestConfigWarning")
    run_pytest(SYNC, *words).passed(4)


@pytest.mark.slow
def test_each_xdist_worker_has_a_database_and_all_share_one_server_of_which_nothing_is_left(
    run_pytest, tmp_path
) -> None:
    text = """
import os

@pytest.fixture(scope="session", autouse=True)
def applications():
    with AsyncJobs().blocking() as application:
        return application.database_url

@pytest.mark.parametrize("n", range(8))
async def test_alone(applications, jobs, n, tmp_path_factory):
    assert os.environ["PYTEST_XDIST_WORKER"] in jobs.database_url
    assert applications == jobs.database_url == os.environ["ASYNCJOBS_DATABASE_URL"]
    print(jobs.database_url, file=open("seen.txt", "a"))
    async with jobs.expect(send_welcome, count=1):
        await send_welcome(n).enqueue()
    await jobs.assert_enqueued(send_welcome, user_id=n, count=1)
    await asyncio.sleep(0.05)
"""
    words = ("-n", "2", "-o", "asyncio_mode=auto", "-W", "ignore::ResourceWarning")
    run_pytest(text, *words, url="", ASYNCJOBS_DATABASE_URL=MINE).passed(8)
    seen = set((tmp_path / "seen.txt").read_text().split())
    assert len(seen) == 2
    assert len({url.partition("host=")[2] for url in seen}) == 1
    assert no_rest_of_servers_in(seen)


def no_rest_of_servers_in(urls: set[str]) -> bool:
    from urllib.parse import parse_qs, urlsplit

    return not any(Path(parse_qs(urlsplit(url).query)["host"][0]).exists() for url in urls)


@pytest.mark.slow
def test_a_run_that_was_killed_leaves_a_server_that_the_next_run_removes(
    run_pytest, tmp_path_factory, copying_postgres
) -> None:
    text = """
async def test_long(jobs):
    print(jobs.database_url, file=open("url", "w"))
    await asyncio.sleep(60)
"""
    place = tmp_path_factory.mktemp("killed")
    (place / "test_long.py").write_text("import asyncio" + text)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "ASYNCJOBS_"))}
    environment |= {"ASYNCJOBS_PG_BIN": copying_postgres}
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-o", "asyncio_mode=auto"]
    process = warm.start(
        [sys.executable, "-m", "pytest", *words],
        cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, ends_with_parent=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 40
        while not (place / "url").exists() or not (place / "url").read_text():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    url = (place / "url").read_text().strip()
    assert not no_rest_of_servers_in({url})
    run_pytest(ASYNC, "-o", "asyncio_mode=auto", url="").passed(2)
    assert no_rest_of_servers_in({url})


def test_every_asyncjobs_without_a_url_uses_the_tests_database_and_one_with_a_url_does_not(run_pytest) -> None:
    text = """
import os
async def test_app(jobs):
    async with AsyncJobs() as application:
        assert application.database_url == jobs.database_url
        async with jobs.expect(send_welcome, user_id=1):
            await send_welcome(1).enqueue()
    assert AsyncJobs(database_url="postgresql://elsewhere/x")._arguments["database_url"] == "postgresql://elsewhere/x"
"""
    run_pytest(text, "-o", "asyncio_mode=auto", ASYNCJOBS_DATABASE_URL="postgresql://mine/x").passed(1)


MINE = "postgresql://127.0.0.1:1/mine"
"""The developer's own database, which no test is to touch: nobody answers there."""

SESSION = """
import os

@pytest.fixture(scope="session", autouse=True)
def application():
    with AsyncJobs().blocking() as application:
        yield application

def test_one(application, jobs_sync):
    assert application.database_url == jobs_sync.database_url == os.environ["ASYNCJOBS_DATABASE_URL"]
    application.enqueue(send_welcome(1))
    jobs_sync.assert_enqueued(send_welcome, user_id=1)

def test_two(application):
    assert "/suite_" in application.database_url

def test_the_next_finds_nothing(jobs_sync):
    jobs_sync.refute_enqueued(send_welcome)
"""


@pytest.mark.slow
def test_an_application_that_is_open_for_the_whole_session_works_on_the_tests_database(run_pytest) -> None:
    run_pytest(SESSION, ASYNCJOBS_DATABASE_URL=MINE).passed(3)
    run_pytest(SESSION, "-k", "test_two", ASYNCJOBS_DATABASE_URL=MINE).passed(1)


def test_a_project_that_uses_none_of_the_fixtures_imports_nothing_of_ours_but_the_plugin(tmp_path) -> None:
    (tmp_path / "test_it.py").write_text("""
import sys

def test_it():
    ours = {name for name in sys.modules if name.partition(".")[0] in ("asyncjobs", "asyncjobs_pytest", "asyncpg", "pydantic")}
    assert ours == {"asyncjobs_pytest"}
""")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        str(tmp_path),
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_a_project_that_uses_none_of_the_fixtures_is_left_alone(run_pytest) -> None:
    text = f"""
import os, sys
@pytest.fixture
def jobs(): return "mine"

@pytest.fixture
def shop(jobs): return jobs

def test_it(shop):
    assert os.environ["ASYNCJOBS_DATABASE_URL"] == "{MINE}"
    assert "asyncjobs.testing.server" not in sys.modules
"""
    run_pytest(text, ASYNCJOBS_DATABASE_URL=MINE).passed(1)


def test_without_a_server_the_tests_that_need_it_fail_for_that_and_the_others_work_nowhere(run_pytest) -> None:
    text = """
import os
def test_needs_it(jobs_sync): ...

def test_other():
    assert os.environ["ASYNCJOBS_DATABASE_URL"].endswith("the_tests_have_no_server")
"""
    ran = run_pytest(text, url=MINE.replace("mine", "tests"), ASYNCJOBS_DATABASE_URL=MINE)
    assert "1 passed, 1 error" in ran.output and "DatabaseUnavailable" in ran.output, ran.output


@pytest.mark.slow
def test_a_worker_that_runs_for_the_whole_session_keeps_its_place_between_tests(run_pytest) -> None:
    text = """
import asyncpg
from anyio.from_thread import start_blocking_portal

@pytest.fixture(scope="session")
def worker():
    pools = [{"queues": ["*"], "concurrency": 2}]
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(AsyncJobs(pools=pools).running()):
        yield

seen = set()
@pytest.mark.parametrize("n", range(3))
def test_it(worker, jobs_sync, n):
    assert send_welcome(n).enqueue_from_thread().result_from_thread(timeout=20) == f"hello {n}"
    async def workers():
        connection = await asyncpg.connect(jobs_sync.database_url)
        seen.update(row["id"] for row in await connection.fetch("select id from asyncjobs.worker where host <> 'pytest'"))
        await connection.close()
    asyncio.run(workers())
    assert len(seen) == 1
"""
    run_pytest(text).passed(3)


def test_code_under_test_enqueues_and_awaits_from_threads(run_pytest) -> None:
    text = """
@job(kind="kit.in_thread")
def in_thread(n: int) -> str:
    return send_welcome(n).enqueue_from_thread().result_from_thread(timeout=20)

async def test_beside_a_loop(jobs):
    made = await asyncio.to_thread(send_welcome(1).enqueue_from_thread)
    await jobs.assert_enqueued(send_welcome, user_id=1)
    assert await jobs.perform(in_thread(2)) == "hello 2"
    await jobs.perform_enqueued()
    assert await asyncio.to_thread(made.result_from_thread, 20) == "hello 1"

async def test_on_the_loop_it_is_refused(jobs):
    from asyncjobs import InsideEventLoop
    with pytest.raises(InsideEventLoop):
        send_welcome(1).enqueue_from_thread()

def test_without_a_loop(jobs_sync):
    made = send_welcome(1).enqueue_from_thread()
    other = send_welcome(2)
    jobs_sync.run(lambda: other.enqueue_from_thread())
    assert jobs_sync.perform_enqueued() == 2
    assert made.result_from_thread(timeout=20) == "hello 1"

def test_an_event_without_a_loop(jobs_sync):
    from asyncjobs import emit_from_thread
    assert emit_from_thread("approved", key=7) == jobs_sync.run(lambda: emit_from_thread("approved")) == 0
    assert jobs_sync.emit("approved") == 0
"""
    run_pytest(text, "-o", "asyncio_mode=auto").passed(4)


def test_under_trio_the_fixture_says_that_asyncjobs_runs_on_asyncio(run_pytest) -> None:
    text = """
def test_it(jobs, monkeypatch):
    import sys
    from types import SimpleNamespace
    from asyncjobs import NotOpen
    lowlevel = SimpleNamespace(current_task=lambda: "a task of trio")
    monkeypatch.setitem(sys.modules, "trio", SimpleNamespace(lowlevel=lowlevel))
    with pytest.raises(NotOpen, match="anyio_backend"):
        jobs.enqueue(send_welcome(1)).send(None)
"""
    run_pytest(text).passed(1)


def test_databases_are_made_beside_the_one_that_is_named_and_removed_after(run_pytest, beside) -> None:
    text = """
async def test_it(jobs):
    assert "/suite_main" in jobs.database_url and "/suite?" not in jobs.database_url
"""
    before = asyncio.run(databases(beside))
    run_pytest(text, "-o", "asyncio_mode=auto").passed(1)
    assert asyncio.run(databases(beside)) == before


@pytest.mark.slow
def test_a_database_of_the_users_that_has_the_name_is_left_alone(run_pytest, server, beside) -> None:
    async def make() -> str:
        connection = await connect(server.url("postgres"))
        for name in ("users", "users_main"):
            await connection.execute(f"create database {name}")
        connection.terminate()
        theirs = await connect(server.url("users_main"), is_lent=True)
        await theirs.execute("create table precious as select 1 as one")
        theirs.terminate()
        return server.url("users_main")

    url = asyncio.run(make())
    ran = run_pytest("async def test_it(jobs): ...", "-o", "asyncio_mode=auto", url=server.url("users"))
    assert "there is a database users_main that was not made for these tests" in ran.output

    async def look() -> int:
        connection = await connect(url, is_lent=True)
        try:
            return await connection.fetchval("select one from precious")
        finally:
            connection.terminate()

    assert asyncio.run(look()) == 1


def test_tables_of_the_users_keep_their_rows_between_tests(run_pytest) -> None:
    text = """
import asyncpg
@pytest.fixture(scope="session")
def tables(asyncjobs_database_url):
    async def make():
        connection = await asyncpg.connect(asyncjobs_database_url)
        await connection.execute("create table kept as select 1 as one")
        await connection.close()
    asyncio.run(make())

@pytest.mark.parametrize("n", range(2))
async def test_it(tables, jobs, n):
    connection = await asyncpg.connect(jobs.database_url)
    assert await connection.fetchval("select count(*) from kept") == 1
    await connection.close()
"""
    run_pytest(text, "-o", "asyncio_mode=auto").passed(2)


def test_a_fixture_of_the_users_with_the_same_name_wins(run_pytest) -> None:
    text = """
@pytest.fixture
def jobs(): return "mine"

def test_mine(jobs):
    assert jobs == "mine"
"""
    run_pytest(text).passed(1)


def test_a_failed_test_and_one_that_leaves_a_worker_running_harm_no_other(run_pytest) -> None:
    text = """
left = []
async def test_leaves(jobs):
    block = jobs.running()
    left.append(block)
    await block.__aenter__()
    await send_welcome(1).enqueue()
    assert False

async def test_next(jobs):
    await jobs.refute_enqueued(send_welcome)
    assert await jobs.perform(send_welcome(2)) == "hello 2"
"""
    ran = run_pytest(text, "-o", "asyncio_mode=auto", "-W", "default")
    assert "1 failed, 1 passed" in ran.output, ran.output


def test_asyncjobs_imports_no_pytest_and_an_unused_fixture_starts_nothing(run_pytest) -> None:
    assert not {"pytest", "_pytest"} & imported_by("asyncjobs.testing")
    text = """
import sys
def test_nothing():
    assert "asyncjobs.embedded.server" not in sys.modules
"""
    run_pytest(text, jobs=False, url="").passed(1)


@pytest.mark.slow
def test_the_first_test_is_there_within_three_seconds_and_the_others_cost_little(run_pytest) -> None:
    text = """
import time
@pytest.mark.parametrize("n", range(50))
async def test_it(jobs, n):
    await send_welcome(n).enqueue()
"""
    with contextlib.suppress(OSError):
        if os.getloadavg()[0] > 1.5:
            return  # a shared machine's other work would be measured
    run = run_pytest(text, "-o", "asyncio_mode=auto", "--durations=0", "-vv", url="")
    run.passed(50)
    seconds = [
        float(line.split("s ", 1)[0])
        for line in run.output.splitlines()
        if "test_it.py::test_it[" in line and "s " in line[:8]
    ]
    assert max(seconds) < 3 and (sum(seconds) - max(seconds)) / 49 < 0.03
