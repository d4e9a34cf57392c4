"""`chain`: jobs each of which begins with the success of the one before."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, overload
from uuid import UUID

from asyncjobs.checks import limits
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.definitions.given_jobs import check_new
from asyncjobs.exceptions import InvalidOption, NotEnqueued
from asyncjobs.performing import open_clients
from asyncjobs.performing.awaited_results import giving_slot_back
from asyncjobs.performing.calls import AWAIT_CHAIN, ENQUEUE_CHAIN
from asyncjobs.values.handing_on import misread
from asyncjobs.values.previous import PREVIOUS, previous_in

if TYPE_CHECKING:
    from asyncjobs.jobs.job import Job

T = TypeVar("T")
MOST: Final = 10_000
"""Jobs of one chain, which are stored in one statement."""


class Chain(Generic[T]):
    """Jobs each of which begins with the success of the one before, in the transaction that stores that success.

    All are stored at once; their ids are known before. Awaiting the chain gives the result of the last job. When a job
    fails, the chain stops, and goes on when that job is retried by hand and succeeds; when one is discarded or cancelled,
    the jobs after it end in the same state.

    Attributes:
        jobs: The jobs in their order.
    """

    _is_chain = True
    _client: open_clients.OpenClient | None = None

    def __init__(self, jobs: tuple[Job[Any], ...]) -> None:
        self.jobs = jobs
        self._sent = False
        """Whether the jobs may have rows."""
        self._is_stored = False
        """Whether they have rows."""

    @property
    def ids(self) -> list[UUID]:
        """The ids of the jobs, in their order."""
        return [job.id for job in self.jobs]

    @answered(remedy="give the connection by name: `enqueue(connection=…)`")
    async def enqueue(self, *, connection: Any = None) -> Self:
        """Store all jobs; return the chain. Durable once this returns, or not there at all.

        Enqueueing the same object again stores nothing.

        Args:
            connection: Take part in the caller's transaction; see `Job.enqueue`.

        Raises:
            NotOpen: No AsyncJobs is open in this process, or it belongs to another event loop.
            AlreadyEnqueued: One of its jobs was enqueued by itself.
            NotUnique: Another job has the unique key of one of its jobs; nothing was written.
            EnqueueOutcomeUnknown: The database's answer was lost; call `enqueue` again.
            InvalidConnection: `connection` cannot carry it; nothing was written.
            DatabaseError: The database refused or cannot be reached; nothing was written.
        """
        await open_clients.current(ENQUEUE_CHAIN).enqueue_chain(self, connection=connection)
        return self

    async def result(self, *, timeout: float | timedelta | None = None) -> T:
        """Wait for the end of the last job, and return its result.

        Inside a job, its slot is given back while this waits.

        Args:
            timeout: Seconds or a timedelta; None waits as long as it takes. Running out leaves the chain alone.

        Raises:
            NotEnqueued: The chain is not stored yet.
            JobFailed, JobDiscarded, JobCancelled: A job of the chain ended so. A failed job may be retried by hand, after
                which the chain goes on.
            JobNotFound: The rows cannot be seen.
            AwaitCycle: The job that waits is a job of the chain.
            TimeoutError: The last job was not final in time.
        """
        if not self._sent:
            raise NotEnqueued(
                "this chain has not been enqueued, and awaiting does not enqueue: call `await chain.enqueue()` first"
            )
        seconds = None if timeout is None else limits.duration(timeout, "timeout")
        client = open_clients.current(AWAIT_CHAIN, self._client)
        async with giving_slot_back():
            result: T = await client.chain_result(self.jobs, timeout=seconds)
            return result

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the end of the last job; see `result`."""
        return self.result().__await__()

    def __repr__(self) -> str:
        names = [job.kind for job in self.jobs[:3]] + (["…"] if len(self.jobs) > 3 else [])
        return f"<Chain of {' → '.join(names)}>"


def _check_handed_on(before: Job[Any], job: Job[Any]) -> None:
    for name in previous_in(job):
        found = misread(before._definition.result.annotation, job._definition.arguments.annotation_of(name))
        if found is not None:
            raise InvalidOption(f"chain(): {job.kind}: {name}: {found}")


class _Chaining:
    """The maker of chains: called with their jobs."""

    previous: Any = PREVIOUS
    """As an argument of a job: the result of the job before it in the chain, checked when the job runs."""

    @overload
    def __call__(self, last: Job[T], /) -> Chain[T]: ...
    @overload
    def __call__(self, one: Job[Any], last: Job[T], /) -> Chain[T]: ...
    @overload
    def __call__(self, one: Job[Any], two: Job[Any], last: Job[T], /) -> Chain[T]: ...
    @overload
    def __call__(self, one: Job[Any], two: Job[Any], three: Job[Any], last: Job[T], /) -> Chain[T]: ...
    @overload
    def __call__(self, *jobs: Job[Any]) -> Chain[Any]: ...
    def __call__(self, *jobs: Job[Any]) -> Chain[Any]:
        """Make a chain of jobs, each of which begins with the success of the one before; nothing is stored before `enqueue`.

        `chain.previous`, given as an argument, stands for the result of the job before.

        Raises:
            InvalidOption: No jobs, one job twice, more than 10,000, `chain.previous` in the first, or for an argument whose
                annotation would or could read the result of the job before as another value.
            AlreadyEnqueued: A job is enqueued already.
        """
        if not jobs:
            raise InvalidOption(
                "chain() takes the jobs in their order: give at least one, as in chain(fetch(1), resize(2))"
            )
        if len(jobs) > MOST:
            raise InvalidOption(
                f"chain() takes at most {MOST:,} jobs, not {len(jobs):,}: have the last enqueue the rest"
            )
        for number, job in enumerate(jobs, 1):
            check_new(job, f"chain(): number {number}")
        if len({id(job) for job in jobs}) < len(jobs):
            raise InvalidOption("chain(): one job stands in it twice, and a job has one row: make another job")
        if named := previous_in(jobs[0]):
            raise InvalidOption(
                f"chain(): {jobs[0].kind} is the first and has nothing before it: give a value for {', '.join(named)}, "
                "not chain.previous"
            )
        for before, job in itertools.pairwise(jobs):
            _check_handed_on(before, job)
        return Chain(jobs)

    def __repr__(self) -> str:
        return "chain"


chain = _Chaining()
