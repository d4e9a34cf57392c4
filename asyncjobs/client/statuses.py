"""What is stored about a job, as far as this role may read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

from asyncjobs.client.endings import read_status, unended
from asyncjobs.db import jobs
from asyncjobs.db.access import Access
from asyncjobs.db.connecting import Connection
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
    """Reads by the statement that tells most of those this role may use, found at the first reading.

    Args:
        run: Runs an operation on a connection.
        access: How the tables are read.
    """

    def __init__(self, run: _Run, access: Access) -> None:
        self._run = run
        self._access = access
        self._ways = jobs.STATUS_WAYS

    async def read(self, job_id: UUID) -> StatusRow | None:
        """Return everything about one job that may be read, or None: no row can be seen.

        Raises:
            PermissionDenied: Not even its state.
        """
        while True:
            ways = self._ways
            try:
                return await self._run(partial(jobs.read_status, job_id=job_id, way=ways[0]))
            except PermissionDenied:
                # Another reading may have found out the same meanwhile. A role that may nothing may be given something.
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
        """Read everything about a job; see `Job.status`."""
        row = await self.read(job_id)
        if row is None:
            raise JobNotFound(job_id)
        children = unended(row.steps)
        return read_status(row, await self.states(children) if children else None)

    async def states(self, ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
        """Read the states of those that have a row, and why they were discarded or cancelled."""
        return await self._run(partial(self._access.read_states, ids=ids))


def _loaded(row: StatusRow, definition: Definition | None, *, asked: bool) -> Job[Any]:
    """Return a stored job; of a kind that is not defined here, or with arguments that it does not take, as plain JSON.

    Without arguments where this role may not read them.

    Raises:
        InvalidArguments: They do not fit the kind that was asked for.
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
