"""The admission: it lets waiting jobs pass their limits and rates when a place becomes free or a start is due.

No worker is in charge: each transaction that changes a limit's state notes that in the database and sends a notice, and any
worker acts on the note. Where no job is under a limit, the admission asks the database nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import TypeAlias
from uuid import UUID

from asyncjobs.db import limiting
from asyncjobs.db.sessions import Runs
from asyncjobs.definitions import registry
from asyncjobs.exceptions import DatabaseError
from asyncjobs.jobs.ordering import Rule, all_rules
from asyncjobs.performing.attempt import Places
from asyncjobs.records.claimed import Claimed
from asyncjobs.worker.duty import Duty
from asyncjobs.worker.limits.configured import stored_name

logger = logging.getLogger("asyncjobs.worker")

LOOK_AFTER = 5.0
"""Seconds between looks without a notice, where there are limits: a notice may have been lost."""
AGAIN, MOST_AGAIN = 0.005, 0.25
"""Seconds until a look that met locked rows is repeated: short at first, since mostly another worker holds them for a
moment; longer after many looks in vain, since somebody may hold them in an open transaction."""
STAGGER, MOST_STAGGER = 0.002, 0.02
"""Seconds by which each worker comes after the one before it, so that one does the work and the others find it done."""

Row: TypeAlias = tuple[UUID, int]
"""The id and the fence of a running job."""


class Admission(Duty):
    """Lets jobs pass their limits, and has running jobs give back their places while they wait for other jobs.

    Args:
        sessions: Sessions with pinned plans.
        rank: Returns how many live workers come before this one.
        config: Jobs that may run at once, by the name of a limit; None without a configuration.
    """

    def __init__(self, sessions: Runs, rank: Callable[[], int], config: Mapping[str, int] | None) -> None:
        super().__init__(sessions, "letting jobs pass their limits")
        self._rank = rank
        self._config = config
        self._said: list[Rule] | None = None
        self._began: datetime | None = None
        """When this worker first wrote its limits, by the clock of the database."""
        self.has_rates = False
        """Whether any job may be under a rate, so that starts are to be counted."""
        self._leaving: set[Row] = set()
        """Jobs that wait for others, which is not written yet."""
        self._left: set[Row] = set()
        """Jobs that wait for others, which is written."""
        self._asking: set[Row] = set()
        """Jobs that want their places again, which is not written yet."""
        self._back: dict[Row, asyncio.Future[None]] = {}
        """Jobs that wait for their places."""

    def claimed(self, jobs: Iterable[Claimed]) -> None:
        """Look now if a claimed job may have used a token: the time of the next token depends on it."""
        if self.has_rates and any(job.limited for job in jobs):
            self._news.set()

    def places(self, row: Row) -> Places:
        """Return the handle of a running job on its places under limits."""
        return _Places(self, row)

    async def _round(self) -> float | None:
        await self._say_limits()
        await self._tell()
        pause = await self.look()
        await self._let_back()
        return pause

    async def _rest(self, pause: float | None) -> None:
        if await self._has_news_within(pause):
            await asyncio.sleep(min(self._rank() * STAGGER, MOST_STAGGER))

    async def _say_limits(self) -> None:
        """Write the limits of the kinds defined here and of the configuration, if they have changed."""
        said = all_rules(registry.all_definitions())
        if said != self._said and (said or self._config is not None):
            prefix = registry.prefix()
            config = None if self._config is None else {stored_name(name): n for name, n in self._config.items()}
            say = partial(limiting.say_limits, rules=said, config=config, scope=prefix, began=self._began)
            self._began, found = await self._sessions.run(say)
            for each in found:
                if each.is_news:
                    logger.info("limit %s", each)
        self._said = said
        self.has_rates |= any(rule["spacing"] for rule in said)

    async def look(self) -> float | None:
        """Let jobs pass; return the seconds until the next look, None for: at the next news."""
        pause = AGAIN
        while True:
            admitted = await self._sessions.run(limiting.admit)
            self.has_rates = admitted.has_rates
            if not admitted.again:
                break
            pause = AGAIN if admitted.passed else min(2 * pause, MOST_AGAIN)
            await asyncio.sleep(pause * random.random())
        if admitted.next_look is not None:
            return min(max(admitted.next_look, 0.0), LOOK_AFTER)
        return LOOK_AFTER * (0.75 + random.random() / 2) if self._said or self._back else None

    # Jobs that wait for others

    def leave(self, row: Row) -> None:
        """Have a job give its places back while it waits."""
        self._leaving.add(row)
        self._news.set()

    async def come_back(self, row: Row) -> None:
        """Wait until a job has its places again."""
        if row in self._leaving:
            self._leaving.discard(row)  # its wait was so short that nothing is written of it
            return
        if row not in self._left:
            return
        self._left.discard(row)
        future = self._back[row] = asyncio.get_running_loop().create_future()
        self._asking.add(row)
        self._news.set()
        try:
            await future
        finally:
            del self._back[row]

    def stay_away(self, row: Row) -> None:
        """Have a job end without taking its places again."""
        self._leaving.discard(row)
        self._left.discard(row)

    async def _tell(self) -> None:
        """Write which jobs wait for others, and which want their places again."""
        if leaving := sorted(self._leaving):
            # A job that comes back while this is written is in `_left` already, and asks for its places afterwards.
            self._leaving.clear()
            self._left.update(leaving)
            try:
                await self._sessions.run(partial(limiting.leave, rows=leaving))
            except DatabaseError:
                self._leaving.update(self._left.intersection(leaving))
                self._left.difference_update(leaving)
                raise
        if asking := sorted(self._asking):
            await self._sessions.run(partial(limiting.ask_again, rows=asking))
            self._asking.difference_update(asking)

    async def _let_back(self) -> None:
        """Let jobs go on that have their places again."""
        if waiting := sorted(self._back.keys() - self._asking):
            returned = await self._sessions.run(partial(limiting.read_returned, rows=waiting))
            for row in waiting:
                future = self._back.get(row)
                if row[0] in returned and future is not None and not future.done():
                    future.set_result(None)


class _Places:
    """The places of one job under limits."""

    def __init__(self, admission: Admission, row: Row) -> None:
        self._admission = admission
        self._row = row

    def leave(self) -> None:
        self._admission.leave(self._row)

    async def come_back(self) -> None:
        await self._admission.come_back(self._row)

    def stay_away(self) -> None:
        self._admission.stay_away(self._row)
