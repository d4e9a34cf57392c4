"""The client: what an open AsyncJobs does for jobs, whichever process runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Iterator
from typing import Any
from uuid import UUID

from asyncjobs.client.awaiting import Waiters
from asyncjobs.client.connections import enqueue_on
from asyncjobs.client.endings import outcome, read_status
from asyncjobs.client.enqueuing import Enqueuer
from asyncjobs.client.notices import Notices
from asyncjobs.db import jobs
from asyncjobs.db.listening import Listener
from asyncjobs.db.rows import NewJob
from asyncjobs.db.sessions import Sessions
from asyncjobs.defining import options, registry
from asyncjobs.defining.base import Job
from asyncjobs.defining.decorator import JobFunction
from asyncjobs.defining.status import Status
from asyncjobs.defining.stored import StoredJob
from asyncjobs.exceptions import (
    DatabaseUnavailable,
    EnqueueOutcomeUnknown,
    InvalidOption,
    JobNotFound,
    KindMismatch,
    NotOpen,
)
from asyncjobs.services import Services

CHUNK = 2_000
"""Jobs in one statement of `enqueue_all`: making them blocks the loop for about 15 ms."""


class Client:
    """Enqueues, awaits and reads, on the loop it was made on.

    Args:
        sessions: Connections for its statements.
        listener: For the ends of awaited jobs; started when the first one is awaited.
        services: The scope of what it runs in the background.
    """

    def __init__(self, sessions: Sessions, listener: Listener, services: Services) -> None:
        self._sessions = sessions
        self._loop = asyncio.get_running_loop()
        self._enqueuer = Enqueuer(sessions, services, Notices(sessions, services))
        self._waiters = Waiters(sessions, listener, services)

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise NotOpen(
                "this AsyncJobs was opened on another event loop: open one here, "
                "or from a thread call anyio.from_thread.run(job.enqueue)"
            )

    async def enqueue(self, job: Job[Any], *, connection: Any = None) -> None:
        """Insert a job's row; see `Job.enqueue`."""
        self._check_loop()
        check_job(job)
        row = _row(job)
        first = not job._sent
        # From here on the row may exist, whatever happens to this call: the next one must look before it inserts.
        job._sent = True
        try:
            if connection is not None:
                made = await enqueue_on(connection, row)
            elif first:
                await self._enqueuer.enqueue(row)
                made = True
            else:
                made = await self._enqueue_again(row)
        except (EnqueueOutcomeUnknown, asyncio.CancelledError):
            raise
        except BaseException:
            job._sent = not first
            raise
        _enqueued(job, made=made or job._disposition == "enqueued")

    async def _enqueue_again(self, row: NewJob) -> bool:
        try:
            return await self._sessions.run(lambda connection: jobs.enqueue_once(connection, row))
        except DatabaseUnavailable as error:
            raise EnqueueOutcomeUnknown(row.id) from error

    async def enqueue_all(self, all_jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]) -> int:
        """Insert many jobs, a chunk a statement; see `asyncjobs.enqueue_all`."""
        self._check_loop()
        made = 0
        chunk: list[Job[Any]] = []
        try:
            if isinstance(all_jobs, AsyncIterable):
                async for job in all_jobs:
                    chunk.append(job)
                    if len(chunk) == CHUNK:
                        made += await self._enqueue_chunk(chunk, made)
                        chunk = []
            else:
                for job in _iterated(all_jobs):
                    chunk.append(job)
                    if len(chunk) == CHUNK:
                        made += await self._enqueue_chunk(chunk, made)
                        chunk = []
            return made + await self._enqueue_chunk(chunk, made)
        except BaseException as error:
            if made:
                error.add_note(f"enqueue_all: the first {made} jobs were enqueued in earlier chunks")
            raise

    async def _enqueue_chunk(self, chunk: list[Job[Any]], start: int) -> int:
        if not chunk:
            return 0
        for index, job in enumerate(chunk):
            check_job(job, "enqueue_all", start + index)
        fresh = list({id(job): job for job in chunk if not job._sent}.values())
        rows = [_row(job) for job in fresh]
        for job in fresh:
            job._sent = True
        now = [row for row in rows if row.run_at is None and row.delay is None]
        later = rows if len(now) < len(rows) else []
        try:
            if later:
                made = await self._sessions.run(lambda connection: jobs.enqueue_many(connection, later))
            elif now:
                await self._sessions.run(lambda connection: jobs.enqueue_copy(connection, now))
                made = len(now)
            else:
                made = 0
        except DatabaseUnavailable as error:
            raise EnqueueOutcomeUnknown(rows[0].id) from error
        except asyncio.CancelledError:
            raise
        except BaseException:
            for job in fresh:
                job._sent = False
            raise
        for job in fresh:
            _enqueued(job, made=True)
        for job in chunk:
            if job._disposition is None:  # sent before, with an unknown outcome
                await self.enqueue(job)
                made += job.disposition == "enqueued"
        return made

    async def get(self, job_id: UUID | str, kind: Any = None) -> Job[Any]:
        """Return a job by its id; see `AsyncJobs.get`."""
        self._check_loop()
        row = await self._sessions.run(lambda connection: jobs.read_status(connection, options.job_id(job_id)))
        if row is None:
            raise JobNotFound(options.job_id(job_id))
        definition = registry.find(row.kind)
        if kind is not None:
            wanted = definition_of(kind)
            if row.kind not in (wanted.kind, *wanted.aliases):
                raise KindMismatch(f"job {row.id} is a {row.kind}, not a {wanted.kind}")
            definition = wanted
        found = definition.load(row.args) if definition is not None else StoredJob.of(row.kind, row.args)
        found._id, found._queue, found._priority, found._sent = row.id, row.queue, row.priority, True
        found._state = read_status(row).state
        found._disposition = "enqueued"
        return found

    async def status(self, job_id: UUID) -> Status:
        """Read everything about a job; see `Job.status`."""
        self._check_loop()
        row = await self._sessions.run(lambda connection: jobs.read_status(connection, job_id))
        if row is None:
            raise JobNotFound(job_id)
        return read_status(row)

    async def result(self, job: Job[Any], *, timeout: float | None) -> Any:
        """Wait for a job's end; see `Job.result`."""
        self._check_loop()
        async with asyncio.timeout(timeout):
            ended = await self._waiters.wait(job.id)
        return outcome(job, ended)


def _iterated(all_jobs: Any) -> Iterator[Any]:
    if isinstance(all_jobs, Job):
        raise InvalidOption("enqueue_all takes an iterable of jobs; for one job call its enqueue()")
    if not isinstance(all_jobs, Iterable):
        raise InvalidOption(f"enqueue_all takes an iterable or async iterable of jobs, not {type(all_jobs).__name__}")
    return iter(all_jobs)


def check_job(job: Any, what: str = "enqueue", index: int | None = None) -> None:
    """Refuse what is no job, and say what it is."""
    if isinstance(job, Job):
        return
    if index is not None:
        what = f"item {index} of {what}"
    if isinstance(job, JobFunction) or (isinstance(job, type) and issubclass(job, Job)):
        raise InvalidOption(f"{what}: {job!r} is a definition: call it with its arguments to make a job")
    raise InvalidOption(f"{what}: {type(job).__name__} is no job: call a @job function or a Job class")


def definition_of(kind: Any) -> Any:
    """Return the definition behind a `@job` function, a Job class or a kind's name."""
    found = registry.find(kind) if isinstance(kind, str) else getattr(kind, "_definition", None)
    if found is None:
        raise InvalidOption(f"{kind!r} is no job definition: give a @job function or a Job class")
    return found


def _row(job: Job[Any]) -> NewJob:
    return NewJob(job.id, job.kind, job.queue, job.priority, job._stored_arguments(), job._run_at, job._delay)


def _enqueued(job: Job[Any], *, made: bool) -> None:
    job._disposition = "enqueued" if made else "duplicate"
    if made:
        job._state = "ready" if job._delay is None and job._run_at is None else "scheduled"
