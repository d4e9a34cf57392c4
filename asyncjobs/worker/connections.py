"""The connections that a worker needs before it claims: to claim, to write ends, to record steps, to keep house.

Opened when the first job has ended, its ledger's may be refused: the job has run, cannot be ended, and runs again elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from asyncjobs.db.connecting import CONNECT_TIMEOUT, Connection
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.worker.retrying import Backoff
from asyncjobs.worker.trouble import Trouble

logger = logging.getLogger("asyncjobs.worker")

KEEPERS = 1
"""The connection of the keeper's thread, without which no worker is registered."""
NEEDED = 4 + KEEPERS
"""Connections without which nothing is claimed."""
MOST = NEEDED + 3
"""Those of a busy worker: a second one to claim and to keep house, and the listener's. Isolated steps have more."""


class Connections:
    """Keeps one connection open of each of several sessions.

    Args:
        needed: What must have one.
        spare: What gives way to them when the server gives no more: idle ones of these are ended.
        on_complete: Called when they are there, or there again.
    """

    def __init__(self, needed: Sequence[Sessions], spare: Sessions, on_complete: Callable[[], object]) -> None:
        self._needed = needed
        self._spare = spare
        self._on_complete = on_complete
        self._missed = asyncio.Event()
        self._missed.set()
        self._backoff = Backoff(logger, "connecting")
        self.complete = asyncio.Event()
        """Set while all are open, as far as anybody has noticed."""
        self.trouble = Trouble()

    @property
    def are_complete(self) -> bool:
        """Whether all are open; if not, the missing are opened."""
        if all(sessions.is_open for sessions in self._needed):
            return self.complete.is_set()
        self._missed.set()
        self.complete.clear()
        return False

    async def run(self) -> None:
        """Open what is missing whenever that was noticed, for ever."""
        while True:
            await self._missed.wait()
            self._missed.clear()
            while (error := await self._open()) is not None:
                self._spare.end_idle()
                open_now = KEEPERS + sum(sessions.is_open for sessions in self._needed)
                reason = f"{open_now} of {KEEPERS + len(self._needed)} connections: {error}"
                self.trouble.begin(reason)
                await self._backoff.failed(DatabaseUnavailable(f"{reason}; nothing is claimed before all are there"))
            self.trouble.end()
            self._backoff.succeeded()
            self.complete.set()
            self._on_complete()

    async def _open(self) -> DatabaseError | None:
        """Open what is missing; return what one of them met."""
        missing = [sessions for sessions in self._needed if not sessions.is_open]
        limit = CONNECT_TIMEOUT
        met = await asyncio.gather(
            *(sessions.run(_nothing, deadline=limit) for sessions in missing), return_exceptions=True
        )
        errors = [error for error in met if error is not None]
        for error in errors:
            if not isinstance(error, DatabaseError):
                raise error
        return next((error for error in errors if isinstance(error, DatabaseError)), None)


async def _nothing(_connection: Connection) -> None: ...
