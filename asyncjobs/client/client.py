"""The client: what an open AsyncJobs does for jobs, whichever process runs them."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from asyncjobs.checks import limits
from asyncjobs.checks.texts import shown
from asyncjobs.client.awaiting import Waiters
from asyncjobs.client.batches import BatchStore
from asyncjobs.client.bulk import Bulk
from asyncjobs.client.chains import ChainStore, chain_result
from asyncjobs.client.connections import emit_on, enqueue_on, enqueue_ordered_on
from asyncjobs.client.depths import Depths, OnConnection
from asyncjobs.client.endings import outcome, read_status, stored_outcome, unended
from asyncjobs.client.enqueuing import Enqueuer
from asyncjobs.client.job_actions import Action, Answer, Asked, Filter, JobActions, Matched
from asyncjobs.client.notices import Notices
from asyncjobs.client.sending import check_job, mark_enqueued, mark_stored, row_of
from asyncjobs.client.statuses import Statuses
from asyncjobs.client.steps import in_transaction, stored_steps
from asyncjobs.client.threads import Threads
from asyncjobs.client.waits_inside import holder
from asyncjobs.client.why import Why, ask
from asyncjobs.db import batches, jobs, limiting, pausing, steps
from asyncjobs.db.access import Access
from asyncjobs.db.batches import Batches
from asyncjobs.db.connecting import Connection
from asyncjobs.db.job_actions import read_failures
from asyncjobs.db.key_holders import naming_holders
from asyncjobs.db.listening import Listener
from asyncjobs.db.rows import NewJob, StatusRow
from asyncjobs.db.sessions import Sessions
from asyncjobs.definitions import registry
from asyncjobs.definitions.definition import Definition
from asyncjobs.definitions.hooks import Hooks
from asyncjobs.definitions.limiting import MOST_RUNNING
from asyncjobs.exceptions import (
    AwaitCycle,
    BatchNotFound,
    EnqueueOutcomeUnknown,
    InvalidArguments,
    InvalidOption,
    JobNotFound,
    KindMismatch,
    NotUnique,
)
from asyncjobs.failing.failures import Failures
from asyncjobs.jobs.batches import Batch
from asyncjobs.jobs.chains import Chain
from asyncjobs.jobs.job import Job
from asyncjobs.jobs.naming import JobOrId, id_of
from asyncjobs.jobs.pauses import Pause, Paused
from asyncjobs.jobs.stored import StoredJob
from asyncjobs.performing import context, hook_calls
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
    RESULT,
    STATUS,
    Call,
)
from asyncjobs.performing.hook_calls import Layers
from asyncjobs.records.batch_status import BatchStatus
from asyncjobs.records.status import Status
from asyncjobs.records.step_records import Record
from asyncjobs.tasks.services import Services

T = TypeVar("T")


class Client:
    """Enqueues, awaits and reads, on the loop it was made on.

    Args:
        sessions: Connections for its statements.
        listener: For the ends of awaited jobs; started when the first one is awaited.
        services: The scope of what it runs in the background.
        retention: Seconds that a job is kept which was cancelled before it began.
        middleware: Around everything that is enqueued through it, the outermost first.
        max_depths: Of the queues that have one.
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
        self._enqueuer = Enqueuer(sessions, self._access, services, Notices(sessions, services))
        self._waiters = Waiters(sessions, self._access, listener, services)
        self._waiters_of_batches = Waiters(sessions, Batches(), listener, services, BatchNotFound)
        self._depths = Depths(sessions, max_depths) if max_depths else None
        self._batches = BatchStore(sessions, self._access, self._layers, self._depths)
        self._chains = ChainStore(sessions, self._layers, self._depths)
        self._actions = JobActions(sessions, retention)
        self._statuses = Statuses(sessions.run)

    async def run(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `operation` on a connection; see `Sessions.run`."""
        self._check_loop()
        return await self._sessions.run(operation)

    def _check_loop(self, call: Call = ANY) -> None:
        if asyncio.get_running_loop() is not self.loop:
            raise call.on_another_loop()

    def run_from_thread(self, make: Callable[[], Coroutine[Any, Any, T]], call: Call) -> T:
        """Run what `make` returns on the client's loop, for a thread that waits for it; see `Threads.run`."""
        return self.threads.run(make, f"`{call.on_loop}`")

    # What only looks whom to ask is no coroutine itself: each of these costs a job 0.7 µs, of 40.

    def enqueue(self, job: Job[Any], *, connection: Any = None) -> Coroutine[Any, Any, bool]:
        """Insert a job's row; see `Job.enqueue`."""
        self._check_loop(ENQUEUE)
        check_job(job)
        return self._enqueue_with_hooks(job, connection)

    def _enqueue_with_hooks(self, job: Job[Any], connection: Any = None) -> Coroutine[Any, Any, bool]:
        """Insert a job's row inside its hooks and the middleware; return whether this call made it."""
        hooks = self._layers.around(job._definition)
        if not hooks.on_enqueue or job._sent:
            return self._enqueue(job, connection)
        return self._enqueue_inside(hooks, job, connection)

    async def _enqueue_inside(self, hooks: Hooks, job: Job[Any], connection: Any) -> bool:
        made = False

        async def insert() -> None:
            nonlocal made
            made = await self._enqueue(job, connection)

        await hook_calls.enqueue(hooks, job, insert)
        return made

    async def _enqueue(self, job: Job[Any], connection: Any = None) -> bool:
        """Insert a job's row; return whether this call made it."""
        row = row_of(job)
        first = not job._sent
        if self._depths is not None and first and self._depths.counts(row):
            return await self._enqueue_if_room(self._depths, job, row, connection)
        return await self._send(job, row, connection)

    async def _enqueue_if_room(self, depths: Depths, job: Job[Any], row: NewJob, connection: Any) -> bool:
        if connection is not None:
            await depths.check([row], OnConnection(connection))
            return await self._send(job, row, connection)
        taken = await depths.take_one(row)
        try:
            return await self._send(job, row, connection)
        finally:
            depths.give_back(row.queue, taken)

    async def _send(self, job: Job[Any], row: NewJob, connection: Any) -> bool:
        first = not job._sent
        # From here on the row may exist, whatever happens to this call: the next one must look before it inserts.
        job._sent = True
        made = True
        try:
            if row.order is not None:
                return await self._enqueue_ordered(job, row, connection)
            if connection is not None:
                made = await enqueue_on(connection, row, again=not first)
            elif first:
                await self._enqueuer.enqueue(row)
            else:
                made = await self._enqueuer.enqueue_again(row)
        except (EnqueueOutcomeUnknown, asyncio.CancelledError):
            raise
        except BaseException:
            job._sent = not first
            raise
        mark_enqueued(job, row, made=made)
        return made

    async def _enqueue_ordered(self, job: Job[Any], row: NewJob, connection: Any) -> bool:
        async with naming_holders(self._sessions.url, [row]):
            if connection is not None:
                stored = await enqueue_ordered_on(connection, row)
            else:
                [stored] = await self._enqueuer.enqueue_ordered([row])
        return mark_stored(job, row, stored)

    async def enqueue_all(self, all_jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]) -> int:
        """Insert many jobs, a chunk a statement; see `asyncjobs.enqueue_all`."""
        self._check_loop(ENQUEUE_ALL)
        bulk = Bulk(
            self._sessions, self._access, self._services, self._enqueue_with_hooks, self._has_hooks, depths=self._depths
        )
        return await bulk.enqueue(all_jobs)

    def _has_hooks(self, job: Job[Any]) -> bool:
        return self._layers.around(job._definition).on_enqueue

    async def get(self, job: JobOrId, kind: Any = None) -> Job[Any]:
        """Return a job as it is stored; see `AsyncJobs.get`."""
        self._check_loop()
        wanted_id = id_of(job)
        if kind is None and isinstance(job, Job) and not isinstance(job, StoredJob):
            kind = type(job)
        row = await self._statuses.read(wanted_id)
        if row is None:
            raise JobNotFound(wanted_id)
        definition = registry.find(row.kind)
        if kind is not None:
            wanted = definition_of(kind)
            if row.kind not in (wanted.kind, *wanted.aliases):
                raise KindMismatch(f"job {row.id} is a {row.kind}, not a {wanted.kind}")
            definition = wanted
        found = _loaded(row, definition, asked=kind is not None)
        found._id, found._queue, found._priority, found._sent = row.id, row.queue, row.priority, True
        found._state = read_status(row).state
        found._disposition = "enqueued"
        return found

    async def status(self, job_id: UUID) -> Status:
        """Read everything about a job; see `Job.status`."""
        self._check_loop(STATUS)
        row = await self._statuses.read(job_id)
        if row is None:
            raise JobNotFound(job_id)
        children = unended(row.steps)
        return read_status(row, await self.states(children) if children else None)

    async def states(self, ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
        """Read the states of those that have a row, and why they were discarded or cancelled."""
        return await self._sessions.run(partial(self._access.read_states, ids=ids))

    async def cancel_all(self, ids: Sequence[UUID], reason: str) -> None:
        """Cancel those that are not final; `ids` ascending."""
        self._check_loop()
        await self._actions.named(Asked(Action.cancel, reason), ids)

    async def retry(self, ids: Sequence[UUID]) -> None:
        """Make jobs ready again that ended other than well; `ids` ascending."""
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
        await self._batches.store(batch, connection)

    async def batch_status(self, batch_id: UUID) -> BatchStatus:
        """Read how far a batch is; see `Batch.status`."""
        self._check_loop(BATCH_STATUS)
        row = await self._sessions.run(partial(batches.read_status, batch_id=batch_id))
        if row is None:
            raise BatchNotFound(batch_id)
        return BatchStatus(
            id=row.id, description=row.description, by_state=Counter(row.by_state), over=row.settled, made_at=row.made_at,
            discarded_at=row.discarded_at, finished_at=row.finished_at, succeeded_at=row.succeeded_at, parent=row.parent,
        )  # fmt: skip

    async def get_batch(self, batch_id: UUID) -> Batch:
        """Return a stored batch; see `AsyncJobs.get_batch`."""
        return Batch._of_row(await self.batch_status(batch_id))

    async def batch_result(self, batch_id: UUID, *, timeout: float | None) -> BatchStatus:
        """Wait until a batch is over; see `Batch.result`."""
        self._check_loop(AWAIT_BATCH)
        await self._refuse_own(batch_id)
        try:
            async with asyncio.timeout(timeout) as limit:
                await self._waiters_of_batches.wait(batch_id)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(f"batch {batch_id} is not over after {timeout:g} s, and goes on") from None
        return await self.batch_status(batch_id)

    async def _refuse_own(self, batch_id: UUID) -> None:
        """Refuse that a job awaits the batch of which it is one, or one that this is a part of."""
        job = context.running.get()
        if job is None or job._attempt is None or (own := job._attempt.claimed.batch) is None:
            return
        if batch_id in await self._sessions.run(partial(batches.read_above, batch_id=own)):
            raise AwaitCycle([(job.id, job.kind)], f"batch {batch_id}, of which it is one,")

    async def enqueue_within(
        self, running: Job[Any], batch_id: UUID, jobs: Sequence[Job[Any]], *, connection: Any = None
    ) -> None:
        """Enqueue jobs of the batch of a job that runs; see `RunningBatch.enqueue`."""
        self._check_loop(ENQUEUE)
        await self._chains.enqueue_within(running, batch_id, jobs, connection)

    async def enqueue_all_within(
        self, running: Job[Any], batch_id: UUID, all_jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]
    ) -> int:
        """Enqueue many of them; see `RunningBatch.enqueue_all`."""
        self._check_loop(ENQUEUE_ALL)
        return await self._chains.enqueue_all_within(running, batch_id, all_jobs)

    async def enqueue_chain(self, chain: Chain[Any], *, connection: Any = None) -> None:
        """Store all jobs of a chain; see `Chain.enqueue`."""
        self._check_loop(ENQUEUE_CHAIN)
        await self._chains.store(chain, connection)

    async def chain_result(self, chained: Sequence[Job[Any]], *, timeout: float | None) -> Any:
        """Wait for the end of the last job of a chain; see `Chain.result`."""
        self._check_loop(AWAIT_CHAIN)
        running = context.running.get()
        if running is not None and running._attempt is not None and any(job.id == running.id for job in chained):
            raise AwaitCycle([(running.id, running.kind)], "the chain of which it is one")
        return await chain_result(self._waiters, self.states, chained, timeout=timeout)

    async def prepared(self, following: Sequence[Job[Any] | Chain[Any]]) -> str:
        """Return what follows the success of a job, as it is enqueued then."""
        return await self._chains.prepared(following)

    async def enqueue_prepared(self, text: str) -> None:
        """Enqueue what `prepared` has returned."""
        await self._chains.enqueue_prepared(text)

    async def emit(self, name: str, key: str, payload: str | None, *, connection: Any = None) -> int:
        """Emit an event; see `asyncjobs.emit`."""
        self._check_loop(EMIT)
        if connection is not None:
            return await emit_on(connection, name, key, payload)
        return await self._sessions.run(lambda connection: steps.emit(connection, name, key, payload))

    async def take_token(self, name: str, spacing: float, burst: int) -> float:
        """Take the next token of a rate; return in how many seconds it is due, 0: by now."""
        self._check_loop()
        take = partial(limiting.take_token, name=registry.prefix() + name, spacing=spacing, burst=burst)
        return await self._sessions.run(take)

    async def adopt(self, job: Job[Any], attributes: str | None, records: Sequence[Record]) -> None:
        """Enqueue a job that has begun here, with what it has recorded, to go on in a worker."""
        self._check_loop()
        row, text = row_of(job), stored_steps(records)
        job._sent = True
        await self._sessions.run(lambda connection: steps.adopt(connection, row, attributes, text))
        mark_enqueued(job, row, made=True)

    async def transact(self, body: Callable[[Any], Awaitable[T]], *, through_sqlalchemy: bool = False) -> T:
        """Run `body` in a transaction and on a connection of its own; return what it returns."""
        self._check_loop()
        return await in_transaction(self._sessions.url, body, through_sqlalchemy=through_sqlalchemy)

    async def do(self, asked: Asked, job_id: UUID) -> bool:
        """Do with a job what is asked by hand; return whether that could be done.

        Raises:
            JobNotFound: No row can be seen.
            NotUnique: It is to be retried, and another job has its key.
        """
        self._check_loop()
        [answer] = await self._actions.named(asked, [job_id])
        if answer.state is None:
            raise JobNotFound(job_id)
        if answer.taken_by is not None:
            raise NotUnique(f"job {job_id}", answer.taken_by)
        return answer.done

    async def do_all(self, asked: Asked, wanted: Filter, *, dry_run: bool = False) -> Matched:
        """Do with all jobs that match what is asked by hand; see `JobActions.matching`."""
        self._check_loop()
        return await self._actions.matching(asked, wanted, dry_run=dry_run)

    async def failures(self) -> Failures:
        """Group the newest failed jobs; see `AsyncJobs.failures`."""
        self._check_loop()
        return await self._sessions.run(read_failures)

    async def do_named(self, asked: Asked, ids: Sequence[UUID], *, dry_run: bool = False) -> list[Answer]:
        """Do with each of these jobs what is asked by hand; see `JobActions.named`."""
        self._check_loop()
        return await self._actions.named(asked, ids, dry_run=dry_run)

    async def pause(
        self, what: Paused, until: datetime | None, seconds: float | None, *, reason: str, by: str
    ) -> Pause:
        """Pause a queue or a kind; see `AsyncJobs.pause`."""
        self._check_loop()
        write = partial(
            pausing.pause, scope=what.scope, names=what.names, until=until, seconds=seconds, reason=reason, by=by
        )
        if not await self._sessions.run(write):
            raise InvalidOption(
                f"until={until} has come already, by the database's clock: give a time to come, or a timedelta"
            )
        found = next((pause for pause in await self.pauses() if what.names[0] in (pause.queue, pause.kind)), None)
        if found is None:  # it was resumed, or its time has come, before this could look
            is_queue = what.scope == "queue"
            name = what.names[0]
            return Pause(name if is_queue else None, None if is_queue else name, datetime.now(UTC), until, reason, by)
        return found

    async def resume(self, what: Paused) -> bool:
        """Resume a queue or a kind; see `AsyncJobs.resume`."""
        self._check_loop()
        return await self._sessions.run(partial(pausing.resume, scope=what.scope, names=what.names)) > 0

    async def pauses(self) -> list[Pause]:
        """Return what is paused."""
        self._check_loop()
        return await self._sessions.run(pausing.read_pauses)

    async def why(self, job_id: UUID) -> Why:
        """Say what a job waits for; see `AsyncJobs.why`."""
        self._check_loop()
        return await self._sessions.run(lambda connection: ask(connection, job_id))

    async def set_limit(self, key: str, most: int | None) -> None:
        """Say how many jobs run at once under a limit; see `AsyncJobs.set_limit`."""
        self._check_loop()
        if most is not None:
            limits.whole(most, "most", least=0, most=MOST_RUNNING)
        if not await self._sessions.run(partial(limiting.set_limit, key=key, most=most)):
            raise InvalidOption(
                f"key={shown(key)} is no limit's: give a shared key, a kind, or a key as `why` names it, of which a job was "
                "enqueued before"
            )

    async def result(self, job: Job[Any], *, timeout: float | None) -> Any:
        """Wait for a job's end; see `Job.result`."""
        self._check_loop(RESULT)
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
            JobFailed, JobDiscarded, JobCancelled: It ended so.
            JobNotFound: Its row cannot be seen.
            AwaitCycle: It waits for the job that waits here.
        """
        self._check_loop()
        return stored_outcome(job, await self._waiters.wait(job.id, holder()))


def _loaded(row: StatusRow, definition: Definition | None, *, asked: bool) -> Job[Any]:
    """Return a stored job; of a kind that is not defined here, or with arguments that it does not take, as plain JSON.

    Without arguments where this role may not read them.

    Raises:
        InvalidArguments: They do not fit the kind that was asked for.
    """
    if definition is None:
        return StoredJob.of(row.kind, row.args or "{}")
    if row.args is None:
        without: Job[Any] = definition.restore({})
        return without
    try:
        job: Job[Any] = definition.load(row.args)
    except InvalidArguments:
        if asked:
            raise
        return StoredJob.of(row.kind, row.args)
    return job


def definition_of(kind: Any) -> Any:
    """Return the definition behind a `@job` function, a Job class or a kind's name."""
    found = registry.find(kind) if isinstance(kind, str) else getattr(kind, "_definition", None)
    if isinstance(kind, Job):
        kind._made_at = None
    if found is None:
        raise InvalidOption(f"{kind!r} is no job definition: give a @job function or a Job class")
    return found
