"""Statuses: the stored state of a job, as far as this database role may read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

from asyncjobs.client.stored_outcomes import read_status, unended
from asyncjobs.db import jobs, live
from asyncjobs.db.connecting import Connection
from asyncjobs.db.role_access import Access
from asyncjobs.db.rows import StatusRow
from asyncjobs.definitions import registry
from asyncjobs.definitions.definition import Definition
from asyncjobs.exceptions import InvalidArguments, InvalidOption, JobNotFound, KindMismatch, PermissionDenied
from asyncjobs.jobs.job import Job
from asyncjobs.jobs.naming import JobOrId, id_of
from asyncjobs.jobs.stored import StoredJob
from asyncjobs.records.status import Status

T = TypeVar("T")


class _Run(Protocol):
    def __call__(self, operation: Callable[[Connection], Awaitable[T]], /) -> Awaitable[T]: ...


class Statuses:
    """Reads jobs by the statement that returns the most of those that this role may use, found at the first read."""

    def __init__(self, run: _Run, access: Access) -> None:
        self._run = run
        self._access = access
        self._ways = jobs.STATUS_WAYS

    async def read(self, job_id: UUID) -> StatusRow | None:
        """Return all of a job that this role may read; None when it can see no row.

        Raises:
            PermissionDenied: The role may not even read the state.
        """
        while True:
            ways = self._ways
            try:
                return await self._run(partial(jobs.read_status, job_id=job_id, way=ways[0]))
            except PermissionDenied:
                # Not from `self._ways`, which a concurrent read may have shortened already. After the last way, the next
                # read tries all of them again: rights may have been granted.
                self._ways = ways[1:] or jobs.STATUS_WAYS
                if len(ways) == 1:
                    raise

    async def get(self, job: JobOrId, kind: Any = None) -> Job[Any]:
        """Return a job as it is stored; see `AsyncJobs.get`."""
        wanted_id = id_of(job)
        if kind is None and isinstance(job, Job) and not isinstance(job, StoredJob):
            kind = type(job)
        row = await self.read(wanted_id)
        if row is None:
            raise JobNotFound(wanted_id)
        definition = registry.find(row.kind)
        if kind is not None:
            wanted = definition_of(kind)
            if row.kind not in (wanted.kind, *wanted.aliases):
                raise KindMismatch(f"job {row.id} is a {row.kind}, not a {wanted.kind}")
            definition = wanted
        found = _loaded(row, definition, asked=kind is not None)
        found._id, found._queue, found._priority, found._sent = row.id, row.queue, row.priority, True
        found._state = read_status(row).state
        found._disposition = "enqueued"
        return found

    async def status(self, job_id: UUID) -> Status:
        """Read a job's status; see `Job.status`."""
        row = await self.read(job_id)
        if row is None:
            raise JobNotFound(job_id)
        children = unended(row.steps)
        states = await self.states(children) if children else None
        shown = await self._run(partial(live.read_progress, ids=[job_id]))
        return read_status(row, states, shown[0] if shown else None)

    async def states(self, ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
        """Read the states of jobs that have a row, and their reasons if they were discarded or cancelled."""
        return await self._run(partial(self._access.read_states, ids=ids))


def _loaded(row: StatusRow, definition: Definition | None, *, asked: bool) -> Job[Any]:
    """Return a stored job; without its arguments if this role may not read them.

    If its kind is not defined here, or does not take its arguments, it is a `StoredJob` with plain JSON.

    Raises:
        InvalidArguments: The arguments do not fit the kind that was asked for.
    """
    if definition is None:
        return StoredJob.of(row.kind, row.args or "{}")
    if row.args is None:
        without: Job[Any] = definition.restore({})
        return without
    try:
        job: Job[Any] = definition.load(row.args)
    except InvalidArguments:
        if asked:
            raise
        return StoredJob.of(row.kind, row.args)
    return job


def definition_of(kind: Any) -> Any:
    """Return the definition behind a `@job` function, a Job class or a kind's name."""
    found = registry.find(kind) if isinstance(kind, str) else getattr(kind, "_definition", None)
    if isinstance(kind, Job):
        kind._made_at = None
    if found is None:
        raise InvalidOption(f"{kind!r} is no job definition: give a @job function or a Job class")
    return found
