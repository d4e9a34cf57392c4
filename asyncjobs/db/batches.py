"""Statements on batches and chains, as functions from plain values to plain values."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from asyncjobs.db import limiting, sql
from asyncjobs.db.inserts import notify_ready
from asyncjobs.db.jobs import finish as jobs_finish
from asyncjobs.db.jobs import reschedule as jobs_reschedule
from asyncjobs.db.rows import Finish, NewJob, Reschedule, State, Stored
from asyncjobs.values import codec

logger = logging.getLogger("asyncjobs.worker")

_COLUMNS = ("id", "kind", "queue", "priority", "args", "batch")
FIRST = UUID(int=0)
"""The id before all others."""


class NewBatch(NamedTuple):
    """One batch to insert."""

    id: UUID
    parent: UUID | None
    description: str
    on_discard: str | None
    """The job to enqueue, as `given` writes it."""
    on_finish: str | None
    on_success: str | None


class BatchRow(NamedTuple):
    """The stored row of a batch."""

    id: UUID
    parent: UUID | None
    description: str
    settled: bool
    made_at: datetime
    discarded_at: datetime | None
    finished_at: datetime | None
    succeeded_at: datetime | None
    by_state: dict[str, int]
    """The number of jobs by state: those of its parts too, but in a list its own alone, as far as they were counted."""
    cut: bool = False
    """Whether it has more jobs than were counted."""


class SettledBatch(NamedTuple):
    """A batch that is over, as its waiter needs it."""

    id: UUID


def given(jobs: Sequence[NewJob]) -> str:
    """Return jobs as the one text that `asyncjobs.enqueue_given` takes."""
    ordered = [job.with_order() if job.is_labelled else job for job in jobs]
    return codec.dumps([{name: value for name, value in job._asdict().items() if value is not None} for job in ordered])


def stored(made: str) -> list[Stored]:
    """Return how each job was stored, from the text that `asyncjobs.enqueue_given` returns."""
    return [Stored(UUID(job_id), disposition) for job_id, disposition in codec.loads(made)]


async def enqueue_given(connection: Connection, jobs: Sequence[NewJob], *, whole: bool = False) -> list[Stored]:
    """Insert jobs, and notify; return how each was stored. `whole`: all or none."""
    return stored(await connection.fetchval(sql.read("enqueue_given"), given(jobs), whole))


async def enqueue_text(connection: Connection, text: str) -> list[Stored]:
    """Insert the jobs in a text of `given`; several are a chain, and inserted all or none."""
    return stored(await connection.fetchval(sql.read("enqueue_given"), text, len(codec.loads(text)) > 1))


async def copy(connection: Connection, jobs: Sequence[NewJob], batch: UUID) -> None:
    """Insert jobs of a batch by COPY, without a notice; they must be plain, see `NewJob.is_plain`."""
    await connection.copy_records_to_table(
        "job", schema_name="asyncjobs", columns=_COLUMNS, records=((*job[:5], batch) for job in jobs)
    )


def text_of(batches: Sequence[NewBatch]) -> str:
    """Return batches as the one text that `asyncjobs.begin_batch` takes."""
    return codec.dumps([batch._asdict() for batch in batches])


async def begin(connection: Connection, batches: Sequence[NewBatch]) -> bool:
    """Store a batch and its parts; return False when they exist already."""
    return bool(await connection.fetchval(sql.read("begin_batch"), text_of(batches)))


async def tell(connection: Connection, queues: Sequence[str], least: int) -> None:
    """Wake the workers for jobs that were inserted by COPY."""
    await notify_ready(connection, queues, least)


async def next_seq(connection: Connection) -> int:
    """Return a number of the ready sequence that is less than those of all jobs inserted from now on."""
    return int(await connection.fetchval(sql.read("next_seq")))


async def finish(connection: Connection, finishes: Sequence[Finish]) -> int:
    """Finish jobs like `jobs.finish`; in the same transaction pause rates, and enqueue the jobs that follow a success.

    Rates pause even if another worker has the job by now: the Retry-After of the other side still holds.
    """
    async with connection.transaction():
        moved = await jobs_finish(connection, finishes)
        await limiting.pause_rates(connection, [pause for end in finishes for pause in end.pauses])
        thens = [(end.id, end.fence, end.then) for end in finishes if end.then is not None]
        if thens and (refused := await enqueue_then(connection, thens)):
            logger.warning("%d jobs or chains of then() were not enqueued: other jobs have their unique keys", refused)
    return moved


async def reschedule(connection: Connection, jobs: Sequence[Reschedule]) -> int:
    """Reschedule jobs like `jobs.reschedule`, and pause rates in the same transaction."""
    async with connection.transaction():
        given_back = await jobs_reschedule(connection, jobs)
        await limiting.pause_rates(connection, [pause for job in jobs for pause in job.pauses])
    return given_back


async def enqueue_then(connection: Connection, thens: Sequence[tuple[UUID, int, str]]) -> int:
    """Enqueue the jobs that follow the success of jobs, in the transaction that has moved these to the history.

    Returns:
        The number of jobs and chains that were not enqueued, since another job has one of their unique keys.
    """
    ids, fences, texts = zip(*thens, strict=True)
    return int(await connection.fetchval(sql.read("enqueue_then"), ids, fences, texts))


async def enqueue_within(connection: Connection, job_id: UUID, fence: int, jobs: Sequence[NewJob]) -> str | None:
    """Add jobs to the batch of a running job; return the result of `asyncjobs.enqueue_within`."""
    made: str | None = await connection.fetchval(sql.read("enqueue_within"), job_id, fence, given(jobs))
    return made


async def settle(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Enqueue the callbacks of batches that are over; return the batches to look at next."""
    above: list[UUID] = await connection.fetchval(sql.read("settle_batches"), ids)
    return above


async def read_open(connection: Connection, after: UUID, limit: int) -> list[UUID]:
    """Return at most `limit` batches that are not known to be over, after the id `after`."""
    return [row["id"] for row in await connection.fetch(sql.read("open_batches"), after, limit)]


async def forget(connection: Connection, seconds: float, limit: int) -> int:
    """Delete batches that have been over for `seconds`; return how many."""
    return int(await connection.fetchval(sql.read("forget_batches"), seconds, limit))


async def tidy_links(connection: Connection, after: UUID | None, limit: int, days: int) -> UUID | None:
    """Tidy the links of chains; return the last job that was read, None: there are no more."""
    last: UUID | None = await connection.fetchval(sql.read("tidy_links"), after, limit, days)
    return last


async def read_status(connection: Connection, batch_id: UUID) -> BatchRow | None:
    """Return the row of a batch; None: there is no such batch."""
    row = await connection.fetchrow(sql.read("batch_status"), batch_id)
    return None if row is None else batch_of(row)


def batch_of(row: Record) -> BatchRow:
    """Return the row of a batch as it was read."""
    numbers = codec.loads(row["by_state"])
    by_state = {state.name: int(numbers[str(int(state))]) for state in State if str(int(state)) in numbers}
    return BatchRow(*row)._replace(by_state=by_state)


class Linked(NamedTuple):
    """A job of a chain."""

    id: UUID
    place: int
    """Its place relative to the given job, which is at 0."""
    kind: str | None
    """None if its row is gone."""
    state: int | None


async def read_chain(connection: Connection, job_id: UUID, most: int) -> list[Linked]:
    """Return the chain of a job, at most `most` jobs before and after it; empty if it is in no chain."""
    return [Linked(*row) for row in await connection.fetch(sql.read("read_chain"), job_id, most)]


async def read_above(connection: Connection, batch_id: UUID) -> set[UUID]:
    """Return a batch and the batches of which it is a part."""
    return {row["id"] for row in await connection.fetch(sql.read("batches_above"), batch_id)}


class Batches:
    """The statements on awaited batches, as `Access` has them for jobs."""

    async def await_jobs(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Return the batches that are not over; a notice is sent at the end of every batch."""
        return await self.read_live(connection, ids)

    async def read_live(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Return the batches that are not over."""
        return {row["id"] for row in await connection.fetch(sql.read("batches"), list(ids)) if not row["settled"]}

    async def read_finished(self, connection: Connection, ids: Sequence[UUID]) -> list[SettledBatch]:
        """Return the batches that are over."""
        rows = await connection.fetch(sql.read("batches"), list(ids))
        return [SettledBatch(row["id"]) for row in rows if row["settled"]]
