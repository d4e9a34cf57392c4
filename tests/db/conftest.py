from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from asyncjobs.db.connecting import connect
from asyncjobs.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def shared_url(server: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of a module's, for tests that leave nothing in it."""
    name = f"shared_{request.module.__name__.lower()}"

    async def execute(statement: str) -> None:
        connection = await connect(server.url("postgres"))
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute(f"create database {name} template template_of_tests"))
    yield server.url(name)
    asyncio.run(execute(f"drop database {name} with (force)"))


@pytest.fixture
async def shared(shared_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection to that."""
    connection = await connect(shared_url)
    yield connection
    connection.terminate()
