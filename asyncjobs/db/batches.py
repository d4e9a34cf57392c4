"""The statements on batches and chains, as functions: plain values in, plain values out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import limiting, sql
from asyncjobs.db.jobs import finish as jobs_finish
from asyncjobs.db.jobs import notify_ready
from asyncjobs.db.jobs import reschedule as jobs_reschedule
from asyncjobs.db.rows import Finish, NewJob, Reschedule, State, Stored, state_name
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
    """What is to be enqueued, as `given` writes it."""
    on_finish: str | None
    on_success: str | None


class BatchRow(NamedTuple):
    """What is stored about a batch."""

    id: UUID
    parent: UUID | None
    description: str
    settled: bool
    made_at: datetime
    discarded_at: datetime | None
    finished_at: datetime | None
    succeeded_at: datetime | None
    by_state: dict[str, int]
    """How many jobs are in each state."""


class SettledBatch(NamedTuple):
    """A batch that is over, as its waiter needs it."""

    id: UUID


def given(jobs: Sequence[NewJob]) -> str:
    """Return jobs as the one text that `asyncjobs.enqueue_given` takes."""
    return codec.dumps([{name: value for name, value in job._asdict().items() if value is not None} for job in jobs])


def stored(made: str) -> list[Stored]:
    """Return what `asyncjobs.enqueue_given` says came of each."""
    return [Stored(UUID(job_id), disposition) for job_id, disposition in codec.loads(made)]


async def enqueue_given(connection: Connection, jobs: Sequence[NewJob], *, whole: bool = False) -> list[Stored]:
    """Insert jobs, and notify; return what came of each. `whole`: all of them or none."""
    return stored(await connection.fetchval(sql.read("enqueue_given"), given(jobs), whole))


async def enqueue_text(connection: Connection, text: str) -> list[Stored]:
    """Insert jobs of a text of `given`: of a chain all or none."""
    return stored(await connection.fetchval(sql.read("enqueue_given"), text, len(codec.loads(text)) > 1))


async def copy(connection: Connection, jobs: Sequence[NewJob], batch: UUID) -> None:
    """Insert jobs of a batch that are plain otherwise, by COPY; see `notify_ready`."""
    await connection.copy_records_to_table(
        "job", schema_name="asyncjobs", columns=_COLUMNS, records=((*job[:5], batch) for job in jobs)
    )


def text_of(batches: Sequence[NewBatch]) -> str:
    """Return batches as the one text that `asyncjobs.begin_batch` takes."""
    return codec.dumps([batch._asdict() for batch in batches])


async def begin(connection: Connection, batches: Sequence[NewBatch]) -> bool:
    """Store a batch and those that are its parts; return False when they are there already."""
    return bool(await connection.fetchval(sql.read("begin_batch"), text_of(batches)))


async def tell(connection: Connection, queues: Sequence[str], least: int) -> None:
    """Wake the workers for jobs that were made by COPY."""
    await notify_ready(connection, queues, least)


async def next_seq(connection: Connection) -> int:
    """Return a number of the ready sequence below which none of what is made from now on lies."""
    return int(await connection.fetchval(sql.read("next_seq")))


async def finish(connection: Connection, finishes: Sequence[Finish]) -> int:
    """Do as `jobs.finish`, and in the same transaction have rates pause, and enqueue what is to follow the jobs.

    Rates pause, too, where another worker has the job by now: what the other side has said holds.
    """
    async with connection.transaction():
        moved = await jobs_finish(connection, finishes)
        await limiting.pause_rates(connection, [pause for end in finishes for pause in end.pauses])
        thens = [(end.id, end.fence, end.then) for end in finishes if end.then is not None]
        if thens and (refused := await enqueue_then(connection, thens)):
            logger.warning("%d of what was to follow jobs was not enqueued: others have the unique keys", refused)
    return moved


async def reschedule(connection: Connection, jobs: Sequence[Reschedule]) -> int:
    """Do as `jobs.reschedule`, and have rates pause in the same transaction."""
    async with connection.transaction():
        given_back = await jobs_reschedule(connection, jobs)
        await limiting.pause_rates(connection, [pause for job in jobs for pause in job.pauses])
    return given_back


async def enqueue_then(connection: Connection, thens: Sequence[tuple[UUID, int, str]]) -> int:
    """Enqueue what jobs left to be enqueued with their success, in the transaction that has moved them.

    Returns:
        How many parts were not, since another job has a unique key of theirs.
    """
    ids, fences, texts = zip(*thens, strict=True)
    return int(await connection.fetchval(sql.read("enqueue_then"), ids, fences, texts))


async def enqueue_within(connection: Connection, job_id: UUID, fence: int, jobs: Sequence[NewJob]) -> str | None:
    """Enqueue jobs of the batch of a job that runs; return what `asyncjobs.enqueue_within` does."""
    made: str | None = await connection.fetchval(sql.read("enqueue_within"), job_id, fence, given(jobs))
    return made


async def settle(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Enqueue what is to follow the end of batches; return those to be looked at next."""
    above: list[UUID] = await connection.fetchval(sql.read("settle_batches"), ids)
    return above


async def read_open(connection: Connection, after: UUID, limit: int) -> list[UUID]:
    """Return batches that are not known to be over, at most `limit` after one."""
    return [row["id"] for row in await connection.fetch(sql.read("open_batches"), after, limit)]


async def forget(connection: Connection, seconds: float, limit: int) -> int:
    """Forget batches that were over long ago; return how many."""
    return int(await connection.fetchval(sql.read("forget_batches"), seconds, limit))


async def tidy_links(connection: Connection, after: UUID | None, limit: int, days: int) -> UUID | None:
    """Look after the links of chains; return the last job that was looked at, None: there are no more."""
    last: UUID | None = await connection.fetchval(sql.read("tidy_links"), after, limit, days)
    return last


async def read_status(connection: Connection, batch_id: UUID) -> BatchRow | None:
    """Return how far a batch is, or None: there is none."""
    row = await connection.fetchrow(sql.read("batch_status"), batch_id)
    if row is None:
        return None
    numbers = codec.loads(row["by_state"])
    by_state = {state_name(state): int(numbers[str(int(state))]) for state in State if str(int(state)) in numbers}
    return BatchRow(*row)._replace(by_state=by_state)


class Linked(NamedTuple):
    """A job of a chain."""

    id: UUID
    place: int
    """Counted from the one that was asked about, which is 0."""
    kind: str | None
    """None: its row is gone."""
    state: int | None


async def read_chain(connection: Connection, job_id: UUID, most: int) -> list[Linked]:
    """Return the jobs before and after one in its chain, at most `most` on each side; none: it is in no chain."""
    return [Linked(*row) for row in await connection.fetch(sql.read("read_chain"), job_id, most)]


async def read_above(connection: Connection, batch_id: UUID) -> set[UUID]:
    """Return a batch and those of which it is a part."""
    return {row["id"] for row in await connection.fetch(sql.read("batches_above"), batch_id)}


class Batches:
    """What a waiter for batches asks, as `Access` has it for jobs."""

    async def await_jobs(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Return those that are not over; all are told of when they are."""
        return await self.read_live(connection, ids)

    async def read_live(self, connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
        """Return those that are not over."""
        return {row["id"] for row in await connection.fetch(sql.read("batches"), list(ids)) if not row["settled"]}

    async def read_finished(self, connection: Connection, ids: Sequence[UUID]) -> list[SettledBatch]:
        """Return those that are over."""
        rows = await connection.fetch(sql.read("batches"), list(ids))
        return [SettledBatch(row["id"]) for row in rows if row["settled"]]
