import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect
from tests.faults.scene import Scene, through
from tests.support.oracle import Oracle
from tests.support.postgres import ThrowAwayPostgres
from tests.support.proxy import Proxy
from tests.support.workers import Workers


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("ASYNCJOBS_", "PG")):
            monkeypatch.delenv(name)


@asynccontextmanager
async def scene_of(url: str, directory: Path) -> AsyncIterator[Scene]:
    oracle = Oracle(directory / "oracle")
    async with Workers(directory, oracle=oracle) as workers:
        scene = Scene(url, directory, workers, oracle)
        async with scene.jobs:
            yield scene


@pytest.fixture
async def scene(database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """Workers on a database of the shared server, which nobody may break."""
    async with scene_of(database_url, tmp_path) as made:
        yield made


@pytest.fixture
async def postgres() -> AsyncIterator[ThrowAwayPostgres]:
    """A server of this test's own, to stop and to crash."""
    async with ThrowAwayPostgres() as server:
        yield server


async def migrated(postgres: ThrowAwayPostgres) -> str:
    """The URL of a new database with our schema."""
    url = await postgres.create_database("faults")
    connection = await connect(url)
    await migrating.migrate(connection)
    await connection.close()
    return url


@pytest.fixture
async def own_scene(postgres: ThrowAwayPostgres, tmp_path: Path) -> AsyncIterator[Scene]:
    """Workers on the test's own server."""
    async with scene_of(await migrated(postgres), tmp_path) as made:
        yield made


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """In front of the shared server."""
    async with Proxy.in_front_of(database_url) as made:
        yield made


@pytest.fixture
def proxied_url(proxy: Proxy, database_url: str) -> str:
    """The test's database through the proxy."""
    return through(proxy, database_url)
