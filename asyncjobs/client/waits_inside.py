"""What the jobs that run here wait for: told to the database once a wait has lasted a second, and looked at for cycles.

As PostgreSQL looks for deadlocks: a wait that is over sooner costs nothing but a place in a dict. Whoever closes a cycle
writes his part of it before he looks, so that he sees the whole. He looks again a moment later before he believes it: the
word that another waits no more may be on its way.
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
from asyncjobs.performing import context

logger = logging.getLogger("asyncjobs.client")

Row = tuple[UUID, int]
"""Id and fence of a running job."""

TOLD_AFTER = 1.0
"""Seconds that a wait has lasted before it is told."""
LOOK_AGAIN_AFTER = 0.3
"""Seconds between two looks at a cycle."""
AGAIN_AFTER = 1.0
"""Seconds until it is tried again to tell what the database did not take."""


def holder() -> Row | None:
    """Return the row of the job that runs here; None: none does, or not in a worker."""
    job = context.running.get()
    return None if job is None or job._attempt is None else job._attempt.row


class Wait(NamedTuple):
    """One job that waits here for another."""

    row: Row
    awaited: UUID
    timed: bool
    future: asyncio.Future[Any]
    due_at: float
    """When it is to be told, by the loop's clock."""


class WaitsInside:
    """Everything that jobs of this process wait for."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.new: dict[int, Wait] = {}
        """Those that are not told yet, the longest first, by the id of the wait."""
        self._told: dict[Row, dict[int, Wait]] = {}
        self._over: set[Row] = set()
        """Jobs of which is told what they do not wait for any more."""
        self._unlooked: set[Row] = set()
        """Jobs of which is told what closes a cycle, perhaps."""
        self._suspected: dict[Row, list[UUID]] = {}
        """In a cycle as of the last look."""
        self._not_before = 0.0
        self._look_at = math.inf

    @property
    def due_at(self) -> float:
        """When `tell` has something to do, by the loop's clock."""
        first = next(iter(self.new.values())).due_at if self.new else math.inf
        return max(0.0 if self._over else min(first, self._look_at), self._not_before)

    def begin(self, row: Row, awaited: UUID, future: asyncio.Future[Any], *, timed: bool) -> Wait:
        """Note that a job begins to wait."""
        wait = Wait(row, awaited, timed, future, asyncio.get_running_loop().time() + TOLD_AFTER)
        self.new[id(future)] = wait
        return wait

    def end(self, wait: Wait) -> bool:
        """Note that a wait is over; return whether that is to be told."""
        if self.new.pop(id(wait.future), None) is not None:
            return False
        told = self._told.get(wait.row)
        if told is None or told.pop(id(wait.future), None) is None or told:
            return False  # what else it waits for is told with it; a job that has ended leads nowhere
        del self._told[wait.row]
        self._suspected.pop(wait.row, None)
        self._over.add(wait.row)
        return True

    async def tell(self) -> None:
        """Tell the database what has lasted, and what is over; end the waits that never would."""
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
            logger.debug("cannot tell what jobs wait for, will try again: %s", error)
            self._over |= over | changed
            self._not_before = now + AGAIN_AFTER

    def _row(self, row: Row) -> Told:
        waits = self._told.get(row, {}).values()
        endless = sorted({wait.awaited for wait in waits if not wait.timed})
        timed = sorted({wait.awaited for wait in waits if wait.timed})
        return Told(*row, endless, timed)

    async def _look(self, rows: set[Row]) -> None:
        """Look whether jobs wait for themselves through others, and believe it the second time."""
        before, self._suspected = self._suspected, {}
        self._look_at = math.inf
        if not rows:
            return
        waiters = await self._sessions.run(partial(awaits.read_waiters, ids=[job_id for job_id, _ in rows]))
        graph = {waiter.id: waiter for waiter in waiters}
        for row in sorted(rows, reverse=True):  # the youngest is refused: of a cycle one in each process
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
    """Return the shortest way from a job through what each awaits back to itself; None: there is none."""
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
