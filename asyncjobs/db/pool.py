"""The pool: a few connections to one database and a line for them, opened when needed and closed when idle."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Mapping
from contextvars import Context

import asyncpg

from asyncjobs.db import url_parts
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import is_full
from asyncjobs.exceptions import DatabaseUnavailable, NotOpen

_CLOSED = "this AsyncJobs is closed: open it again before using it"
AFTER_REFUSAL = 0.05
"""Seconds between a refused connection and the error that is raised for it."""
OFTEN, WITHIN = 5, 0.1
"""After `OFTEN` uses within `WITHIN` seconds that had to wait, however briefly, another connection is opened."""
HEAD_START = 0.1
"""Seconds for which the first connection is alone: its statements take long then since they are planned, which a second
connection would have to do, too. So a worker's start takes 4 connections and 65 ms of the server's CPU, instead of 7 and
110.
"""
NO_MORE = 2.0
"""Seconds after which another connection is tried again that the server refused while others were open."""


class Pool:
    """Up to `size` connections to one database, each used by one caller at a time.

    Args:
        url: A PostgreSQL URL.
        size: The largest number of connections.
        name: The `application_name` of the connections.
        settings: Session settings of every connection.
        timeout: Seconds for opening a connection.
        keep: Seconds for which an idle connection is kept.
        least: The number of connections that are kept, however long they are idle.
        grow_after: Seconds for which a caller must have waited before another connection is opened, unless callers wait
            often. If that is refused, it is no error: the open connections become free in time. 0: at once.
        head_start: With `grow_after`, seconds in which no connection is opened beside the first.
        connection_class: The class of the connections.
        are_lent: Whether they are lent to a user's code; see `connect`.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        name: str,
        settings: Mapping[str, str] | None,
        timeout: float,
        keep: float,
        least: int,
        grow_after: float,
        head_start: float,
        connection_class: type[asyncpg.Connection],
        are_lent: bool,
    ) -> None:
        self.url = url
        self.size = size
        self._timeout = timeout
        self._keep = keep
        self._least = least
        self._grow_after = grow_after
        self._head_start = head_start
        self._name = name
        self._settings = settings
        self._connection_class = connection_class
        self._are_lent = are_lent
        self._idle: list[asyncpg.Connection] = []
        self._all: dict[asyncpg.Connection, float] = {}
        """All connections, with the loop's time since which an idle one is idle."""
        self._shrinking: asyncio.TimerHandle | None = None
        self._growing: asyncio.TimerHandle | None = None
        self._waits: deque[float] = deque(maxlen=OFTEN)
        """The loop's times at which the last callers began to wait."""
        self._no_more_before = 0.0
        """The loop's time before which no connection is opened beside the open ones."""
        self._gave_back = False
        """Whether the last connection was closed because it was idle: then a full server is no error, and is tried again."""
        self._openers: list[asyncio.Task[None]] = []
        self._at_once = 0
        """The most connections that were being opened at once since one was last tried alone."""
        self._waiting: deque[asyncio.Future[asyncpg.Connection]] = deque()
        self._closed = False
        self._answered_at = time.monotonic()
        self._fails = False
        """Whether the database did not answer the last use."""

    # Whether the database answers

    @property
    def unanswered(self) -> float:
        """Seconds since the last answer; 0 if the last use got one."""
        return self.quiet_for if self._fails else 0.0

    @property
    def quiet_for(self) -> float:
        """Seconds since the last answer."""
        return time.monotonic() - self._answered_at

    def note(self, *, answered: bool) -> None:
        """Note whether the database has answered."""
        if answered:
            self._answered_at = time.monotonic()
        self._fails = not answered

    # Taking and giving back

    def idle_since(self, connection: asyncpg.Connection) -> float:
        """Return the loop's time since which a connection was idle; 0 if it is not in the pool any more."""
        return self._all.get(connection, 0.0)

    def take_idle(self) -> asyncpg.Connection | None:
        """Return the idle connection that was used last; None: there is none."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._all.pop(connection, None)
        return None

    def _check_open(self) -> None:
        if self._closed:
            raise NotOpen(_CLOSED)

    async def acquire(self, end: float, *, endless: bool) -> asyncpg.Connection:
        """Wait in line for a connection: one that becomes free, or a new one if there is room.

        If the server or a pooler refuses a new one while others are open, the wait goes on for one of these.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            self._check_open()
            turn: asyncio.Future[asyncpg.Connection] = loop.create_future()
            self._waiting.append(turn)
            if self._grow_after and len(self._all) > len(self._idle):
                self._grow_if_often(loop.time())
            self._open_for_waiting()
            try:
                async with asyncio.timeout_at(None if endless else end):
                    connection = await turn
            except BaseException as error:
                opening = bool(self._openers)
                self._leave_line(turn)
                if isinstance(error, TimeoutError):
                    if opening:
                        self.note(answered=False)
                    raise DatabaseUnavailable(self._why_none(end - begun, opening=opening)) from error
                raise
            if not connection.is_closed():
                return connection
            self._all.pop(connection, None)

    def _why_none(self, seconds: float, *, opening: bool) -> str:
        if opening:
            where = url_parts.server_of(self.url)
            return f"no answer from the database at {where}: no connection could be opened in {seconds:.3g} s"
        if not self._all:
            return f"the server gave no connection in {seconds:.3g} s: it has no more"
        remedy = "raise database_connections" if len(self._all) >= self.size else "the server gives no more"
        return f"all {len(self._all)} connections were busy for {seconds:.3g} s; {remedy}"

    def _leave_line(self, turn: asyncio.Future[asyncpg.Connection]) -> None:
        """Leave the line; pass on a connection that was given at the very moment of giving up."""
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._note_line()
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.release(turn.result(), clean=True)
        while len(self._openers) > len(self._waiting):
            self._openers.pop().cancel()

    def _open_for_waiting(self) -> None:
        """Open connections for the waiting callers, if there is room; with `grow_after` and others open, not at once."""
        if not self._grow_after:
            self._grow()
        elif not self._all:
            self._grow(1)
        else:
            self._grow_at(max(asyncio.get_running_loop().time() + self._grow_after, self._no_more_before))

    def _grow_if_often(self, now: float) -> None:
        """Open another connection at once if callers have to wait again and again."""
        self._waits.append(now)
        if len(self._waits) == OFTEN and now - self._waits[0] < WITHIN and now >= self._no_more_before:
            self._waits.clear()
            self._grow(1)

    def _grow_at(self, when: float) -> None:
        """Open connections at `when` for callers that still wait, unless at some moment before nobody waits."""
        if self._waiting and self._growing is None and len(self._all) + len(self._openers) < self.size:
            self._growing = asyncio.get_running_loop().call_at(when, self._grow)

    def _note_line(self) -> None:
        """Note that a caller has left the line."""
        if not self._waiting and self._growing is not None:
            self._growing.cancel()
            self._growing = None

    def _grow(self, most: int | None = None) -> None:
        if self._growing is not None:
            self._growing.cancel()
            self._growing = None
        wanted = len(self._waiting) if most is None else min(len(self._waiting), most)
        while len(self._openers) < wanted and len(self._all) + len(self._openers) < self.size:
            # With an empty context: the connection does not belong to the job that waits first.
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._open(), name="asyncjobs connecting", context=Context())
            self._openers.append(task)
        self._at_once = max(self._at_once, len(self._openers))

    async def _open(self) -> None:
        """Open a connection for the first in line, or raise the error there."""
        opener = asyncio.current_task()
        assert opener is not None
        try:
            connection = await connect(
                self.url,
                name=self._name,
                settings=self._settings,
                timeout=self._timeout,
                is_lent=self._are_lent,
                connection_class=self._connection_class,
            )
        except Exception as error:
            if isinstance(error, DatabaseUnavailable):
                self.note(answered=False)
                # A missing socket refuses without a turn of the loop: a caller that tries again at once would block it.
                await asyncio.sleep(AFTER_REFUSAL)
            if opener in self._openers:
                self._openers.remove(opener)
                self._tell_first(error)
            return
        if opener not in self._openers:  # the pool is closed, or nobody waits any more
            connection.terminate()
            return
        self._openers.remove(opener)
        if not self._all:
            self._no_more_before = asyncio.get_running_loop().time() + self._head_start
        self._all[connection] = 0.0
        self.release(connection, clean=True)
        self._open_for_waiting()

    def _tell_first(self, error: Exception) -> None:
        """Raise an error for the first in line, unless an open connection may become free for it."""
        # All open ones count, not those in use: a connection that has just been handed over is in neither state.
        if (self._grow_after and self._all) or (self._gave_back and is_full(error)):
            self._no_more_before = asyncio.get_running_loop().time() + NO_MORE * (0.5 + random.random())
            self._grow_at(self._no_more_before)
            return
        if is_full(error) and (self._all or self._openers):
            return
        if is_full(error) and self._at_once > 1 and self._waiting:
            # A server counts all connections that come at once before it refuses any: one alone may be accepted.
            self._at_once = 0
            self._grow(1)
            return
        if self._waiting:
            self._waiting.popleft().set_exception(error)
            self._note_line()
            self._open_for_waiting()

    def release(self, connection: asyncpg.Connection, *, clean: bool) -> None:
        """Give a connection back: to the first in line, or as idle; one that is not `clean` is closed."""
        if not clean or self._closed or connection.is_closed():
            self._end(connection)
            self._open_for_waiting()
            return
        # Handed to the first in line, and not made idle: a caller in a tight loop would take it again every time, before
        # the one that waits gets a turn of the event loop.
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                self._note_line()
                return
        if self._growing is not None:
            self._note_line()
        self._all[connection] = asyncio.get_running_loop().time()
        self._idle.append(connection)
        if self._shrinking is None and len(self._all) > self._least:
            self._shrink_later()

    def keep_at_least(self, least: int) -> None:
        """Change the number of connections that are kept however long they are idle."""
        self._least = least
        self._shrink_later()

    def _shrink_later(self) -> None:
        # The connection that was used last is used next, so that the first in the list is idle longest.
        if self._shrinking is None and self._idle and self._keep < math.inf and len(self._all) > self._least:
            due = self._all[self._idle[0]] + self._keep
            self._shrinking = asyncio.get_running_loop().call_at(due, self._shrink)

    def _shrink(self) -> None:
        """Close connections that were idle for `keep` seconds."""
        self._shrinking = None
        before = asyncio.get_running_loop().time() - self._keep
        while self._idle and len(self._all) > self._least and self._all[self._idle[0]] <= before:
            self._end(self._idle.pop(0))
            self._gave_back = not self._all
        self._shrink_later()

    def _end(self, connection: asyncpg.Connection) -> None:
        connection.terminate()
        self._all.pop(connection, None)

    def end_idle(self, since: float = math.inf) -> None:
        """Close idle connections, those that are idle since the loop's time `since` or longer."""
        idle, self._idle = self._idle, []
        for connection in idle:
            if self._all[connection] > since:
                self._idle.append(connection)
            else:
                self._end(connection)

    @property
    def is_open(self) -> bool:
        """Whether a connection is open, used or not."""
        return any(not connection.is_closed() for connection in self._all)

    @property
    def statistics(self) -> tuple[int, int]:
        """The number of open connections, and how many of these are idle."""
        return len(self._all), len(self._idle)

    def close(self) -> None:
        """Close every connection at once, without waiting for answers, and have waiting callers raise NotOpen."""
        self._closed = True
        for timer in (self._shrinking, self._growing):
            if timer is not None:
                timer.cancel()
        for connection in self._all:
            connection.terminate()
        self._idle.clear()
        self._all.clear()
        for opener in self._openers:
            opener.cancel()
        self._openers.clear()
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(NotOpen(_CLOSED))
