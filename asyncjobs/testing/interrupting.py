"""Interruptions: a run is ended inside or after a step as if its worker were stopping."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Self, cast
from uuid import UUID

from asyncjobs.client.statuses import definition_of
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.job import Job
from asyncjobs.performing import running_job
from asyncjobs.testing.cuts import Watch

if TYPE_CHECKING:
    from asyncjobs.performing.stepping import Stepper
    from asyncjobs.records.claimed import Claimed
    from asyncjobs.testing.attempt_here import AttemptHere
    from asyncjobs.testing.cuts import Watched
    from asyncjobs.testing.performing import Performing

ANYWHERE: Final[Any] = object()
"""Any value of a cursor."""


class Interruption(Watch):
    """One place at which runs are interrupted. Use it as ``async with``; awaited, it performs ready jobs itself.

    Args:
        performing: Returns the runner of jobs on this loop.
        perform: Awaited, performs the job or the jobs of the kind.
        target: A job, a `@job` function or a Job class.
        step: The step's name.
        after: Whether to interrupt after the step.
        cursor: The value of its cursor at which to interrupt.
    """

    def __init__(
        self,
        performing: Callable[[], Awaitable[Performing]],
        perform: Callable[[], Awaitable[object]],
        target: Any,
        step: str,
        *,
        after: bool,
        cursor: Any = ANYWHERE,
    ) -> None:
        is_job = isinstance(target, Job)
        definition = target._definition if is_job else definition_of(target)
        super().__init__(target.id if is_job else UUID(int=0), "cancel", 0, lambda _: None)
        self._of = target.id if is_job else None
        self._kinds = (definition.kind, *definition.aliases)
        self._step, self._after, self._cursor = step, after, cursor
        self._performing = performing
        self._perform = perform
        self._interrupted: set[UUID] = set()
        self._held: set[UUID] = set()
        declared = [each.name for each in definition.steps]
        runs_others = definition.job_class._perform_of_class() is not Job._perform_of_class()
        if declared and step not in declared and not runs_others:
            raise InvalidOption(f"{definition.kind} has no step {step!r}: it has {', '.join(declared)}")

    async def __aenter__(self) -> Self:
        performing = await self._performing()
        if performing.watch is not None:
            raise InvalidOption("one interruption at a time: this block is inside another")
        performing.watch, performing.is_to_stop = self, self._is_to_stop
        self._held = performing.held
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        performing = await self._performing()
        performing.watch, performing.is_to_stop = None, lambda _: False
        performing.held -= self._interrupted
        if kind is None and not self._interrupted:
            how = "after" if self._after else "during"
            where = "" if self._cursor is ANYWHERE else f" with its cursor at {self._cursor!r}"
            raise AssertionError(
                f"no run of {self._kinds[0]} was interrupted {how} step {self._step!r}{where}: "
                + ("no step and no wait came after it" if self._after else "none came to a checkpoint there")
            )

    def __await__(self) -> Generator[Any, Any, None]:
        return self._at_once().__await__()

    async def _at_once(self) -> None:
        async with self:
            await self._perform()

    def is_for(self, claimed: Claimed) -> bool:
        """Whether an attempt at this row can be interrupted."""
        return claimed.id == self._of if self._of is not None else claimed.kind in self._kinds

    def _is_to_stop(self, attempt: AttemptHere) -> bool:
        """Return at a checkpoint whether the run is interrupted there."""
        stepper = self._stepper(attempt)
        if stepper is None or not self.is_for(attempt.claimed):
            return False
        if self._after:
            *before, _last = [*stepper.log.progress.met, None]  # the last step that was met is about to begin
            hit = self._step in before[:-1] and stepper.log.current != self._step
        else:
            cursor = stepper.log.cursor
            hit = cursor is not None and stepper.log.current == self._step
            hit = hit and cursor is not None and bool(self._cursor is ANYWHERE or cursor.value == self._cursor)
        if hit:
            self._hit(attempt)
        return hit

    def _stepper(self, attempt: AttemptHere) -> Stepper | None:
        job = running_job.running.get()
        return job._stepper if job is not None and job._attempt is attempt else None

    def _hit(self, attempt: AttemptHere) -> None:
        attempt.stopping = True  # it stays so, as with a worker: the cursor of a `map` moves on until the step ends
        self._interrupted.add(attempt.claimed.id)
        self._held.add(attempt.claimed.id)

    def waits(self, watched: Watched) -> None:
        """Cancel the attempt, as a stopped worker does, where a step without a cursor waits for the first time."""
        job = running_job.running.get()  # not the attempt that began last: a job may wait for another of its kind
        if job is None or self._after or self._cursor is not ANYWHERE or watched.is_service:
            return
        attempt, stepper = cast("AttemptHere", job._attempt), job._stepper
        if stepper is None or stepper.log.current != self._step or stepper.log.cursor is not None:
            return
        self._hit(attempt)
        attempt.cancel("shutdown")

    def goes_on(self, watched: Watched) -> None:
        """Do nothing: an interruption is no cut."""

    def writes(self, what: str) -> None:
        """Do nothing: an interruption is no cut."""

    def has_written(self, what: str) -> None:
        """Do nothing: an interruption is no cut."""
