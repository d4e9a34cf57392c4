"""`Performing`: a runner of jobs in the test's process, one at a time, with a worker's own claim, recorder and ledger."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID, uuid4

from asyncjobs.db import jobs, workers
from asyncjobs.db import test_kit as db
from asyncjobs.db.connecting import Connection
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.transactions import isolated_sessions
from asyncjobs.definitions import registry
from asyncjobs.performing.exits_of_tasks import guarded_tasks
from asyncjobs.records.claimed import Claimed
from asyncjobs.testing.attempt_here import AttemptHere, Slots
from asyncjobs.testing.cuts import Watch
from asyncjobs.worker.duties.batch_finisher import BatchFinisher
from asyncjobs.worker.running.attempt_runner import AttemptRunner
from asyncjobs.worker.writing.ledger import Ledger
from asyncjobs.worker.writing.live_writer import LiveWriter
from asyncjobs.worker.writing.step_recorder import MOST_ISOLATED, StepWriter

if TYPE_CHECKING:
    from asyncjobs.settings import Settings

T = TypeVar("T")

LEASE = 7 * 86_400.0
"""Seconds; it is not renewed, and no other worker may take this one for dead."""
STUCK = 5.0
"""Seconds without any change after which a wait for other jobs fails."""
MOST_ATTEMPTS = 10_000
"""Attempts in one call; a job that enqueues itself, or is retried at once for ever, would never let the test end."""


class Performing:
    """The runner of jobs on this loop, for as long as its block lasts.

    Args:
        sessions: The client's, since a connection of its own costs a test 15 ms.
        settings: The application's.
        middleware: Around every job, the outermost first.
        worker: The worker whose lease is used, registered already by `claim_for`. None: one of its own.
    """

    def __init__(
        self, sessions: Sessions, settings: Settings, middleware: Sequence[Any] = (), *, worker: UUID | None = None
    ) -> None:
        self.worker = worker or uuid4()
        self._is_registered = worker is not None
        self.watch: Watch | None = None
        """Told of every place at which a job can be cut."""
        self.is_to_stop: Callable[[AttemptHere], bool] = lambda _: False
        self.ending: set[UUID] = set()
        """Jobs whose attempts have ended, and whose ends are being written."""
        self.held: set[UUID] = set()
        """Jobs that are not run."""
        self._settings = settings
        self._sessions = sessions
        self._isolated = isolated_sessions(sessions.url, size=MOST_ISOLATED, deadline=settings.lease)
        announced: Any = _Announced(self, self._sessions, "checkpoint")
        self._writer = StepWriter(
            announced, self._isolated, lambda attempt: attempt.cancel("lease_lost"), most=settings.max_recorded
        )
        self._live = LiveWriter(sessions, lambda attempt: attempt.cancel("lease_lost"))
        ends: Any = _Announced(self, self._sessions, "end")
        self._batch_finisher = BatchFinisher(sessions)
        self._ledger = Ledger(ends, lambda: None, self._batch_finisher.ended)
        self._runner = AttemptRunner(
            retention=settings.retention,
            middleware=middleware,
            version_grace=0.0,  # no worker of another version will come
            writer=self._writer,
            live=self._live,
            max_interruptions=settings.max_interruptions,
        )
        self._services: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        if not self._is_registered:
            await self._register(self.worker)
        loop = asyncio.get_running_loop()
        self._services = [
            loop.create_task(self._writer.run(), name="asyncjobs recorder"),
            loop.create_task(self._live.run(), name="asyncjobs livewriter"),
            loop.create_task(self._ledger.run(), name="asyncjobs ledger"),
        ]
        return self

    async def _register(self, worker: UUID) -> None:
        await self._sessions.run(partial(workers.register, worker=worker, lease=LEASE, about="{}", host="pytest"))
        kept = [self._settings.retention, *(d.options.retention or 0 for d in registry.all_definitions())]
        if max(kept) > 8 * 86_400:
            await self._sessions.run(partial(jobs.make_partitions, days=int(max(kept) / 86_400) + 2))

    async def __aexit__(self, *_: object) -> None:
        for service in self._services:
            service.cancel()
        with contextlib.suppress(Exception):  # the database may be gone
            await self._sessions.run(partial(workers.end, worker=self.worker), deadline=2.0)
        self._isolated.close()

    async def run(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a statement, on a connection of the client."""
        return await self._sessions.run(operation)

    async def promote(self) -> int:
        """Make due jobs ready; return their number."""
        promoted, _ = await self._sessions.run(partial(jobs.promote, limit=10_000))
        return promoted

    async def one(self, job_id: UUID) -> bool:
        """Run one attempt of a job, with jobs that it waits for; return whether it was ready."""
        await self.promote()
        found = await self._ready(job_id)
        return found is not None and await self._until_idle(await self._claim(found, self.worker)) > 0

    async def claim_for(self, worker: UUID, job_id: UUID) -> list[Claimed]:
        """Register a worker that a child will be, and claim a ready job for it: the child need not connect for that."""
        await self._register(worker)
        found = await self._ready(job_id)
        return [] if found is None else await self._claim(found, worker)

    async def run_claimed(self, claimed: list[Claimed]) -> int:
        """Run claimed jobs, with jobs that they wait for; return the number of attempts."""
        return await self._until_idle(claimed)

    async def _ready(self, job_id: UUID) -> db.Next | None:
        kinds = registry.all_names()
        return await self._sessions.run(partial(db.read_next, kinds=kinds, queues=None, job_id=job_id, held=()))

    async def drain(
        self,
        kinds: Collection[str] | None = None,
        queues: Collection[str] | None = None,
        *,
        hurried: Callable[[], Awaitable[bool]] | None = None,
    ) -> int:
        """Run ready and due jobs until none is left; return the number of attempts.

        Args:
            kinds: Only these kinds, with jobs that they wait for; None: all that are defined here.
            queues: Only these queues; None: all.
            hurried: Called when no job is left; if true, jobs that wait for a time become due.
        """
        count = 0
        while True:
            while (found := await self._find(kinds, queues)) is not None:
                count += await self._until_idle(await self._claim(found, self.worker))
                if count > MOST_ATTEMPTS:
                    raise AssertionError(
                        f"{count} attempts were run and {found.kind} is ready still: does it enqueue itself without end?"
                    )
            await self._batch_finisher.look_at_all()  # for jobs ended by hand, or by a process that was killed
            if await self._find(kinds, queues) is not None:
                continue
            if hurried is None or not await hurried() or not await self._sessions.run(db.hurry):
                return count

    async def _find(self, kinds: Collection[str] | None, queues: Collection[str] | None) -> db.Next | None:
        known = registry.all_names()
        wanted = known if kinds is None else [name for name in known if name in kinds]
        await self.promote()
        return await self._sessions.run(partial(db.read_next, kinds=wanted, queues=queues, job_id=None, held=self.held))

    async def _until_idle(self, claimed: list[Claimed]) -> int:
        """Run a job to the end of its attempt, and jobs that it waits for while it waits."""
        slots, tasks, count = Slots(), set[asyncio.Task[None]](), 0
        waited = 0.0
        try:
            while True:
                for each in claimed:
                    slots.free -= 1
                    count += 1
                    tasks.add(asyncio.ensure_future(self._attempt(each, slots)))
                    waited = 0.0
                if not tasks:
                    return count
                slots.moved.clear()
                moved = asyncio.ensure_future(slots.moved.wait())
                done, _ = await asyncio.wait({moved, *tasks}, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
                moved.cancel()
                for task in done - {moved}:
                    tasks.discard(task)
                    task.result()
                    waited = 0.0
                waited = waited + 0.05 if not done and slots.free > 0 else 0.0
                if waited:  # perhaps for a batch, whose last end was written by a process that was then killed
                    await self._batch_finisher.look_at_all()
                if waited >= STUCK:
                    raise AssertionError(
                        f"a job has waited for {STUCK:g} s for another that is not ready: jobs that are "
                        "scheduled for later are not performed before `travel`"
                    )
                found = await self._find(None, None) if tasks and slots.free > 0 else None
                claimed = [] if found is None else await self._claim(found, self.worker)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=STUCK)

    async def _claim(self, found: db.Next, worker: UUID) -> list[Claimed]:
        definition = registry.find(found.kind)
        most = None if definition is None or not found.crashes else definition.max_crashes
        for _ in range(int(STUCK / 0.01)):
            claimed = await self._sessions.run(partial(db.claim, job=found, max_crashes=most, worker=worker))
            if claimed or await self._ready(found.id) is None:
                return claimed
            await asyncio.sleep(0.01)  # its row is locked, perhaps by the session of a process that was just killed
        raise AssertionError(
            f"{found.kind} {found.id} is ready and cannot be claimed: somebody holds a lock on its row"
        )

    async def _attempt(self, claimed: Claimed, slots: Slots) -> None:
        """Run one attempt and write its end; when cancelled, give the job back as a stopping worker does."""
        attempt = AttemptHere(claimed, slots, self.is_to_stop)
        try:
            with self._watched(attempt) as create:
                task = attempt.task = create(self._runner.run(attempt))
                while not task.done():
                    try:
                        await asyncio.wait([task])
                    except asyncio.CancelledError:
                        if not attempt.cancel("shutdown"):
                            raise
            end = task.result()
            self.ending.add(claimed.id)
            self._ledger.end(end)
            drained = asyncio.ensure_future(self._ledger.drained())
            await asyncio.wait([drained, *self._services], return_when=asyncio.FIRST_COMPLETED)
            for service in self._services:
                if service.done():
                    drained.cancel()
                    service.result()  # raises the service's error, without which this would wait for ever
            await self._batch_finisher.look(at_once=True)
        finally:
            self.ending.discard(claimed.id)
            attempt.end()

    @contextlib.contextmanager
    def _watched(self, attempt: AttemptHere) -> Iterator[Callable[[Any], asyncio.Task[Any]]]:
        watch = self.watch
        with guarded_tasks():
            if watch is None or not watch.is_for(attempt.claimed):
                yield asyncio.get_running_loop().create_task
                return
            with watch.over(attempt) as create:
                yield create


class _Announced:
    """Sessions whose every use is a place at which a job can be cut: before it, and after it with the answer lost."""

    def __init__(self, performing: Performing, sessions: Sessions, what: str) -> None:
        self._performing = performing
        self._sessions = sessions
        self._what = what

    async def run(self, operation: Callable[[Connection], Awaitable[T]], **options: Any) -> T:
        watch = self._performing.watch
        if watch is None or not (self._what == "checkpoint" or watch.is_one_of(self._performing.ending)):
            return await self._sessions.run(operation, **options)
        watch.writes(self._what)
        result = await self._sessions.run(operation, **options)
        watch.has_written(self._what)
        return result
