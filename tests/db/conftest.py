from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from db_rows import pinned

from asyncjobs.db.connecting import connect
from asyncjobs.db.sessions import Sessions
from asyncjobs.embedded import EmbeddedPostgres

_numbers = itertools.count(1)


@pytest.fixture
async def empty(server: EmbeddedPostgres) -> AsyncIterator[Callable[..., Any]]:
    """Make databases without a schema; gives the URL of one."""
    names: list[str] = []
    admin = await connect(server.url("postgres"))

    async def make(options: str = "") -> str:
        name = f"migrations_{next(_numbers)}"
        await admin.execute(f"create database {name} {options}")
        names.append(name)
        return server.url(name)

    yield make
    for name in names:
        await admin.execute(f"drop database {name} with (force)")
    admin.terminate()


@pytest.fixture
async def worker_session(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's database as a worker has it."""
    opened = await pinned(database_url)
    yield opened
    opened.terminate()


@pytest.fixture
async def make(database_url: str) -> AsyncIterator[Callable[..., Sessions]]:
    """Make sessions, closed at the end."""
    made: list[Sessions] = []

    def make(size: int = 2, url: str = database_url, **options: Any) -> Sessions:
        made.append(Sessions(url, size=size, name="sessions under test", **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
