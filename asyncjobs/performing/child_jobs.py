"""Children: the jobs that a step runs, as recorded, and matched again with the jobs that a later attempt makes."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self
from uuid import UUID

from asyncjobs.exceptions import AsyncJobsError, InvalidStep
from asyncjobs.performing.child_job import ChildJob, fingerprint
from asyncjobs.performing.job_value import JobValue
from asyncjobs.values import codec

NAMED = 3
"""Jobs that a message names."""

Read = Callable[[UUID], Awaitable[JobValue]]
"""Returns a stored job, as the running code reads it."""


class Children:
    """The jobs that one step runs, as recorded.

    Attributes:
        recorded: In the order in which they were first given.
        given: In the order in which this attempt gives them.
        enqueued: Whether all were enqueued.
        detached: Whether they are left alone when the parent is cancelled.
        raised: The attempt of the parent in which the step failed because some of them did.
    """

    def __init__(self, recorded: list[ChildJob], *, detached: bool) -> None:
        self.recorded = self.given = recorded
        self.enqueued = False
        self.detached = detached
        self.raised: int | None = None

    @classmethod
    def of(cls, jobs: Sequence[JobValue], *, detached: bool) -> Self:
        """Return the children of a step that runs for the first time."""
        return cls([ChildJob(job.id, job.kind, fingerprint(job)) for job in jobs], detached=detached)

    @classmethod
    async def recognise(
        cls, text: str, jobs: Sequence[JobValue], read: Read, *, kind: str, detached: bool = False
    ) -> Self:
        """Return the recorded children of a step, matched with `jobs` by kind and arguments, equal ones in order.

        Args:
            text: The record.
            jobs: The jobs that this attempt has made.
            read: Reads recorded children that match no job: other code may have stored their arguments.
            kind: The parent's, for messages.
            detached: As this attempt says.

        Raises:
            InvalidStep: The jobs are not the recorded ones.
        """
        stored = codec.loads(text)
        self = cls([ChildJob.read(one) for one in stored["jobs"]], detached=detached)
        self.enqueued, self.raised = stored.get("enqueued", False), stored.get("raised")
        free: defaultdict[str, deque[ChildJob]] = defaultdict(deque)
        for child in self.recorded:
            free[child.of].append(child)
        found = [_taken(free, job) for job in jobs]
        if None in found and any(free.values()):
            await _read_again([child for left in free.values() for child in left], free, read)
            found = [child or _taken(free, job) for child, job in zip(found, jobs, strict=True)]
        left = [child for children in free.values() for child in children]
        self.given = [child for child in found if child is not None]
        if left or len(self.given) < len(jobs):
            new = [job for job, child in zip(jobs, found, strict=True) if child is None]
            raise InvalidStep(self._refusal(kind, len(jobs), new, left))
        for job, child in zip(jobs, self.given, strict=True):
            job._id, job._sent = child.id, True  # perhaps: its row is looked for before one is made
        return self

    def _refusal(self, kind: str, number: int, new: Sequence[JobValue], left: Sequence[ChildJob]) -> str:
        jobs = "1 job" if number == 1 else f"{number} jobs"
        said = [f"{kind}: the step runs {jobs}, and was recorded with {len(self.recorded)}"]
        if left:
            said.append(f"recorded, and not given now: {_few([f'{child.kind} {child.id}' for child in left])}")
        if new:
            said.append(f"given now, and not recorded with these arguments: {_few([job.kind for job in new])}")
        return (
            f"{'; '.join(said)}. Give the same jobs on every attempt, in any order; or run this step again, with new ones: "
            "asyncjobs jobs retry ID --from STEP"
        )

    def text(self) -> str:
        """Return the record."""
        said: dict[str, Any] = {"jobs": [child.stored() for child in self.recorded]}
        if self.enqueued:
            said["enqueued"] = True
        if self.detached:
            said["detached"] = True
        if self.raised is not None:
            said["raised"] = self.raised
        return codec.dumps(said)

    def results(self) -> list[str | None]:
        """Return the JSON of each result, in the order in which this attempt gives the jobs."""
        return [None if child.result is None else codec.dumps(child.result) for child in self.given]

    def worst(self) -> AsyncJobsError | None:
        """Return the error that the step raises, first one that no retry of the parent can help; None: there is none."""
        errors = [child.error for child in self.given if child.error is not None]
        if not errors:
            return None
        error = next((error for error in errors if error._recorded), errors[0])
        if len(errors) > 1:
            error.add_note(f"run: {len(errors)} of {len(self.given)} jobs did not succeed")
        return error


def _taken(free: dict[str, deque[ChildJob]], job: JobValue) -> ChildJob | None:
    children = free.get(fingerprint(job))
    return children.popleft() if children else None


async def _read_again(children: Sequence[ChildJob], free: defaultdict[str, deque[ChildJob]], read: Read) -> None:
    """Put children under the fingerprints that this code gives them; children whose rows are gone stay as they are."""
    for child in children:
        try:
            again = fingerprint(await read(child.id))
        except AsyncJobsError:
            continue
        free[child.of].remove(child)
        child.of = again
        free[again].append(child)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
