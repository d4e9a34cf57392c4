"""The executor: it starts attempts as slots allow, one task each, and hands their ends to the ledger."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal
from uuid import UUID

from asyncjobs.db.rows import Finish, Reschedule, State
from asyncjobs.definitions import registry
from asyncjobs.definitions.definition import Definition
from asyncjobs.metrics.counting import Metrics
from asyncjobs.performing.attempt import Attempt, CancelReason
from asyncjobs.performing.exits_of_tasks import STARTS_EAGERLY, begin_task
from asyncjobs.records.claimed import Claimed, Refused
from asyncjobs.worker.job_processes.job_processes import JobProcesses
from asyncjobs.worker.job_processes.sent_outcomes import End
from asyncjobs.worker.job_processes.suspect_groups import Group, Groups
from asyncjobs.worker.limits.admission import Admission
from asyncjobs.worker.running.attempt_runner import AttemptRunner
from asyncjobs.worker.slots.pauses import SURE, UNSURE, Pauses
from asyncjobs.worker.slots.pools import Pool
from asyncjobs.worker.watching.waits import Waits
from asyncjobs.worker.writing.ledger import Ledger
from asyncjobs.worker.writing.live_writer import LiveWriter
from asyncjobs.worker.writing.step_recorder import StepWriter

logger = logging.getLogger("asyncjobs.worker")

STARTS_A_TURN, LONGEST_TURN = 64, 0.002
"""Tasks started in one turn of the loop (about 1 ms), so that urgent jobs do not wait for a whole batch; and the seconds
after which no more are started in this turn, since tasks that start eagerly may block."""
SUSPECT = 2
"""Crashes from which on a job is a suspect."""
MOST_SUSPECTS = 10_000
"""Suspects in one claim for processes of their own; the slots bound them further."""
AGAIN = 1.0
"""Seconds until a job is claimed again whose last attempt, under a lost lease, still runs here."""
STALE = 0.25
"""Seconds without a start in a pool after which its waiting jobs are given back: other workers may have free slots."""


class Executor:
    """Starts claimed jobs in the order of pools, as slots allow.

    Args:
        pools: The pools of this worker, in priority order.
        ledger: Takes the ends of attempts.
        retention: Seconds that a finished job is kept if its definition does not say.
        middleware: Runs around every job, the outermost first.
        cleanup_timeout: Seconds that a cancelled job gets for its cleanup before it is reported as stuck.
        max_interruptions: Interruptions in a row, without progress, that a job may have.
        version_grace: Seconds for which a job is given back whose arguments may be another version's.
        log_jobs: Which ends are logged; see `AttemptRunner`.
        isolate_suspects: Whether suspects run in processes of their own, too; else here, one at a time.
        job_processes: Runs attempts in processes of their own.
        writer: Writes the records of steps.
        live: Writes what jobs show.
        on_room: Called when fewer jobs wait in a pool than it could start soon.
        on_crash: Called when an attempt ended with its process.
        pauses: The pauses that this worker knows of.
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
        log_jobs: Literal["ends", "failures", "none"] = "failures",
        isolate_suspects: bool = True,
        job_processes: JobProcesses,
        writer: StepWriter,
        live: LiveWriter,
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
            log_jobs=log_jobs,
            writer=writer,
            live=live,
            job_processes=job_processes,
            is_ending=lambda: self.runs_in is not None and self.runs_in.cancelling() > 0,
        )
        self._admission: Admission | None = None
        self.runs_in: asyncio.Task[Any] | None = None
        """The task of the worker; None before it runs."""
        self._job_processes = job_processes
        self._isolate_suspects = isolate_suspects
        self._groups = Groups()
        self.metrics: Metrics | None = None
        """Told of starts and ends; None: nobody asks."""
        self.waits = Waits()
        self._suspect: UUID | None = None
        """The suspect that runs in this process, or is about to start."""
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        """The worker's context, so that no job sees context variables of the job that had its slot before."""
        self._attempts: dict[UUID, Attempt] = {}
        self._scheduled = False
        self._watch: asyncio.TimerHandle | None = None
        self._stopped = False
        self.has_new_room_for_suspects = False
        """Whether a suspect has ended, or the forking process has started, since suspects were last claimed."""
        job_processes.forking.on_up = self._room_for_suspects
        self._idle = asyncio.Event()
        self._idle.set()

    def use(self, admission: Admission) -> None:
        """Have jobs give back their places under limits while they wait for other jobs."""
        self._admission = admission

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self._attempts)

    def imminent(self) -> int:
        """Return the number of jobs that are claimed and not started."""
        return sum(len(pool.queued) for pool in self._pools)

    def accept(self, pool: Pool, claimed: Sequence[Claimed], *, claimed_at: float) -> None:
        """Take in claimed jobs, in the order they are to run; `claimed_at` is the loop's time when their claim began."""
        self._note_waiting(pool, claimed_at)
        pool.queued.extend(claimed)
        self._accepted(pool, claimed)

    def _note_waiting(self, pool: Pool, claimed_at: float) -> None:
        if not pool.queued:
            pool.waiting_since = claimed_at

    def _accepted(self, pool: Pool, claimed: Sequence[Claimed]) -> None:
        if self._admission is not None:
            self._admission.claimed(claimed)
        self.waits.note_claim(claimed)
        if self._stopped:
            self._release(pool)
            return
        self._release_paused(pool)  # the claim may have begun before a pause that this worker knows of by now
        if self._watch is None:
            self._watch = self._loop.call_later(STALE, self._give_back_stale)
        self.schedule()

    def _give_back_stale(self) -> None:
        """Give back jobs that were claimed ahead and wait behind long ones: they could wait for hours while others idle."""
        self._watch = None
        for pool in self._pools:
            if pool.queued and not pool.progressed():
                self._release(pool)
            elif pool.queued:
                self._release_unsure(pool)
        if any(pool.queued for pool in self._pools):
            self._watch = self._loop.call_later(STALE, self._give_back_stale)

    def _release_unsure(self, pool: Pool) -> None:
        """Have the pauses read for waiting jobs, and give the jobs back when the pauses were not read for too long."""
        unsure = self._loop.time() - max(self._pauses.known_at, pool.waiting_since)
        if unsure > UNSURE:
            self._release(pool)
        elif unsure > SURE:
            self._pauses.ask()

    def release_paused(self) -> None:
        """Give back waiting jobs that are paused."""
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
        # The claim of a refused job has counted no attempt; `spent` says that none is to be taken back.
        self._ledger.reschedule(Reschedule(claimed.id, claimed.fence, spent=bool(claimed.refused)))

    def schedule(self) -> None:
        """Start waiting jobs in the loop's next turn, as slots allow."""
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
            if pool.may_have_more and not pool.claiming and pool.wanted():
                self._on_room()

    def _start_one(self, pool: Pool, claimed: Claimed) -> None:
        if claimed.id in self._attempts:
            # An attempt of it under a lost lease still runs here: a job must not run beside itself.
            pool.give_back()
            self._ledger.reschedule(Reschedule(claimed.id, claimed.fence, AGAIN, spent=bool(claimed.refused)))
            return
        if not self._attempts:
            self._idle.clear()
        attempt = self._attempts[claimed.id] = Attempt(claimed, pool, self.schedule)
        if claimed.limited and self._admission is not None:
            attempt.places = self._admission.places((claimed.id, claimed.fence))
        running = self._run(attempt) if claimed.crashes < SUSPECT else self._run_suspect(attempt, self._place(claimed))
        begin_task(self._loop, running, claimed.kind)  # the loop holds it until it begins, the attempt until it ends

    # Suspects

    def runs_apart(self, definition: Definition) -> bool:
        """Whether a suspect of that kind runs in a process of its own or of its group; else it runs here."""
        if definition.executor == "process":
            return self._job_processes.forking.available
        return (
            self._isolate_suspects
            and self._job_processes.forking.available
            and self._job_processes.forking.may_run(definition)
        )

    def room_for_suspects(self, *, apart: bool) -> int:
        """Return how many more suspects may be claimed; in this process one at a time runs beside the ordinary jobs."""
        waiting = Counter(claimed.apart for pool in self._pools for claimed in pool.queued if is_suspect(claimed))
        if not apart:
            return int(self._suspect is None and not waiting[False])
        if not self._job_processes.forking.is_up:
            # Until the forking process has imported its modules, for a second or more, waiting suspects hold slots.
            return 1 - self._groups.running - waiting[True]
        return MOST_SUSPECTS if self._groups.has_room(waiting[True]) else 0

    def accept_suspects(self, pool: Pool, claimed: Sequence[Claimed], *, claimed_at: float) -> None:
        """Take in suspects ahead of waiting jobs: the slots that they were claimed for may be taken by now."""
        if claimed and claimed[0].apart:
            claimed = self._groups.plan(claimed)
        self._note_waiting(pool, claimed_at)
        pool.queued.extendleft(reversed(claimed))
        self._accepted(pool, claimed)

    def _room_for_suspects(self) -> None:
        self.has_new_room_for_suspects = True
        self._on_room()

    def _place(self, claimed: Claimed) -> Group | None:
        """Take a place for a suspect that starts; return its group, None when it runs in this process."""
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
        attempt.task = asyncio.current_task()
        counts = None if self.metrics is None else self.metrics.row(attempt.claimed.kind, attempt.claimed.queue)
        begun = 0.0 if counts is None else counts.start(attempt.claimed.waited)
        try:
            end = await self._runner.run(attempt, group)
            if counts is not None:
                counts.end(begun, outcome_of(end))
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
        """Cancel an attempt, once; report it as stuck if it still runs when its time for cleanup is over."""
        if attempt.cancel(reason):
            attempt.stop_timer()  # only if it was cancelled now: asked again, the time for cleanup must go on
            attempt.timer = self._loop.call_later(self._cleanup_timeout, self._report_stuck, attempt)

    def cancel_asked(self, ids: Collection[UUID]) -> None:
        """Cancel jobs of this worker, as a user has asked."""
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
            attempt.claimed.kind,
            attempt.claimed.id,
            attempt.cancel_reason,
            self._cleanup_timeout,
        )

    def stuck(self) -> list[Attempt]:
        """Return the attempts that were cancelled and still run after their time for cleanup; from any thread."""
        return [attempt for attempt in list(self._attempts.values()) if attempt.stuck]

    def attempt_of(self, task: asyncio.Task[Any]) -> Attempt | None:
        """Return the attempt whose task is `task`, not one that a job has started; from any thread."""
        return next((attempt for attempt in list(self._attempts.values()) if attempt.task is task), None)

    # Stopping

    def stop(self) -> int:
        """Start no more jobs: waiting ones are given back unspent, running ones are told to stop.

        Returns:
            The number of running jobs that wait for other jobs; they are cancelled at once.
        """
        self._stopped = True
        for pool in self._pools:
            self._release(pool)
        for attempt in self._attempts.values():
            attempt.stop()
        return sum(attempt.cancel_reason == "shutdown" for attempt in self._attempts.values())

    def cancel_all(self, reason: CancelReason) -> None:
        """Cancel every attempt: for `shutdown` they are given back unspent, for `lease_lost` nothing more is written."""
        for attempt in list(self._attempts.values()):
            self.cancel(attempt, reason)

    def let_go(self) -> int:
        """Cancel every attempt that may run elsewhere by now; if it does not, it is given back unspent.

        Returns:
            The number of jobs that this has cancelled.
        """
        for pool in self._pools:
            self._release(pool)
        going_on = [attempt for attempt in self._attempts.values() if attempt.cancel_reason is None]
        for attempt in going_on:
            attempt.let_go = True
            self.cancel(attempt, "lease_lost")
        return len(going_on)

    def drop_waiting(self) -> None:
        """Forget jobs that have not started: the lease is lost."""
        for pool in self._pools:
            pool.queued.clear()

    def outlasts(self) -> bool:
        """Whether code of a job still runs here; when the loop is closed, only threads count. From any thread."""
        return bool(self._runner.in_threads or (self._attempts and not self._loop.is_closed()))

    def holds(self) -> set[UUID]:
        """Return the jobs of this worker, running or waiting to start."""
        return {*self._attempts, *(claimed.id for pool in self._pools for claimed in pool.queued)}

    async def idle(self) -> None:
        """Wait until no attempt is under way."""
        await self._idle.wait()

    def close(self) -> None:
        """Log what was only counted, since nothing more ends here."""
        self._runner.close()

    def left(self) -> list[Claimed]:
        """Return the claimed rows of attempts under way."""
        return [attempt.claimed for attempt in self._attempts.values()]


_OF_STATE = {state.value: state.name for state in State}


def outcome_of(end: End) -> str:
    """Return the outcome of an attempt, as metrics name it."""
    if end is None:
        return "lost"
    if isinstance(end, Finish):
        return _OF_STATE[end.state]
    if end.crashed or end.together is not None:
        return "crashed"
    return "released" if end.error is None else "retried"


def is_suspect(claimed: Claimed) -> bool:
    """Whether a job is a suspect; it is one until it is final."""
    return claimed.crashes >= SUSPECT
