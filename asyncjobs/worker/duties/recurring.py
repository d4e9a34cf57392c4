"""Schedules: declared at a worker's start; their jobs are enqueued, to the millisecond, by the worker that comes first.

The service sleeps until the next tick by the database's clock; without schedules it asks nothing, until a notice comes. No
worker is in charge: each computes the same ticks from the same row, and the row's revision lets one of them enqueue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from asyncjobs.db import recurring
from asyncjobs.db.recurring import DueRow, Fired, Firing, Tick
from asyncjobs.db.sessions import Runs
from asyncjobs.definitions import registry
from asyncjobs.definitions.ids import new_id
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.declared_schedules import Declaration, Kept
from asyncjobs.jobs.recurring import LATE, MOST_CAUGHT_UP, LeftOut, due, lateness
from asyncjobs.schedules import schedule
from asyncjobs.worker.duty import Duty
from asyncjobs.worker.lease.keeper import Lease

logger = logging.getLogger("asyncjobs.worker")

LONGEST_SLEEP = 60.0
"""Seconds between looks where there are schedules: the database's clock may be set."""
DEAF_LOOK = 5.0
"""Seconds between looks while no notices are heard, also without schedules."""
AGAIN = 10.0
"""Seconds until another attempt to store a declaration of which newer code has another version."""
STAGGER, MOST_STAGGER = 0.003, 0.03
"""Seconds by which each worker comes after the one before it, so that one does the work and the others find it done."""
MOST_AT_ONCE = 100
"""Ticks in one transaction: a thousand take a busy database seconds, and a transaction that exceeds its deadline is done
again from its start."""
LEFT = 0.02
"""Seconds until another look when another worker had locked all due rows."""


class Recurring(Duty):
    """Enqueues the jobs of schedules.

    Args:
        sessions: Sessions with pinned plans.
        declaration: The schedules that this worker declares.
        lease: The lease of this worker.
        rank: Returns how many live workers come before this one.
        is_deaf: Returns whether the listener hears no notices.
    """

    def __init__(
        self,
        sessions: Runs,
        declaration: Declaration,
        lease: Lease,
        rank: Callable[[], int],
        is_deaf: Callable[[], bool],
    ) -> None:
        super().__init__(sessions, "enqueueing what recurs")
        self._declaration = declaration
        self._lease = lease
        self._rank = rank
        self._is_deaf = is_deaf
        self._declare_at: float | None = 0.0
        self._told: set[str] = set()
        self.left_out: dict[str, LeftOut] = {}
        """Due schedules, by name, that this worker cannot read."""
        self.begun = asyncio.Event()
        """Set after the first look."""

    async def _round(self) -> float | None:
        await self._declare()
        pause = await self.look()
        self.begun.set()
        return pause

    async def _rest(self, pause: float | None) -> None:
        """Wait for news, at most `pause` seconds; None: without end, unless no notices are heard."""
        loop = asyncio.get_running_loop()
        if self._declare_at is not None:
            pause = min(pause if pause is not None else AGAIN, max(self._declare_at - loop.time(), 0.0))
        while not await self._has_news_within(DEAF_LOOK if pause is None else pause):
            if pause is not None or self._is_deaf():
                return

    async def _declare(self) -> None:
        """Store the declaration, once; and again while newer code has another version of some schedule."""
        now = asyncio.get_running_loop().time()
        if self._declare_at is None or now < self._declare_at:
            return
        if not self._declaration.said and not self._declaration.has_config and not self._declaration.kinds:
            self._declare_at = None
            return
        found = await self._sessions.run(
            partial(recurring.declare, declaration=self._declaration, worker=self._lease.worker)
        )
        for each in found:
            if not isinstance(each, Kept):
                logger.info("recurring %s", each)
            elif each.name not in self._told:
                logger.warning("recurring %s", each)
        self._told = {each.name for each in found if isinstance(each, Kept)}
        waits = any(isinstance(each, Kept) and not each.by_hand for each in found)
        self._declare_at = now + AGAIN if waits else None

    async def look(self) -> float | None:
        """Enqueue due ticks; return the seconds until the next look, None for: at the next news."""
        while True:
            left_out = list(self.left_out.values())
            look = await self._sessions.run(partial(recurring.look, kinds=registry.all_names(), left_out=left_out))
            if not look.due:
                break
            if not (rows := self._readable(look.due)):
                continue
            found = await self._decide(rows, look.now)
            for each in found:
                self._tell(each)
            if not found:
                await asyncio.sleep(LEFT)
        if look.wait is None:
            return None
        stagger = min(self._rank() * STAGGER, MOST_STAGGER)
        return min(max(look.wait, 0.0) + stagger, DEAF_LOOK if self._is_deaf() else LONGEST_SLEEP)

    def _readable(self, rows: Sequence[DueRow]) -> list[DueRow]:
        """Return the rows that this worker can read; the others are left to workers with other time zones or code."""
        found = []
        for row in rows:
            try:
                schedule(row.schedule, row.timezone)
            except InvalidOption as error:
                self.left_out[row.name] = LeftOut(row.name, row.schedule, row.timezone, str(error))
                logger.warning("recurring %s is left to other workers: %s", row.name, error)
            else:
                self.left_out.pop(row.name, None)
                found.append(row)
        return found

    async def _decide(self, rows: Sequence[DueRow], now: datetime) -> list[Fired]:
        """Enqueue the ticks of rows, in one transaction; of a unique one in its own, since several keys might deadlock."""
        # To count back over some years of seconds takes a tenth of a second.
        late = any(now - row.seen_until > LATE for row in rows)
        firings = await asyncio.to_thread(_firings, rows, now) if late else _firings(rows, now)
        together = [each for each, row in zip(firings, rows, strict=True) if not row.is_unique]
        alone = [[each] for each, row in zip(firings, rows, strict=True) if row.is_unique]
        found: list[Fired] = []
        for batch in [*_in_parts(together), *alone]:
            found += await self._sessions.run(partial(recurring.fire, firings=batch))
        return found

    def _tell(self, fired: Fired) -> None:
        if fired.trouble is not None:
            logger.error("recurring %s could not be enqueued, and is tried again: %s", fired.name, fired.trouble)
        else:
            logger.debug("recurring %s: %d enqueued, %d left out", fired.name, fired.enqueued, fired.left_out)


def _firings(rows: Sequence[DueRow], now: datetime) -> list[Firing]:
    return [_firing(row, now) for row in rows]


def _firing(row: DueRow, now: datetime) -> Firing:
    """Compute the ticks to enqueue for one row."""
    times = schedule(row.schedule, row.timezone)
    found = due(times, row.seen_until, now, row.catch_up)
    if found.passed_over:
        logger.warning(
            "recurring %s: of its times since %s the last %d are enqueued for, earlier ones passed over (catch_up is %r; "
            "%d at most)",
            row.name,
            row.seen_until,
            len(found.times),
            row.catch_up,
            MOST_CAUGHT_UP,
        )
    first, rest = found.times[:MOST_AT_ONCE], found.times[MOST_AT_ONCE:]  # the rest is due at the next look, at once
    ticks = []
    for time in first:
        run_at = time + lateness(row.name, time, row.jitter)
        ticks.append(Tick(time, new_id(), run_at if run_at > now else None))
    if rest:
        return Firing(row.name, row.revision, first[-1], rest[0], ticks)
    return Firing(row.name, row.revision, max(now, row.seen_until), times.after(now), ticks)


def _in_parts(firings: Sequence[Firing]) -> list[list[Firing]]:
    """Split firings by transaction: `MOST_AT_ONCE` ticks or one row each."""
    parts: list[list[Firing]] = []
    count = 0
    for firing in firings:
        count += len(firing.ticks)
        if not parts or count > MOST_AT_ONCE:
            parts.append([])
            count = len(firing.ticks)
        parts[-1].append(firing)
    return parts
