"""Running other jobs as a step: enqueued once, and awaited, whatever ends the run in between.

What is recorded: first their ids, kinds and fingerprints, durable before the first is enqueued; then that all are enqueued;
then how each has ended, as it ends. So what has ended is neither enqueued nor asked for again, however long ago it was.
Until it is recorded that they were enqueued, a run that goes on enqueues those that have no row. By then none can have ended
so long ago that its row was dropped: the word follows the enqueueing at once, and a row is kept for its day at least.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Awaitable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from asyncjobs.defining import codec, open_clients
from asyncjobs.defining.child import Child, fingerprint
from asyncjobs.defining.uncut import uncut
from asyncjobs.exceptions import (
    AsyncJobsError,
    AwaitCycle,
    DatabaseUnavailable,
    EnqueueOutcomeUnknown,
    InvalidOption,
    InvalidStep,
    JobError,
    JobNotFound,
)

if TYPE_CHECKING:
    from asyncjobs.defining.attempt import Attempt
    from asyncjobs.defining.base import Job

LEAST_PAUSE = 0.25
"""Seconds between two records of who has ended."""
PAUSE_FOR_WRITE = 20
"""How many times as long as a record took to write, at least: what is written grows with each, and is all written again."""
PAUSE_AFTER_ERROR = 0.5
"""Seconds until children are enqueued again for which the database had no answer."""


class Place(Protocol):
    """Where the run of one step is recorded."""

    job: Job[Any]
    """Whose step it is."""
    attempt: Attempt
    """The run of it that is going on."""
    recorded: str | None
    """What earlier attempts have recorded; None: nothing."""
    is_last: bool
    """Whether no step after it is recorded."""
    children: str
    """What was recorded last."""

    def record_children(self, children: str) -> Awaitable[None]:
        """Have it recorded; done when it is durable, and written whether or not anybody waits."""


class FanOut:
    """The code of a step that runs other jobs and returns the JSON of each one's result.

    Args:
        jobs: To be run.
        detached: Whether they are left alone when the parent is cancelled.

    Raises:
        InvalidOption: One is no job.
    """

    def __init__(self, jobs: Sequence[Job[Any]], *, detached: bool) -> None:
        for job in jobs:
            if isinstance(job, type) or not hasattr(job, "_sent"):
                raise InvalidOption(
                    f"run: {type(job).__name__} is no job: give the jobs one by one, `run(name, *jobs)`"
                )
        self._jobs = jobs
        self._detached = detached
        self._recorded: list[Child] = []
        """In the order in which they were given first."""
        self._given: list[Child] = []
        """In the order in which they are given now."""
        self._enqueued = False
        self._raised: int | None = None
        self._recording: asyncio.Future[None] | None = None
        """What nobody waits for is held here, for as long as it takes."""

    async def __call__(self, place: Place) -> list[str | None]:
        """Run them.

        Raises:
            InvalidStep: They are not those that are recorded.
            JobFailed, JobDiscarded, JobCancelled: One ended so; the others have ended too.
            JobNotFound: The row of one is gone, and nobody has seen how it ended.
            AwaitCycle: One waits for this job, perhaps through others.
        """
        own = place.job.id
        if any(job._id == own for job in self._jobs):
            raise AwaitCycle([(own, place.job.kind)])
        if place.recorded is None:
            self._recorded = self._given = [Child(job.id, job.kind, fingerprint(job)) for job in self._jobs]
            await place.record_children(self._text())
        else:
            await self._recognise(place.job.kind, place.recorded)
        try:
            await self._enqueue(place)
            await self._reopen(place)
            await self._await(place)
        except BaseException as error:
            self._record(place)
            if isinstance(error, asyncio.CancelledError) and place.job.cancel_reason == "user" and not self._detached:
                await self._cancel(place.job)
            raise
        if (failed := self._worst()) is not None:
            self._raised = place.attempt.number
            await place.record_children(self._text())
            raise failed
        place.children = self._text()
        return self._results()

    async def replay(self, kind: str, recorded: str) -> list[str | None]:
        """Return the results of a run that was completed.

        Raises:
            InvalidStep: It was of other jobs.
        """
        await self._recognise(kind, recorded)
        return self._results()

    def _record(self, place: Place) -> None:
        """Have recorded what is known by now, without waiting for that."""
        self._recording = asyncio.ensure_future(place.record_children(self._text()))

    def _results(self) -> list[str | None]:
        for job in self._jobs:
            job._state = "succeeded"
        return [None if child.result is None else codec.dumps(child.result) for child in self._given]

    def _text(self) -> str:
        said: dict[str, Any] = {"jobs": [child.stored() for child in self._recorded]}
        if self._enqueued:
            said["enqueued"] = True
        if self._detached:
            said["detached"] = True
        if self._raised is not None:
            said["raised"] = self._raised
        return codec.dumps(said)

    # Who is who

    async def _recognise(self, kind: str, recorded: str) -> None:
        """Have jobs made again be those that were made before, by kind and arguments; equal ones in their order."""
        stored = codec.loads(recorded)
        self._recorded = [Child.read(one) for one in stored["jobs"]]
        self._enqueued = stored.get("enqueued", False)
        self._raised = stored.get("raised")
        free: defaultdict[str, deque[Child]] = defaultdict(deque)
        for child in self._recorded:
            free[child.of].append(child)
        found = [self._taken(free, job) for job in self._jobs]
        if None in found and any(free.values()):
            # Stored by another version of the code, perhaps: what counts is what this one makes of it.
            await _read_again([child for left in free.values() for child in left], free)
            found = [child or self._taken(free, job) for child, job in zip(found, self._jobs, strict=True)]
        left = [child for children in free.values() for child in children]
        self._given = [child for child in found if child is not None]
        if len(self._given) < len(found) or left:
            new = [job for job, child in zip(self._jobs, found, strict=True) if child is None]
            raise InvalidStep(self._refusal(kind, new, left))
        for job, child in zip(self._jobs, self._given, strict=True):
            job._id, job._sent = child.id, True

    def _taken(self, free: dict[str, deque[Child]], job: Job[Any]) -> Child | None:
        children = free.get(fingerprint(job))
        return children.popleft() if children else None

    def _refusal(self, kind: str, new: Sequence[Job[Any]], left: Sequence[Child]) -> str:
        said = [f"{kind}: the step runs {_counted(len(self._jobs))}, and was recorded with {len(self._recorded)}"]
        if left:
            said.append(f"recorded, and not given now: {_few([f'{child.kind} {child.id}' for child in left])}")
        if new:
            said.append(f"given now, and not recorded with these arguments: {_few([job.kind for job in new])}")
        return (
            f"{'; '.join(said)}. Give the same jobs on every attempt, in any order; or run this step again, with new ones: "
            "asyncjobs jobs retry ID --from STEP"
        )

    # Their way

    async def _enqueue(self, place: Place) -> None:
        """Enqueue them, unless that is known to be done; a run that is cancelled meanwhile leaves none on its way."""
        if self._enqueued:
            return
        await uncut(self._insist(place.job))
        self._enqueued = True
        self._record(place)

    async def _insist(self, parent: Job[Any]) -> None:
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

    async def _reopen(self, place: Place) -> None:
        """Have those run again that did not succeed, once the attempt has failed for it; by now they may go on anyway.

        If the code went on after the failure, that stands: it may have gone another way.
        """
        unsuccessful = [child for child in self._recorded if child.state not in (None, "succeeded")]
        if not unsuccessful or not place.is_last:
            for child in unsuccessful:
                child.error = child.made_error()
            return
        client = open_clients.current()
        states = await client.states([child.id for child in unsuccessful])
        failed = sorted(child.id for child in unsuccessful if states.get(child.id) == "failed")
        if failed and self._raised is not None and self._raised < place.attempt.number:
            await client.retry(failed)
        for child in unsuccessful:
            if child.id in states:
                child.forget_end()
            else:
                child.error = child.made_error()  # its row is gone: nothing can run it again
        self._raised = None
        self._record(place)

    async def _await(self, place: Place) -> None:
        """Wait for all, and record who has ended."""
        loop = asyncio.get_running_loop()
        left: Collection[asyncio.Task[None]] = {
            loop.create_task(_ended(job, child))
            for job, child in zip(self._jobs, self._given, strict=True)
            if child.state is None and child.error is None
        }
        if not left:
            return
        place.attempt.give_slot_back()
        try:
            pause = 0.0
            while left:
                # All that end within the pause are recorded together.
                if pause:
                    await asyncio.wait(left, timeout=pause)
                ended, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
                if left:
                    began = loop.time()
                    await place.record_children(self._text())
                    pause = max(LEAST_PAUSE, PAUSE_FOR_WRITE * (loop.time() - began))
        finally:
            for task in left:
                task.cancel()
            await place.attempt.take_slot()

    def _worst(self) -> AsyncJobsError | None:
        """Return what the step raises: of several errors one that no retry of the parent can help."""
        errors = [child.error for child in self._given if child.error is not None]
        if not errors:
            return None
        error = next((error for error in errors if error._recorded), errors[0])
        if len(errors) > 1:
            error.add_note(f"run: {len(errors)} of {len(self._given)} jobs did not succeed")
        return error

    async def _cancel(self, parent: Job[Any]) -> None:
        """Cancel those that were enqueued after the parent's cancellation had looked for them."""
        ids = sorted(child.id for child in self._recorded if child.state is None)
        with contextlib.suppress(AsyncJobsError):  # the parent ends as cancelled whatever becomes of this
            await open_clients.current().cancel_all(ids, f"its parent {parent.kind} {parent.id} was cancelled")


async def _ended(job: Job[Any], child: Child) -> None:
    """Wait until a job is final, and keep how it ended."""
    try:
        result = await open_clients.current().ended(job)
    except JobError as error:
        child.failed(error)
    except (JobNotFound, AwaitCycle) as error:
        error._recorded = True
        child.error = error
    else:
        child.state, child.result = "succeeded", None if result is None else codec.loads(result)


async def _read_again(children: Sequence[Child], free: dict[str, deque[Child]]) -> None:
    """Put children under the fingerprints that they have as this code reads them; those whose rows are gone stay."""
    client = open_clients.current()
    for child in children:
        try:
            again = fingerprint(await client.get(child.id))
        except AsyncJobsError:
            continue
        if again != child.of:
            free[child.of].remove(child)
            child.of = again
            free.setdefault(again, deque()).append(child)


def _counted(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
