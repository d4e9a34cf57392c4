"""`enqueue_all`: many jobs at once."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any

from asyncjobs.checks.wrong_calls import answered
from asyncjobs.jobs.job import Job
from asyncjobs.performing import open_clients
from asyncjobs.performing.calls import ENQUEUE_ALL


@answered(remedy="give all of them as one iterable, as in `enqueue_all([one, two])`")
async def enqueue_all(jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]) -> int:
    """Insert many jobs, one statement a chunk, and return how many rows were made.

    The iterable is read as it goes, so it may hold more jobs than memory; each chunk of 2,000 is durable before the next is
    begun. If an item raises or is no job, its chunk is not enqueued, the earlier chunks are, and the error says how many
    jobs that is.

    Raises:
        InvalidOption: An item is no job; the message has its index.
        EnqueueOutcomeUnknown: The database's answer to a chunk was lost; enqueueing the same jobs again is safe.
        NotOpen: No AsyncJobs is open in this process.
    """
    return await open_clients.current(ENQUEUE_ALL).enqueue_all(jobs)
