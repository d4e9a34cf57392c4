"""A line for a few connections to one database: opened when they are waited for, ended when nobody uses them."""

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
"""Seconds between a connection that was refused and the error that says so."""
OFTEN, WITHIN = 5, 0.1
"""Uses that had to wait within so many seconds, after which another connection is opened, however briefly they waited."""
HEAD_START = 0.1
"""Seconds for which the first connection is alone: what is waited for then is planning, which each one does for itself.
A worker's start takes 4 connections so, and 65 ms of the server's processor, in place of 7 and 110.
"""
NO_MORE = 2.0
"""Seconds after which another connection is asked for again that could not be had beside those that are there."""


class Pool:
    """Up to `size` connections to one database, each in the hands of one user at a time.

    Args:
        url: A PostgreSQL URL.
        size: The largest number of connections.
        name: Shown as `application_name`.
        settings: Session settings of every connection.
        timeout: Seconds that opening one may take.
        keep: Seconds that a connection is kept that nobody uses.
        least: How many are kept however long nobody uses them.
        grow_after: Seconds for which those that are in use must have been waited for before another is opened, unless they
            are waited for often. What cannot be opened beside them is nobody's error: they fall free. 0: at once.
        head_start: With `grow_after`, seconds in which no other is opened beside the first.
        connection_class: Of the connections.
        are_lent: Whether a user's code is to have them; see `connect`.
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
        """Each with the time since which it is idle, when it is."""
        self._shrinking: asyncio.TimerHandle | None = None
        self._growing: asyncio.TimerHandle | None = None
        self._waits: deque[float] = deque(maxlen=OFTEN)
        """The loop's times at which the last uses began to wait."""
        self._no_more_before = 0.0
        """The loop's time before which no other connection is asked for beside those that are there."""
        self._gave_back = False
        """Whether the last one was ended since nobody used it: where the server has no place any more, one is waited for."""
        self._openers: list[asyncio.Task[None]] = []
        self._at_once = 0
        """The most connections that were being opened at once since the last that was tried alone."""
        self._waiting: deque[asyncio.Future[asyncpg.Connection]] = deque()
        self._closed = False
        self._answered_at = time.monotonic()
        self._fails = False
        """Whether the last use found no database that answers."""

    # Whether the database answers

    @property
    def unanswered(self) -> float:
        """Seconds since the database has answered; 0 unless the last use found that it does not."""
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
        """Return the time of the loop since which a connection was idle; 0 for one that is gone."""
        return self._all.get(connection, 0.0)

    def take_idle(self) -> asyncpg.Connection | None:
        """Return the connection that was given back last; None: none is idle."""
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
        """Wait in line for a connection: one that is opened for it, if there is room, or one that falls free before.

        Where another cannot be had, since the server or a pooler in between gives no more, those that are in use fall free.
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
        """Pass on what was given to a waiter at the very moment in which it gave up."""
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._note_line()
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.release(turn.result(), clean=True)
        while len(self._openers) > len(self._waiting):
            self._openers.pop().cancel()

    def _open_for_waiting(self) -> None:
        """Open a connection for each of those in line, as far as there is room; beside others, not at once."""
        if not self._grow_after:
            self._grow()
        elif not self._all:
            self._grow(1)
        else:
            self._grow_at(max(asyncio.get_running_loop().time() + self._grow_after, self._no_more_before))

    def _grow_if_often(self, now: float) -> None:
        """Open another connection at once where uses have to wait again and again."""
        self._waits.append(now)
        if len(self._waits) == OFTEN and now - self._waits[0] < WITHIN and now >= self._no_more_before:
            self._waits.clear()
            self._grow(1)

    def _grow_at(self, when: float) -> None:
        """Open what is still waited for at `when`, unless there is a moment before in which nobody waits."""
        if self._waiting and self._growing is None and len(self._all) + len(self._openers) < self.size:
            self._growing = asyncio.get_running_loop().call_at(when, self._grow)

    def _note_line(self) -> None:
        """Take note that somebody waits no more."""
        if not self._waiting and self._growing is not None:
            self._growing.cancel()
            self._growing = None

    def _grow(self, most: int | None = None) -> None:
        if self._growing is not None:
            self._growing.cancel()
            self._growing = None
        wanted = len(self._waiting) if most is None else min(len(self._waiting), most)
        while len(self._openers) < wanted and len(self._all) + len(self._openers) < self.size:
            # In a context of its own: it is no part of the job that waits first.
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._open(), name="asyncjobs connecting", context=Context())
            self._openers.append(task)
        self._at_once = max(self._at_once, len(self._openers))

    async def _open(self) -> None:
        """Open a connection and give it to the first in line; where none can be had, that one learns why."""
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
                # A socket that is gone refuses without a turn of the loop: who tries again at once would hold the loop.
                await asyncio.sleep(AFTER_REFUSAL)
            if opener in self._openers:
                self._openers.remove(opener)
                self._tell_first(error)
            return
        if opener not in self._openers:  # closed, or nobody waits any more
            connection.terminate()
            return
        self._openers.remove(opener)
        if not self._all:
            self._no_more_before = asyncio.get_running_loop().time() + self._head_start
        self._all[connection] = 0.0
        self.release(connection, clean=True)
        self._open_for_waiting()

    def _tell_first(self, error: Exception) -> None:
        """Tell the first in line why it gets no connection, unless one of ours falls free in time."""
        # Of all that are open, not of those in use: between two uses one is in the hands of whoever waited for it.
        if (self._grow_after and self._all) or (self._gave_back and is_full(error)):
            self._no_more_before = asyncio.get_running_loop().time() + NO_MORE * (0.5 + random.random())
            self._grow_at(self._no_more_before)
            return
        if is_full(error) and (self._all or self._openers):
            return
        if is_full(error) and self._at_once > 1 and self._waiting:
            # A server counts all that come at once before it refuses any: one alone may be let in.
            self._at_once = 0
            self._grow(1)
            return
        if self._waiting:
            self._waiting.popleft().set_exception(error)
            self._note_line()
            self._open_for_waiting()

    def release(self, connection: asyncpg.Connection, *, clean: bool) -> None:
        """Give a connection back: to the first in line, or to be idle; ended unless it is `clean`."""
        if not clean or self._closed or connection.is_closed():
            self._end(connection)
            self._open_for_waiting()
            return
        # Handed to the first in line, not laid where anybody finds it: a caller in a tight loop would take it again before
        # the one who waits gets a turn of the loop, every time.
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
        """Change how many are kept however long nobody uses them."""
        self._least = least
        self._shrink_later()

    def _shrink_later(self) -> None:
        # The one that was used last is used next, so that the first of them is idle longest.
        if self._shrinking is None and self._idle and self._keep < math.inf and len(self._all) > self._least:
            due = self._all[self._idle[0]] + self._keep
            self._shrinking = asyncio.get_running_loop().call_at(due, self._shrink)

    def _shrink(self) -> None:
        """End what was idle for as long as it is kept."""
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
        """End the connections that nobody uses, of these only what is idle since the time of the loop `since` or before."""
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
        """Connections open, and how many of these are idle."""
        return len(self._all), len(self._idle)

    def close(self) -> None:
        """End every connection at once, and the line for them. Needs no answer."""
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
