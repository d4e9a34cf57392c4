"""Waits for locks that others hold, a second at a time, with the names of the holders."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from asyncjobs.checks import durations
from asyncjobs.checks.foreign_texts import brief
from asyncjobs.db import sql
from asyncjobs.exceptions import DatabaseUnavailable

T = TypeVar("T")

A_LOCK = 1.0
"""Seconds for one wait: later statements on the same table wait in line behind it."""
BETWEEN = 0.5
"""Seconds between two waits, in which those statements go on."""
MOST_NAMED = 3
"""Sessions that are named, at most."""


class LockWait:
    """Runs operations that need locks on our tables, again and again until they get them, each time in a transaction.

    Args:
        connection: A connection that is not in a transaction.
        seconds: Seconds for all waits together.
        on_wait: Called with a sentence about the wait, when it begins and whenever it changes.
    """

    def __init__(self, connection: asyncpg.Connection, seconds: float, on_wait: Callable[[str], object]) -> None:
        self._connection = connection
        self._seconds = seconds
        self._on_wait = on_wait
        self._end = asyncio.get_running_loop().time() + seconds
        self._said: str | None = None

    async def run(self, operation: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Run an operation in a transaction of its own.

        Raises:
            DatabaseUnavailable: It did not get its locks in time.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with self._connection.transaction():
                    lock_timeout = max(min(A_LOCK, self._end - loop.time()), 0.05)
                    await self._connection.fetch(sql.read("set_timeouts"), f"{lock_timeout * 1000:.0f}ms")
                    return await operation(self._connection)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
                await self._wait(error)

    async def _wait(self, error: asyncpg.PostgresError) -> None:
        holders = await self._holders()
        if asyncio.get_running_loop().time() + BETWEEN >= self._end:
            raise DatabaseUnavailable(
                f"a lock was not to be had within {durations.spell(self._seconds)}{holders}; end that transaction, or wait "
                "longer, as with `asyncjobs db migrate --wait 5m`"
            ) from error
        if holders != self._said:
            self._said = holders
            self._on_wait(f"waiting for a lock{holders}")
        await asyncio.sleep(BETWEEN)

    async def _holders(self) -> str:
        rows = await self._connection.fetch(sql.read("read_lock_holders"), MOST_NAMED)
        if not rows:
            return ""
        return ", held by " + "; ".join(
            f"pid {row['pid']} ({brief(row['application'] or 'no application name')}, {brief(row['login'])}, "
            f"{row['state']}, its transaction is open since {row['since']:%H:%M:%S} UTC): {brief(row['query'])}"
            for row in rows
        )
