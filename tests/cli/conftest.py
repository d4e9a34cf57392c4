"""Commands as processes, each in a project directory of its own."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asyncjobs import AsyncJobs
from asyncjobs.db.connecting import connect
from tests.support import warm
from tests.support.commands import run_here
from tests.support.processes import PATIENCE
from tests.support.roles import logins
from tests.support.workers import ROOT, Workers

HERE = Path(__file__).parent
PATH = os.pathsep.join([str(ROOT), str(HERE)])

CONFIG = """\
[default]
imports = ["cli_jobs"]
lease = 4
shutdown_timeout = 0.3
[[default.pools]]
queues = ["*"]
concurrency = 10
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("ASYNCJOBS_", "PG", "NO_COLOR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", PATH)


@pytest.fixture
def project(tmp_path):
    """A directory with a config.toml that imports cli_jobs."""
    return made_project(tmp_path)


def made_project(place):
    directory = place / "project"
    directory.mkdir()
    (directory / "config.toml").write_text(CONFIG)
    return directory


class Cli:
    """Runs commands to their end: those that work or start other programs as processes, those that only print here."""

    def __init__(self, directory, environment):
        self.directory = directory
        self.environment = environment

    def __call__(self, *words, code=0, traceback=False):
        """Run `asyncjobs <words>`; its end must be `code`."""
        words = [str(word) for word in words]
        alone = words[0] in ("run", "check", "init") or words[:2] == ["db", "psql"]
        done = self._process(words) if alone else self._here(words)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert bool(re.search("^Traceback", done.stderr, re.MULTILINE)) is traceback, (
            done.stderr
        )  # a job's is in a log line
        return done

    def _process(self, words):
        return warm.run(
            [sys.executable, "-m", "asyncjobs", *words],
            cwd=self.directory,
            env={**os.environ, **self.environment},
            timeout=PATIENCE,
        )

    def _here(self, words):
        with contextlib.chdir(self.directory):
            done = run_here(words, {"ASYNCJOBS_LOG_LEVEL": None, **self.environment})
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    def json(self, *words, code=0):
        return json.loads(self(*words, "--json", code=code).stdout)


def on_terminal(cli, *words, **environment):
    """What the command prints when a terminal shows it."""
    ours, theirs = pty.openpty()
    try:
        process = warm.start(
            [sys.executable, "-m", "asyncjobs", *words],
            cwd=cli.directory,
            env={**os.environ, **cli.environment, "TERM": "xterm", **environment},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the last one has closed it
                break
            if not part:
                break
            shown += part
        process.wait(PATIENCE)
        return shown.decode()
    finally:
        os.close(ours)


@pytest.fixture
def make_cli(project, copying_postgres):
    """Make a Cli in the project for a database URL; without one it makes a server of its own."""
    return lambda url=None: Cli(
        project, {"ASYNCJOBS_DATABASE_URL": url} if url else {"ASYNCJOBS_PG_BIN": copying_postgres}
    )


@pytest.fixture
def cli(make_cli, url):
    """Commands on the test's migrated database."""
    return make_cli(url)


@pytest.fixture
def empty_database_url(databases):
    """The URL of a database without a schema."""
    with databases.one("test_empty", "") as url:
        yield url


@pytest.fixture
async def start(tmp_path, project, database_url):
    """Start `asyncjobs run cli_jobs …` on the test's database; ended with the test."""
    async with Workers(tmp_path, environment={"ASYNCJOBS_LOG_FORMAT": "text"}) as workers:

        def start(*args, url=database_url, config=project / "config.toml", **environment):
            return workers.start(config=config, args=args, environment={"ASYNCJOBS_DATABASE_URL": url, **environment})

        yield start


async def execute(url, *statements):
    connection = await connect(url, is_lent=True)
    try:
        return [await connection.fetch(statement) for statement in statements]
    finally:
        connection.terminate()


@pytest.fixture
def sql(url):
    """Run one statement on the test's database and give back its rows."""

    async def sql(statement):
        return (await execute(url, statement))[0]

    return sql


@pytest.fixture
def enqueue(url):
    """Enqueue jobs on the test's database."""
    return lambda *jobs: enqueue_at(url, *jobs)


async def enqueue_at(url, *jobs):
    async with AsyncJobs(database_url=url) as client:
        for job in jobs:
            await client.enqueue(job)
    return jobs[0].id


@pytest.fixture
def as_role(url):
    """URLs of the test's database, where they are applied, for the login of each role."""
    return logins(url)


@pytest.fixture
def end(sql):
    """Put jobs into the history that ended in some state; their ids."""

    async def end(state=5, count=1, kind="k", queue="q", message="broken", age="0 s"):
        error = json.dumps(
            {"attempt": 1, "at": "2026-01-31T08:00:00Z", "type": "app.Odd", "message": message, "traceback": "t"}
        )
        rows = await sql(
            "insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, finished_at, attempt, priority, state, "
            "crashes, kind, queue, args, errors) select asyncjobs.new_id(), 1, current_date + 1, now(), "
            f"now() - interval '{age}', 1, 0, {state}, 0, '{kind}', '{queue}', '{{}}', '{error}' "
            f"from generate_series(1, {count}) returning id"
        )
        return sorted(row["id"] for row in rows)

    return end


@pytest.fixture
def states(sql):
    """How many jobs there are in each state."""

    async def states():
        rows = await sql(
            "select state, count(*) from (select state from asyncjobs.job union all select state from asyncjobs.finished) as s "
            "group by state"
        )
        return {row["state"]: row["count"] for row in rows}

    return states
