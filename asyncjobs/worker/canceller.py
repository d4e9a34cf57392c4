"""The canceller cancels running jobs of this worker when somebody asked for it: told by a notice, and by a slow poll."""

from __future__ import annotations

import asyncio
import logging
import random
from functools import partial
from uuid import UUID

from asyncjobs.db import jobs
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseError
from asyncjobs.worker.executor import Executor
from asyncjobs.worker.keeper import Lease
from asyncjobs.worker.retrying import Backoff

logger = logging.getLogger("asyncjobs.worker")


LONGEST_INTERVAL = 0.8
"""Seconds, with the jitter one: a notice that comes while the claim's answer is on its way finds nobody here."""


class Canceller:
    """Cancels on request, for as long as jobs run here: while the worker drains, too.

    Args:
        sessions: A connection with pinned plans.
        lease: This worker's.
        executor: Where the jobs run.
        polling_interval: Seconds between looks for requests whose notice was not heard; at most `LONGEST_INTERVAL` count.
    """

    def __init__(self, sessions: Sessions, lease: Lease, executor: Executor, polling_interval: float) -> None:
        self._sessions = sessions
        self._lease = lease
        self._executor = executor
        self._polling_interval = min(polling_interval, LONGEST_INTERVAL)
        self._backoff = Backoff(logger, "looking for cancelled jobs")

    def notified(self, payload: str) -> None:
        """Take a notice in: a job's id."""
        try:
            job_id = UUID(payload)
        except ValueError:
            return  # anybody may NOTIFY: what is no id is no news
        self._executor.cancel_asked({job_id})

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await asyncio.sleep(self._polling_interval * (0.75 + random.random() / 2))
            worker = self._lease.worker
            if worker is None or not self._executor.running:
                continue
            try:
                ids = await self._sessions.run(partial(jobs.read_cancels, worker=worker))
                self._backoff.succeeded()
            except DatabaseError as error:
                await self._backoff.failed(error)
                continue
            self._executor.cancel_asked(set(ids))
