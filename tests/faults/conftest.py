from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect
from tests.faults.scene import Scene
from tests.support.oracle import Oracle
from tests.support.postgres import ThrowAwayPostgres
from tests.support.workers import Workers


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
    connection = await connect(url, is_lent=True)
    await migrating.migrate(connection)
    await connection.close()
    return url


@pytest.fixture
async def own_scene(postgres: ThrowAwayPostgres, tmp_path: Path) -> AsyncIterator[Scene]:
    """Workers on the test's own server."""
    async with scene_of(await migrated(postgres), tmp_path) as made:
        yield made
