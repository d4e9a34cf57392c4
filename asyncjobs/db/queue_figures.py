"""Figures of the queues, for metrics: taken by one process at a time and kept in the database, from which the others read.

A lock on the row chooses who takes them, and no advisory lock, since any login of the database can take one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random

from asyncpg import Connection

from asyncjobs.db import reading, sql
from asyncjobs.db.sessions import Runs
from asyncjobs.exceptions import DatabaseError, PermissionDenied
from asyncjobs.metrics.counting import Metrics, QueueFigures
from asyncjobs.tasks.retrying import Backoff

logger = logging.getLogger("asyncjobs.metrics")

EVERY = 15.0
"""Seconds for which figures are fresh, for all processes of a database."""
COUNTED = 100_000
"""Jobs that are counted, at most; see `reading.queues`."""
LIMIT = 5.0
"""Seconds that counting may take."""


async def keep(sessions: Runs, metrics: Metrics) -> None:
    """Give metrics the figures of the queues, again and again, until cancelled or refused for want of rights."""
    backoff = Backoff(logger, "reading figures of the queues")
    while True:
        try:
            metrics.set_queues(*await sessions.run(read))
            backoff.succeeded()
        except PermissionDenied:
            logger.info("this login may not read the queues: its metrics are without their figures")
            return
        except DatabaseError as error:
            await backoff.failed(error)
        # With jitter: of processes that started together, one is always the first, and the others find what it has taken.
        await asyncio.sleep(EVERY * (0.75 + random.random() / 2))


async def read(connection: Connection) -> tuple[list[QueueFigures], float]:
    """Return the figures of the queues and their age, taken anew unless they are fresh or somebody else does so."""
    age, queues, writes = await connection.fetchrow(sql.read("read_queue_figures"))
    if age is None and writes:
        await connection.execute(sql.read("write_queue_figures"), "[]", False)
    if writes and (age is None or age > EVERY):
        async with connection.transaction():
            if await connection.fetchrow(sql.read("lock_queue_figures"), EVERY) is not None:
                await connection.execute(f"set local statement_timeout = '{LIMIT:g}s'")
                taken = await reading.queues(connection, COUNTED)
                found = [
                    QueueFigures(
                        each.queue, each.ready, each.scheduled, each.running, each.waiting, max(each.oldest or 0.0, 0.0)
                    )
                    for each in taken
                ]
                await connection.execute(sql.read("write_queue_figures"), json.dumps(found), True)
                return found, 0.0
    return ([], 0.0) if age is None else (_figures(queues), age)


def _figures(text: str) -> list[QueueFigures]:
    """Return stored figures; those in a form of another version are left out."""
    try:
        return [
            QueueFigures(str(queue), int(ready), int(scheduled), int(running), int(waiting), float(oldest))
            for queue, ready, scheduled, running, waiting, oldest in json.loads(text)
        ]
    except (ValueError, TypeError):
        return []
