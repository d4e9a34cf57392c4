"""Jobs and chains that are enqueued together with the success of a job, and only then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from asyncjobs.definitions.given_jobs import check_new
from asyncjobs.exceptions import AlreadyEnqueued, InvalidOption, InvalidStep, NotRunning
from asyncjobs.performing import open_clients

MOST: Final = 1_000
"""Jobs and chains that may follow one attempt."""


class Follows(Protocol):
    """A job or chain that can follow a job."""

    async def enqueue(self, *, connection: Any = None) -> Any:
        """Enqueue it at once."""


def leave(job: Any, given: Sequence[Any]) -> None:
    """Note jobs and chains to enqueue together with the success of a job's attempt; see `Job.then`."""
    attempt = job._attempt
    if attempt is None:
        raise NotRunning(
            f"{job._definition.kind} is not running here: then() is for a job's own code; outside, enqueue a chain()"
        )
    if not given:
        raise InvalidOption("then() takes the jobs and chains that follow: give at least one")
    for each in given:
        if each is job:
            raise AlreadyEnqueued(f"then(): {job.kind} {job.id} is the running job: make a new one of its kind")
        for one in each.jobs if hasattr(each, "_is_chain") else (each,):
            check_new(one, "then()")
    if job._stepper is not None and job._stepper.log.step_here is not None:
        raise attempt.end_by(
            InvalidStep(
                f"{job.kind}: then() is called in step {job._stepper.log.step_here!r}, which is not run again where the job "
                "goes on after it, and what follows would be forgotten: call it outside, after `await self.run_steps()` or "
                "between two steps"
            )
        )
    following = attempt.following or []
    if len(following) + len(given) > MOST:
        raise InvalidOption(
            f"then(): at most {MOST:,} jobs and chains follow one attempt: have one of them enqueue the others, with a Batch"
        )
    for each in given:
        for one in each.jobs if hasattr(each, "_is_chain") else (each,):
            one._made_at = None
    attempt.following = [*following, *(each for each in given if each not in following)]


async def prepare(attempt: Any) -> None:
    """Make the jobs and chains that follow an attempt ready to be sent; an error of their hooks is one of the attempt."""
    attempt.then = await open_clients.current().prepared(attempt.following)
