"""`perform_now`: a job run in the calling task, through the same code that a worker uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asyncjobs.exceptions import JobCancelled, JobDiscarded, NotOpen
from asyncjobs.failing.control_exceptions import Interrupted
from asyncjobs.failing.deciding import What, said_by
from asyncjobs.jobs.labelling import stored_labels
from asyncjobs.performing import open_clients, running_job
from asyncjobs.performing.attempt import Attempt, E
from asyncjobs.performing.awaited_results import result_of
from asyncjobs.performing.calls import ENQUEUE
from asyncjobs.performing.context_variables import Inside
from asyncjobs.performing.job_value import JobValue
from asyncjobs.performing.lifecycle import Lifecycle
from asyncjobs.performing.memory_recorder import MemoryRecorder
from asyncjobs.records.claimed import Claimed
from asyncjobs.values import codec
from asyncjobs.values.previous import check_known

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import CancelReason

_warned_of: set[str] = set()


class _NoSlots:
    """The slots of a process that is no worker."""

    def give_back(self) -> None: ...

    async def take_slot(self) -> None: ...

    def take_slot_at_once(self) -> None: ...


class _Nested(Attempt):
    """The attempt of a job that `perform_now` runs, in the caller's task.

    Args:
        claimed: In place of a claimed row.
        outer: The calling job's attempt, whose slot this one uses and with which it ends; None: no job called.
    """

    _stopping = False

    def __init__(self, claimed: Claimed, outer: Attempt | None) -> None:
        super().__init__(claimed, _NoSlots())
        self._outer = outer
        self._asked = 0

    @property
    def row(self) -> tuple[UUID, int] | None:
        return None if self._outer is None else self._outer.row

    @property
    def showing(self) -> Attempt | None:
        return None if self._outer is None else self._outer.showing

    @property
    def outermost(self) -> Attempt | None:
        return None if self._outer is None else self._outer.outermost

    @property
    def stopping(self) -> bool:
        return self._stopping or (self._outer is not None and self._outer.stopping)

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self._stopping = stopping

    @property
    def seen_reason(self) -> CancelReason | None:
        return self.cancel_reason or (None if self._outer is None else self._outer.seen_reason)

    @property
    def is_over(self) -> bool:
        return self.ended_by is not None or self.seen_reason is not None

    def run_in(self, task: asyncio.Task[Any] | None) -> None:
        """Run in the caller's task; cancellations that were asked for before do not count for this run."""
        self.task, self._asked = task, 0 if task is None else task.cancelling()

    def let_out(self, error: BaseException) -> None:
        """Raise a cancellation or an exit, which belongs to the caller; only the attempt's own timeout ends the run."""
        if isinstance(error, Exception) or said_by(error) is not None:
            return
        is_late = isinstance(error, asyncio.CancelledError) and self.cancel_reason == "timeout"
        if not is_late or (self.task is not None and self.task.cancelling() > self._asked):
            raise error

    def end_by(self, error: E) -> E:
        """Have the run end by an error; an interruption ends the calling job's run, too."""
        if self._outer is not None and isinstance(error, Interrupted):
            self._outer.end_by(error)
        return super().end_by(error)

    def give_slot_back(self) -> None:
        if self._outer is not None:
            self._outer.give_slot_back()

    async def take_slot(self) -> None:
        if self._outer is not None:
            await self._outer.take_slot()


async def perform_now(job: JobValue) -> Any:
    """Run a job in the calling task; see `Job.perform_now`."""
    definition = job._definition
    check_known(job)
    recorder = MemoryRecorder()
    lifecycle = Lifecycle(
        middleware=open_clients.middleware(),
        recorders=recorder,
        max_interruptions=None,
        version_grace=None,
        in_worker=False,
        warned_of=_warned_of,
    )
    around = running_job.running.get()
    claimed = Claimed(
        pool=0, range=0, priority=job.priority, seq=0, id=job.id, fence=0, attempt=1, kind=definition.kind,
        queue=job.queue, args=job._stored_arguments(), labels=stored_labels(job),
    )  # fmt: skip
    while True:
        attempt = _Nested(claimed, None if around is None else around._attempt)
        attempt.run_in(asyncio.current_task())
        try:
            outcome = await Inside(lifecycle.run(attempt, definition))
        finally:
            attempt.end()
        match outcome.what:
            case What.succeed:
                if outcome.then is not None:
                    await open_clients.current().enqueue_prepared(outcome.then)
                return definition.result.load(outcome.result)
            case What.retry:
                claimed = claimed._replace(
                    attempt=claimed.attempt + 1,
                    counts=claimed.counts if outcome.counts is None else codec.dumps(outcome.counts),
                    progress=recorder.progress,
                )
                await asyncio.sleep(0)  # a job that awaits nothing would run for ever, and nobody could cancel it
            case What.snooze:
                if not job._sent:  # else a worker runs its row anyway, at a time of its own
                    job._delay(outcome.wait)
                    await open_clients.current(ENQUEUE).enqueue(job)
                return await result_of(job, None)
            case What.park:
                try:
                    client = open_clients.current()
                except NotOpen as error:
                    error.add_note(
                        f"{job.kind} sleeps or waits for an event: perform_now needs an open AsyncJobs, to hand it on"
                    )
                    raise
                await client.adopt(job, recorder.attributes, recorder.records)
                return await result_of(job, None)
            case What.release if outcome.cause is not None:
                raise outcome.cause  # an interruption, which ends the calling job's run, too
            case What.discard:
                raise JobDiscarded(job_id=job.id, kind=job.kind, reason=outcome.reason or "") from outcome.cause
            case What.cancel:
                raise JobCancelled(job_id=job.id, kind=job.kind, reason=outcome.reason or "") from outcome.cause
            case What.fail if outcome.error is not None:
                raise outcome.error
            case _:
                return None
