"""The liveness check of an idle client: whether the database answers and takes writes, for probes."""

from __future__ import annotations

import asyncio

from asyncjobs.db.sessions import Sessions, check_writable
from asyncjobs.exceptions import DatabaseError, NotOpen

LEAST = 0.2
"""Seconds between two questions, at least."""


async def feel(sessions: Sessions, *, every: float) -> None:
    """Ask the database, for ever, when no other statement has lately; the sessions note the result.

    Args:
        sessions: The sessions of a client.
        every: Seconds between two questions, and the deadline of each.
    """
    while True:
        await asyncio.sleep(max(every, LEAST))
        if sessions.pool.quiet_for < every:
            continue
        try:
            await sessions.run(check_writable, deadline=every)
        except NotOpen:
            return
        except DatabaseError:
            continue
