"""The recorder: it writes the records of steps, in a task that no job can cancel, and runs isolated steps.

Records that come while a statement is under way go into the next one together, at most one of each job, in order. To run the
statement in the job's own task would save a tenth of a step's time. But a statement that a cancellation cuts off there may
reach the server after the job's next record, and overwrite it.
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
from asyncjobs.db.sessions import Runs, Sessions
from asyncjobs.db.skip_locked import passing_locked
from asyncjobs.db.transactions import Transaction
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, LeaseLost
from asyncjobs.failing.control_exceptions import Interrupted
from asyncjobs.performing.interruptions import INTERRUPTIONS
from asyncjobs.records.step_records import Record, Write
from asyncjobs.tasks.retrying import Backoff
from asyncjobs.tasks.shielding import shielded
from asyncjobs.worker.writing.recorded_size import MIB, RecordedSize
from asyncjobs.worker.writing.refused_writes import RefusedWrites

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt

logger = logging.getLogger("asyncjobs.worker")

T = TypeVar("T")

BATCH = 200
RECORDING = "recording steps"
MOST_ISOLATED = 10
"""Isolated steps at once, each on a connection of its own; further ones wait."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A record that is not known to be durable.

    Attributes:
        row: The job's id, its fence, and the record.
        recorder: The recorder of the attempt.
        told: Awaited by the job, which may cancel it without an effect on the writing.
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
        sessions: Sessions for one operation at a time, with pinned plans and a `lock_timeout`.
        isolated: Sessions for isolated steps.
        on_lost: Called with an attempt whose lease turns out to be lost.
        most: Bytes of one job's step records, at most.
        room: Set while the worker has the connections that it needs itself, so that isolated steps may open more.
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
        """Awaited by `run` while no record waits."""
        self._backoff = Backoff(logger, RECORDING)
        self._parts = RefusedWrites(self._record, self._refuse, key=_job_of, what=RECORDING, name=_name_of)
        self.events = asyncio.Semaphore(1)
        """Held by a job that begins to wait for an event. A transaction that emits the event may have locked it, and the job
        tries again; so records of steps wait for one such job at most."""

    def of(self, attempt: Attempt) -> AttemptRecorder:
        """Return the recorder of one attempt."""
        return AttemptRecorder(self, attempt)

    def add(self, waiting: _Waiting) -> None:
        """Add a record to be written."""
        self._waiting.append(waiting)
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def last_step(self, job_id: UUID) -> str:
        """Return the end of a sentence about a crash, with the last recorded step; empty when there is none."""
        try:
            records = await self.sessions.run(lambda connection: steps.read(connection, job_id))
        except DatabaseError:
            return ""
        return f"; its last step: {records[-1].name} ({records[-1].state})" if records else ""

    async def run(self) -> None:
        """Write records, for ever."""
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
                # Written again, whether or not the lost statement was committed: the result is the same. Jobs wait until
                # then; one that waits for as long as the lease is cancelled.
                await self._backoff.failed(error)

    def _take_batch(self) -> list[_Waiting]:
        """Take the next records out of the waiting ones: the first of each job, in the order of their ids.

        Jobs whose earlier records are held back are left out.
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
        """Write a batch; return the records that were passed over, since their rows are locked."""
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
        """Raise in the job that the database refuses a value of its step; return False for other errors, which may pass."""
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
            waiting.told.exception()  # marks it as retrieved: perhaps the job waits no more

    def lost(self, attempt: Attempt) -> LeaseLost:
        """Cancel an attempt whose lease is lost; return the error to raise."""
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
        """Write a record; see `Recorder.write`. To cancel the returned future does not cancel the writing.

        Raises:
            InvalidStep: The job's records together would be too large.
        """
        self._size.add(write)
        waiting = _Waiting(self._row(write), self, self._loop.create_future())
        self._under_way.add(waiting)
        self._writer.add(waiting)
        return waiting.told

    def over(self, waiting: _Waiting) -> None:
        """Note that a record is durable, or was refused."""
        self._under_way.discard(waiting)
        if self._settled is not None and not self._under_way and not self._settled.done():
            self._settled.set_result(None)

    def _row(self, write: Write) -> tuple[UUID, int, Write]:
        claimed = self.attempt.claimed
        return claimed.id, claimed.fence, write

    async def settled(self) -> None:
        """Wait until no record is under way: records that came after the attempt's end would be refused."""
        while self._under_way and self.attempt.cancel_reason != "lease_lost":
            self._settled = self._loop.create_future()
            await asyncio.wait([self._settled], timeout=1.0)

    async def load(self) -> list[Record]:
        """Return the records of earlier attempts."""
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
                connection,
                claimed.id,
                claimed.fence,
                n=record.n,
                name=record.name,
                event=event,
                key=key,
                seconds=seconds,
                progress=attributes,
            ),
            turns=None if event is None else self._writer.events,
        )
        if begun is None:
            raise self._writer.lost(self.attempt)
        return begun

    async def _insisting(
        self, operation: Callable[[Connection], Awaitable[T]], *, turns: asyncio.Semaphore | None = None
    ) -> T:
        """Run an operation, again and again until the database answers; a lost lease cancels the attempt and this."""
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
        # The job's row is locked in the last statement: locked from the start, a cancel and a batch of ends would wait for
        # it.
        return await steps.record_isolated(connection, *self._row(write))

    async def _is_recorded(self, write: Write | None) -> bool:
        """Whether a transaction has recorded its step, when the answer to its commit was lost.

        The empty record written first waits for the job's row, which the transaction has locked if it is still committing.
        """
        assert write is not None
        await self.write(Write())
        return any(record.name == write.name and record.state == "succeeded" for record in await self.load())
