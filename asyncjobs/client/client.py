"""The client: what an open AsyncJobs does for jobs, whichever process runs them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from asyncjobs.client.awaiting import Waiters
from asyncjobs.client.bulk import Bulk
from asyncjobs.client.by_hand import Action, Answer, Asked, ByHand, Filter, Matched
from asyncjobs.client.connections import emit_on, enqueue_on
from asyncjobs.client.endings import outcome, read_status, stored_outcome, unended
from asyncjobs.client.enqueuing import Enqueuer
from asyncjobs.client.notices import Notices
from asyncjobs.client.sending import check_job, mark_enqueued, row_of
from asyncjobs.client.statuses import Statuses
from asyncjobs.client.steps import in_transaction, stored_steps
from asyncjobs.client.threads import Threads
from asyncjobs.client.waits_inside import holder
from asyncjobs.client.why import Why, ask
from asyncjobs.db import jobs, steps
from asyncjobs.db.access import Access
from asyncjobs.db.listening import Listener
from asyncjobs.db.rows import StatusRow
from asyncjobs.db.sessions import Sessions
from asyncjobs.defining import registry
from asyncjobs.defining.base import Job
from asyncjobs.defining.calls import ANY, CANCEL, EMIT, ENQUEUE, ENQUEUE_ALL, RESULT, STATUS, Call
from asyncjobs.defining.definition import Definition
from asyncjobs.defining.hooks import Hooks, Layers
from asyncjobs.defining.job_ids import JobOrId, id_of
from asyncjobs.defining.recorded import Record
from asyncjobs.defining.status import Status
from asyncjobs.defining.stored import StoredJob
from asyncjobs.exceptions import (
    EnqueueOutcomeUnknown,
    InvalidArguments,
    InvalidOption,
    JobNotFound,
    KindMismatch,
)
from asyncjobs.services import Services

T = TypeVar("T")


class Client:
    """Enqueues, awaits and reads, on the loop it was made on.

    Args:
        sessions: Connections for its statements.
        listener: For the ends of awaited jobs; started when the first one is awaited.
        services: The scope of what it runs in the background.
        retention: Seconds that a job is kept which was cancelled before it began.
        middleware: Around everything that is enqueued through it, the outermost first.
    """

    def __init__(
        self,
        sessions: Sessions,
        listener: Listener,
        services: Services,
        *,
        retention: float = 7 * 86_400.0,
        middleware: Sequence[Any] = (),
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
        self._by_hand = ByHand(sessions, retention)
        self._statuses = Statuses(sessions.run)

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

        await hooks.enqueue(job, insert)
        return made

    async def _enqueue(self, job: Job[Any], connection: Any = None) -> bool:
        """Insert a job's row; return whether this call made it."""
        row = row_of(job)
        first = not job._sent
        # From here on the row may exist, whatever happens to this call: the next one must look before it inserts.
        job._sent = True
        made = True
        try:
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

    async def enqueue_all(self, all_jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]) -> int:
        """Insert many jobs, a chunk a statement; see `asyncjobs.enqueue_all`."""
        self._check_loop(ENQUEUE_ALL)
        bulk = Bulk(self._sessions, self._access, self._services, self._enqueue_with_hooks, self._has_hooks)
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
        await self._by_hand.named(Asked(Action.cancel, reason), ids)

    async def retry(self, ids: Sequence[UUID]) -> None:
        """Make jobs ready again that ended other than well; `ids` ascending."""
        self._check_loop()
        await self._by_hand.named(Asked(Action.retry), ids)

    async def cancel(self, job_id: UUID, reason: str) -> bool:
        """Cancel a job; see `Job.cancel`."""
        self._check_loop(CANCEL)
        days = math.ceil(self._retention / 86_400)
        came_to = await self._sessions.run(lambda connection: jobs.cancel(connection, job_id, reason, days))
        if came_to is None:
            raise JobNotFound(job_id)
        return came_to != "final"

    async def emit(self, name: str, key: str, payload: str | None, *, connection: Any = None) -> int:
        """Emit an event; see `asyncjobs.emit`."""
        self._check_loop(EMIT)
        if connection is not None:
            return await emit_on(connection, name, key, payload)
        return await self._sessions.run(lambda connection: steps.emit(connection, name, key, payload))

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
        """
        self._check_loop()
        [answer] = await self._by_hand.named(asked, [job_id])
        if answer.state is None:
            raise JobNotFound(job_id)
        return answer.done

    async def do_all(self, asked: Asked, wanted: Filter, *, dry_run: bool = False) -> Matched:
        """Do with all jobs that match what is asked by hand; see `ByHand.matching`."""
        self._check_loop()
        return await self._by_hand.matching(asked, wanted, dry_run=dry_run)

    async def do_named(self, asked: Asked, ids: Sequence[UUID], *, dry_run: bool = False) -> list[Answer]:
        """Do with each of these jobs what is asked by hand; see `ByHand.named`."""
        self._check_loop()
        return await self._by_hand.named(asked, ids, dry_run=dry_run)

    async def why(self, job_id: UUID) -> Why:
        """Say what a job waits for; see `AsyncJobs.why`."""
        self._check_loop()
        return await self._sessions.run(lambda connection: ask(connection, job_id))

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
        return definition.restore({})
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
