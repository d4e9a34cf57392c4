"""The ledger writes how attempts ended, in batches, fenced, in a task that no job has a handle on.

anyio's shield does not stop `Task.cancel()`, and `asyncio.shield` is lost at the second cancel; a commit in the job's own
task can therefore always be cut. Here the job hands over its end and is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar, cast
from uuid import UUID

from asyncjobs.db import jobs
from asyncjobs.db.connecting import Connection
from asyncjobs.db.rows import Finish, Reschedule, State
from asyncjobs.db.sessions import Sessions
from asyncjobs.defining.stored_errors import describe_error
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.worker.retrying import Backoff
from asyncjobs.worker.trouble import Trouble

logger = logging.getLogger("asyncjobs.worker")

End = TypeVar("End", Finish, Reschedule)
_ID = itemgetter(0)
_Statement: TypeAlias = Callable[[Connection, Sequence[End]], Awaitable[int]]
_Written: TypeAlias = Callable[[Connection, Sequence[End]], Awaitable[set[UUID]]]
_Instead: TypeAlias = Callable[[End, DatabaseError], End]

BATCH = 500
FULL = 5_000
"""Unwritten ends at which the dispatcher stops claiming."""
BUSY = 32
GATHER = 0.008
"""When a batch had at least `BUSY` ends, the next is given `GATHER` seconds to grow, up to `BATCH`.

500 ends a statement cost PostgreSQL 22 µs each, 100 cost 40. A lone job's end is written at once.
"""


class Ledger:
    """Takes the ends of attempts and makes them durable.

    Args:
        sessions: One connection with pinned plans and a `lock_timeout`.
        on_written: Called after each batch.
    """

    def __init__(self, sessions: Sessions, on_written: Callable[[], None]) -> None:
        self._sessions = sessions
        self._on_written = on_written
        self._finishes: list[Finish] = []
        self._reschedules: list[Reschedule] = []
        self._under_way: list[UUID] = []
        self._kick = asyncio.Event()
        self._grown = asyncio.Event()
        self._last_batch = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._backoff = Backoff(logger, "writing how jobs ended")
        self.trouble = Trouble()
        """Why no end can be stored."""
        self.writing = False
        """Whether a statement of its is under way."""
        self.finished = 0
        """Jobs that were moved to the history."""
        self.lost = 0

    def finish(self, finish: Finish) -> None:
        """Have it written that a job has ended."""
        self._finishes.append(finish)
        self._added()

    def reschedule(self, reschedule: Reschedule) -> None:
        """Have it written that a job is to run again."""
        self._reschedules.append(reschedule)
        self._added()

    def _added(self) -> None:
        self._kick.set()
        self._empty.clear()
        if len(self._finishes) == BATCH or len(self._reschedules) == BATCH:
            self._grown.set()

    @property
    def full(self) -> bool:
        """Whether no more should be claimed: too much is unwritten, or cannot be written."""
        return bool(self.trouble.reason) or len(self._finishes) + len(self._reschedules) >= FULL

    def holds(self) -> set[UUID]:
        """Return the jobs whose end is not known to be written."""
        return {*self._under_way, *(end.id for end in self._finishes), *(end.id for end in self._reschedules)}

    async def drained(self) -> None:
        """Wait until everything handed over is durable."""
        await self._empty.wait()

    async def run(self) -> None:
        """Write, for ever."""
        while True:
            await self._kick.wait()
            self._kick.clear()
            while self._finishes or self._reschedules:
                if self._last_batch >= BUSY:
                    await self._gather()
                self._last_batch = len(self._finishes) + len(self._reschedules)
                self.writing = True
                await self._write_some()
                self.writing = False
                self._on_written()
            self._empty.set()

    async def write_out(self, timeout: float) -> None:
        """Write what is left, once `run` has ended; what the database does not take in `timeout` seconds is lost here.

        Those jobs run again elsewhere when the lease is over.
        """
        try:
            async with asyncio.timeout(timeout):
                while self._finishes or self._reschedules:
                    await self._write_some()
        except TimeoutError:
            logger.error(  # noqa: TRY400 - the time-out says nothing more
                "the ends of %d attempts could not be written: these jobs run again elsewhere",
                len(self._finishes) + len(self._reschedules),
            )

    async def _gather(self) -> None:
        self._grown.clear()
        if len(self._finishes) < BATCH and len(self._reschedules) < BATCH:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER):
                    await self._grown.wait()

    async def _write_some(self) -> None:
        finishes, self._finishes = self._finishes[:BATCH], self._finishes[BATCH:]
        reschedules, self._reschedules = self._reschedules[:BATCH], self._reschedules[BATCH:]
        self._under_way = [*(end.id for end in finishes), *(end.id for end in reschedules)]
        # Rows are locked in the order of their ids, which come first.
        finishes.sort(key=_ID)
        reschedules.sort(key=_ID)
        try:
            if reschedules:
                await self._write(reschedules, jobs.reschedule, jobs.rescheduled_with_fence, _unspent)
                reschedules = []
            if finishes:
                await self._write(finishes, jobs.finish, jobs.finished_with_fence, _failed)
            self._backoff.succeeded()
            self.trouble.end()
        except BaseException as error:
            # Written again, whether the lost answer was a yes or a no: the fence makes it harmless.
            self._finishes = finishes + self._finishes
            self._reschedules = reschedules + self._reschedules
            if not isinstance(error, DatabaseError):
                raise
            if not is_locked(error):
                self.trouble.begin(f"how jobs ended cannot be stored: {error}")
            await self._backoff.failed(error)
        finally:
            self._under_way = []

    async def _write(
        self, ends: Sequence[End], statement: _Statement[End], written: _Written[End], instead: _Instead[End] | None
    ) -> None:
        """Write a batch; a data error or a locked row halves it, so that one bad end harms only itself.

        Args:
            ends: In the order of their ids.
            statement: Writes them and returns how many.
            written: Returns the ids of those that were written before, by a statement whose answer was lost.
            instead: Makes of an end that the database refuses one that it takes; None: this is one.
        """
        try:
            count = await self._sessions.run(lambda connection: statement(connection, ends))
        except DatabaseUnavailable as error:
            if not is_locked(error) or len(ends) == 1:
                raise
            await self._write_halves(ends, statement, written, instead)
            return
        except DatabaseError as error:
            if _no_partition(error):
                days = max(getattr(end, "days", 0) for end in ends) + 1
                await self._sessions.run(lambda connection: jobs.make_partitions(connection, days))
                count = await self._sessions.run(lambda connection: statement(connection, ends))
            elif not _is_data_error(error):
                raise
            elif len(ends) > 1:
                await self._write_halves(ends, statement, written, instead)
                return
            elif instead is not None:
                await self._write([instead(ends[0], error)], statement, written, None)
                return
            elif statement is jobs.finish:
                # More is recorded of it than one value holds, in rows that were made before there was a limit.
                logger.exception("job %s: its end is written without its steps and attributes", ends[0].id)
                await self._write(ends, cast("Any", jobs.finish_without_steps), written, None)
                return
            else:
                # Somebody's trigger or constraint on our own tables. Its row is found to be nobody's, and runs again.
                logger.exception("job %s: the database takes no end of it", ends[0].id)
                return
        if written is jobs.finished_with_fence:
            self.finished += count
        if count < len(ends):
            there = await self._sessions.run(lambda connection: written(connection, ends))
            self._note_lost(end.id for end in ends if end.id not in there)

    async def _write_halves(
        self, ends: Sequence[End], statement: _Statement[End], written: _Written[End], instead: _Instead[End] | None
    ) -> None:
        """Write each half, the second also when the first fails: a row that somebody holds locked harms only itself."""
        failed: DatabaseError | None = None
        middle = len(ends) // 2
        for half in (ends[:middle], ends[middle:]):
            try:
                await self._write(half, statement, written, instead)
            except DatabaseError as error:
                failed = error
        if failed is not None:
            raise failed

    def _note_lost(self, ids: Iterable[UUID]) -> None:
        for job_id in ids:
            self.lost += 1
            logger.warning("job %s: its lease was lost before its end could be written; another worker has it", job_id)


def _sqlstate(error: DatabaseError) -> str:
    return getattr(error.__cause__, "sqlstate", None) or ""


def is_locked(error: DatabaseError) -> bool:
    """Whether a row that was to be written is locked by somebody, for longer than our `lock_timeout`."""
    return _sqlstate(error) == "55P03"


def _no_partition(error: DatabaseError) -> bool:
    return _sqlstate(error) == "23514" and "no partition of relation" in str(error)


def _is_data_error(error: DatabaseError) -> bool:
    # 22 data exception, 23 constraint, 54 limit exceeded; or the driver could not encode a value.
    return _sqlstate(error)[:2] in ("22", "23", "54")


def _failed(finish: Finish, error: DatabaseError) -> Finish:
    """Return the end of a job whose end the database refused: failed, with the refusal as its error."""
    return finish._replace(state=State.failed, result=None, error=_refusal(error), reason=None)


def _unspent(reschedule: Reschedule, error: DatabaseError) -> Reschedule:
    """Return the end of an attempt whose end the database refused: what it says of the attempt is left out."""
    return Reschedule(reschedule.id, reschedule.fence, 3.0, _refusal(error), spent=True)


def _refusal(error: DatabaseError) -> str:
    return describe_error(error, attempt=0).encode("ascii", "backslashreplace").decode()
