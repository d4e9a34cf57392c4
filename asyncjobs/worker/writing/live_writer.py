"""The live writer: it writes what jobs show while they run, their progress and the items of their streams.

Items that come while a statement is under way go into the next one together. Progress is written five times a second and job
at most, and only the latest. Neither holds up the ends of other jobs: the statements run in a share of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from asyncjobs.db import live
from asyncjobs.db.connecting import Connection
from asyncjobs.db.errors import is_of_values
from asyncjobs.db.live import Sent, Shown
from asyncjobs.db.sessions import Runs
from asyncjobs.db.skip_locked import passing_locked
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, LeaseLost, NotRunning
from asyncjobs.tasks.retrying import Backoff
from asyncjobs.worker.writing.refused_writes import RefusedWrites

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt

logger = logging.getLogger("asyncjobs.worker")

BETWEEN = 0.2
"""Seconds from one write of a job's progress to the next."""
MOST_UNWRITTEN, MOST_BYTES = 1_000, 8 << 20
"""Items of one job, and the characters of all of them, that may be unwritten; `send` waits then."""
BATCH = 1_000
"""Items in one statement, and with `MOST_BYTES` their characters."""
YIELD_EVERY = 32
"""Items after which `send` lets the loop go on (about 0.3 ms), for jobs that do nothing but send."""
BUSY, GATHER = 32, 0.008
"""After a statement of at least `BUSY` items, the next has `GATHER` seconds to grow."""
WRITING = "writing what jobs show"

_Row = tuple[UUID, int, "_Portion"]


class _Portion:
    """Items of one job that are written together."""

    __slots__ = ("items", "recorder")

    def __init__(self, recorder: LiveRecorder, items: list[tuple[int, str, float]]) -> None:
        self.recorder = recorder
        self.items = items


class LiveWriter:
    """Writes what all attempts of a worker show.

    Args:
        sessions: Sessions for one operation at a time, with pinned plans and a `lock_timeout`.
        on_lost: Called with an attempt whose lease turns out to be lost.
    """

    def __init__(self, sessions: Runs, on_lost: Callable[[Attempt], object]) -> None:
        self.sessions = sessions
        self.loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._changed: dict[LiveRecorder, None] = {}
        """Those with progress to be written."""
        self._sending: dict[LiveRecorder, None] = {}
        """Those with items to be written."""
        self._last_batch = 0
        self._kick = asyncio.Event()
        self._backoff = Backoff(logger, WRITING)
        self._parts = RefusedWrites[_Row](
            self._send, self._refuse, key=lambda row: row[0], what=WRITING, name=lambda row: f"job {row[0]}"
        )
        self._making = threading.Lock()

    def of(self, attempt: Attempt) -> LiveRecorder:
        """Return the recorder of one attempt; from any thread."""
        with self._making:  # two threads of a job may show something first
            if attempt.shown is None:
                attempt.shown = LiveRecorder(self, attempt)
            found = attempt.shown
        assert isinstance(found, LiveRecorder)
        return found

    def changed(self, recorder: LiveRecorder) -> None:
        """Have the progress of an attempt written when it is due."""
        self._changed[recorder] = None
        self._kick.set()

    def add(self, recorder: LiveRecorder) -> None:
        """Have the items of an attempt written."""
        self._sending[recorder] = None
        self._kick.set()

    async def run(self) -> None:
        """Write, for ever."""
        while True:
            await self._until_due()
            try:
                if due := self._due():
                    await self._show(due)
                if portions := self._take():
                    await self._parts.write(portions)
                if self._parts:
                    await self._parts.write_again()
                self._backoff.succeeded()
            except DatabaseError as error:
                # Written again, whether or not the lost statement was committed: the result is the same.
                await self._backoff.failed(error)

    async def _until_due(self) -> None:
        if self._sending and not self._held_back():
            if self._last_batch >= BUSY and sum(len(recorder.unwritten) for recorder in self._sending) < BATCH:
                await asyncio.sleep(GATHER)
            return
        due = min((recorder.due for recorder in self._changed), default=math.inf)
        due = min(due, self._parts.due)
        self._kick.clear()
        if due > self.loop.time():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if due == math.inf else due):
                    await self._kick.wait()

    # Progress

    def _due(self) -> list[LiveRecorder]:
        now = self.loop.time()
        due = [recorder for recorder in self._changed if recorder.due <= now]
        return sorted(due, key=lambda recorder: recorder.job)[:BATCH]

    async def _show(self, recorders: Sequence[LiveRecorder]) -> None:
        shown = [recorder.take_progress() for recorder in recorders]
        for recorder in recorders:
            del self._changed[recorder]
        try:
            await self.sessions.run(partial(live.show_progress, shown=shown))
        except BaseException as error:
            # All are kept before anything is tried again: an attempt does not end before its progress is written.
            is_refused = isinstance(error, DatabaseError) and error.refused
            if len(recorders) > 1 or not is_refused:
                for recorder in recorders:
                    recorder.keep_progress()
            if not is_refused:
                raise
            if len(recorders) > 1:
                for recorder in recorders:
                    await self._show([recorder])
                return
            logger.warning("%s: the progress of job %s is not stored: %s", WRITING, recorders[0].job, error)
        for recorder in recorders:
            recorder.progress_written()

    # Items

    def _held_back(self) -> bool:
        """Whether all that have items to be written wait for earlier ones that the database has not taken."""
        if not self._parts:
            return False
        held = {row[0] for row in self._parts.rows()}
        return all(recorder.job in held for recorder in self._sending)

    def _take(self) -> list[_Row]:
        """Take the next items out of the waiting ones, in the order of the jobs' ids."""
        held = {row[0] for row in self._parts.rows()} if self._parts else set[UUID]()
        rows: list[_Row] = []
        left, size = BATCH, MOST_BYTES
        for recorder in [recorder for recorder in self._sending if recorder.job not in held]:
            portion = _Portion(recorder, recorder.take_items(left, size))
            left -= len(portion.items)
            size -= sum(len(item[1]) for item in portion.items)
            rows.append((recorder.job, recorder.fence, portion))
            if recorder.unwritten:
                break
            del self._sending[recorder]
        self._last_batch = BATCH - left
        return sorted(rows, key=lambda row: row[0])

    async def _send(self, rows: Sequence[_Row], passing: bool) -> Sequence[_Row]:
        """Write a batch; return the rows that were passed over, since the rows of their jobs are locked."""
        locked: Sequence[_Row] = ()
        if passing:
            held, locked = await self.sessions.run(
                partial(passing_locked, rows=rows, write=_send_items, nothing=set[UUID]())
            )
        else:
            held = await self.sessions.run(partial(_send_items, rows=rows))
        passed = {row[0] for row in locked}
        for job_id, _, portion in rows:
            if job_id in held:
                portion.recorder.items_written(portion.items)
            elif job_id not in passed:
                portion.recorder.fail(self.lost(portion.recorder.attempt))
        return locked

    async def _refuse(self, row: _Row, error: DatabaseError) -> bool:
        """Have a job fail of whose items the database refuses a value; return False for other errors, which may pass."""
        if not is_of_values(error):
            return False
        row[2].recorder.fail(error)
        return True

    def lost(self, attempt: Attempt) -> LeaseLost:
        """Cancel an attempt whose lease is lost; return the error to raise."""
        self._on_lost(attempt)
        return LeaseLost(f"job {attempt.claimed.id} is another worker's by now")


async def _send_items(connection: Connection, rows: Sequence[_Row]) -> set[UUID]:
    now = time.monotonic()
    sent = [
        (job_id, fence, [Sent(n, now - at, text) for n, text, at in portion.items]) for job_id, fence, portion in rows
    ]
    return await live.send_items(connection, sent)


class LiveRecorder:
    """Takes what one attempt shows."""

    def __init__(self, writer: LiveWriter, attempt: Attempt) -> None:
        self._writer = writer
        self.attempt = attempt
        self.job, self.fence = attempt.claimed.id, attempt.claimed.fence
        self.unwritten: deque[tuple[int, str, float]] = deque()
        """Numbers, values and times of items."""
        self._under_way: list[tuple[int, str, float]] = []
        self._size = 0
        self._last: int | None = None
        """The number of the last item; None: it is not known yet."""
        self._turn = asyncio.Lock()
        self._in_line = 0
        """Calls that wait: later ones must not overtake them."""
        self._error: Exception | None = None
        self._ended = attempt.has_ended
        self._settling = False
        self._moved: asyncio.Future[None] | None = None
        """Awaited by those that wait until something was written."""
        self._progress: tuple[float, float | None, str] | None = None
        self._shown_at = 0.0
        self._told = False
        """Whether the writer knows of progress to be written."""
        self._writing_progress = False
        self._written_at = -math.inf

    # Progress

    def show(self, done: float, total: float | None, note: str) -> None:
        """Show progress; from any thread."""
        if self._progress == (done, total, note) or self._ended:
            return
        self._progress, self._shown_at = (done, total, note), time.monotonic()
        if not self._told:
            self._told = True
            try:
                here = asyncio.get_running_loop() is self._writer.loop
            except RuntimeError:
                here = False
            if here:
                self._writer.changed(self)
            else:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._writer.loop.call_soon_threadsafe(self._writer.changed, self)

    @property
    def due(self) -> float:
        """The loop's time at which progress may be written."""
        return -math.inf if self._settling else self._written_at + BETWEEN

    def take_progress(self) -> Shown:
        """Return the progress to write."""
        self._told, self._writing_progress = False, True
        self._written_at = self._writer.loop.time()
        assert self._progress is not None
        done, total, note = self._progress
        return Shown(self.job, self.fence, done, total, note, time.monotonic() - self._shown_at)

    def keep_progress(self) -> None:
        """Have the progress written again that was not."""
        self._told, self._writing_progress = True, False
        self._writer.changed(self)

    def progress_written(self) -> None:
        """Note that the progress is written."""
        self._writing_progress = False
        self._move()

    # Items

    async def send(self, text: str) -> None:
        """Take an item; see `CurrentAttempt.send`."""
        self._check()
        if self._last is not None and not self._in_line and not self._is_full:
            last = self._put(self._last + 1, text)
        else:
            last = await self._put_in_turn(text)
        if last % YIELD_EVERY == 0:
            await asyncio.sleep(0)

    @property
    def _is_full(self) -> bool:
        return len(self.unwritten) + len(self._under_way) >= MOST_UNWRITTEN or self._size >= MOST_BYTES

    def _put(self, number: int, text: str) -> int:
        self._last = number
        self._size += len(text)
        self.unwritten.append((number, text, time.monotonic()))
        self._writer.add(self)
        return number

    async def _put_in_turn(self, text: str) -> int:
        """Take an item when those of all earlier calls are taken; return its number."""
        self._in_line += 1
        try:
            async with self._turn:
                if self._last is None:
                    self._last = await self._begin()
                while self._is_full:
                    await self._wait()
                    self._check()
                self._check()
                return self._put(self._last + 1, text)
        finally:
            self._in_line -= 1

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._ended:
            raise NotRunning(
                f"this attempt of {self.attempt.claimed.kind} has ended: send items before perform returns"
            )

    async def _begin(self) -> int:
        backoff = Backoff(logger, f"the stream of {self.attempt.claimed.kind} {self.job}")
        begin = partial(live.begin_stream, job_id=self.job, fence=self.fence)
        while True:
            try:
                last = await self._writer.sessions.run(begin)
            except DatabaseUnavailable as error:
                await backoff.failed(error)
                continue
            if last is None:
                raise self._writer.lost(self.attempt)
            return last

    def take_items(self, most: int, size: int) -> list[tuple[int, str, float]]:
        """Return the next items to write: at most `most`, and `size` characters, but one at least."""
        items: list[tuple[int, str, float]] = []
        while self.unwritten and len(items) < most and (size > 0 or not items):
            items.append(self.unwritten.popleft())
            size -= len(items[-1][1])
        self._under_way += items
        return items

    def items_written(self, items: Sequence[tuple[int, str, float]]) -> None:
        """Note that items are durable."""
        self._under_way = self._under_way[len(items) :]
        self._size -= sum(len(item[1]) for item in items)
        self._move()

    def fail(self, error: Exception) -> None:
        """Note that items cannot be written: the attempt fails with that, or has lost its lease."""
        self._error = error
        self.unwritten.clear()
        self._under_way = []
        self._size = 0
        self._move()

    # The end

    async def settled(self) -> None:
        """Wait until everything is durable.

        Raises:
            DatabaseError: The database refuses a value of an item.
        """
        self._settling = True
        if self._told:
            self._writer.changed(self)
        while self.unwritten or self._under_way or self._told or self._writing_progress:
            if self.attempt.cancel_reason == "lease_lost":
                break
            await self._wait(1.0)
        self._settling = False
        if self._error is not None and not isinstance(self._error, LeaseLost):
            raise self._error

    def close(self) -> None:
        """Take nothing more: it would be refused after the attempt's end."""
        self._ended = True

    async def _wait(self, seconds: float | None = None) -> None:
        if self._moved is None:
            self._moved = self._writer.loop.create_future()
        await asyncio.wait([self._moved], timeout=seconds)

    def _move(self) -> None:
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None
