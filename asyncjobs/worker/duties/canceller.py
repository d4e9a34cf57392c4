"""The canceller: it cancels running jobs of this worker on request.

It asks the database for requests when a notice names this worker, since anybody may send notices, and by a slow poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from functools import partial

from asyncjobs.db import jobs
from asyncjobs.db.sessions import Runs
from asyncjobs.exceptions import DatabaseError
from asyncjobs.tasks.retrying import Backoff
from asyncjobs.worker.lease.keeper import Lease
from asyncjobs.worker.running.executor import Executor

logger = logging.getLogger("asyncjobs.worker")

PAUSE = 0.02
"""Seconds between two looks, however many notices come."""
LONGEST_INTERVAL = 0.8
"""Seconds, with the jitter up to one: a notice that comes before the answer to the job's claim finds no job here."""


class Canceller:
    """Cancels jobs on request, for as long as jobs run here: while the worker drains, too.

    Args:
        sessions: Sessions with pinned plans.
        lease: The lease of this worker.
        executor: Runs the jobs.
        polling_interval: Seconds between looks for requests whose notice was lost; at most `LONGEST_INTERVAL` count.
    """

    def __init__(self, sessions: Runs, lease: Lease, executor: Executor, polling_interval: float) -> None:
        self._sessions = sessions
        self._lease = lease
        self._executor = executor
        self._polling_interval = min(polling_interval, LONGEST_INTERVAL)
        self._backoff = Backoff(logger, "looking for cancelled jobs")
        self._news = asyncio.Event()

    def notified(self, payload: str) -> None:
        """Look now if a notice names this worker."""
        if payload == str(self._lease.worker):
            self._news.set()

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._polling_interval * (0.75 + random.random() / 2)):
                    await self._news.wait()
            self._news.clear()
            await self._look()
            await asyncio.sleep(PAUSE)

    async def _look(self) -> None:
        worker = self._lease.worker
        if worker is None or not self._executor.running:
            return
        try:
            ids = await self._sessions.run(partial(jobs.read_cancels, worker=worker))
            self._backoff.succeeded()
        except DatabaseError as error:
            await self._backoff.failed(error)
        else:
            self._executor.cancel_asked(set(ids))
