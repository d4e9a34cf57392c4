from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.scene import Scene
from tests.support import faketime
from tests.support.oracle import Oracle
from tests.support.postgres import MIGRATED, ThrowAwayPostgres
from tests.support.workers import Workers


@asynccontextmanager
async def scene_of(url: str, directory: Path) -> AsyncIterator[Scene]:
    oracle = Oracle(directory / "oracle")
    async with Workers(directory, oracle=oracle) as workers:
        scene = Scene(url, directory, workers, oracle)
        async with scene.jobs:
            with closing(scene):
                yield scene


@pytest.fixture
async def scene(database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """Workers on a database of the shared server, which nobody may break."""
    async with scene_of(database_url, tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting(
    shared_url: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Scene]:
    """A module's, with a worker that runs its `LASTING` modules, for tests that leave it as it was: `on_its_loop`."""
    async with scene_of(shared_url, tmp_path_factory.mktemp("lasting")) as made:
        await made.start(*request.module.LASTING, name="lasting")
        yield made


on_its_loop = pytest.mark.asyncio(loop_scope="module")
"""For tests of `lasting`."""


@pytest.fixture
async def postgres() -> AsyncIterator[ThrowAwayPostgres]:
    """A server of this test's own, to stop and to crash."""
    async with ThrowAwayPostgres() as server:
        yield server


@pytest.fixture
async def own_scene(postgres: ThrowAwayPostgres, tmp_path: Path) -> AsyncIterator[Scene]:
    """Workers on the test's own server."""
    async with scene_of(postgres.url(MIGRATED), tmp_path) as made:
        yield made


@pytest.fixture
async def shifted(tmp_path: Path) -> AsyncIterator[tuple[ThrowAwayPostgres, Path]]:
    """A server whose clock goes as a file says, and that file."""
    preloaded = faketime.library()
    # Not under tmp_path, which other users may not enter: the server is another's.
    with faketime.nothing_left():
        async with ThrowAwayPostgres() as place:
            clock = place.directory / "clock"
            clock.write_text("+0")
            clock.chmod(0o644)
            await place.stop()
            place.environment = {
                "LD_PRELOAD": str(preloaded),
                "FAKETIME_TIMESTAMP_FILE": str(clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            await place.start()
            yield place, clock
