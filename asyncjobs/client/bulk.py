"""Bulk enqueueing: one statement for each chunk of jobs; the next chunk is made while PostgreSQL takes the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from asyncjobs.client import one_at_a_time
from asyncjobs.client.enqueueing import is_of_one_row
from asyncjobs.client.job_rows import check_job, mark_enqueued, mark_stored, row_of
from asyncjobs.client.queue_depths import Depths
from asyncjobs.db.inserts import Inserts, enqueue_ordered
from asyncjobs.db.rows import NewJob, Stored
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.unique_key_holders import naming_holders
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, EnqueueOutcomeUnknown, InvalidOption, NotUnique
from asyncjobs.jobs.job import Job
from asyncjobs.performing.open_clients import OpenClient
from asyncjobs.tasks.services import Services

CHUNK = 2_000
"""Jobs in one statement."""
MANY = 100
"""The number of jobs from which on COPY, with its own transaction, is faster than one statement."""
TOGETHER = 50
"""Jobs with hooks that are enqueued beside each other."""
TURN = 200
"""Jobs taken from an iterable in one turn of the loop: about 1 ms."""


class Bulk:
    """Inserts the jobs of one `enqueue_all`.

    Args:
        sessions: The connections for statements.
        inserts: The statements that this role may use.
        services: The scope of statements under way.
        enqueue_one: Enqueues a job that has hooks, or was sent before; returns whether it has made the row.
        has_hooks: Returns whether hooks run around a job's enqueueing.
        depths: The queues with a `max_depth`; None: there are none.
        client: The client of the jobs, which they keep.
    """

    def __init__(
        self,
        sessions: Sessions,
        inserts: Inserts,
        services: Services,
        enqueue_one: Callable[[Job[Any]], Awaitable[bool]],
        has_hooks: Callable[[Job[Any]], bool],
        *,
        depths: Depths | None,
        client: OpenClient,
    ) -> None:
        self._sessions = sessions
        self._inserts = inserts
        self._services = services
        self._enqueue_one = enqueue_one
        self._has_hooks = has_hooks
        self._depths = depths
        self._client = client
        self._made = 0
        self._sent = 0
        self._under_way: asyncio.Task[int | Exception] | None = None

    async def enqueue(self, all_jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]) -> int:
        """Insert all jobs; return how many rows were made."""
        chunk: list[Job[Any]] = []
        try:
            async for job in in_turns(all_jobs):
                chunk.append(job)
                if len(chunk) == CHUNK:
                    await self._send(chunk)
                    chunk = []
            await self._send(chunk)
            await self._settle()
        except BaseException as error:
            for job in chunk:
                if isinstance(job, Job):
                    job._made_at = None  # no warning that it was never enqueued: the error says so
            if not isinstance(error, asyncio.CancelledError):
                await self._settle_beside(error)
            if self._made:
                error.add_note(f"enqueue_all: {self._made} jobs were enqueued all the same")
            raise
        return self._made

    async def _send(self, chunk: list[Job[Any]]) -> None:
        rows, hooked = self._rows_of(chunk)
        await self._settle()
        for start in range(0, len(hooked), TOGETHER):  # beside each other: they share statements
            ended = await asyncio.gather(
                *map(self._enqueue_one, hooked[start : start + TOGETHER]), return_exceptions=True
            )
            self._made += sum(made for made in ended if not isinstance(made, BaseException))
            if failed := [error for error in ended if isinstance(error, BaseException)]:
                if len(failed) > 1:
                    failed[0].add_note(f"enqueue_all: {len(failed) - 1} jobs beside it could not be enqueued either")
                raise failed[0]
        fresh = {job: row for job, row in rows.items() if not job._sent}
        known = [job for job in rows if job._sent] if len(fresh) < len(rows) else []
        for job in fresh:
            job._sent, job._client = True, self._client  # before the statement: from now on the row may exist
            one_at_a_time.begin(job)
        if fresh:
            insert = self._insert if self._depths is None else partial(self._insert_if_room, self._depths)
            self._under_way = self._services.start(insert(fresh), name="enqueue_all")
            self._under_way.add_done_callback(
                lambda _: one_at_a_time.end(fresh)
            )  # also if it is cancelled before it begins
        for job in known:
            self._made += await self._enqueue_one(job)

    def _rows_of(self, chunk: list[Job[Any]]) -> tuple[dict[Job[Any], NewJob], list[Job[Any]]]:
        """Return the rows of jobs without hooks, each job object once, and the jobs with hooks."""
        rows: dict[Job[Any], NewJob] = {}
        hooked: dict[Job[Any], None] = {}
        for index, job in enumerate(chunk, self._sent):
            check_job(job, "enqueue_all", index)
            if self._has_hooks(job):
                hooked[job] = None
                continue
            try:
                rows[job] = row_of(job)
            except Exception as error:
                error.add_note(f"item {index} of enqueue_all")
                raise
        self._sent += len(chunk)
        return rows, list(hooked)

    async def _settle(self) -> None:
        """Wait for the chunk under way; a cancellation of the caller does not cancel it."""
        if self._under_way is not None:
            task, self._under_way = self._under_way, None
            made = await asyncio.shield(task)
            if isinstance(made, Exception):
                raise made
            self._made += made

    async def _settle_beside(self, error: BaseException) -> None:
        """Let the chunk under way end before `error` is raised, so that the count in its note is right."""
        try:
            await self._settle()
        except Exception as second:
            error.add_note(f"enqueue_all: the chunk before failed as well: {type(second).__name__}: {second}")

    async def _insert_if_room(self, depths: Depths, fresh: dict[Job[Any], NewJob]) -> int | Exception:
        """Insert the jobs of a chunk that there is room for, the first of each queue."""
        try:
            taken, refused, full = await depths.take_for(list(fresh.values()))
        except Exception as error:
            return self._unsent(fresh, error)
        try:
            fitting = fresh
            if full is not None:
                fitting = {job: row for job, row in fresh.items() if row.id not in refused}
                self._unsent([job for job in fresh if job not in fitting], full)
            made = await self._insert(fitting) if fitting else 0
        finally:
            depths.give_back_all(taken)
        if full is None or isinstance(made, Exception):
            return made
        self._made += made
        return full

    async def _insert(self, fresh: dict[Job[Any], NewJob]) -> int | Exception:
        """Insert a chunk; return how many rows were made, or the error to raise in the caller's task."""
        rows = list(fresh.values())
        try:
            if any(row.order is not None for row in rows):
                async with naming_holders(self._sessions.url, rows):
                    return _mark(fresh, await self._sessions.run(partial(enqueue_ordered, jobs=rows)))
            # COPY cannot compute times: a chunk with a job that is due later, or expires, needs a statement that can.
            if len(rows) >= MANY and all(row.is_plain for row in rows):
                await self._sessions.run(partial(self._inserts.enqueue_copy, jobs=rows))
            else:
                await self._sessions.run(partial(self._inserts.enqueue_many, jobs=rows))
        except DatabaseError as error:
            if isinstance(error, DatabaseUnavailable) and error.begun:
                unknown = EnqueueOutcomeUnknown(rows[0].id)
                unknown.__cause__ = error
                return unknown
            if is_of_one_row(error):
                return await self._insert_singly(fresh)
            return self._unsent(fresh, error)
        except Exception as error:
            return self._unsent(fresh, error)
        for job, row in fresh.items():
            mark_enqueued(job, row, made=True)
        return len(rows)

    async def _insert_singly(self, fresh: dict[Job[Any], NewJob]) -> int | Exception:
        """Insert row by row: one row exists already, sent by another call for the same job."""
        made = 0
        one_at_a_time.end(fresh)
        try:
            for job in fresh:
                made += await self._enqueue_one(job)
        except Exception as error:
            error.add_note(f"enqueue_all: {made} jobs of this chunk were enqueued")
            return error
        return made

    def _unsent(self, fresh: Iterable[Job[Any]], error: Exception) -> Exception:
        for job in fresh:
            job._sent = False
        return error


def _mark(fresh: dict[Job[Any], NewJob], stored: Sequence[Stored]) -> int | Exception:
    """Note in jobs with limits or unique keys how each was stored; return how many rows were made."""
    made = 0
    refused: NotUnique | None = None
    for (job, row), what in zip(fresh.items(), stored, strict=True):
        try:
            made += mark_stored(job, row, what)
        except NotUnique as error:
            job._sent = False
            refused = refused or error
    if refused is None:
        return made
    refused.add_note(f"enqueue_all: {made} jobs of this chunk were enqueued")
    return refused


async def in_turns(all_jobs: Any, what: str = "enqueue_all") -> AsyncIterator[Any]:
    """Iterate over an iterable or an async iterable, and give the loop a turn now and then."""
    if isinstance(all_jobs, AsyncIterable):
        async for job in all_jobs:
            yield job
        return
    if isinstance(all_jobs, Job):
        raise InvalidOption(f"{what} takes an iterable of jobs; for one job call its enqueue()")
    if not isinstance(all_jobs, Iterable):
        raise InvalidOption(f"{what} takes an iterable or async iterable of jobs, not {type(all_jobs).__name__}")
    for number, job in enumerate(all_jobs, 1):
        yield job
        if number % TURN == 0:
            await asyncio.sleep(0)
