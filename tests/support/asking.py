"""Ask a database again and again, until it says what a test waits for."""

import asyncio
import time
from typing import Any

from tests.support.processes import PATIENCE, POLL, before_next_look

BLOCKED = """select count(*) >= $1 from pg_stat_activity
             where wait_event_type = 'Lock' and datname = current_database()"""


async def until(connection: Any, query: str, *arguments: Any) -> Any:
    """Ask until a query gives something that is true; that. TimeoutError after a while."""
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while not (found := await connection.fetchval(query, *arguments)):
            await before_next_look(began)
    return found


async def until_blocked(connection: Any, count: int = 1) -> None:
    """Wait until so many sessions of the database wait for a lock; some do for a moment at a time, so that it looks often."""
    async with asyncio.timeout(PATIENCE):
        while not await connection.fetchval(BLOCKED, count):
            await asyncio.sleep(POLL)
