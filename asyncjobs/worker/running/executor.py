"""The executor starts attempts as slots allow, one task each, and hands how they ended to the ledger."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

from asyncjobs.db.rows import Reschedule
from asyncjobs.definitions import registry
from asyncjobs.definitions.definition import Definition
from asyncjobs.performing.attempt import Attempt, CancelReason
from asyncjobs.performing.exits_of_tasks import STARTS_EAGERLY, begin_task
from asyncjobs.records.claimed import Claimed, Refused
from asyncjobs.worker.job_processes.groups import Group, Groups
from asyncjobs.worker.job_processes.processes import JobProcesses
from asyncjobs.worker.limits.admission import Admission
from asyncjobs.worker.running.attempt_runner import AttemptRunner
from asyncjobs.worker.slots.pauses import SURE, UNSURE, Pauses
from asyncjobs.worker.slots.pools import Pool
from asyncjobs.worker.writing.ledger import Ledger
from asyncjobs.worker.writing.recorder import StepWriter

logger = logging.getLogger("asyncjobs.worker")

STARTS_A_TURN, LONGEST_TURN = 64, 0.002
"""Tasks started in one turn of the loop (about 1 ms), so that what is urgent is not behind a whole batch; and the seconds
after which no more are, since those that start eagerly may block."""


SUSPECT = 2
"""Crashes after which a job is kept apart."""
MOST_SUSPECTS = 10_000
"""Claimed at once for processes of their own; the slots bound them."""
AGAIN = 1.0
"""Seconds until a job is claimed again whose last run, under a lost lease, goes on."""
STALE = 0.25
"""Seconds without a start in a pool after which what waits there is given back: other workers may have free slots."""


class Executor:
    """Starts claimed jobs in pool order as slots allow, and says how each ended.

    Args:
        pools: In priority order.
        ledger: Where ends go.
        retention: Seconds that a finished job is kept when its definition does not say.
        middleware: Around every job, the outermost first.
        cleanup_timeout: Seconds that a cancelled job gets for its cleanup before it is called stuck.
        max_interruptions: How often in a row a job may be interrupted without progress.
        isolate_suspects: Whether suspects run there, too; else here, one at a time.
        job_processes: Where attempts run that need a process of their own.
        writer: Of what is recorded of steps.
        on_room: Called when a pool has fewer jobs waiting than it could start soon.
        on_crash: Called when an attempt ended with its process.
        pauses: What is paused.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        ledger: Ledger,
        *,
        retention: float,
        middleware: Sequence[Any] = (),
        cleanup_timeout: float = 5.0,
        max_interruptions: int = 10,
        version_grace: float,
        isolate_suspects: bool = True,
        job_processes: JobProcesses,
        writer: StepWriter,
        on_room: Callable[[], None],
        on_crash: Callable[[], None],
        pauses: Pauses,
    ) -> None:
        self._pools = pools
        self._ledger = ledger
        self._on_room = on_room
        self._on_crash = on_crash
        self._pauses = pauses
        self._cleanup_timeout = cleanup_timeout
        self._runner = AttemptRunner(
            retention=retention,
            middleware=middleware,
            cancel=self.cancel,
            cleanup_timeout=cleanup_timeout,
            max_interruptions=max_interruptions,
            version_grace=version_grace,
            writer=writer,
            job_processes=job_processes,
            is_ending=lambda: self.runs_in is not None and self.runs_in.cancelling() > 0,
        )
        self._admission: Admission | None = None
        self.runs_in: asyncio.Task[Any] | None = None
        """The task of the worker; None: it does not run yet."""
        self._job_processes = job_processes
        self._isolate_suspects = isolate_suspects
        self._groups = Groups()
        self._suspect: UUID | None = None
        """The suspect that runs in this process, or is about to."""
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        """Of the worker: what a job sets in its own is not for the one that gets its slot."""
        self._attempts: dict[UUID, Attempt] = {}
        self._scheduled = False
        self._watch: asyncio.TimerHandle | None = None
        self._stopped = False
        self.has_new_room_for_suspects = False
        """Whether a suspect has ended, or the forking process has come up, since this was last set back."""
        job_processes.forking.on_up = self._room_for_suspects
        self._idle = asyncio.Event()
        self._idle.set()

    def use(self, admission: Admission) -> None:
        """Have jobs under limits give back what they hold there while they wait."""
        self._admission = admission

    @property
    def running(self) -> int:
        """Attempts that are going on."""
        return len(self._attempts)

    def imminent(self) -> int:
        """Jobs claimed and not yet started."""
        return sum(len(pool.queued) for pool in self._pools)

    def accept(self, pool: Pool, claimed: Sequence[Claimed], *, claimed_at: float) -> None:
        """Take claimed jobs in, in the order they are to run; `claimed_at`: the loop's time when their claim began."""
        self._note_waiting(pool, claimed_at)
        pool.queued.extend(claimed)
        self._accepted(pool, claimed)

    def _note_waiting(self, pool: Pool, claimed_at: float) -> None:
        if not pool.queued:
            pool.waiting_since = claimed_at

    def _accepted(self, pool: Pool, claimed: Sequence[Claimed]) -> None:
        if self._admission is not None:
            self._admission.claimed(claimed)
        if self._stopped:
            self._release(pool)
            return
        self._release_paused(pool)  # the claim may have begun before the pause, and this have heard of it first
        if self._watch is None:
            self._watch = self._loop.call_later(STALE, self._give_back_stale)
        self.schedule()

    def _give_back_stale(self) -> None:
        """Release what was claimed ahead of jobs that turn out long: it could wait for hours while other workers idle."""
        self._watch = None
        for pool in self._pools:
            if pool.queued and not pool.progressed():
                self._release(pool)
            elif pool.queued:
                self._release_unsure(pool)
        if any(pool.queued for pool in self._pools):
            self._watch = self._loop.call_later(STALE, self._give_back_stale)

    def _release_unsure(self, pool: Pool) -> None:
        """Have it looked whether what waits is paused, and release it when there has been no word of that for long."""
        unsure = self._loop.time() - max(self._pauses.known_at, pool.waiting_since)
        if unsure > UNSURE:
            self._release(pool)
        elif unsure > SURE:
            self._pauses.ask()

    def release_paused(self) -> None:
        """Release what waits and is paused by now."""
        for pool in self._pools:
            self._release_paused(pool)

    def _release_paused(self, pool: Pool) -> None:
        queues, kinds = self._pauses.queues, self._pauses.kinds
        if not queues and not kinds:
            return
        waiting = list(pool.queued)
        pool.queued.clear()
        for claimed in waiting:
            if claimed.queue in queues or claimed.kind in kinds:
                self._give_back(claimed)
            else:
                pool.queued.append(claimed)

    def _release(self, pool: Pool) -> None:
        while pool.queued:
            self._give_back(pool.queued.popleft())

    def _give_back(self, claimed: Claimed) -> None:
        # The claim of one that is not to be run has counted no attempt, and none is to be taken back.
        self._ledger.reschedule(Reschedule(claimed.id, claimed.fence, spent=bool(claimed.refused)))

    def schedule(self) -> None:
        """Start what can be started, in the loop's next turn."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._start, context=self._context)

    def _start(self) -> None:
        self._scheduled = False
        budget, end = STARTS_A_TURN, time.monotonic() + LONGEST_TURN
        for pool in self._pools:
            while pool.can_start:
                if budget == 0 or (STARTS_EAGERLY and time.monotonic() > end):
                    self.schedule()
                    return
                budget -= 1
                self._start_one(pool, pool.take_next())
            if pool.hungry and not pool.claiming and pool.wanted():
                self._on_room()

    def _start_one(self, pool: Pool, claimed: Claimed) -> None:
        if claimed.id in self._attempts:
            # Its lease was lost, and what was run of it goes on here: it is not to run beside itself.
            pool.give_back()
            self._ledger.reschedule(Reschedule(claimed.id, claimed.fence, AGAIN, spent=bool(claimed.refused)))
            return
        if not self._attempts:
            self._idle.clear()
        attempt = self._attempts[claimed.id] = Attempt(claimed, pool, self.schedule)
        if claimed.limited and self._admission is not None:
            attempt.places = self._admission.places((claimed.id, claimed.fence))
        running = self._run(attempt) if claimed.crashes < SUSPECT else self._run_suspect(attempt, self._place(claimed))
        attempt.task = begin_task(self._loop, running)

    # Suspects

    def runs_apart(self, definition: Definition) -> bool:
        """Whether a suspect of that kind runs in a process of its own, or of suspects; else here."""
        if definition.executor == "process":
            return self._job_processes.forking.available
        return (
            self._isolate_suspects
            and self._job_processes.forking.available
            and self._job_processes.forking.may_run(definition)
        )

    def room_for_suspects(self, *, apart: bool) -> int:
        """Return how many more may be claimed; here there is one at a time, beside the ordinary jobs."""
        waiting = Counter(claimed.apart for pool in self._pools for claimed in pool.queued if is_suspect(claimed))
        if not apart:
            return int(self._suspect is None and not waiting[False])
        if not self._job_processes.forking.is_up:
            # Importing takes the forking process a second or more, and those that wait for it hold slots.
            return 1 - self._groups.running - waiting[True]
        return MOST_SUSPECTS if self._groups.has_room(waiting[True]) else 0

    def accept_suspects(self, pool: Pool, claimed: Sequence[Claimed], *, claimed_at: float) -> None:
        """Take suspects in, ahead of what waits: the slots that they were claimed for may be taken by now."""
        if claimed and claimed[0].apart:
            claimed = self._groups.plan(claimed)
        self._note_waiting(pool, claimed_at)
        pool.queued.extendleft(reversed(claimed))
        self._accepted(pool, claimed)

    def _room_for_suspects(self) -> None:
        self.has_new_room_for_suspects = True
        self._on_room()

    def _place(self, claimed: Claimed) -> Group | None:
        """Take a place for a suspect that starts; return those with whom it shares a process, None where it is kept here."""
        if not claimed.apart:
            self._suspect = claimed.id
        elif not claimed.refused:
            definition = registry.find(claimed.kind)
            return self._groups.join(claimed, alone=definition is not None and definition.executor == "process")
        return None

    async def _run_suspect(self, attempt: Attempt, group: Group | None) -> None:
        try:
            await self._run(attempt, group)
        finally:
            if group is not None:
                self._groups.leave(group)
            elif self._suspect == attempt.claimed.id:
                self._suspect = None
            self._room_for_suspects()

    async def _run(self, attempt: Attempt, group: Group | None = None) -> None:
        attempt.begun = True
        if attempt.task is None:  # it starts eagerly, and nobody has it yet
            attempt.task = asyncio.current_task()
        try:
            end = await self._runner.run(attempt, group)
            if end is None and attempt.let_go:
                end = Reschedule(attempt.claimed.id, attempt.claimed.fence)
            if isinstance(end, Reschedule) and (end.crashed or end.together is not None):
                self._on_crash()
            self._ledger.end(end)
        finally:
            self._attempts.pop(attempt.claimed.id, None)
            if not self._attempts:
                self._idle.set()
            attempt.end()

    # Cancelling

    def cancel(self, attempt: Attempt, reason: CancelReason) -> None:
        """Cancel an attempt, once; one that goes on for longer than its cleanup may take is reported."""
        if attempt.cancel(reason):
            attempt.stop_timer()  # only now: asked again, as the safety poll does, the time for cleanup must go on
            attempt.timer = self._loop.call_later(self._cleanup_timeout, self._report_stuck, attempt)

    def cancel_asked(self, ids: Collection[UUID]) -> None:
        """Cancel those of `ids` that are here, as a user asked for."""
        for job_id in ids:
            if (attempt := self._attempts.get(job_id)) is not None:
                self.cancel(attempt, "user")
        for pool in self._pools:
            for place, claimed in enumerate(pool.queued):
                if claimed.id in ids:
                    pool.queued[place] = claimed._replace(refused=Refused.cancelled)

    def _report_stuck(self, attempt: Attempt) -> None:
        attempt.timer = None
        attempt.stuck = True
        logger.error(
            "%s %s is stuck: it was cancelled (%s) %g s ago and goes on; it keeps its slot and its lease until it ends",
            attempt.claimed.kind, attempt.claimed.id, attempt.cancel_reason, self._cleanup_timeout,
        )  # fmt: skip

    def stuck(self) -> list[Attempt]:
        """Return the attempts that were cancelled and go on though their time for cleanup is over; from any thread."""
        return [attempt for attempt in list(self._attempts.values()) if attempt.stuck]

    def attempt_of(self, task: asyncio.Task[Any]) -> Attempt | None:
        """Return the attempt that `task` runs, a task of the job's own aside; from any thread."""
        return next((attempt for attempt in list(self._attempts.values()) if attempt.task is task), None)

    # Stopping

    def stop(self) -> int:
        """Start no more: what was claimed is given back unspent, and running jobs are told to come to an end.

        Returns:
            How many of these wait for other jobs: they are cancelled at once.
        """
        self._stopped = True
        for pool in self._pools:
            self._release(pool)
        for attempt in self._attempts.values():
            attempt.stop()
        return sum(attempt.cancel_reason == "shutdown" for attempt in self._attempts.values())

    def cancel_all(self, reason: CancelReason) -> None:
        """Cancel every attempt: `shutdown` releases them unspent, `lease_lost` writes nothing more."""
        for attempt in list(self._attempts.values()):
            self.cancel(attempt, reason)

    def let_go(self) -> int:
        """Have nothing run here that may run elsewhere by now; unless it does, all of it is given back unspent.

        Returns:
            How many jobs are cancelled by this.
        """
        for pool in self._pools:
            self._release(pool)
        going_on = [attempt for attempt in self._attempts.values() if attempt.cancel_reason is None]
        for attempt in going_on:
            attempt.let_go = True
            self.cancel(attempt, "lease_lost")
        return len(going_on)

    def drop_waiting(self) -> None:
        """Forget what was claimed and has not started: its lease is lost."""
        for pool in self._pools:
            pool.queued.clear()

    def outlasts(self) -> bool:
        """Whether code of a job goes on here; from any thread. When the loop is closed, only threads do."""
        return bool(self._runner.in_threads or (self._attempts and not self._loop.is_closed()))

    def holds(self) -> set[UUID]:
        """Return the jobs that are here, running or about to start."""
        return {*self._attempts, *(claimed.id for pool in self._pools for claimed in pool.queued)}

    async def idle(self) -> None:
        """Wait until no attempt is going on."""
        await self._idle.wait()

    def left(self) -> list[Claimed]:
        """Return the rows of attempts that are still going on."""
        return [attempt.claimed for attempt in self._attempts.values()]


def is_suspect(claimed: Claimed) -> bool:
    """Whether a job is kept apart, until it is final."""
    return claimed.crashes >= SUSPECT
