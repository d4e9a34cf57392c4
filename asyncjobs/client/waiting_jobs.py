"""Waits inside of jobs: jobs of this process that await others. After a second, a wait is written and checked for cycles.

It is done as PostgreSQL looks for deadlocks: a shorter wait costs nothing but an entry in a dict. The process that closes a
cycle writes its own wait before it looks, so that it sees the whole cycle. It looks again a moment later before it acts: the
end of another job's wait may not be written yet.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from asyncjobs.db import awaits
from asyncjobs.db.awaits import Told, Waiter
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import AwaitCycle, DatabaseError
from asyncjobs.performing import running_job

logger = logging.getLogger("asyncjobs.client")

Row = tuple[UUID, int]
"""The id and the fence of a running job."""

TOLD_AFTER = 1.0
"""Seconds after which a wait is written."""
LOOK_AGAIN_AFTER = 0.3
"""Seconds between two looks at a cycle."""
AGAIN_AFTER = 1.0
"""Seconds until waits are written again that the database did not take."""


def holder() -> Row | None:
    """Return the row of the job that runs here; None outside of a job, and without a worker."""
    job = running_job.running.get()
    return None if job is None or job._attempt is None else job._attempt.row


class Wait(NamedTuple):
    """The wait of one job for another."""

    row: Row
    awaited: UUID
    timed: bool
    future: asyncio.Future[Any]
    due_at: float
    """The loop's time at which it is to be written."""


class WaitsInside:
    """All waits of this process's jobs for other jobs."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.new: dict[int, Wait] = {}
        """Waits that are not written yet, the oldest first, by the id of their future."""
        self._told: dict[Row, dict[int, Wait]] = {}
        """Waits that are written."""
        self._over: set[Row] = set()
        """Jobs whose written waits are over, which is to be written."""
        self._unlooked: set[Row] = set()
        """Jobs with a newly written wait, which may close a cycle."""
        self._suspected: dict[Row, list[UUID]] = {}
        """Jobs that were in a cycle at the last look, with that cycle."""
        self._not_before = 0.0
        self._look_at = math.inf

    @property
    def due_at(self) -> float:
        """The loop's time at which `tell` has something to do."""
        first = next(iter(self.new.values())).due_at if self.new else math.inf
        return max(0.0 if self._over else min(first, self._look_at), self._not_before)

    def begin(self, row: Row, awaited: UUID, future: asyncio.Future[Any], *, timed: bool) -> Wait:
        """Note that a job begins to wait."""
        wait = Wait(row, awaited, timed, future, asyncio.get_running_loop().time() + TOLD_AFTER)
        self.new[id(future)] = wait
        return wait

    def end(self, wait: Wait) -> bool:
        """Note that a wait is over; return whether that is to be written."""
        if self.new.pop(id(wait.future), None) is not None:
            return False
        told = self._told.get(wait.row)
        if told is None or told.pop(id(wait.future), None) is None or told:
            return False  # with other waits left, the row stays; an awaited job that has ended closes no cycle
        del self._told[wait.row]
        self._suspected.pop(wait.row, None)
        self._over.add(wait.row)
        return True

    async def tell(self) -> None:
        """Write waits that have lasted long enough, and those that are over; end waits in a cycle by AwaitCycle."""
        now = asyncio.get_running_loop().time()
        told = [wait for wait in self.new.values() if wait.due_at <= now]
        over, self._over = self._over, set()
        for wait in told:
            del self.new[id(wait.future)]
            self._told.setdefault(wait.row, {})[id(wait.future)] = wait
        changed = {wait.row for wait in told}
        try:
            if rows := [self._row(row) for row in sorted(changed | over)]:
                await self._sessions.run(partial(awaits.tell, rows=rows))
            self._unlooked |= changed | self._suspected.keys()
            await self._look(self._unlooked & self._told.keys())
            self._unlooked = set()
        except DatabaseError as error:
            logger.debug("cannot write which jobs wait for others, trying again: %s", error)
            self._over |= over | changed
            self._not_before = now + AGAIN_AFTER

    def _row(self, row: Row) -> Told:
        waits = self._told.get(row, {}).values()
        endless = sorted({wait.awaited for wait in waits if not wait.timed})
        timed = sorted({wait.awaited for wait in waits if wait.timed})
        return Told(*row, endless, timed)

    async def _look(self, rows: set[Row]) -> None:
        """Look for cycles of jobs that wait for each other; one that is there at two looks is ended."""
        before, self._suspected = self._suspected, {}
        self._look_at = math.inf
        if not rows:
            return
        waiters = await self._sessions.run(partial(awaits.read_waiters, ids=[job_id for job_id, _ in rows]))
        graph = {waiter.id: waiter for waiter in waiters}
        for row in sorted(rows, reverse=True):  # the youngest first: in each process, one job of a cycle gets the error
            way = cycle(graph, row[0])
            if way is None:
                continue
            if before.get(row) != way:
                self._suspected[row] = way
                self._look_at = asyncio.get_running_loop().time() + LOOK_AGAIN_AFTER
                continue
            error = AwaitCycle([(job_id, graph[job_id].kind) for job_id in way])
            for wait in list(self._told.get(row, {}).values()):
                if wait.awaited == way[1 % len(way)] and not wait.timed and not wait.future.done():
                    wait.future.set_exception(error)
            graph[row[0]] = graph[row[0]]._replace(awaits=[])


def cycle(graph: Mapping[UUID, Waiter], start: UUID) -> list[UUID] | None:
    """Return the shortest cycle of awaited jobs from `start` back to itself; None: there is none."""
    came_from: dict[UUID, UUID] = {}
    level: Iterable[UUID] = [start]
    while level:
        below: list[UUID] = []
        for job_id in level:
            waiter = graph.get(job_id)
            for awaited in () if waiter is None else waiter.awaits:
                if awaited == start:
                    way = [job_id]
                    while way[-1] != start:
                        way.append(came_from[way[-1]])
                    return way[::-1]
                if awaited not in came_from:
                    came_from[awaited] = job_id
                    below.append(awaited)
        level = below
    return None
