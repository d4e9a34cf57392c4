"""The admission lets jobs pass the limits and rates at which they wait, when a place falls free and when a start is due.

No worker is in charge: what changes is noted in the database, in the transaction that changes it, and any worker looks at
what is noted. It is told by a notice; where nobody is under a limit, it asks nothing.
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
"""Seconds between looks while no notice comes, where there are limits: one may have been lost."""
AGAIN, MOST_AGAIN = 0.005, 0.25
"""Seconds until a look is repeated that left something which another has in hand: a worker, done in a moment; after many in
vain somebody seems to hold a row in an open transaction."""
STAGGER, MOST_STAGGER = 0.002, 0.02
"""Seconds by which each worker comes after the one before it, so that one looks and the others find it done."""

Row: TypeAlias = tuple[UUID, int]
"""Id and fence of a running job."""


class Admission(Duty):
    """Lets jobs pass, and has those that run here give back their places while they wait.

    Args:
        sessions: With pinned plans.
        rank: How many live workers come before this one.
        config: How many run at once by the names of limits, as a configuration says; None: there is none.
    """

    def __init__(self, sessions: Runs, rank: Callable[[], int], config: Mapping[str, int] | None) -> None:
        super().__init__(sessions, "letting jobs pass their limits")
        self._rank = rank
        self._config = config
        self._said: list[Rule] | None = None
        self._began: datetime | None = None
        """When limits were said first, by the clock of the database."""
        self.has_rates = False
        """Whether any job may be under a rate, so that starts are to be counted."""
        self._leaving: set[Row] = set()
        """They wait, and that is to be written."""
        self._left: set[Row] = set()
        self._asking: set[Row] = set()
        """They are back, and that is to be written."""
        self._back: dict[Row, asyncio.Future[None]] = {}
        """They wait for their places."""

    def claimed(self, jobs: Iterable[Claimed]) -> None:
        """Look now where starts of rates are counted: which of these came of a token says when the next one does."""
        if self.has_rates and any(job.limited for job in jobs):
            self._news.set()

    def places(self, row: Row) -> Places:
        """Return what a job that runs here holds under limits."""
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
        """Write what the limits of the kinds known here, and of the configuration, allow, where that is new."""
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
        """Let pass what may; return the seconds until the next look, None: when there is news."""
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
        """Have a job give its places back."""
        self._leaving.add(row)
        self._news.set()

    async def come_back(self, row: Row) -> None:
        """Wait until a job has its places again."""
        if row in self._leaving:
            self._leaving.discard(row)  # its wait was so short that nobody knows of it
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
        """Have a job come to its end without its places."""
        self._leaving.discard(row)
        self._left.discard(row)

    async def _tell(self) -> None:
        """Write which jobs wait, and which are back."""
        if leaving := sorted(self._leaving):
            # What comes back while this is written asks for its places after it.
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
        """Have those go on that have their places again."""
        if waiting := sorted(self._back.keys() - self._asking):
            returned = await self._sessions.run(partial(limiting.read_returned, rows=waiting))
            for row in waiting:
                future = self._back.get(row)
                if row[0] in returned and future is not None and not future.done():
                    future.set_result(None)


class _Places:
    """What a job holds under limits."""

    def __init__(self, admission: Admission, row: Row) -> None:
        self._admission = admission
        self._row = row

    def leave(self) -> None:
        self._admission.leave(self._row)

    async def come_back(self) -> None:
        await self._admission.come_back(self._row)

    def stay_away(self) -> None:
        self._admission.stay_away(self._row)
