from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from asyncjobs.db.connecting import connect
from asyncjobs.embedded import EmbeddedPostgres
from tests.support.proxy import Proxy


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("ASYNCJOBS_", "PG")):
            monkeypatch.delenv(name)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """In front of the test's database."""
    async with Proxy.in_front_of(database_url) as made:
        yield made


@pytest.fixture
def proxied_url(proxy: Proxy, database_url: str) -> str:
    """The test's database through the proxy."""
    return proxy.url(database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1])


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
