"""Chains: stored as a whole, and awaited. Also the jobs that follow a success, and jobs that a job adds to its batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from asyncjobs.client.awaiting import Waiters
from asyncjobs.client.bulk import in_turns
from asyncjobs.client.connections import enqueue_given_on, enqueue_within_on
from asyncjobs.client.enqueue_hooks import inside_hooks
from asyncjobs.client.enqueueing import RESEND_LIMIT
from asyncjobs.client.job_rows import check_job, mark_enqueued, mark_stored, row_of
from asyncjobs.client.queue_depths import Depths, places
from asyncjobs.client.stored_outcomes import outcome
from asyncjobs.client.waiting_jobs import holder
from asyncjobs.db import batches
from asyncjobs.db.connecting import Connection
from asyncjobs.db.errors import is_locked
from asyncjobs.db.rows import Finished, NewJob, State, Stored
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.unique_key_holders import naming_holders
from asyncjobs.exceptions import (
    AlreadyEnqueued,
    BatchOver,
    DatabaseUnavailable,
    EnqueueOutcomeUnknown,
    InvalidOption,
    JobNotFound,
    LeaseLost,
    NotOpen,
    NotUnique,
)
from asyncjobs.jobs.chains import Chain
from asyncjobs.jobs.job import Job
from asyncjobs.performing.hook_calls import Layers
from asyncjobs.values import codec

CHUNK = 500
"""Jobs that a job adds to its batch in one statement."""


class ChainStore:
    """Stores chains and other jobs that are stored together.

    Args:
        sessions: The sessions of the client.
        layers: The middleware.
        depths: The queues with a `max_depth`; None: there are none.
    """

    def __init__(self, sessions: Sessions, layers: Layers, depths: Depths | None) -> None:
        self._sessions = sessions
        self._layers = layers
        self._depths = depths

    async def store(self, chain: Chain[Any], connection: Any) -> None:
        """Store all jobs of a chain; see `Chain.enqueue`."""
        if chain._is_stored:
            return
        for job in chain.jobs:
            check_job(job, "chain.enqueue()")
            if job._sent and not chain._sent:
                raise AlreadyEnqueued(f"chain.enqueue(): {job.kind} {job.id} was enqueued by itself: make a new chain")

        async def insert(jobs: Sequence[Job[Any]]) -> None:
            rows = _rows_of(chain, jobs)
            for job in jobs:
                job._sent = True
            chain._sent = True
            first = [] if before else rows[:1]  # the others are scheduled, and take no place
            async with places(self._depths, first, connection), naming_holders(self._sessions.url, rows):
                if connection is not None:
                    made = await enqueue_given_on(connection, rows, whole=True)
                else:
                    made = await self._send(partial(batches.enqueue_given, jobs=rows, whole=True), rows[0].id, "chain")
            _check_whole(chain.jobs, made)
            for job, row, stored in zip(jobs, rows, made, strict=True):
                mark_enqueued(job, row, made=stored.disposition == "enqueued")
            for job in jobs[1:]:
                job._state = "scheduled"

        before = chain._sent
        try:
            await inside_hooks(self._layers, chain.jobs, insert)
        except (EnqueueOutcomeUnknown, asyncio.CancelledError):
            raise
        except BaseException:
            chain._sent = before
            for job in chain.jobs:
                job._sent = before
            raise
        chain._is_stored = connection is None

    async def _send(self, operation: Callable[[Connection], Awaitable[Any]], first: UUID, what: str) -> Any:
        """Run a statement that makes no row twice; run it once more if its answer is lost.

        Raises:
            EnqueueOutcomeUnknown: The second answer was lost, too.
        """
        try:
            return await self._sessions.run(operation)
        except DatabaseUnavailable as error:
            if not error.begun or is_locked(error):
                raise
        try:
            return await self._sessions.run(operation, deadline=RESEND_LIMIT)
        except (DatabaseUnavailable, NotOpen) as error:
            raise EnqueueOutcomeUnknown(first, what) from error

    async def prepared(self, following: Sequence[Job[Any] | Chain[Any]]) -> str:
        """Return the jobs that follow the success of a job, as text; see `OpenClient.prepared`."""
        parts: list[str] = []

        async def insert(jobs: Sequence[Job[Any]]) -> None:
            kept = set(jobs)
            for each in following:
                if isinstance(each, Chain):
                    parts.append(batches.given(_rows_of(each, [job for job in each.jobs if job in kept])))
                elif each in kept:
                    parts.append(batches.given([row_of(each)]))

        jobs = [job for each in following for job in (each.jobs if isinstance(each, Chain) else (each,))]
        for job in jobs:
            check_job(job, "then()")
        await inside_hooks(self._layers, jobs, insert)
        return codec.dumps(parts)

    async def enqueue_prepared(self, text: str) -> None:
        """Enqueue the jobs in a text of `prepared`, in one transaction."""
        parts: list[str] = codec.loads(text)

        async def enqueue(connection: Connection) -> None:
            async with connection.transaction():
                for part in parts:
                    await batches.enqueue_text(connection, part)

        first = UUID(codec.loads(parts[0])[0]["id"]) if parts else None
        if first is not None:
            await self._send(enqueue, first, "job")

    # What a job adds to its batch

    async def enqueue_within(
        self, running: Job[Any], batch_id: UUID, jobs: Sequence[Job[Any]], connection: Any = None
    ) -> int:
        """Add jobs to the batch of a running job; return how many rows were made. See `RunningBatch.enqueue`."""
        row = None if running._attempt is None else running._attempt.row
        if row is None or running._attempt is None or running._attempt.is_over:
            raise _lost(running)
        made_rows = 0

        async def insert(given: Sequence[Job[Any]]) -> None:
            nonlocal made_rows
            if not given:
                return
            rows = [row_of(job, batch=batch_id) for job in given]
            async with places(self._depths, rows, connection), naming_holders(self._sessions.url, rows):
                if connection is not None:
                    text = await enqueue_within_on(connection, *row, rows)
                else:
                    enqueue = partial(batches.enqueue_within, job_id=row[0], fence=row[1], jobs=rows)
                    text = await self._send(enqueue, rows[0].id, "job")
            if text is None:
                raise _lost(running)
            if text == "over":
                raise BatchOver(batch_id)
            for job, new, stored in zip(given, rows, batches.stored(text), strict=True):
                job._sent, job._batch = True, batch_id
                made_rows += mark_stored(job, new, stored)

        for job in jobs:
            check_job(job, "batch.enqueue()")
        await inside_hooks(self._layers, list(dict.fromkeys(jobs)), insert)
        return made_rows

    async def enqueue_all_within(
        self, running: Job[Any], batch_id: UUID, jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]
    ) -> int:
        """Add many jobs to the batch of a running job, in chunks; return how many rows were made."""
        made, chunk = 0, list[Job[Any]]()
        async for job in in_turns(jobs, "batch.enqueue_all()"):
            chunk.append(job)
            if len(chunk) == CHUNK:
                made += await self.enqueue_within(running, batch_id, chunk)
                chunk = []
        return made + (await self.enqueue_within(running, batch_id, chunk) if chunk else 0)


def _lost(running: Job[Any]) -> LeaseLost:
    return LeaseLost(
        f"{running.kind} {running.id} does not run here any more, and adds nothing to its batch: its attempt is over, or "
        "another worker has it"
    )


def _rows_of(chain: Chain[Any], jobs: Sequence[Job[Any]]) -> list[NewJob]:
    """Return the rows of a chain.

    Raises:
        InvalidOption: A hook has left out a job.
    """
    if len(jobs) < len(chain.jobs):
        left = next(job for job in chain.jobs if job not in jobs)
        raise InvalidOption(
            f"chain: a hook has kept {left.kind} {left.id} from being enqueued, and the rest would wait for it for ever: "
            "no job of the chain was enqueued"
        )
    before: list[UUID | None] = [None, *(job.id for job in jobs[:-1])]
    return [row_of(job, after=after) for job, after in zip(jobs, before, strict=True)]


def _check_whole(jobs: Sequence[Job[Any]], made: Sequence[Stored]) -> None:
    for job, stored in zip(jobs, made, strict=True):
        if stored.disposition not in ("enqueued", "there"):
            within = any(stored.id == other.id for other in jobs)
            remedy = (
                "it is of this chain, too: leave one out" if within else "enqueue the chain when that one has ended"
            )
            raise NotUnique(job.kind, stored.id, f"{remedy}; a chain is stored as a whole, or not at all")


Ended = asyncio.Task[Finished]


async def chain_result(
    waiters: Waiters[Finished],
    states: Callable[[Sequence[UUID]], Awaitable[dict[UUID, tuple[str, str]]]],
    jobs: Sequence[Job[Any]],
    *,
    timeout: float | None,
) -> Any:
    """Wait for the end of the last job of a chain; see `Chain.result`.

    Args:
        waiters: The waits of this process for jobs.
        states: Reads the states of jobs.
        jobs: The jobs of the chain, in their order.
        timeout: Seconds; None: no limit.
    """
    loop = asyncio.get_running_loop()
    row, over = holder(), asyncio.Event()
    tasks = [loop.create_task(waiters.wait(job.id, row, timed=timeout is not None)) for job in jobs]

    def ended(task: Ended) -> None:
        if task is tasks[-1] or _is_bad(task):
            over.set()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        async with asyncio.timeout(timeout) as limit:
            await over.wait()
            bad = next((n for n, task in enumerate(tasks) if _is_bad(task)), None)
            if bad:
                # An earlier job may have ended the chain, whose notice has not come yet.
                found = await states([job.id for job in jobs[:bad]])
                bad = next((n for n in range(bad) if found.get(jobs[n].id, ("",))[0] in _ENDED_BADLY), bad)
                await asyncio.wait([tasks[bad]])
    except TimeoutError:
        if not limit.expired():
            raise
        last = jobs[-1]
        raise TimeoutError(
            f"the chain to {last.kind} {last.id} is not over after {timeout:g} s, and goes on: "
            f"`asyncjobs jobs show {last.id}` draws it"
        ) from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return outcome(jobs[-1 if bad is None else bad], tasks[-1 if bad is None else bad].result())


_ENDED_BADLY = ("failed", "discarded", "cancelled")


def _is_bad(task: Ended) -> bool:
    """Whether a job did not succeed. A job whose row is gone does not count: then the last job's end decides."""
    if not task.done() or task.cancelled():
        return False
    error = task.exception()
    return not isinstance(error, JobNotFound) if error is not None else task.result().state != State.succeeded
