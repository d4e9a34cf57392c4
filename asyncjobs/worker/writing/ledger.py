"""The ledger: it writes the ends of attempts, in batches, fenced, in a task that no job can cancel.

In the job's own task a commit could always be cut off: anyio's shield does not stop `Task.cancel()`, and `asyncio.shield` is
lost at the second cancel. So the job's task hands its end over to the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import TypeAlias, TypeVar
from uuid import UUID

from asyncjobs.db import batches, jobs
from asyncjobs.db.connecting import Connection
from asyncjobs.db.errors import is_of_values, lacks_day, sqlstate_of
from asyncjobs.db.rows import Finish, Reschedule, State
from asyncjobs.db.sessions import Runs
from asyncjobs.db.skip_locked import passing_locked
from asyncjobs.exceptions import DatabaseError
from asyncjobs.failing.stored_errors import describe_error
from asyncjobs.tasks.retrying import Backoff
from asyncjobs.worker.health import Trouble
from asyncjobs.worker.job_processes.sent_outcomes import End
from asyncjobs.worker.writing.refused_writes import RefusedWrites

logger = logging.getLogger("asyncjobs.worker")

Ended = TypeVar("Ended", Finish, Reschedule)
_ID = itemgetter(0)
_THEN, _PAUSES = map(itemgetter, map(Finish._fields.index, ("then", "pauses")))
_Statement: TypeAlias = Callable[[Connection, Sequence[Ended]], Awaitable[int]]
_Written: TypeAlias = Callable[[Connection, Sequence[Ended]], Awaitable[set[UUID]]]

BATCH = 500
FULL = 5_000
"""Unwritten ends at which the dispatcher stops claiming."""
BUSY = 32
GATHER = 0.008
"""After a batch of at least `BUSY` ends, the next has `GATHER` seconds to grow, up to `BATCH`.

With 500 ends a statement PostgreSQL takes 22 µs for each, with 100 it takes 40. A lone job's end is written at once.
"""
MAKE_DAYS_AGAIN = 1.0
"""Seconds between two tries to make a missing day of the history."""
STOPPED_FOR = 30.0
"""Seconds for which nothing is claimed when the server takes no ends at all; then a claim is tried."""
WRITING = "writing how jobs ended"
_OF_SERVER = ("25", "53", "58")
"""Classes of SQLSTATE for a state of the server: it takes no writes, lacks disk or memory, cannot read or write files."""


class Ledger:
    """Takes the ends of attempts and makes them durable.

    Args:
        sessions: Sessions for one operation at a time, with pinned plans and a `lock_timeout`.
        on_written: Called after each batch of ends.
        on_batches: Called with the batches whose jobs have ended, after the commit.
    """

    def __init__(
        self, sessions: Runs, on_written: Callable[[], None], on_batches: Callable[[set[UUID]], object] = lambda _: None
    ) -> None:
        self._sessions = sessions
        self._on_written = on_written
        self._on_batches = on_batches
        self._finishes: list[Finish] = []
        self._reschedules: list[Reschedule] = []
        self._moving = RefusedWrites[Finish](self._move, self._move_otherwise, key=_ID, what=WRITING, name=_name)
        self._giving_back = RefusedWrites[Reschedule](
            self._give_back, self._give_back_otherwise, key=_ID, what=WRITING, name=_name
        )
        self._has_thens = False
        """Whether a finish may have a job to enqueue with its success."""
        self._kick = asyncio.Event()
        self._grown = asyncio.Event()
        self._last_batch = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._backoff = Backoff(logger, WRITING)
        self._making_days = Backoff(logger, "making days of the history")
        self._make_days_at = 0.0
        self._claims_again_at = float("-inf")
        self.trouble = Trouble()
        """The reason why no ends can be stored."""
        self.writing = False
        """Whether a statement is under way."""
        self.finished = 0
        """Jobs that were moved to the history."""
        self.lost = 0

    def reschedule(self, reschedule: Reschedule) -> None:
        """Add the end of an attempt whose job is to run again."""
        self._reschedules.append(reschedule)
        self._added()

    def end(self, end: End) -> None:
        """Add the end of an attempt; None: nothing may be written about it."""
        if isinstance(end, Finish):
            self._finishes.append(end)
            if end.then is not None:
                self._has_thens = True
            self._added()
        elif end is not None:
            self.reschedule(end)

    def _added(self) -> None:
        self._kick.set()
        self._empty.clear()
        if len(self._finishes) == BATCH or len(self._reschedules) == BATCH:
            self._grown.set()

    @property
    def unwritten(self) -> int:
        """Ends that are not known to be written."""
        return len(self._finishes) + len(self._reschedules) + len(self._moving) + len(self._giving_back)

    @property
    def full(self) -> bool:
        """Whether nothing more should be claimed: too many ends are unwritten, or the database takes none."""
        return bool(self.trouble.reason) or self.unwritten >= FULL

    def holds(self) -> set[UUID]:
        """Return the jobs whose end is not known to be written."""
        new = {*(end.id for end in self._finishes), *(end.id for end in self._reschedules)}
        return new.union((end.id for end in self._moving.rows()), (end.id for end in self._giving_back.rows()))

    async def drained(self) -> None:
        """Wait until all ends are durable."""
        await self._empty.wait()

    async def run(self) -> None:
        """Write ends, for ever."""
        while True:
            await self._until_due()
            if self._last_batch >= BUSY:
                await self._gather()
            self._last_batch = len(self._finishes) + len(self._reschedules)
            self.writing = True
            await self._write_some()
            self.writing = False
            self._on_written()
            if not self.unwritten:
                self._empty.set()

    async def write_out(self, timeout: float) -> None:
        """Write the ends that are left once `run` has ended, within `timeout` seconds.

        If the database does not take them in time, their jobs run again elsewhere when the lease is over.
        """
        self._moving.at_once()
        self._giving_back.at_once()
        try:
            async with asyncio.timeout(timeout):
                while self.unwritten:
                    await self._until_due()
                    await self._write_some()
        except TimeoutError:
            logger.error(  # noqa: TRY400 - the time-out says nothing more
                "the ends of %d attempts could not be written: these jobs run again elsewhere", self.unwritten
            )

    async def _until_due(self) -> None:
        """Wait until there are ends to write, or to try again."""
        while not (self._finishes or self._reschedules):
            due = min(self._moving.due, self._giving_back.due)
            if due <= asyncio.get_running_loop().time():
                return
            self._kick.clear()
            if due == math.inf:
                await self._kick.wait()
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._kick.wait()

    async def _gather(self) -> None:
        self._grown.clear()
        if len(self._finishes) < BATCH and len(self._reschedules) < BATCH:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER):
                    await self._grown.wait()

    async def _write_some(self) -> None:
        # Sorted by id: rows are locked in that order.
        try:
            reschedules, self._reschedules = self._reschedules[:BATCH], self._reschedules[BATCH:]
            if reschedules:
                await self._giving_back.write(sorted(reschedules, key=_ID))
            if self._giving_back:
                await self._giving_back.write_again()
            finishes, self._finishes = self._finishes[:BATCH], self._finishes[BATCH:]
            before = self.finished
            if self._has_thens and finishes:
                # In a statement of their own: the jobs that they enqueue may have to wait for a unique key.
                thens = [end for end in finishes if end.then is not None]
                finishes = [end for end in finishes if end.then is None]
                self._has_thens = bool(self._finishes)
                if thens:
                    await self._moving.write(sorted(thens, key=_ID))
            if finishes:
                await self._moving.write(sorted(finishes, key=_ID))
            if self._moving:
                await self._moving.write_again()
            self._backoff.succeeded()
            self._judge(is_new=bool(finishes), is_taken=self.finished > before)
        except DatabaseError as error:
            # Written again, whether or not the lost statement was committed: the fence makes that safe.
            self.trouble.begin(f"how jobs ended cannot be stored: {error}")
            await self._backoff.failed(error)

    def _judge(self, *, is_new: bool, is_taken: bool) -> None:
        """Stop claims when the database has taken none of the new ends because of the server's state, not of a row."""
        now = asyncio.get_running_loop().time()
        refusal = self._moving.refusal
        if is_new and not is_taken and refusal is not None and sqlstate_of(refusal)[:2] in _OF_SERVER:
            self.trouble.begin(f"how jobs ended cannot be stored: {refusal}")
            self._claims_again_at = now + STOPPED_FOR
        elif is_taken or now >= self._claims_again_at:
            self._moving.refusal = None
            self._claims_again_at = float("-inf")
            self.trouble.end()

    async def _move(self, ends: Sequence[Finish], passing: bool) -> Sequence[Finish]:
        written, locked = await self._write(ends, _finishing(ends), jobs.finished_with_fence, passing=passing)
        self.finished += written
        if found := {end.batch for end in ends if end.batch is not None}:
            self._on_batches(found)
        return locked

    async def _give_back(self, ends: Sequence[Reschedule], passing: bool) -> Sequence[Reschedule]:
        statement = jobs.reschedule if all(end.is_plain for end in ends) else batches.reschedule
        _, locked = await self._write(ends, statement, jobs.rescheduled_with_fence, passing=passing)
        return locked

    async def _write(
        self, ends: Sequence[Ended], statement: _Statement[Ended], written: _Written[Ended], *, passing: bool
    ) -> tuple[int, Sequence[Ended]]:
        """Write a batch; return how many ends were written, and the ends that were passed over.

        Args:
            ends: The ends, in the order of their ids.
            statement: Writes ends and returns how many it has written.
            written: Returns the ids of ends that an earlier statement has written, whose answer was lost.
            passing: Whether to pass over ends whose rows are locked.
        """
        locked: Sequence[Ended] = ()
        if passing:
            count, locked = await self._sessions.run(partial(passing_locked, rows=ends, write=statement, nothing=0))
        else:
            count = await self._sessions.run(lambda connection: statement(connection, ends))
        if count + len(locked) < len(ends):
            there = await self._sessions.run(lambda connection: written(connection, ends))
            there.update(end.id for end in locked)
            self._note_lost(end.id for end in ends if end.id not in there)
        return count, locked

    async def _move_otherwise(self, finish: Finish, error: DatabaseError) -> bool:
        """Write a refused end in another form; return whether the database took it.

        If the database refuses a value of the end, the job has failed with that error. Other reasons may be gone at the next
        try.
        """
        if lacks_day(error):
            await self._make_days(finish.days + 1)
            return False
        if not is_of_values(error):
            return False
        failed = finish._replace(state=State.failed, result=None, error=_refusal(error), reason=None, then=None)
        if await self._wrote(failed, _finishing([failed])):
            return True
        # Its step records exceed the size of one value: they may be older than the limit on them.
        if await self._wrote(failed, jobs.finish_without_steps):
            logger.error(
                "job %s: its end is stored without its steps and attributes, which are too large: %s", finish.id, error
            )
            return True
        return False

    async def _wrote(self, finish: Finish, statement: _Statement[Finish]) -> bool:
        try:
            written, locked = await self._write([finish], statement, jobs.finished_with_fence, passing=True)
        except DatabaseError as error:
            if not error.refused:
                raise
            return False
        self.finished += written
        if finish.batch is not None:
            self._on_batches({finish.batch})
        return not locked

    async def _give_back_otherwise(self, reschedule: Reschedule, error: DatabaseError) -> bool:
        """Give a job back without the values that the database refuses; return whether the database took it."""
        if not is_of_values(error):
            return False
        plain = Reschedule(reschedule.id, reschedule.fence, 3.0, _refusal(error), spent=True, pauses=reschedule.pauses)
        try:
            return not await self._give_back([plain], True)
        except DatabaseError as again:
            if not again.refused:
                raise
            return False

    async def _make_days(self, days: int) -> None:
        """Make days of the history that ends need; these ends are tried again afterwards."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._make_days_at:
            return
        self._make_days_at = loop.time() + MAKE_DAYS_AGAIN
        try:
            made = await self._sessions.run(lambda connection: jobs.make_partitions(connection, days))
        except DatabaseError as error:
            if not error.refused:
                raise
            self._making_days.note(error)
            return
        self._making_days.succeeded()
        if made:
            self._make_days_at = 0.0
            self._moving.at_once()

    def _note_lost(self, ids: Iterable[UUID]) -> None:
        for job_id in ids:
            self.lost += 1
            logger.warning(
                "job %s: its lease was lost before its end could be written: another worker runs it again", job_id
            )


def _finishing(ends: Sequence[Finish]) -> _Statement[Finish]:
    # By itemgetter: a property of each end would cost 0.2 µs a job.
    return batches.finish if any(map(_THEN, ends)) or any(map(_PAUSES, ends)) else jobs.finish


def _name(end: Finish | Reschedule) -> str:
    return f"job {end.id}"


def _refusal(error: DatabaseError) -> str:
    return describe_error(error, attempt=0).encode("ascii", "backslashreplace").decode()
