"""Waiting for locks of others, a second at a time, and saying whose they are."""

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
"""Seconds that a lock is waited for at a time: whoever wants the same table later waits in line behind us."""
BETWEEN = 0.5
"""Seconds between two attempts, in which those go on."""
MOST_NAMED = 3
"""Sessions that are named at most."""


class LockWait:
    """Runs what needs locks on tables of ours, again and again until it has got them, each time in a transaction.

    Args:
        connection: Not in a transaction.
        seconds: How long that may take in all.
        on_wait: Told what is waited for whenever that has changed.
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
            DatabaseUnavailable: It has not got its locks in time.
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
