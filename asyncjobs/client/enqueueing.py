"""The enqueuer: it inserts a lone caller's row in a statement of its own, and the rows of many callers together.

Rows that come while a statement is under way wait and go into the next one together: 50 callers reach 25,000 to 35,000
rows/s, against 3,800 to 4,700 with a statement each. A lone caller keeps the single-row statement, since the one for many
costs it a fifth of its rate. Each call still returns only when its own row is durable.

A notice goes out with the row, unless this process has sent one a moment ago: NOTIFY takes a cluster-wide lock from the
statement to the end of its commit, and costs a single-row insert a sixth of its time. So a process that enqueues steadily
sends a notice once per `PAUSE` and not once per row. A notice that was left out is made up for by the next one, or sent by
itself if none follows.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

from asyncjobs.db.errors import is_locked, is_of_allowed_kinds
from asyncjobs.db.inserts import KEY_WAIT, Inserts, enqueue_again, enqueue_ordered, has_lock_timeout, notify_ready
from asyncjobs.db.rows import NewJob, Stored
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, EnqueueOutcomeUnknown, NotOpen
from asyncjobs.tasks.services import Services

RESEND_LIMIT = 5.0
"""Seconds for sending rows once more after a lost answer."""
MOST_ROWS = 500
MOST_BYTES = 1_048_576
"""Rows, and bytes of arguments, in one shared statement: one caller's large arguments must not hold up the others."""
PAUSE = 0.0025
"""Seconds between two notices of one process, and so the longest that a job's pickup is delayed by this.

It is about the time from enqueueing a job to its result, so that a caller who awaits each job is hardly ever delayed.
"""
FIRST_KEY_WAIT = 0.5
NEXT_KEY_WAIT = 0.1
KEY_PAUSE = 0.5
"""Seconds that an enqueue waits for a unique key that another transaction holds, at first and then again and again, and the
pause between, about: in the pauses it keeps no connection, which the client's other calls need."""

_Waiting: TypeAlias = tuple[NewJob, asyncio.Future[None]]
"""A row, and the future that its caller awaits."""


class Enqueuer:
    """Inserts rows whose ids are new, sharing statements between callers."""

    def __init__(self, sessions: Sessions, inserts: Inserts, services: Services) -> None:
        self._sessions = sessions
        self._inserts = inserts
        self._services = services
        self._notices = _Notices(sessions, services)
        self._in_flight = False
        self._waiting: deque[_Waiting] = deque()

    def enqueue(self, row: NewJob) -> Coroutine[Any, Any, None]:
        """Insert one row, and return when it is durable.

        A cancellation withdraws a row that still waits, but not one whose statement is under way.

        Raises:
            EnqueueOutcomeUnknown: The answer was lost.
            DatabaseError: The row was refused, or there was no connection; nothing was written.
        """
        return self._share(row) if self._in_flight else self._enqueue(row)

    async def _enqueue(self, row: NewJob) -> None:
        self._in_flight = True
        try:
            await self._insert([row])
        except DatabaseError as error:
            if not is_of_one_row(error):
                raise
            await self.enqueue_again(row)
        finally:
            self._in_flight = False
            self._send_waiting()

    async def enqueue_again(self, row: NewJob) -> bool:
        """Insert one row that may exist already; return whether it was made now.

        Raises:
            EnqueueOutcomeUnknown: The answer was lost, or there was no connection: an earlier call may have made the row.
            DatabaseError: The row was refused; nothing was written.
        """
        try:
            return await self._sessions.run(partial(enqueue_again, job=row))
        except DatabaseUnavailable as error:
            raise EnqueueOutcomeUnknown(row.id) from error

    async def enqueue_ordered(self, rows: Sequence[NewJob]) -> list[Stored]:
        """Insert jobs with limits or unique keys; return how each was stored.

        They have a statement of their own: a unique key that an open transaction holds would hold up the rows of all
        callers. It waits for such a key for `KEY_WAIT` seconds, or for the `lock_timeout` of the client's role.

        Raises:
            EnqueueOutcomeUnknown: The answer was lost twice.
            DatabaseError: The jobs were refused, or there was no connection; nothing was written.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + KEY_WAIT
        key_wait = FIRST_KEY_WAIT
        while True:
            try:
                return await self._insert_ordered(rows, min(key_wait, KEY_WAIT))
            except DatabaseUnavailable as error:
                if not is_locked(error) or loop.time() > end or await self._sessions.run(has_lock_timeout):
                    raise
            await asyncio.sleep(KEY_PAUSE * (0.5 + random.random()))
            key_wait = NEXT_KEY_WAIT

    async def _insert_ordered(self, rows: Sequence[NewJob], key_wait: float) -> list[Stored]:
        send = partial(enqueue_ordered, jobs=rows, key_wait=key_wait)
        try:
            return await self._sessions.run(send)
        except DatabaseUnavailable as error:
            if not error.begun or _refused(error):
                raise
        try:
            return await self._sessions.run(send, deadline=RESEND_LIMIT)
        except (DatabaseError, NotOpen) as error:
            raise EnqueueOutcomeUnknown(rows[0].id) from error

    async def _share(self, row: NewJob) -> None:
        done = asyncio.get_running_loop().create_future()
        waiting = row, done
        self._waiting.append(waiting)
        try:
            await done
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def _send_waiting(self) -> None:
        if self._waiting and not self._in_flight:
            self._in_flight = True
            # In a task that no caller can cancel: the statement has rows of others, too.
            self._services.start(self._send(), name="enqueue")

    async def _send(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                batch = self._take()
                try:
                    await self._insert([row for row, _ in batch])
                except Exception as error:
                    if isinstance(error, DatabaseError) and is_of_one_row(error):
                        await self._send_singly(batch)
                    else:
                        _fail(batch, error)
                else:
                    for _, done in batch:
                        if not done.done():
                            done.set_result(None)
                # In this turn of the loop, callers whose rows are in enqueue their next ones. Without the turn, the first of
                # them would find no statement under way and get one for itself, every time (28,000 rows/s from 50 tasks;
                # 35,000 with it). Two statements at once are slower (20,000): NOTIFY makes their commits wait for each
                # other.
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            # The client was closed: rows under way may exist, waiting ones were never sent.
            _fail(batch, EnqueueOutcomeUnknown(batch[0][0].id))
            _fail(self._waiting, NotOpen("this AsyncJobs was closed before the job was sent; nothing was written"))
            self._waiting.clear()
            raise
        finally:
            self._in_flight = False

    async def _send_singly(self, batch: Sequence[_Waiting]) -> None:
        """Insert row by row: one row exists already, and the others must not fail with it."""
        for row, done in batch:
            try:
                await self.enqueue_again(row)
            except Exception as error:
                _fail([(row, done)], error)
            else:
                if not done.done():
                    done.set_result(None)

    def _take(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        size = len(batch[0][0].args)
        while self._waiting and len(batch) < MOST_ROWS:
            size += len(self._waiting[0][0].args)
            if size > MOST_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _insert(self, rows: Sequence[NewJob]) -> None:
        row = rows[0]
        try:
            if len(rows) > 1 or not row.is_plain:
                await self._sessions.run(partial(self._inserts.enqueue_many, jobs=rows))
            elif self._notices.due(row.queue):
                await self._sessions.run(partial(self._inserts.enqueue_one, job=row))
            else:
                await self._sessions.run(partial(self._inserts.enqueue_one, job=row, quietly=True))
                self._notices.later(row.queue)
        except DatabaseUnavailable as error:
            if not error.begun or _refused(error):
                raise
            await self._resend(rows)

    async def _resend(self, rows: Sequence[NewJob]) -> None:
        """Send rows once more, on another connection; a row that exists already is not made twice.

        Raises:
            EnqueueOutcomeUnknown: That failed, too.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + RESEND_LIMIT
        for row in rows:
            try:
                again = partial(enqueue_again, job=row)
                await self._sessions.run(again, deadline=max(end - loop.time(), 0.001))
            except (DatabaseError, NotOpen) as error:
                raise EnqueueOutcomeUnknown(row.id) from error


class _Notices:
    """Decides whether an enqueue sends its own notice, and sends those that were left out."""

    def __init__(self, sessions: Sessions, services: Services) -> None:
        self._sessions = sessions
        self._services = services
        self._loop = asyncio.get_running_loop()
        self._last = float("-inf")
        self._late: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def due(self, queue: str) -> bool:
        """Whether the statement that inserts a row of `queue` is to notify; its notice covers those left out before."""
        now = self._loop.time()
        if now - self._last < PAUSE:
            return False
        self._last = now
        self._late.discard(queue)
        return True

    def later(self, queue: str) -> None:
        """Send a notice for `queue` within `PAUSE`."""
        self._late.add(queue)
        if self._timer is None:
            self._timer = self._loop.call_later(PAUSE, self._send_late)

    def _send_late(self) -> None:
        self._timer = None
        if self._late:
            late, self._late = self._late, set()
            self._last = self._loop.time()
            self._services.start(self._send(late), name="notice")

    async def _send(self, late: set[str]) -> None:
        try:
            await self._sessions.run(partial(notify_ready, queues=late))
        except (DatabaseError, NotOpen):
            return  # without the notice, the workers' poll finds the rows


def is_of_one_row(error: DatabaseError) -> bool:
    """Whether one row's own data was refused: mostly an id that exists, sent by another call for the same job."""
    return (getattr(error.__cause__, "sqlstate", None) or "")[:2] in ("22", "23") or is_of_allowed_kinds(
        error.__cause__
    )


def _refused(error: DatabaseError) -> bool:
    """Whether the server answered, with an error: then nothing was written."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state is not None and state[:2] not in ("08", "57")


def _fail(batch: Iterable[_Waiting], error: Exception) -> None:
    for row, done in batch:
        if done.done():
            continue
        if isinstance(error, EnqueueOutcomeUnknown):
            own: Exception = EnqueueOutcomeUnknown(row.id)
        else:
            own = type(error)(*error.args)
        own.__cause__ = error.__cause__ or error
        done.set_exception(own)
