"""One PostgreSQL for the whole run, one database a test, cloned from a migrated template."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest

from asyncjobs import AsyncJobs
from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect
from asyncjobs.embedded import EmbeddedPostgres, postmaster
from asyncjobs.embedded.cluster import Cluster
from tests.support.directories import RUNNABLE, held_directory
from tests.support.proxy import Proxy

_numbers = itertools.count(1)

# Neither is about what is tested: both fail on a machine that is busy.
hypothesis.settings.register_profile(
    "busy machines", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machines")

# What nohup or a script's `&` starts ignores these, and so would everything that the tests start and end with them.
for ignored, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, usual)

# Hundreds of processes are started, and to compile our modules takes each of them 0.4 s of a core.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Where pytest makes the directories of tests.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(RUNNABLE))


QUICK = {"defining", "settings", "worker", "integrations", "test_errors.py", "test_logs.py"}
"""Where tests are that need nothing but Python, unless they ask for the server or are marked otherwise."""


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: a test waits for half of its time, for processes, leases and the database."""
    return 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2 * (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)  # before some are left out by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick part."""
    here = Path(__file__).parent
    for item in items:
        needs = {"server", "run_pytest"} & set(getattr(item, "fixturenames", ()))
        is_slow = item.get_closest_marker("processes") or item.get_closest_marker("slow")
        if not needs and not is_slow and item.path.relative_to(here).parts[0] in QUICK:
            item.add_marker("quick")


TEMPLATE = "template_of_tests"


class Databases:
    """Makes databases on a server, over one connection that stays open, on a loop of its own.

    Args:
        server: Where.
    """

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.url = server.url
        self._loop = asyncio.new_event_loop()
        self._connection = self._loop.run_until_complete(connect(server.url("postgres"), is_lent=True))
        # Since PostgreSQL 15 a copy is written through the log unless asked otherwise: 60 ms of a core in place of 25.
        self._by_file = " strategy file_copy" if self._connection.get_server_version().major >= 15 else ""
        self.execute(f"create database {TEMPLATE}")
        self._loop.run_until_complete(_migrate(server.url(TEMPLATE)))
        # Whoever comes first to a database after its schema has changed writes down what all others read of its catalogs.

    def execute(self, statement: str) -> None:
        self._loop.run_until_complete(self._connection.execute(statement))

    @contextlib.contextmanager
    def one(self, name: str) -> Iterator[str]:
        """The URL of a migrated database, which is dropped at the end."""
        self.execute(f"create database {name} template {TEMPLATE}{self._by_file}")
        yield self.url(name)
        self.execute(f"drop database {name} with (force)")

    def close(self) -> None:
        self._connection.terminate()
        self._loop.run_until_complete(asyncio.sleep(0))  # it is closed in the loop's next turn
        self._loop.close()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of whoever runs the tests change none of them; which PostgreSQL they run on is his to say."""
    for name in list(os.environ):
        if name.startswith(("ASYNCJOBS_", "PG")) and name != "ASYNCJOBS_PG_BIN":
            monkeypatch.delenv(name)


INITDB = """\
#!/bin/sh
while [ "$1" != -D ]; do shift; done
exec cp -a "{made}/." "$2"
"""


@contextlib.contextmanager
def running_server() -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL, gone at the end, and with it those of test runs that were killed."""

    def end(abandoned: Path) -> None:
        cluster = Cluster(abandoned / "server", temporary=True)
        asyncio.run(postmaster.stop(cluster))
        cluster.remove()

    with held_directory("asyncjobs-server-", end) as directory:
        directory.chmod(0o711)  # under root the server is another user's
        postgres = EmbeddedPostgres(directory / "server", fsync=False, temporary=True, max_connections=200)
        with asyncio.Runner() as runner:
            runner.run(postgres.start())
            try:
                yield postgres
            finally:
                runner.run(postgres.stop())


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The running PostgreSQL."""
    with running_server() as postgres:
        yield postgres


@pytest.fixture(scope="session")
def copying_postgres() -> Iterator[str]:
    """For ASYNCJOBS_PG_BIN: a PostgreSQL whose initdb copies what the true one has made, in a tenth of its time.

    For tests that start servers of their own and are not about how one is made.
    """
    with held_directory("asyncjobs-copying-", place=RUNNABLE) as directory:
        directory.chmod(0o755)
        made = Cluster(directory / "made", temporary=False)
        with asyncio.Runner() as runner:
            postgres = EmbeddedPostgres(directory / "made", fsync=False)
            runner.run(postgres.start())
            runner.run(postgres.stop())
        binaries = directory / "bin"
        binaries.mkdir()
        true = Path((made.data / "postmaster.opts").read_text().partition(' "')[0])
        (binaries / "postgres").symlink_to(true)
        (binaries / "initdb").write_text(INITDB.format(made=made.data))
        (binaries / "initdb").chmod(0o755)
        yield str(binaries)


@pytest.fixture(scope="session")
def databases(server: EmbeddedPostgres) -> Iterator[Databases]:
    """The databases of the tests, and the migrated one that they are copied from."""
    with contextlib.closing(Databases(server)) as made:
        yield made


async def _migrate(url: str) -> None:
    connection = await connect(url)
    try:
        await migrating.migrate(connection)
    finally:
        await connection.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The URL of a migrated database of this test's own."""
    with databases.one(f"test_{next(_numbers)}") as url:
        yield url


@pytest.fixture(scope="module")
def shared_url(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database of a module's, for tests that leave nothing in it."""
    with databases.one(f"shared_{request.module.__name__.lower()}") as url:
        yield url


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection, with the settings of its role, to the test's database."""
    opened = await connect(database_url, is_lent=True)
    yield opened
    opened.terminate()


@pytest.fixture
async def shared(shared_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection, with the settings of its role, to the module's database."""
    opened = await connect(shared_url, is_lent=True)
    yield opened
    opened.terminate()


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """In front of the server, to break the way to it."""
    async with Proxy.in_front_of(database_url) as made:
        yield made


@pytest.fixture
def proxied_url(proxy: Proxy) -> str:
    """The test's database through the proxy."""
    return f"{proxy.url()}?sslmode=disable"  # one connection an attempt: with the default it is two


@pytest.fixture
def make_jobs(database_url: str) -> Callable[..., AsyncJobs]:
    """Make an AsyncJobs on the test's database: short times, and settings by name."""

    def make(**settings: Any) -> AsyncJobs:
        pools = [{"queues": ["*"], "concurrency": 10}]
        settings = {"lease": 3, "shutdown_timeout": 2, "cleanup_timeout": 1, "pools": pools, **settings}
        return AsyncJobs(database_url=settings.pop("database_url", database_url), **settings)

    return make


@pytest.fixture
async def client(make_jobs: Callable[..., AsyncJobs]) -> AsyncIterator[AsyncJobs]:
    """An open client: it enqueues and awaits, and runs nothing."""
    async with make_jobs() as jobs:
        yield jobs


@pytest.fixture
async def jobs(make_jobs: Callable[..., AsyncJobs]) -> AsyncIterator[AsyncJobs]:
    """An open client with a worker on this loop."""
    async with make_jobs().running() as running:
        yield running
