"""The recorder writes what is recorded of steps, in a task that no job has a handle on; and runs isolated steps.

What waits while a statement is under way goes into the next one together, at most one write a job, in order. A job's own
task could run the statement, which would save a tenth of a step; but one that a cancellation cuts there may reach the server
after what the job writes next, and set that back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from asyncjobs.db import steps
from asyncjobs.db.connecting import Connection
from asyncjobs.db.errors import is_of_values
from asyncjobs.db.locked import passing_locked
from asyncjobs.db.sessions import Runs, Sessions
from asyncjobs.db.transactions import Transaction
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, LeaseLost
from asyncjobs.failing.signals import Interrupted
from asyncjobs.performing.interruptions import INTERRUPTIONS
from asyncjobs.records.step_records import Record, Write
from asyncjobs.tasks.retrying import Backoff
from asyncjobs.tasks.shielding import shielded
from asyncjobs.worker.writing.held_back import HeldBack
from asyncjobs.worker.writing.recorded_size import MIB, RecordedSize

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt

logger = logging.getLogger("asyncjobs.worker")

T = TypeVar("T")

BATCH = 200
RECORDING = "recording steps"
MOST_ISOLATED = 10
"""Isolated steps at once; each holds a connection. The others wait for their turn."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A write that is not known to be durable.

    Attributes:
        row: The job's id, its fence, and what is written.
        recorder: Of its attempt.
        told: What the job awaits, and may cancel, which does not end the writing.
    """

    row: tuple[UUID, int, Write]
    recorder: AttemptRecorder
    told: asyncio.Future[None]


def _job_of(waiting: _Waiting) -> UUID:
    return waiting.row[0]


def _name_of(waiting: _Waiting) -> str:
    return f"job {waiting.row[0]}"


class StepWriter:
    """Writes the records of all attempts of a worker.

    Args:
        sessions: For one use at a time, with pinned plans and a `lock_timeout`.
        isolated: Connections for isolated steps.
        on_lost: Called with an attempt whose lease turns out to be lost.
        most: Bytes that may be recorded of one job's steps.
        room: Set while the worker has the connections that it needs itself, and isolated steps may open more.
    """

    def __init__(
        self,
        sessions: Runs,
        isolated: Sessions,
        on_lost: Callable[[Attempt], object],
        *,
        most: int = 64 * MIB,
        room: asyncio.Event | None = None,
    ) -> None:
        self.most = most
        self.sessions = sessions
        self.isolated = isolated
        self.turns = asyncio.Semaphore(MOST_ISOLATED)
        self.room = room
        self._on_lost = on_lost
        self._waiting: list[_Waiting] = []
        self._wanted: asyncio.Future[None] | None = None
        """Of `run`, while nothing waits."""
        self._backoff = Backoff(logger, RECORDING)
        self._parts = HeldBack(self._record, self._refuse, key=_job_of, what=RECORDING, name=_name_of)
        self.events = asyncio.Semaphore(1)
        """Of those who begin to wait for an event. It may be locked, by a transaction that has emitted it: then they try
        again, and what steps record waits for one of them at most."""

    def of(self, attempt: Attempt) -> AttemptRecorder:
        """Return the recorder of one attempt."""
        return AttemptRecorder(self, attempt)

    def add(self, waiting: _Waiting) -> None:
        """Have something written."""
        self._waiting.append(waiting)
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def last_step(self, job_id: UUID) -> str:
        """Return what a sentence about a crash ends in: the last step that was recorded; nothing when there is none."""
        try:
            records = await self.sessions.run(lambda connection: steps.read(connection, job_id))
        except DatabaseError:
            return ""
        return f"; its last step: {records[-1].name} ({records[-1].state})" if records else ""

    async def run(self) -> None:
        """Write, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            batch = self._take_batch()
            if not batch:
                self._wanted = loop.create_future()
                if not self._parts:
                    await self._wanted
                else:
                    await asyncio.wait([self._wanted], timeout=self._parts.due - loop.time())
                batch = self._take_batch()
            try:
                if batch:
                    await self._parts.write(batch)
                if self._parts:
                    await self._parts.write_again()
                self._backoff.succeeded()
            except DatabaseError as error:
                # Written again, whether the lost answer was a yes or a no: it comes to the same. What waits for it waits on:
                # if that lasts as long as the lease, its attempt is cancelled.
                await self._backoff.failed(error)

    def _take_batch(self) -> list[_Waiting]:
        """Take what is written next out of what waits: the first of each job, in the order of their ids.

        Nothing of jobs whose earlier writes are held back.
        """
        if not self._waiting:
            return []
        if len(self._waiting) == 1 and not self._parts:
            batch, self._waiting = self._waiting, []
            return batch
        held_back = {waiting.row[0] for waiting in self._parts.rows()}
        first: dict[UUID, _Waiting] = {}
        rest: list[_Waiting] = []
        for waiting in self._waiting:
            if waiting.row[0] in first or waiting.row[0] in held_back or len(first) == BATCH:
                rest.append(waiting)
            else:
                first[waiting.row[0]] = waiting
        self._waiting = rest
        return sorted(first.values(), key=_job_of)

    async def _record(self, batch: Sequence[_Waiting], passing: bool) -> Sequence[_Waiting]:
        """Write a batch; return those that were passed over, where rows that are locked are."""
        rows = [waiting.row for waiting in batch]
        locked: set[UUID] = set()
        if passing:
            held, left = await self.sessions.run(
                partial(passing_locked, rows=rows, write=steps.record, nothing=set[UUID]())
            )
            locked = {row[0] for row in left}
        else:
            held = await self.sessions.run(partial(steps.record, writes=rows))
        for waiting in batch:
            if waiting.row[0] in held:
                self._end(waiting, None)
            elif waiting.row[0] not in locked:
                self._end(waiting, self.lost(waiting.recorder.attempt))
        return [waiting for waiting in batch if waiting.row[0] in locked] if locked else ()

    async def _refuse(self, waiting: _Waiting, error: DatabaseError) -> bool:
        """Tell a job that the database refuses a value of its step; what is refused for other reasons may be taken later."""
        if not is_of_values(error):
            return False
        self._end(waiting, error)
        return True

    def _end(self, waiting: _Waiting, error: Exception | None) -> None:
        waiting.recorder.over(waiting)
        if waiting.told.done():
            return
        if error is None:
            waiting.told.set_result(None)
        else:
            waiting.told.set_exception(error)
            waiting.told.exception()  # seen: perhaps nobody waits any more

    def lost(self, attempt: Attempt) -> LeaseLost:
        """Have an attempt end whose lease is lost; return what says so."""
        self._on_lost(attempt)
        return LeaseLost(f"job {attempt.claimed.id} is another worker's by now")


class AttemptRecorder:
    """Records the steps of one attempt."""

    def __init__(self, writer: StepWriter, attempt: Attempt) -> None:
        self._writer = writer
        self.attempt = attempt
        self._loop = asyncio.get_running_loop()
        self._size = RecordedSize(attempt.claimed.kind, writer.most)
        self._under_way: set[_Waiting] = set()
        self._settled: asyncio.Future[None] | None = None

    def write(self, write: Write) -> asyncio.Future[None]:
        """Have it recorded; see `Recorder.write`. To cancel what is returned does not cancel the writing.

        Raises:
            InvalidStep: More would be recorded of the job than there may be.
        """
        self._size.add(write)
        waiting = _Waiting(self._row(write), self, self._loop.create_future())
        self._under_way.add(waiting)
        self._writer.add(waiting)
        return waiting.told

    def over(self, waiting: _Waiting) -> None:
        """Take in that something is durable, or was refused."""
        self._under_way.discard(waiting)
        if self._settled is not None and not self._under_way and not self._settled.done():
            self._settled.set_result(None)

    def _row(self, write: Write) -> tuple[UUID, int, Write]:
        claimed = self.attempt.claimed
        return claimed.id, claimed.fence, write

    async def settled(self) -> None:
        """Wait until nothing is under way: how the attempt ended is written after that, or it would be refused."""
        while self._under_way and self.attempt.cancel_reason != "lease_lost":
            self._settled = self._loop.create_future()
            await asyncio.wait([self._settled], timeout=1.0)

    async def load(self) -> list[Record]:
        """Return what earlier attempts have recorded."""
        claimed = self.attempt.claimed
        records = await self._insisting(lambda connection: steps.read(connection, claimed.id))
        self._size.found(records)
        return records

    async def begin_wait(
        self, record: Record, *, event: str | None, key: str, seconds: float | None, attributes: str | None
    ) -> Record:
        """Begin a wait; see `Recorder.begin_wait`."""
        claimed = self.attempt.claimed
        await self.settled()
        begun = await self._insisting(
            lambda connection: steps.begin_wait(
                connection, claimed.id, claimed.fence, n=record.n, name=record.name, event=event, key=key, seconds=seconds,
                progress=attributes,
            ),
            turns=None if event is None else self._writer.events,
        )  # fmt: skip
        if begun is None:
            raise self._writer.lost(self.attempt)
        return begun

    async def _insisting(
        self, operation: Callable[[Connection], Awaitable[T]], *, turns: asyncio.Semaphore | None = None
    ) -> T:
        """Run an operation that may be repeated until the database answers; a lost lease ends this by a cancellation."""
        backoff = Backoff(logger, f"steps of {self.attempt.claimed.kind} {self.attempt.claimed.id}")
        while True:
            try:
                async with turns or contextlib.nullcontext():
                    return await self._writer.sessions.run(operation)
            except DatabaseUnavailable as error:
                await backoff.failed(error)

    async def transact(
        self, body: Callable[[Any], Awaitable[Write]], *, through_sqlalchemy: bool = False, lends: bool = True
    ) -> None:
        """Run an isolated step; see `Recorder.transact`."""
        await self.settled()
        sessions = self._writer.isolated
        transaction = Transaction(
            body,
            self._record_last,
            sessions=sessions,
            through_sqlalchemy=through_sqlalchemy,
            cleans=lends and not through_sqlalchemy,
            lost_before=self.attempt.counts.get(INTERRUPTIONS, 0),
        )
        async with self._writer.turns:
            if self._writer.room is not None:
                await self._writer.room.wait()
            try:
                await transaction.run_on(sessions)
            except DatabaseError as error:
                if transaction.committing and await shielded(self._is_recorded(transaction.value)):
                    transaction.error = None
                elif isinstance(error, DatabaseUnavailable):
                    lost = Interrupted(f"an isolated step lost its connection: {error}")
                    raise self.attempt.end_by(lost) from error
                elif transaction.error is None:
                    raise
        if transaction.error is not None:
            raise transaction.error
        if transaction.refused:
            raise self._writer.lost(self.attempt)

    async def _record_last(self, connection: Connection, write: Write) -> tuple[bool, bool]:
        self._size.add(write)
        # The fence is locked in the last statement: from the beginning on, it would keep a cancel and the whole batch of the
        # ledger waiting.
        return await steps.record_isolated(connection, *self._row(write))

    async def _is_recorded(self, write: Write | None) -> bool:
        """Whether a transaction whose answer was lost has recorded its step.

        The first write waits for the lock of the job's row, which the transaction holds if it is still about to commit.
        """
        assert write is not None
        await self.write(Write())
        return any(record.name == write.name and record.state == "succeeded" for record in await self.load())
