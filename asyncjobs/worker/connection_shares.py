"""Shares of a worker's connections: each bounds how many of them one of its services may use at once.

All services share the connections, so that one is enough for an idle worker, or on a server that gives no more: then the
services take turns. With several connections, statements that wait in one share hold up no other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncjobs.db.connecting import Connection
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseUnavailable

T = TypeVar("T")


class ConnectionShare:
    """The shared sessions, for one service.

    Args:
        sessions: The sessions that all services share.
        most: Operations at once; further ones wait in line.
    """

    def __init__(self, sessions: Sessions, most: int) -> None:
        self._sessions = sessions
        self._free = most
        self._line: deque[asyncio.Future[None]] = deque()

    async def run(self, operation: Callable[[Connection], Awaitable[T]], *, deadline: float | None = None) -> T:
        """Run `operation` on a connection; see `Sessions.run`. The wait in line counts for the deadline."""
        seconds = self._sessions.deadline if deadline is None else deadline
        if self._free:
            self._free -= 1
        else:
            seconds = await self._wait_in_line(seconds)
        try:
            return await self._sessions.run(operation, deadline=seconds)
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give a place that has become free to the first in line."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def _wait_in_line(self, seconds: float) -> float:
        """Wait for a place; return the seconds that are left."""
        loop = asyncio.get_running_loop()
        end, turn = loop.time() + seconds, loop.create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout_at(end):
                await turn
        except BaseException as error:
            if not turn.cancelled():
                self._pass_on()  # the place came at the very moment at which this one gave up
            if isinstance(error, TimeoutError):
                raise DatabaseUnavailable(f"other statements were under way for {seconds:.3g} s") from error
            raise
        return end - loop.time()
