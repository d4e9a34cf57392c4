"""Live: progress and streams of jobs, read for any number of readers of this process.

All readers share the listener's connection. A notice says that a job has shown something; the first of its readers that is
ready reads what is new, and the others take it from memory. Progress of all watched jobs is read together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from uuid import UUID

from asyncjobs.client.awaiting import BEGINNING, MOST_IN_NOTICE, RETRY_PAUSE
from asyncjobs.client.stored_outcomes import progress_of
from asyncjobs.db import live
from asyncjobs.db.listening import LIVE, Listener
from asyncjobs.db.live import ItemRow
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import AsyncJobsError, DatabaseError, NotOpen
from asyncjobs.records.live import Progress, StreamItem
from asyncjobs.tasks.services import Services
from asyncjobs.values.plain_json import shown as value_of

logger = logging.getLogger("asyncjobs.client")

SAFETY_POLL, POLL_WHILE_DEAF = 5.0, 0.5
"""Seconds between looks, whatever the notices say; and while no notices are heard."""
PAGE = 1_000
"""Items in one read, at most."""
KEPT, KEPT_CHARACTERS = 2_000, 8 << 20
"""Items of a stream that are kept in memory for readers that are a little behind, and their characters."""
BATCH = 1_000
CLOSED = "this AsyncJobs was closed while the job was followed"
_REST = 64
"""Bits of an id that are not in a notice."""


class _Followed:
    """A job that readers follow here."""

    def __init__(self, job_id: UUID) -> None:
        self.id = job_id
        self.readers = 0
        self.watchers = 0
        self.version = 0
        """Raised when there may be something new."""
        self.changed = asyncio.Event()
        self.progress: Progress | None = None
        self.over = False
        """Whether the job is final, so that nothing comes after what can be read now."""
        self.error: BaseException | None = None
        self.end: asyncio.Task[None] | None = None
        self.items: deque[ItemRow] = deque()
        """The last items read, without a gap between them."""
        self.size = 0
        self.reading: dict[tuple[int, int], asyncio.Task[Sequence[ItemRow] | DatabaseError]] = {}
        """Reads under way, by the number after which they read, and the version: an earlier read may miss what is new."""

    def move(self) -> None:
        """Wake the readers."""
        self.version += 1
        self.changed.set()
        self.changed = asyncio.Event()

    def kept_after(self, after: int) -> Sequence[ItemRow]:
        """Return the items after a number that are in memory; none when some of them are not."""
        if not self.items or not self.items[0].n - 1 <= after < self.items[-1].n:
            return ()
        return list(islice(self.items, after - self.items[0].n + 1, None))

    def keep(self, rows: Sequence[ItemRow]) -> None:
        """Keep what was read in memory, if nothing lies between it and what is there."""
        if not rows or (self.items and rows[-1].n <= self.items[-1].n):
            return
        if self.items and rows[0].n > self.items[-1].n + 1:
            self.items.clear()
            self.size = 0
        new = rows if not self.items else rows[self.items[-1].n + 1 - rows[0].n :]
        self.items.extend(new)
        self.size += sum(len(row.value) for row in new)
        while len(self.items) > KEPT or (self.size > KEPT_CHARACTERS and len(self.items) > 1):
            self.size -= len(self.items.popleft().value)


class Live:
    """Follows jobs for the readers of this process.

    Args:
        sessions: The connections for statements.
        listener: Hears of what is new.
        services: The scope of background tasks.
        ended: Waits for a job's end.
    """

    def __init__(
        self, sessions: Sessions, listener: Listener, services: Services, ended: Callable[[UUID], Awaitable[object]]
    ) -> None:
        self._sessions = sessions
        self._listener = listener
        self._services = services
        self._ended = ended
        self._followed: dict[UUID, _Followed] = {}
        self._by_beginning: dict[int, set[UUID]] = {}
        self._unread: set[UUID] = set()
        """Jobs whose progress may be new."""
        self._kick = asyncio.Event()
        self._runs = False

    async def watch(self, job_id: UUID) -> AsyncIterator[Progress]:
        """Yield the progress of a job; see `AsyncJobs.watch`."""
        async for shown in self.follow(job_id, watching=True):
            if isinstance(shown, Progress):
                yield shown

    async def stream(self, job_id: UUID, after: int) -> AsyncIterator[StreamItem]:
        """Yield the items of a job's stream; see `AsyncJobs.stream`."""
        async for shown in self.follow(job_id, after=after):
            if isinstance(shown, StreamItem):
                yield shown

    async def follow(
        self, job_id: UUID, *, after: int | None = None, watching: bool = False
    ) -> AsyncIterator[Progress | StreamItem]:
        """Yield what a job shows, until it is final.

        Args:
            job_id: The job.
            after: The number of the last item that the reader has; None: it wants no items.
            watching: Whether it wants the progress.
        """
        with self._following(job_id, watching=watching) as followed:
            last: Progress | None = None
            if watching:
                await self._read_progress([job_id])  # once, also when the job is over already; later by notices
            while True:
                version, over, changed = followed.version, followed.over, followed.changed
                rows = () if after is None else await self._next(followed, after, version)
                for row in rows:
                    after = row.n
                    yield StreamItem(row.n, value_of(row.value), row.attempt, row.sent_at)
                progress = followed.progress if watching else None
                if progress is not None and progress != last:
                    last = progress
                    yield progress
                elif not rows:
                    if followed.error is not None:
                        raise followed.error
                    if over:
                        return
                    if followed.version == version:
                        await changed.wait()

    @contextlib.contextmanager
    def _following(self, job_id: UUID, *, watching: bool = False) -> Iterator[_Followed]:
        followed = self._followed.get(job_id)
        if followed is None:
            followed = self._followed[job_id] = _Followed(job_id)
            self._by_beginning.setdefault(job_id.int >> _REST, set()).add(job_id)
            followed.end = self._services.start(self._until_end(followed), name=f"end of {job_id}")
            if not self._runs:
                self._runs = True
                self._listener.subscribe(LIVE, self._notified)
                self._listener.on_hearing(self._look)
                self._listener.start(self._services)
                self._services.start(self._run(), name="progress")
        followed.readers += 1
        followed.watchers += watching
        try:
            yield followed
        finally:
            followed.readers -= 1
            followed.watchers -= watching
            if not followed.readers and self._followed.get(job_id) is followed:
                self._forget(followed)

    def _forget(self, followed: _Followed) -> None:
        del self._followed[followed.id]
        alike = self._by_beginning[followed.id.int >> _REST]
        alike.discard(followed.id)
        if not alike:
            del self._by_beginning[followed.id.int >> _REST]
        if followed.end is not None:
            followed.end.cancel()
        for reading in followed.reading.values():
            reading.cancel()

    async def _until_end(self, followed: _Followed) -> None:
        """Have readers stop once they have read what a job has shown by its end."""
        try:
            await self._ended(followed.id)
            if followed.watchers:
                await self._read_progress([followed.id])
        except AsyncJobsError as error:
            followed.error = error
        followed.over = True
        followed.move()

    def _notified(self, payload: str) -> None:
        for text in payload.split(",", MOST_IN_NOTICE)[:MOST_IN_NOTICE]:
            try:
                found = self._by_beginning[int(text[:BEGINNING].replace("-", ""), 16)]
            except (KeyError, ValueError):
                continue  # no id, since anybody may send notices; or one that nobody follows here
            for job_id in found:
                self._have_read(self._followed[job_id])

    def _look(self) -> None:
        """Have everything read, since notices may have been missed."""
        for followed in self._followed.values():
            self._have_read(followed)

    def _have_read(self, followed: _Followed) -> None:
        if followed.watchers:
            self._unread.add(followed.id)
            self._kick.set()
        followed.move()

    async def _run(self) -> None:
        """Read the progress of watched jobs, and look now and then, while the client is open."""
        try:
            loop = asyncio.get_running_loop()
            look_at = loop.time() + SAFETY_POLL
            while True:
                every = POLL_WHILE_DEAF if self._listener.deaf else SAFETY_POLL
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(look_at, loop.time() + every)):
                        await self._kick.wait()
                self._kick.clear()
                if loop.time() >= look_at - 0.01 or self._listener.deaf:
                    look_at = loop.time() + every
                    self._look()
                while self._unread:
                    ids = [self._unread.pop() for _ in range(min(len(self._unread), BATCH))]
                    try:
                        await self._read_progress(ids)
                    except DatabaseError as error:
                        self._refused(ids, error)
        finally:
            self._runs = False
            for followed in self._followed.values():
                followed.error = NotOpen(CLOSED)
                followed.move()

    def _refused(self, ids: Sequence[UUID], error: DatabaseError) -> None:
        for job_id in ids:
            if (followed := self._followed.get(job_id)) is not None:
                followed.error = error
                followed.move()

    async def _read_progress(self, ids: Sequence[UUID]) -> None:
        while True:
            try:
                rows = await self._sessions.run(partial(live.read_progress, ids=ids))
            except DatabaseError as error:
                if error.refused:
                    raise
                logger.warning("cannot read the progress of %d jobs, trying again: %s", len(ids), error)
                await asyncio.sleep(RETRY_PAUSE)
            else:
                break
        for row in rows:
            if (followed := self._followed.get(row.job)) is not None and (progress := progress_of(row)) is not None:
                followed.progress = progress
                followed.move()

    async def _next(self, followed: _Followed, after: int, version: int) -> Sequence[ItemRow]:
        """Return the next items after a number; readers that want the same share one read."""
        if kept := followed.kept_after(after):
            return kept
        key = after, version
        reading = followed.reading.get(key)
        if reading is None:
            reading = self._services.start(self._read(followed, after), name=f"stream of {followed.id}")
            followed.reading[key] = reading
            reading.add_done_callback(lambda _: followed.reading.pop(key, None))
        await asyncio.wait([reading])  # not awaited itself: a reader that is cancelled must not end the read of others
        if reading.cancelled():
            raise NotOpen(CLOSED)
        found = reading.result()
        if isinstance(found, DatabaseError):
            raise found
        return found

    async def _read(self, followed: _Followed, after: int) -> Sequence[ItemRow] | DatabaseError:
        read = partial(live.read_stream, job_id=followed.id, after=after, most=PAGE)
        while True:
            try:
                rows = await self._sessions.run(read)
            except DatabaseError as error:
                if error.refused:
                    return error
                logger.warning("cannot read the stream of job %s, trying again: %s", followed.id, error)
                await asyncio.sleep(RETRY_PAUSE)
            else:
                followed.keep(rows)
                return rows
