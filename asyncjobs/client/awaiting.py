"""Waits for the ends of jobs: any number of waiters over one LISTEN connection, and a slow poll in case a notice was lost.

A waiter sets a flag on the job's row; the statement that writes the job's end removes the row, sees the flag, and sends a
notice. The row lock settles the race: either the flag is set first, and a notice comes; or the row is gone, and the history
has the result. (A separate table of waiters lost 342 to 370 of 1,500; the flag lost none.)

A notice has only the beginning of an id, its time: every login may listen, and a whole id is enough to read a job's end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from asyncjobs.client.waiting_jobs import Row as RunningRow
from asyncjobs.client.waiting_jobs import WaitsInside
from asyncjobs.db.connecting import Connection
from asyncjobs.db.listening import DONE, Listener
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError, JobNotFound, NotOpen
from asyncjobs.tasks.services import Services

logger = logging.getLogger("asyncjobs.client")

SAFETY_POLL = 5.0
"""Seconds between looks at all awaited jobs, whatever the notices say."""
LEAST_LOOK = 0.5
"""Seconds between two such looks when notices may have been missed."""
BATCH = 1_000
MOST_IN_NOTICE = 200
"""Ids of one notice that are read; no statement of ours sends as many."""
BEGINNING = 18
"""Characters of an id in a notice, as 01a22a06-f0c1-7e11: the other 62 bits cannot be guessed."""
_REST = 64
"""Bits of an id that are not in a notice."""
RETRY_PAUSE = 0.5


class Row(Protocol):
    """The end of a job or of a batch."""

    @property
    def id(self) -> UUID:
        """The id of the job or batch."""


R_co = TypeVar("R_co", bound=Row, covariant=True)


class Asks(Protocol[R_co]):
    """The statements on awaited jobs, or on awaited batches."""

    async def await_jobs(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Set the flags that have notices sent at their ends; return the ids that have not ended."""

    async def read_live(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Return the ids that have not ended."""

    async def read_finished(self, connection: Connection, ids: Sequence[UUID]) -> Sequence[R_co]:
        """Return the ends of the ids that have ended."""


class Waiters(Generic[R_co]):
    """All waits of this process for jobs, or for batches.

    Args:
        sessions: The connections for statements.
        access: The statements on jobs, or on batches.
        listener: Hears the ends.
        services: The scope of the background task.
        missing: Makes the error for an id of which no row can be seen.
    """

    def __init__(
        self,
        sessions: Sessions,
        access: Asks[R_co],
        listener: Listener,
        services: Services,
        missing: Callable[[UUID], Exception] = JobNotFound,
    ) -> None:
        self._missing = missing
        self._sessions = sessions
        self._access = access
        self._listener = listener
        self._services = services
        self._waiting: dict[UUID, list[asyncio.Future[R_co]]] = {}
        self._by_beginning: dict[int, set[UUID]] = {}
        """Awaited ids by their beginnings, as numbers: so, an id of a notice takes 0.4 µs instead of 1.5."""
        self._new: set[UUID] = set()
        self._done: set[UUID] = set()
        self._kick = asyncio.Event()
        self._running = False
        self._inside = WaitsInside(sessions)
        self._looked_at = float("-inf")
        self._next_look = 0.0
        """The loop's time of the next look at all awaited ids."""
        listener.subscribe(DONE, self._notified)
        listener.on_hearing(self._look_soon)

    async def wait(self, job_id: UUID, row: RunningRow | None = None, *, timed: bool = False) -> R_co:
        """Wait until a job is final, and return its end.

        Args:
            job_id: The awaited job.
            row: The row of the job that waits; None: no job does.
            timed: Whether the wait has a timeout.

        Raises:
            JobNotFound: The row of the awaited job cannot be seen.
            AwaitCycle: The awaited job waits for the job that waits here.
        """
        future: asyncio.Future[R_co] = asyncio.get_running_loop().create_future()
        futures = self._waiting.setdefault(job_id, [])
        futures.append(future)
        if len(futures) == 1:
            self._new.add(job_id)
            self._by_beginning.setdefault(job_id.int >> _REST, set()).add(job_id)
            self._kick.set()
            if not self._running:
                self._running = True
                self._listener.start(self._services)
                self._services.start(self._look_after(), name="waiters")
        inside = None if row is None else self._inside.begin(row, job_id, future, timed=timed)
        if inside is not None and len(self._inside.new) == 1:
            self._kick.set()  # the loop has to take the time into account at which this wait is to be written
        try:
            return await future
        finally:
            if inside is not None and self._inside.end(inside):
                self._kick.set()
            futures.remove(future)
            if not futures and self._waiting.get(job_id) is futures:
                del self._waiting[job_id]
                self._new.discard(job_id)
                self._forget(job_id)

    def _forget(self, job_id: UUID) -> None:
        alike = self._by_beginning[job_id.int >> _REST]
        alike.discard(job_id)
        if not alike:
            del self._by_beginning[job_id.int >> _REST]

    def _notified(self, payload: str) -> None:
        for text in payload.split(",", MOST_IN_NOTICE)[:MOST_IN_NOTICE]:
            try:
                found = self._by_beginning[int(text[:BEGINNING].replace("-", ""), 16)]
            except (KeyError, ValueError):
                continue  # no id, since anybody may send notices; or one that nobody waits for here
            self._done |= found
            self._kick.set()

    def _look_soon(self) -> None:
        """Look at all awaited ids, since notices may have been missed; unless that was done a moment ago."""
        self._next_look = min(self._next_look, self._looked_at + LEAST_LOOK)
        self._kick.set()

    async def _look_after(self) -> None:
        """Resolve waits while the client is open; when it closes, have the remaining ones raise NotOpen."""
        try:
            await self._run()
        finally:
            self._running = False
            for futures in self._waiting.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(NotOpen("this AsyncJobs was closed while the job was awaited"))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._next_look = loop.time() + SAFETY_POLL
        await self._listener.settled()
        while True:
            try:
                async with asyncio.timeout_at(min(self._next_look, self._inside.due_at)):
                    await self._kick.wait()
            except TimeoutError:
                pass
            self._kick.clear()
            try:
                await self._register()
                await self._read(self._done)
                if (now := loop.time()) >= self._next_look:
                    self._looked_at, self._next_look = now, now + SAFETY_POLL
                    await self._look_at(self._waiting)
                if loop.time() >= self._inside.due_at:
                    await self._inside.tell()
            except DatabaseError as error:
                logger.warning(
                    "cannot read whether %d awaited jobs have ended, trying again: %s", len(self._waiting), error
                )
                await asyncio.sleep(RETRY_PAUSE)
                self._kick.set()

    async def _register(self) -> None:
        """Set the flags of newly awaited jobs; jobs without a live row have ended, or do not exist."""
        while self._new:
            batch = sorted(self._new)[:BATCH]
            live = await self._sessions.run(partial(self._access.await_jobs, ids=batch))
            self._new.difference_update(batch)
            await self._settle(set(batch) - live)

    async def _read(self, done: set[UUID]) -> None:
        while done:
            batch = [done.pop() for _ in range(min(len(done), BATCH))]
            try:
                await self._resolve(batch)
            except BaseException:
                done.update(batch)
                raise

    async def _look_at(self, ids: Iterable[UUID]) -> None:
        everything = list(ids)
        for start in range(0, len(everything), BATCH):
            batch = everything[start : start + BATCH]
            live = await self._sessions.run(partial(self._access.read_live, ids=batch))
            await self._settle(set(batch) - live)

    async def _settle(self, gone: set[UUID]) -> None:
        """Resolve waits for jobs without a live row: by the history, else by the error that there is none."""
        if not gone:
            return
        found = await self._resolve(list(gone))
        for job_id in gone - found:
            for future in self._waiting.get(job_id, ()):
                if not future.done():
                    future.set_exception(self._missing(job_id))

    async def _resolve(self, ids: list[UUID]) -> set[UUID]:
        rows = await self._sessions.run(partial(self._access.read_finished, ids=ids))
        for row in rows:
            for future in self._waiting.get(row.id, ()):
                if not future.done():
                    future.set_result(row)
        return {row.id for row in rows}
