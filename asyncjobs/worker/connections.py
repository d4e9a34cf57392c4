"""The connections of a worker: one of the keeper's, and those that the other services share.

A worker claims nothing before one shared connection is open. If it were opened when the first job ends, the server might
refuse it: the end of a job that has run could not be written, and the job would run again elsewhere. One is enough for all
services; more are opened when statements must wait for each other, and closed when they have been idle for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asyncjobs.db.connecting import CONNECT_TIMEOUT, PINNED_PLANS, Connection
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.tasks.retrying import Backoff
from asyncjobs.worker.health import Trouble

logger = logging.getLogger("asyncjobs.worker")

KEEPERS = 1
"""The connection of the keeper's thread, without which no worker is registered."""
NEEDED = 1 + KEEPERS
"""Connections that a worker must have before it claims."""
SHARED = 5
"""Connections that the services of a busy worker share."""
MOST = SHARED + KEEPERS + 1
"""Connections of a busy worker, with the listener's. Isolated steps have connections of their own."""
GROW_AFTER = 0.002
"""Seconds for which a statement waits for a connection before another is opened. An idle worker's statements overlap now and
then, and take less."""


def shared_sessions(url: str, seconds: float) -> Sessions:
    """Return the connections that the services share, with a deadline of `seconds` for each statement."""
    # The role's own statement_timeout may be too short for a month of partitions, which would then be tried for ever.
    # With ours, a statement that was given up at the deadline ends on the server, too. The lock_timeout is short, since
    # other services may wait for the connection. A process that freezes in a transaction keeps its locks for the lease only.
    limit = f"{seconds * 1000:.0f}ms"
    limits = {"statement_timeout": limit, "idle_in_transaction_session_timeout": limit, "lock_timeout": "200ms"}
    return Sessions(
        url,
        size=SHARED,
        name="asyncjobs worker",
        settings=PINNED_PLANS | limits,
        deadline=seconds,
        keep=seconds / 2,
        least=1,
        grow_after=GROW_AFTER,
    )


class Connections:
    """Keeps at least one shared connection open.

    Args:
        shared: The sessions that the services share.
        spare: Sessions whose idle connections are closed when the server refuses a shared one.
        on_complete: Called when a shared connection is open, or open again.
    """

    def __init__(self, shared: Sessions, spare: Sessions, on_complete: Callable[[], object]) -> None:
        self._shared = shared
        self._spare = spare
        self._on_complete = on_complete
        self._missed = asyncio.Event()
        self._missed.set()
        self._backoff = Backoff(logger, "connecting")
        self.complete = asyncio.Event()
        """Set while a shared connection is open, as far as anybody has noticed."""
        self.trouble = Trouble()

    @property
    def are_complete(self) -> bool:
        """Whether a shared connection is open; if none is, have `run` open one."""
        if self._shared.pool.is_open:
            return self.complete.is_set()
        self._missed.set()
        self.complete.clear()
        return False

    async def run(self) -> None:
        """Open a shared connection whenever none is open, for ever."""
        while True:
            await self._missed.wait()
            self._missed.clear()
            while (error := await self._open()) is not None:
                self._spare.pool.end_idle()
                reason = f"{KEEPERS} of {NEEDED} connections: {error}"
                self.trouble.begin(reason)
                await self._backoff.failed(DatabaseUnavailable(f"{reason}; no job is claimed before all are open"))
            self.trouble.end()
            self._backoff.succeeded()
            self.complete.set()
            self._on_complete()

    async def _open(self) -> DatabaseError | None:
        """Open a shared connection; return the error if that failed."""
        try:
            await self._shared.run(_nothing, deadline=CONNECT_TIMEOUT)
        except DatabaseError as error:
            return None if self._shared.pool.is_open else error
        return None


async def _nothing(_connection: Connection) -> None: ...
