"""The ledger writes how attempts ended, in batches, fenced, in a task that no job has a handle on.

anyio's shield does not stop `Task.cancel()`, and `asyncio.shield` is lost at the second cancel; a commit in the job's own
task can therefore always be cut. Here the job hands over its end and is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from asyncjobs.db import jobs
from asyncjobs.db.rows import Finish, State
from asyncjobs.db.sessions import Sessions
from asyncjobs.defining.errors import describe_error
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.worker.retrying import Backoff

logger = logging.getLogger("asyncjobs.worker")

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
        self._releases: list[tuple[UUID, int]] = []
        self._under_way: list[UUID] = []
        self._kick = asyncio.Event()
        self._grown = asyncio.Event()
        self._last_batch = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._backoff = Backoff(logger, "writing how jobs ended")
        self.writing = False
        """Whether a statement of its is under way."""
        self.written = 0
        self.lost = 0

    def finish(self, finish: Finish) -> None:
        """Have an attempt's end written."""
        self._finishes.append(finish)
        self._kick.set()
        self._empty.clear()
        if len(self._finishes) == BATCH:
            self._grown.set()

    def release(self, job_id: UUID, fence: int) -> None:
        """Have a running job given back, unspent."""
        self._releases.append((job_id, fence))
        self._kick.set()
        self._empty.clear()

    @property
    def full(self) -> bool:
        """Whether so much is unwritten that no more should be claimed."""
        return len(self._finishes) >= FULL

    def holds(self) -> set[UUID]:
        """Return the jobs whose end or release is not known to be written."""
        return {*self._under_way, *(f.id for f in self._finishes), *(job_id for job_id, _ in self._releases)}

    async def drained(self) -> None:
        """Wait until everything handed over is durable."""
        await self._empty.wait()

    async def run(self) -> None:
        """Write, for ever."""
        while True:
            await self._kick.wait()
            self._kick.clear()
            while self._finishes or self._releases:
                if self._last_batch >= BUSY:
                    await self._gather()
                self._last_batch = len(self._finishes)
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
                while self._finishes or self._releases:
                    await self._write_some()
        except TimeoutError:
            logger.error(  # noqa: TRY400 - the time-out says nothing more
                "%d ends and %d releases could not be written: these jobs run again elsewhere",
                len(self._finishes),
                len(self._releases),
            )

    async def _gather(self) -> None:
        self._grown.clear()
        if len(self._finishes) < BATCH:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER):
                    await self._grown.wait()

    async def _write_some(self) -> None:
        finishes, self._finishes = self._finishes[:BATCH], self._finishes[BATCH:]
        releases, self._releases = self._releases[:BATCH], self._releases[BATCH:]
        self._under_way = [*(f.id for f in finishes), *(job_id for job_id, _ in releases)]
        finishes.sort()  # rows are locked in the order of their ids
        try:
            if releases:
                releases.sort()
                await self._sessions.run(lambda connection: jobs.release(connection, releases))
                releases = []
            if finishes:
                await self._write(finishes)
            self._backoff.succeeded()
        except BaseException as error:
            # Written again, whether the lost answer was a yes or a no: the fence makes it harmless.
            self._finishes = finishes + self._finishes
            self._releases = releases + self._releases
            if not isinstance(error, DatabaseError):
                raise
            await self._backoff.failed(error)
        finally:
            self._under_way = []

    async def _write(self, finishes: Sequence[Finish]) -> None:
        """Write a batch; a data error halves it, so that one bad end harms only itself."""
        try:
            moved = await self._sessions.run(lambda connection: jobs.finish(connection, finishes))
        except DatabaseUnavailable:
            raise
        except DatabaseError as error:
            if _no_partition(error):
                await self._sessions.run(
                    lambda connection: jobs.make_partitions(connection, max(f.days for f in finishes) + 1)
                )
                moved = await self._sessions.run(lambda connection: jobs.finish(connection, finishes))
            elif not _is_data_error(error):
                raise
            elif len(finishes) > 1:
                middle = len(finishes) // 2
                await self._write(finishes[:middle])
                await self._write(finishes[middle:])
                return
            else:
                await self._write([_unstorable(finishes[0], error)])
                return
        self.written += moved
        if moved < len(finishes):
            await self._explain_missing(finishes)

    async def _explain_missing(self, finishes: Sequence[Finish]) -> None:
        """A row that was not moved is in the history by an earlier statement whose answer was lost, or no longer ours."""
        there = await self._sessions.run(lambda connection: jobs.finished_with_fence(connection, finishes))
        for finish in finishes:
            if finish.id not in there:
                self.lost += 1
                logger.warning(
                    "job %s: its lease was lost before its end could be written; another worker has it", finish.id
                )


def _sqlstate(error: DatabaseError) -> str:
    return getattr(error.__cause__, "sqlstate", None) or ""


def _no_partition(error: DatabaseError) -> bool:
    return _sqlstate(error) == "23514" and "no partition of relation" in str(error)


def _is_data_error(error: DatabaseError) -> bool:
    # 22 data exception, 23 constraint, 54 limit exceeded; or the driver could not encode a value.
    return _sqlstate(error)[:2] in ("22", "23", "54")


def _unstorable(finish: Finish, error: DatabaseError) -> Finish:
    """Return the end of a job whose end the database refused: failed, with the refusal as its error."""
    described = describe_error(error, attempt=0).encode("ascii", "backslashreplace").decode()
    return finish._replace(state=State.failed, result=None, error=described, reason=None)
