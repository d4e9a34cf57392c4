"""A step that runs other jobs: they are enqueued once, and awaited, whatever ends the run in between.

Recorded are, one after the other: their ids, kinds and fingerprints, before the first is enqueued; that all are enqueued;
how each has ended. So a job that has ended is neither enqueued nor asked for again, however long ago it ended. Until it is
recorded that they were enqueued, a run that goes on enqueues the jobs that have no row. None of them can have ended so long
ago that its row was dropped, since that record follows the enqueueing at once, and a row is kept for a day at least.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from asyncjobs.exceptions import (
    AsyncJobsError,
    AwaitCycle,
    DatabaseUnavailable,
    EnqueueOutcomeUnknown,
    InvalidOption,
    JobError,
    JobNotFound,
)
from asyncjobs.performing import open_clients
from asyncjobs.performing.child_job import ChildJob
from asyncjobs.performing.child_jobs import Children
from asyncjobs.performing.job_value import JobValue
from asyncjobs.tasks.shielding import shielded
from asyncjobs.values import codec

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt

LEAST_PAUSE = 0.25
"""Seconds between two records of jobs that have ended."""
PAUSE_FOR_WRITE = 20
"""The pause as a multiple of the time that the last record took: records grow with each end, and are written whole."""
PAUSE_AFTER_ERROR = 0.5
"""Seconds before enqueueing again after the database gave no answer."""


class Place(Protocol):
    """The record of one run of the step."""

    job: JobValue
    """The job that runs the step."""
    attempt: Attempt
    """The job's running attempt."""
    recorded: str | None
    """The record of earlier attempts; None: there is none."""
    is_last: bool
    """Whether no later step is recorded."""
    children: str
    """The record for the end of the step."""

    def record_children(self, children: str) -> Awaitable[None]:
        """Write a record; done when it is durable, and written whether or not somebody waits."""


class FanOut:
    """The code of a step that runs other jobs and returns the JSON of their results.

    Args:
        detached: Whether the jobs are left alone when the parent is cancelled.

    Raises:
        InvalidOption: An argument is no job.
    """

    def __init__(self, jobs: Sequence[JobValue], *, detached: bool) -> None:
        for job in jobs:
            if not isinstance(job, JobValue):
                raise InvalidOption(
                    f"run: {type(job).__name__} is no job: give the jobs one by one, `run(name, *jobs)`"
                )
            job._made_at = None  # a child that is recorded as ended is not enqueued again, and needs no warning
        self._jobs = jobs
        self._detached = detached
        self._recording: asyncio.Future[None] | None = None
        """Kept, so that a write that nobody awaits is not garbage collected."""

    async def __call__(self, place: Place) -> list[str | None]:
        """Run the jobs.

        Raises:
            InvalidStep: The jobs are not the recorded ones.
            JobFailed, JobDiscarded, JobCancelled: A job ended so; the others have ended too.
            JobNotFound: The row of a job is gone, and how it ended is not known.
            AwaitCycle: A job waits for this one, perhaps through others.
        """
        children = await self._begin(place)
        try:
            await self._enqueue(place, children)
            await self._reopen(place, children)
            await self._await(place, children)
        except BaseException as error:
            self._record(place, children)
            if isinstance(error, asyncio.CancelledError) and place.job.cancel_reason == "user" and not self._detached:
                await _cancel(place.job, children)
            raise
        if (failed := children.worst()) is not None:
            children.raised = place.attempt.number
            await place.record_children(children.text())
            raise failed
        place.children = children.text()
        return self._results(children)

    async def replay(self, kind: str, recorded: str) -> list[str | None]:
        """Return the recorded results of a step that was completed.

        Raises:
            InvalidStep: The jobs are not the recorded ones.
        """
        return self._results(await Children.recognise(recorded, self._jobs, open_clients.current().get, kind=kind))

    async def _begin(self, place: Place) -> Children:
        parent = place.job
        if any(job._id == parent.id for job in self._jobs):
            raise AwaitCycle([(parent.id, parent.kind)])
        if place.recorded is None:
            children = Children.of(self._jobs, detached=self._detached)
            await place.record_children(children.text())
            return children
        return await Children.recognise(
            place.recorded, self._jobs, open_clients.current().get, kind=parent.kind, detached=self._detached
        )

    def _record(self, place: Place, children: Children) -> None:
        """Write the record without waiting for it."""
        self._recording = asyncio.ensure_future(place.record_children(children.text()))

    def _results(self, children: Children) -> list[str | None]:
        for job in self._jobs:
            job._state = "succeeded"
        return children.results()

    async def _enqueue(self, place: Place, children: Children) -> None:
        """Enqueue the jobs, unless that is recorded; a cancellation waits until it is done."""
        if children.enqueued:
            return
        await shielded(self._enqueue_until_answered(place.job))
        children.enqueued = True
        self._record(place, children)

    async def _enqueue_until_answered(self, parent: JobValue) -> None:
        client = open_clients.current()
        while True:
            try:
                if len(self._jobs) == 1:
                    await client.enqueue(self._jobs[0])
                else:
                    await client.enqueue_all(self._jobs)
            except (EnqueueOutcomeUnknown, DatabaseUnavailable):
                if parent.cancel_reason is not None:
                    raise
                await asyncio.sleep(PAUSE_AFTER_ERROR)
            else:
                return

    async def _reopen(self, place: Place, children: Children) -> None:
        """Retry the jobs that failed and made the attempt fail, and the jobs that were cancelled with the parent.

        If the code went on after the failure, the jobs stay as they are: the code may have gone another way.
        """
        known = [child for child in children.recorded if child.state not in (None, "succeeded")]
        left = [child for child in children.recorded if child.state != "succeeded"]
        if place.recorded is None or not left:
            return
        if known and not place.is_last:
            for child in known:
                child.error = child.made_error()
            return
        client = open_clients.current()
        states = await client.states([child.id for child in left])
        raised_before = children.raised is not None and children.raised < place.attempt.number
        again = [
            job_id
            for job_id, (state, reason) in states.items()
            if (state == "failed" and raised_before) or (state == "cancelled" and _was_with(place.job, reason))
        ]
        if again:
            await client.retry(sorted(again))
        for child in known:
            if child.id in states:
                child.forget_end()
            else:
                child.error = child.made_error()  # its row is gone, so it cannot run again
        if known:
            children.raised = None
            self._record(place, children)

    async def _await(self, place: Place, children: Children) -> None:
        """Wait for all, and record how each has ended."""
        loop = asyncio.get_running_loop()
        left: Collection[asyncio.Task[None]]
        left = tasks = {
            loop.create_task(_ended(job, child))
            for job, child in zip(self._jobs, children.given, strict=True)
            if child.state is None and child.error is None
        }
        if not left:
            return
        place.attempt.give_slot_back()
        try:
            pause = 0.0
            while left:
                if pause:  # jobs that end meanwhile are recorded together
                    await asyncio.wait(left, timeout=pause)
                ended, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
                if left:
                    began = loop.time()
                    await place.record_children(children.text())
                    pause = max(LEAST_PAUSE, PAUSE_FOR_WRITE * (loop.time() - began))
        finally:
            for task in tasks:
                if not task.cancel() and not task.cancelled():
                    task.exception()  # marks it as seen: when the client is closed, all tasks have the same error
            await place.attempt.take_slot()


async def _ended(job: JobValue, child: ChildJob) -> None:
    """Wait until a job is final, and note how it ended."""
    try:
        result = await open_clients.current().ended(job)
    except JobError as error:
        child.failed(error)
    except (JobNotFound, AwaitCycle) as error:
        error._recorded = True
        child.error = error
    else:
        child.state, child.result = "succeeded", None if result is None else codec.loads(result)


async def _cancel(parent: JobValue, children: Children) -> None:
    """Cancel the jobs that were enqueued too late to be cancelled with the parent."""
    ids = sorted(child.id for child in children.recorded if child.state is None)
    with contextlib.suppress(AsyncJobsError):  # the parent ends as cancelled in any case
        await open_clients.current().cancel_all(ids, f"its parent {parent.kind} {parent.id} was cancelled")


def _was_with(parent: JobValue, reason: str) -> bool:
    """Whether a job was cancelled with its parent; the parent was retried since, as it runs."""
    return reason.startswith("its parent ") and f" {parent.id} was cancelled" in reason
