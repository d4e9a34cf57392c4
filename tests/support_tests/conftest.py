from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.postgres import ThrowAwayPostgres


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def postgres() -> AsyncIterator[ThrowAwayPostgres]:
    async with ThrowAwayPostgres() as server:
        yield server
