"""Lanes: how many of the worker's connections each of its services may use at once.

All services share the connections, so that one is enough for a worker that has nothing to do, and for one on a server that
gives no more: then they take turns. With several, what waits in one lane holds up no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncjobs.db.connecting import Connection
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseUnavailable

T = TypeVar("T")


class Lane:
    """Some of the sessions, for one service.

    Args:
        sessions: Shared with the other lanes.
        most: Uses at once; the others wait in line.
    """

    def __init__(self, sessions: Sessions, most: int) -> None:
        self._sessions = sessions
        self._turns = asyncio.Semaphore(most)

    async def run(self, operation: Callable[[Connection], Awaitable[T]], *, deadline: float | None = None) -> T:
        """Run `operation` on a connection; see `Sessions.run`. The deadline counts the wait in line."""
        seconds = self._sessions.deadline if deadline is None else deadline
        if self._turns.locked():
            end = asyncio.get_running_loop().time() + seconds
            try:
                async with asyncio.timeout_at(end):
                    await self._turns.acquire()
            except TimeoutError as error:
                raise DatabaseUnavailable(f"other statements were under way for {seconds:.3g} s") from error
            seconds = end - asyncio.get_running_loop().time()
        else:
            await self._turns.acquire()  # does not wait
        try:
            return await self._sessions.run(operation, deadline=seconds)
        finally:
            self._turns.release()
