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
import pytest

from asyncjobs import AsyncJobs
from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect
from asyncjobs.embedded import EmbeddedPostgres, postmaster
from asyncjobs.embedded.cluster import Cluster
from tests.support.directories import held_directory
from tests.support.proxy import Proxy

_numbers = itertools.count(1)

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


async def _execute(url: str, *statements: str) -> None:
    connection = await connect(url, is_lent=True)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of whoever runs the tests change none of them; which PostgreSQL they run on is his to say."""
    for name in list(os.environ):
        if name.startswith(("ASYNCJOBS_", "PG")) and name != "ASYNCJOBS_PG_BIN":
            monkeypatch.delenv(name)


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
    """The running PostgreSQL, with a migrated template database."""
    with running_server() as postgres:
        asyncio.run(_execute(postgres.url("postgres"), "create database template_of_tests"))
        asyncio.run(_migrate(postgres.url("template_of_tests")))
        yield postgres


async def _migrate(url: str) -> None:
    connection = await connect(url)
    try:
        await migrating.migrate(connection)
    finally:
        await connection.close()


@contextlib.contextmanager
def _database(server: EmbeddedPostgres, name: str) -> Iterator[str]:
    asyncio.run(_execute(server.url("postgres"), f"create database {name} template template_of_tests"))
    yield server.url(name)
    asyncio.run(_execute(server.url("postgres"), f"drop database {name} with (force)"))


@pytest.fixture
def database_url(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a migrated database of this test's own."""
    with _database(server, f"test_{next(_numbers)}") as url:
        yield url


@pytest.fixture(scope="module")
def shared_url(server: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database of a module's, for tests that leave nothing in it."""
    with _database(server, f"shared_{request.module.__name__.lower()}") as url:
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
