from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import asyncpg
import pytest
from db_rows import pinned, terminated

from asyncjobs.db.sessions import Sessions
from tests.conftest import TEMPLATE, Databases, shares

_numbers = itertools.count(1)


@pytest.fixture
def empty(databases: Databases) -> Iterator[Callable[..., Any]]:
    """Make databases without a schema; gives the URL of one."""
    with contextlib.ExitStack() as stack:

        async def make(options: str = "") -> str:
            one = databases.one(f"migrations_{next(_numbers)}", options)
            return await asyncio.to_thread(stack.enter_context, one)  # on a loop of its own

        yield make


@pytest.fixture
def migrated(empty: Callable[..., Any]) -> Callable[..., Any]:
    """Make databases with the schema, which is a tenth of the work of migrating; gives the URL of one."""
    return partial(empty, f"template {TEMPLATE}")


@pytest.fixture
def worker_session(
    url: str, request: pytest.FixtureRequest, complete: Callable[[Any], Any]
) -> Iterator[asyncpg.Connection]:
    """A connection to the test's database as a worker has it."""
    if shares(request.node):
        yield complete(request.getfixturevalue("shared_one").another("worker_session", pinned))
    else:
        opened = complete(pinned(url))
        yield opened
        complete(terminated(opened))


@pytest.fixture
def make(url: str, complete: Callable[[Any], Any]) -> Iterator[Callable[..., Sessions]]:
    """Make sessions, closed at the end."""
    made: list[Sessions] = []

    def make(size: int = 2, url: str = url, **options: Any) -> Sessions:
        made.append(Sessions(url, size=size, name="sessions under test", **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
    complete(asyncio.sleep(0))
