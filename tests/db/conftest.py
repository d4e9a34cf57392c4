from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from db_rows import pinned


@pytest.fixture
async def worker_session(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's database as a worker has it."""
    opened = await pinned(database_url)
    yield opened
    opened.terminate()
