"""The client: the calls of an open AsyncJobs on jobs, batches, chains, events and pauses."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from asyncjobs.client import finding
from asyncjobs.client.awaiting import Waiters
from asyncjobs.client.batch_reader import BatchReader
from asyncjobs.client.batches import BatchStore
from asyncjobs.client.bulk import Bulk
from asyncjobs.client.chains import ChainStore, chain_result
from asyncjobs.client.connections import emit_on
from asyncjobs.client.enqueueing import Enqueuer
from asyncjobs.client.finding import Wanted
from asyncjobs.client.job_actions import Answer, Asked, JobActions, Matched
from asyncjobs.client.job_filters import Action, Filter
from asyncjobs.client.job_store import JobStore
from asyncjobs.client.live import Live
from asyncjobs.client.order import Order
from asyncjobs.client.queue_depths import Depths
from asyncjobs.client.statuses import Statuses
from asyncjobs.client.steps import in_transaction
from asyncjobs.client.stored_outcomes import outcome, stored_outcome
from asyncjobs.client.threads import Threads
from asyncjobs.client.waiting_jobs import holder
from asyncjobs.client.why import Why, ask
from asyncjobs.db import jobs, reading, steps
from asyncjobs.db.batches import Batches
from asyncjobs.db.connecting import Connection
from asyncjobs.db.inserts import Inserts
from asyncjobs.db.job_actions import read_failures
from asyncjobs.db.listening import Listener
from asyncjobs.db.role_access import Access
from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import (
    AwaitCycle,
    BatchNotFound,
    JobNotFound,
    NotUnique,
)
from asyncjobs.failing.failures import Failures
from asyncjobs.jobs.batches import Batch
from asyncjobs.jobs.chains import Chain
from asyncjobs.jobs.job import Job
from asyncjobs.jobs.naming import JobOrId
from asyncjobs.jobs.pauses import Pause, Paused
from asyncjobs.performing import running_job, tracing
from asyncjobs.performing.calls import (
    ANY,
    AWAIT_BATCH,
    AWAIT_CHAIN,
    BATCH_STATUS,
    CANCEL,
    EMIT,
    ENQUEUE,
    ENQUEUE_ALL,
    ENQUEUE_BATCH,
    ENQUEUE_CHAIN,
    FOLLOW,
    RESULT,
    STATUS,
    Call,
)
from asyncjobs.performing.hook_calls import Layers
from asyncjobs.records.batch_status import BatchStatus
from asyncjobs.records.found_job import FoundJob
from asyncjobs.records.live import Progress, StreamItem
from asyncjobs.records.status import Status
from asyncjobs.records.step_records import Record
from asyncjobs.tasks.services import Services

T = TypeVar("T")


class Client:
    """Enqueues, awaits and reads jobs, on the loop on which it was made.

    Args:
        sessions: The connections for its statements.
        listener: Hears the ends of awaited jobs; started when the first one is awaited.
        services: The scope of its background tasks.
        retention: Seconds that a job is kept which was cancelled before it began.
        middleware: Runs around every enqueue, the outermost first.
        max_depths: `max_depth` by queue, for queues that have one.
    """

    def __init__(
        self,
        sessions: Sessions,
        listener: Listener,
        services: Services,
        *,
        retention: float = 7 * 86_400.0,
        middleware: Sequence[Any] = (),
        max_depths: Mapping[str, int] | None = None,
    ) -> None:
        self.middleware = middleware
        self._layers = Layers(middleware)
        self._retention = retention
        self._sessions = sessions
        self._services = services
        self.loop = asyncio.get_running_loop()
        self.threads = Threads()
        self._access = Access()
        self._inserts = Inserts(self._access)
        enqueuer = Enqueuer(sessions, self._inserts, services)
        self._waiters = Waiters(sessions, self._access, listener, services)
        self._live = Live(sessions, listener, services, self._waiters.wait)
        self._depths = Depths(sessions, max_depths) if max_depths else None
        self._jobs = JobStore(sessions, enqueuer, self._layers, self._depths, client=self)
        self._batches = BatchStore(sessions, self._access, self._layers, self._depths)
        self._chains = ChainStore(sessions, self._layers, self._depths)
        self._stored_batches = BatchReader(sessions, Waiters(sessions, Batches(), listener, services, BatchNotFound))
        self._order = Order(sessions)
        self._actions = JobActions(sessions, retention)
        self._statuses = Statuses(sessions.run, self._access)

    async def run(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `operation` on a connection; see `Sessions.run`."""
        self._check_loop()
        return await self._sessions.run(operation)

    def _check_loop(self, call: Call = ANY) -> None:
        if asyncio.get_running_loop() is not self.loop:
            raise call.on_another_loop()

    def run_from_thread(self, make: Callable[[], Coroutine[Any, Any, T]], call: Call) -> T:
        """Run a coroutine on the client's loop, for a thread that waits for it; see `Threads.run`."""
        return self.threads.run(make, f"`{call.on_loop}`")

    # A method that only calls another is no coroutine itself: each coroutine costs a job 0.7 µs, of 40.

    def enqueue(self, job: Job[Any], *, connection: Any = None) -> Coroutine[Any, Any, bool]:
        """Insert a job's row; see `Job.enqueue`."""
        self._check_loop(ENQUEUE)
        call = self._jobs.enqueue(job, connection)
        return call if tracing.active is None else tracing.active.sending(call, [job])

    async def enqueue_all(self, all_jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]) -> int:
        """Insert many jobs, in chunks; see `asyncjobs.enqueue_all`."""
        self._check_loop(ENQUEUE_ALL)
        bulk = Bulk(
            self._sessions,
            self._inserts,
            self._services,
            self._jobs.enqueue,
            self._has_hooks,
            depths=self._depths,
            client=self,
        )
        call = bulk.enqueue(all_jobs)
        return await (call if tracing.active is None else tracing.active.sending(call))

    def _has_hooks(self, job: Job[Any]) -> bool:
        return self._layers.around(job._definition).on_enqueue

    async def get(self, job: JobOrId, kind: Any = None) -> Job[Any]:
        """Return a job as it is stored; see `AsyncJobs.get`."""
        self._check_loop()
        found = await self._statuses.get(job, kind)
        found._client = self
        return found

    async def status(self, job_id: UUID) -> Status:
        """Read a job's status; see `Job.status`."""
        self._check_loop(STATUS)
        return await self._statuses.status(job_id)

    async def states(self, ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
        """Read the states of jobs that have a row, and their reasons if they were discarded or cancelled."""
        return await self._statuses.states(ids)

    async def cancel_all(self, ids: Sequence[UUID], reason: str) -> None:
        """Cancel jobs that are not final; `ids` ascending."""
        self._check_loop()
        await self._actions.named(Asked(Action.cancel, reason), ids)

    async def retry(self, ids: Sequence[UUID]) -> None:
        """Make jobs ready again that failed, were discarded or cancelled; `ids` ascending."""
        self._check_loop()
        await self._actions.named(Asked(Action.retry), ids)

    async def cancel(self, job_id: UUID, reason: str) -> bool:
        """Cancel a job; see `Job.cancel`."""
        self._check_loop(CANCEL)
        days = math.ceil(self._retention / 86_400)
        came_to = await self._sessions.run(lambda connection: jobs.cancel(connection, job_id, reason, days))
        if came_to is None:
            raise JobNotFound(job_id)
        return came_to != "final"

    # Batches and chains

    async def enqueue_batch(self, batch: Batch, *, connection: Any = None) -> None:
        """Store a batch, its parts and all their jobs; see `Batch.enqueue`."""
        self._check_loop(ENQUEUE_BATCH)
        batch._client = self
        call = self._batches.store(batch, connection)
        await (call if tracing.active is None else tracing.active.sending(call))

    async def batch_status(self, batch_id: UUID) -> BatchStatus:
        """Read the status of a batch; see `Batch.status`."""
        self._check_loop(BATCH_STATUS)
        return await self._stored_batches.status(batch_id)

    async def get_batch(self, batch_id: UUID) -> Batch:
        """Return a stored batch; see `AsyncJobs.get_batch`."""
        self._check_loop(BATCH_STATUS)
        batch = await self._stored_batches.get(batch_id)
        batch._client = self
        return batch

    async def batch_result(self, batch_id: UUID, *, timeout: float | None) -> BatchStatus:
        """Wait until a batch is over; see `Batch.result`."""
        self._check_loop(AWAIT_BATCH)
        return await self._stored_batches.result(batch_id, timeout=timeout)

    async def enqueue_within(
        self, running: Job[Any], batch_id: UUID, jobs: Sequence[Job[Any]], *, connection: Any = None
    ) -> None:
        """Add jobs to the batch of a running job; see `RunningBatch.enqueue`."""
        self._check_loop(ENQUEUE)
        call = self._chains.enqueue_within(running, batch_id, jobs, connection)
        await (call if tracing.active is None else tracing.active.sending(call, jobs))

    async def enqueue_all_within(
        self, running: Job[Any], batch_id: UUID, all_jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]
    ) -> int:
        """Add many jobs to the batch of a running job; see `RunningBatch.enqueue_all`."""
        self._check_loop(ENQUEUE_ALL)
        call = self._chains.enqueue_all_within(running, batch_id, all_jobs)
        return await (call if tracing.active is None else tracing.active.sending(call))

    async def enqueue_chain(self, chain: Chain[Any], *, connection: Any = None) -> None:
        """Store all jobs of a chain; see `Chain.enqueue`."""
        self._check_loop(ENQUEUE_CHAIN)
        chain._client = self
        for job in chain.jobs:
            job._client = self
        call = self._chains.store(chain, connection)
        await (call if tracing.active is None else tracing.active.sending(call, chain.jobs))

    async def chain_result(self, chained: Sequence[Job[Any]], *, timeout: float | None) -> Any:
        """Wait for the end of the last job of a chain; see `Chain.result`."""
        self._check_loop(AWAIT_CHAIN)
        running = running_job.running.get()
        if running is not None and running._attempt is not None and any(job.id == running.id for job in chained):
            raise AwaitCycle([(running.id, running.kind)], "the chain of which it is one")
        return await chain_result(self._waiters, self.states, chained, timeout=timeout)

    async def prepared(self, following: Sequence[Job[Any] | Chain[Any]]) -> str:
        """Return the jobs that follow the success of a job, as text for `enqueue_prepared`."""
        return await self._chains.prepared(following)

    async def enqueue_prepared(self, text: str) -> None:
        """Enqueue the jobs in a text of `prepared`."""
        await self._chains.enqueue_prepared(text)

    async def emit(self, name: str, key: str, payload: str | None, *, connection: Any = None) -> int:
        """Emit an event; see `asyncjobs.emit`."""
        self._check_loop(EMIT)
        if connection is not None:
            return await emit_on(connection, name, key, payload)
        return await self._sessions.run(lambda connection: steps.emit(connection, name, key, payload))

    async def take_token(self, name: str, spacing: float, burst: int) -> float:
        """Take the next token of a rate; return the seconds until it is due, 0: it is due now."""
        self._check_loop()
        return await self._order.take_token(name, spacing, burst)

    async def adopt(self, job: Job[Any], attributes: str | None, records: Sequence[Record]) -> None:
        """Enqueue a job that has begun here, with its records, to go on in a worker."""
        self._check_loop()
        await self._jobs.adopt(job, attributes, records)

    async def transact(self, body: Callable[[Any], Awaitable[T]], *, through_sqlalchemy: bool = False) -> T:
        """Run `body` in a transaction, on a connection of its own; return its result."""
        self._check_loop()
        return await in_transaction(self._sessions.url, body, through_sqlalchemy=through_sqlalchemy)

    async def do(self, asked: Asked, job_id: UUID) -> bool:
        """Do an action by hand with one job; return whether it could be done.

        Raises:
            JobNotFound: No row can be seen.
            NotUnique: It is to be retried, and another job has its unique key.
        """
        self._check_loop()
        [answer] = await self._actions.named(asked, [job_id])
        if answer.state is None:
            raise JobNotFound(job_id)
        if answer.taken_by is not None:
            raise NotUnique(f"job {job_id}", answer.taken_by, "retry this one when that one has ended")
        return answer.done

    async def do_all(self, asked: Asked, wanted: Filter, *, dry_run: bool = False) -> Matched:
        """Do an action by hand with all matching jobs; see `JobActions.matching`."""
        self._check_loop()
        return await self._actions.matching(asked, wanted, dry_run=dry_run)

    async def find(self, wanted: Wanted, *, before: UUID | None, limit: int) -> list[FoundJob]:
        """Find jobs; see `AsyncJobs.find`."""
        self._check_loop()
        return [finding.shown_job(row) for row in await finding.find(self._search, wanted, before=before, limit=limit)]

    async def count(self, wanted: Wanted, *, most: int) -> int:
        """Count jobs; see `AsyncJobs.count`."""
        self._check_loop()
        return await finding.count(self._search, wanted, most=most)

    async def _search(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a statement that reads many rows, for a bounded time."""

        async def bounded(connection: Connection) -> T:
            async with connection.transaction(readonly=True):
                await reading.limit_time(connection, finding.TIMEOUT)
                return await operation(connection)

        return await self._sessions.run(bounded)

    async def failures(self) -> Failures:
        """Group the newest failed jobs; see `AsyncJobs.failures`."""
        self._check_loop()
        return await self._sessions.run(read_failures)

    async def do_named(self, asked: Asked, ids: Sequence[UUID], *, dry_run: bool = False) -> list[Answer]:
        """Do an action by hand with each of these jobs; see `JobActions.named`."""
        self._check_loop()
        return await self._actions.named(asked, ids, dry_run=dry_run)

    async def pause(
        self, what: Paused, until: datetime | None, seconds: float | None, *, reason: str, by: str
    ) -> Pause:
        """Pause a queue or a kind; see `AsyncJobs.pause`."""
        self._check_loop()
        return await self._order.pause(what, until, seconds, reason=reason, by=by)

    async def resume(self, what: Paused) -> bool:
        """Resume a queue or a kind; see `AsyncJobs.resume`."""
        self._check_loop()
        return await self._order.resume(what)

    async def pauses(self) -> list[Pause]:
        """Return what is paused."""
        self._check_loop()
        return await self._order.pauses()

    async def why(self, job_id: UUID) -> Why:
        """Return what a job waits for; see `AsyncJobs.why`."""
        self._check_loop()
        return await self._sessions.run(lambda connection: ask(connection, job_id))

    async def set_limit(self, key: str, most: int | None) -> None:
        """Set how many jobs run at once under a limit; see `AsyncJobs.set_limit`."""
        self._check_loop()
        await self._order.set_limit(key, most)

    def watch(self, job_id: UUID) -> AsyncIterator[Progress]:
        """Yield the progress of a job; see `AsyncJobs.watch`."""
        self._check_loop(FOLLOW)
        _refuse_itself(job_id)
        return self._live.watch(job_id)

    def stream(self, job_id: UUID, after: int) -> AsyncIterator[StreamItem]:
        """Yield the items of a job's stream; see `AsyncJobs.stream`."""
        self._check_loop(FOLLOW)
        _refuse_itself(job_id)
        return self._live.stream(job_id, after)

    def follow(self, job_id: UUID, after: int) -> AsyncIterator[Progress | StreamItem]:
        """Yield both, as they come."""
        self._check_loop(FOLLOW)
        return self._live.follow(job_id, after=after, watching=True)

    def result(self, job: Job[Any], *, timeout: float | None) -> Coroutine[Any, Any, Any]:
        """Wait for a job's end; see `Job.result`."""
        self._check_loop(RESULT)
        call = self._result(job, timeout)
        return call if tracing.active is None else tracing.active.awaiting(call, job)

    async def _result(self, job: Job[Any], timeout: float | None) -> Any:
        try:
            async with asyncio.timeout(timeout) as limit:
                ended = await self._waiters.wait(job.id, holder(), timed=timeout is not None)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"{job.kind} {job.id} is not final after {timeout:g} s, and goes on: `asyncjobs jobs show {job.id}` "
                "tells its state, `asyncjobs doctor` whether a worker serves it"
            ) from None
        return outcome(job, ended)

    async def ended(self, job: Job[Any]) -> str | None:
        """Wait for a job's end and return the JSON of its result.

        Raises:
            JobFailed, JobDiscarded, JobCancelled: The job did not succeed.
            JobNotFound: Its row cannot be seen.
            AwaitCycle: It waits for the job that waits here.
        """
        self._check_loop()
        return stored_outcome(job, await self._waiters.wait(job.id, holder()))


def _refuse_itself(job_id: UUID) -> None:
    """Refuse to let a running job follow itself: it ends only after it has stopped doing so.

    Raises:
        AwaitCycle: It is this job that runs here.
    """
    running = running_job.running.get()
    if running is not None and running._attempt is not None and running.id == job_id:
        raise AwaitCycle([(running.id, running.kind)], "itself")
