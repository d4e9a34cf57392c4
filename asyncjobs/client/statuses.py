"""What is stored about a job, as far as this role may read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

from asyncjobs.db import jobs
from asyncjobs.db.connecting import Connection
from asyncjobs.db.rows import StatusRow
from asyncjobs.exceptions import PermissionDenied

T = TypeVar("T")


class _Run(Protocol):
    def __call__(self, operation: Callable[[Connection], Awaitable[T]], /) -> Awaitable[T]: ...


class Statuses:
    """Reads by the statement that tells most of those this role may use, found at the first reading.

    Args:
        run: Runs an operation on a connection.
    """

    def __init__(self, run: _Run) -> None:
        self._run = run
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
