"""What `asyncjobs top` shows: read by a handful of bounded statements."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from asyncjobs.cli import overview, pauses
from asyncjobs.cli.command_database import READING_LIMITS, bounded
from asyncjobs.db import checking, pausing, reading
from asyncjobs.db.connecting import Connection, connect
from asyncjobs.db.errors import translating
from asyncjobs.jobs.pauses import Pause

COUNTED = 2_000
"""Jobs that are counted, at most: see `reading.COUNTED`. With 20 queues of 15,000 jobs a look takes 25 ms; for 5,000 the
planner sorts each queue as a whole, and it takes 340."""
MOST_RUNNING = 200
"""Running jobs that are listed, those that have run longest."""
HOUR = 3_600.0
"""Seconds for which failed jobs are counted."""
LOOKED_AT = 2_000
"""Unsuccessful jobs that are looked at, the newest, for those that failed lately."""
FAILURES_EVERY = 5.0
"""Seconds between two looks at them."""


class Figures(NamedTuple):
    """What is going on, at one moment."""

    queues: list[reading.QueueRow]
    """With those that are paused and empty."""
    pauses: list[Pause]
    running: list[reading.RunningJob]
    failed: list[reading.FailedKind]
    workers: list[reading.WorkerRow]
    counters: reading.Counters

    @property
    def busy(self) -> int:
        """The number of jobs that run."""
        return sum(row.running for row in self.queues)


class Rates(NamedTuple):
    """Jobs a second."""

    readied: float
    started: float
    ended: float
    """Attempts, however they ended."""


def rates(before: Figures, now: Figures) -> Rates | None:
    """Return the rates between two reads; None: no time has passed."""
    seconds = now.counters.at - before.counters.at
    if seconds <= 0:
        return None
    readied, started = (now.counters[n] - before.counters[n] for n in (0, 1))
    ended = started - (now.busy - before.busy)
    return Rates(*(max(count, 0) / seconds for count in (readied, started, ended)))


class Reader:
    """Reads the figures on a connection of its own, which is opened anew after an error.

    Args:
        url: Of the database.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._failed: list[reading.FailedKind] = []
        self._failed_at = float("-inf")

    async def read(self) -> Figures:
        """Read all.

        Raises:
            DatabaseError: There is no answer, or a right is missing.
        """
        try:
            return await self._read(await self._opened())
        except BaseException:
            self.close()
            raise

    async def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = await connect(self._url, name="asyncjobs top", settings=READING_LIMITS)
            with translating():
                await checking.check(self._connection)
        return self._connection

    async def _read(self, connection: Connection) -> Figures:
        paused = await bounded(pausing.read_pauses(connection))
        if time.monotonic() - self._failed_at >= FAILURES_EVERY:
            self._failed = await bounded(reading.failed_kinds(connection, HOUR, LOOKED_AT))
            self._failed_at = time.monotonic()
        return Figures(
            overview.with_paused(await bounded(reading.queues(connection, COUNTED)), paused),
            paused,
            await bounded(reading.running(connection, MOST_RUNNING)),
            self._failed,
            await bounded(reading.workers(connection)),
            await bounded(reading.counters(connection)),
        )

    def look_at_failures(self) -> None:
        """Have the next read look at what failed, too."""
        self._failed_at = float("-inf")

    def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def as_values(found: Figures) -> dict[str, Any]:
    """Return the figures as values of JSON."""
    return {
        "queues": overview.queue_values(found.queues, found.pauses),
        "pauses": pauses.as_values(found.pauses),
        "running": [job._asdict() for job in found.running],
        "failed_1h": [kind._asdict() for kind in found.failed],
        "workers": [overview.worker_values(row) for row in found.workers],
        "counters": found.counters._asdict(),
    }
