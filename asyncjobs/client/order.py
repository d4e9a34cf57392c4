"""Order among jobs, changed at run time: tokens of rates, limits set by hand, pauses."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from functools import partial

from asyncjobs.checks import limits
from asyncjobs.checks.texts import shown
from asyncjobs.db import limiting, pausing
from asyncjobs.db.errors import is_locked
from asyncjobs.db.sessions import Sessions
from asyncjobs.definitions import registry
from asyncjobs.definitions.limiting import MOST_RUNNING
from asyncjobs.exceptions import DatabaseError, InvalidOption
from asyncjobs.jobs.pauses import Pause, Paused

LOCKED_PAUSE = 0.1
"""Seconds until a token is asked for again whose row another transaction has locked, about."""


class Order:
    """The rates, limits and pauses of one database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def take_token(self, name: str, spacing: float, burst: int) -> float:
        """Take the next token of a rate; return the seconds until it is due, 0: it is due now.

        While another transaction has taken one and is open, it is tried again, and no connection is kept meanwhile.
        """
        take = partial(limiting.take_token, name=registry.prefix() + name, spacing=spacing, burst=burst)
        while True:
            try:
                return await self._sessions.run(take)
            except DatabaseError as error:
                if not is_locked(error):
                    raise
            await asyncio.sleep(LOCKED_PAUSE * (0.5 + random.random()))

    async def pause(
        self, what: Paused, until: datetime | None, seconds: float | None, *, reason: str, by: str
    ) -> Pause:
        """Pause a queue or a kind; see `AsyncJobs.pause`."""
        write = partial(
            pausing.pause, scope=what.scope, names=what.names, until=until, seconds=seconds, reason=reason, by=by
        )
        if not await self._sessions.run(write):
            raise InvalidOption(
                f"until={until} has come already, by the database's clock: give a time to come, or a timedelta"
            )
        found = next((pause for pause in await self.pauses() if what.names[0] in (pause.queue, pause.kind)), None)
        if found is None:  # it was resumed, or has ended, before it could be read
            is_queue = what.scope == "queue"
            name = what.names[0]
            return Pause(name if is_queue else None, None if is_queue else name, datetime.now(UTC), until, reason, by)
        return found

    async def resume(self, what: Paused) -> bool:
        """Resume a queue or a kind; see `AsyncJobs.resume`."""
        return await self._sessions.run(partial(pausing.resume, scope=what.scope, names=what.names)) > 0

    async def pauses(self) -> list[Pause]:
        """Return what is paused."""
        return await self._sessions.run(pausing.read_pauses)

    async def set_limit(self, key: str, most: int | None) -> None:
        """Set how many jobs run at once under a limit; see `AsyncJobs.set_limit`."""
        if most is not None:
            limits.whole(most, "most", least=0, most=MOST_RUNNING)
        if not await self._sessions.run(partial(limiting.set_limit, key=key, most=most)):
            raise InvalidOption(
                f"key={shown(key)} is no limit's: give a shared key, a kind, or a key as `why` names it, of which a job was "
                "enqueued before"
            )
