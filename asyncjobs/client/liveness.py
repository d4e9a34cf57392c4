"""Whether the database answers an idle client, and takes writes: asked now and then, so that a probe can be told."""

from __future__ import annotations

import asyncio

from asyncjobs.db.sessions import Sessions, check_writable
from asyncjobs.exceptions import DatabaseError, NotOpen

LEAST = 0.2
"""Seconds between two questions, at least."""


async def feel(sessions: Sessions, *, every: float) -> None:
    """Ask for as long as it runs, where nothing else has since the last time; the sessions know what came of it.

    Args:
        sessions: A client's.
        every: Seconds between two questions, and that an answer may take.
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
