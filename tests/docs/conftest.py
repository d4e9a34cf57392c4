from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncjobs.db.connecting import connect


@pytest.fixture(scope="session")
def beside(server: Any) -> str:
    """The URL of a database on the suite's server, beside which the pages' tests make theirs."""

    async def make() -> None:
        connection = await connect(server.url("postgres"))
        await connection.execute("create database documents")
        connection.terminate()

    asyncio.run(make())
    return server.url("documents")
