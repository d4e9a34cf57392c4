"""The connections of a worker: the keeper's, and those that its services share, of which it needs one before it claims.

Opened when the first job has ended, it may be refused: the job has run, cannot be ended, and runs again elsewhere. One is
enough to claim, to write ends, to record steps and to keep house. More are opened when what is under way is waited for, and
ended when they were idle for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asyncjobs.db.connecting import CONNECT_TIMEOUT, Connection
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.tasks.retrying import Backoff
from asyncjobs.worker.trouble import Trouble

logger = logging.getLogger("asyncjobs.worker")

KEEPERS = 1
"""The connection of the keeper's thread, without which no worker is registered."""
NEEDED = 1 + KEEPERS
"""Connections without which nothing is claimed."""
SHARED = 5
"""Those that the services of a busy worker share."""
MOST = SHARED + KEEPERS + 1
"""Those of a busy worker, the listener's among them. Isolated steps have more."""
PATIENCE = 0.002
"""Seconds for which what is under way must be waited for, before another connection is opened: an idle worker's statements
take less, and meet now and then."""


class Connections:
    """Keeps one connection open that the services share.

    Args:
        shared: Theirs.
        spare: What gives way to them when the server gives no more: idle ones of these are ended.
        on_complete: Called when one is there, or there again.
    """

    def __init__(self, shared: Sessions, spare: Sessions, on_complete: Callable[[], object]) -> None:
        self._shared = shared
        self._spare = spare
        self._on_complete = on_complete
        self._missed = asyncio.Event()
        self._missed.set()
        self._backoff = Backoff(logger, "connecting")
        self.complete = asyncio.Event()
        """Set while one is open, as far as anybody has noticed."""
        self.trouble = Trouble()

    @property
    def are_complete(self) -> bool:
        """Whether one is open; if not, it is opened."""
        if self._shared.pool.is_open:
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
                self._spare.pool.end_idle()
                reason = f"{KEEPERS} of {NEEDED} connections: {error}"
                self.trouble.begin(reason)
                await self._backoff.failed(DatabaseUnavailable(f"{reason}; nothing is claimed before all are there"))
            self.trouble.end()
            self._backoff.succeeded()
            self.complete.set()
            self._on_complete()

    async def _open(self) -> DatabaseError | None:
        """Have one opened; return what was met."""
        try:
            await self._shared.run(_nothing, deadline=CONNECT_TIMEOUT)
        except DatabaseError as error:
            return None if self._shared.pool.is_open else error
        return None


async def _nothing(_connection: Connection) -> None: ...
