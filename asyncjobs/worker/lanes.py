"""Lanes: how many of the worker's connections each of its services may use at once.

All services share the connections, so that one is enough for a worker that has nothing to do, and for one on a server that
gives no more: then they take turns. With several, what waits in one lane holds up no other.
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


class Lane:
    """Some of the sessions, for one service.

    Args:
        sessions: Shared with the other lanes.
        most: Uses at once; the others wait in line.
    """

    def __init__(self, sessions: Sessions, most: int) -> None:
        self._sessions = sessions
        self._free = most
        self._line: deque[asyncio.Future[None]] = deque()

    async def run(self, operation: Callable[[Connection], Awaitable[T]], *, deadline: float | None = None) -> T:
        """Run `operation` on a connection; see `Sessions.run`. The deadline counts the wait in line."""
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
        """Give the place that somebody had to the first in line."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def _wait_in_line(self, seconds: float) -> float:
        """Wait for a place; return what is left of the seconds."""
        loop = asyncio.get_running_loop()
        end, turn = loop.time() + seconds, loop.create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout_at(end):
                await turn
        except BaseException as error:
            if not turn.cancelled():
                self._pass_on()  # it came at the very moment at which this one gave up
            if isinstance(error, TimeoutError):
                raise DatabaseUnavailable(f"other statements were under way for {seconds:.3g} s") from error
            raise
        return end - loop.time()
