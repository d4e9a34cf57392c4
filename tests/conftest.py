"""One PostgreSQL for the whole run, one database a test, cloned from a migrated template."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs
from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect
from asyncjobs.embedded import EmbeddedPostgres

_numbers = itertools.count(1)


async def _execute(url: str, *statements: str) -> None:
    connection = await connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL with a migrated template database; gone at the end."""
    directory = Path(tempfile.mkdtemp(prefix="asyncjobs-tests-"))
    postgres = EmbeddedPostgres(directory / "server", fsync=False, temporary=True, max_connections=200)
    with asyncio.Runner() as runner:
        runner.run(postgres.start())
        try:
            runner.run(_execute(postgres.url("postgres"), "create database template_of_tests"))
            runner.run(_migrate(postgres.url("template_of_tests")))
            yield postgres
        finally:
            runner.run(postgres.stop())
            shutil.rmtree(directory, ignore_errors=True)


async def _migrate(url: str) -> None:
    connection = await connect(url)
    try:
        await migrating.migrate(connection)
    finally:
        await connection.close()


@pytest.fixture
def database_url(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a migrated database of this test's own."""
    name = f"test_{next(_numbers)}"
    asyncio.run(_execute(server.url("postgres"), f"create database {name} template template_of_tests"))
    yield server.url(name)
    asyncio.run(_execute(server.url("postgres"), f"drop database {name} with (force)"))


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection to the test's database."""
    opened = await connect(database_url)
    yield opened
    opened.terminate()


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
