"""Running a job's code once, wherever that is: in a worker or by `perform_now`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread

from asyncjobs.defining import context
from asyncjobs.exceptions import Cancel, Discard, JobCancelled, JobDiscarded

if TYPE_CHECKING:
    from asyncjobs.defining.base import CancelReason, Job


async def perform(job: Job[Any], *, limiter: anyio.CapacityLimiter | None = None) -> Any:
    """Run a job's code and return what it returns; a `def` runs in a thread.

    The caller has set `context.running`, in a task of the job's own.

    Args:
        job: With references loaded.
        limiter: Bounds the threads; None is anyio's default of 40.
    """
    if job._definition.is_async:
        return await job.perform()
    return await anyio.to_thread.run_sync(job.perform, limiter=limiter)


async def load_references(job: Job[Any]) -> None:
    """Replace stored keys by the objects they refer to.

    Raises:
        RecordNotFound: One is gone.
        DeserializationError: One could not be loaded.
    """
    definition = job._definition
    if definition.arguments.has_references:
        job._values = await definition.arguments.resolve(job._values)
        if definition.function is None:
            job.__dict__.update(job._values)


class _HereAndNow:
    """The attempt of a job that `perform_now` runs: it holds no slot and nobody cancels it from outside."""

    def __init__(self) -> None:
        self.number = 1
        self.stopping = False
        self.cancel_reason: CancelReason | None = None

    def give_slot_back(self) -> None: ...

    async def take_slot(self) -> None: ...


async def perform_now(job: Job[Any]) -> Any:
    """Run a job here and now, through the same codecs a worker uses; see `Job.perform_now`."""
    definition = job._definition
    copy = definition.load(job._stored_arguments())
    copy._id, copy._queue, copy._priority = job.id, job.queue, job.priority
    await load_references(copy)
    copy._attempt = _HereAndNow()
    token = context.running.set(copy)
    try:
        result = await perform(copy)
    except Discard as signal:
        raise JobDiscarded(job_id=job.id, kind=job.kind, reason=signal.reason) from signal
    except Cancel as signal:
        raise JobCancelled(job_id=job.id, kind=job.kind, reason=signal.reason) from signal
    finally:
        context.running.reset(token)
    definition.result.dump(result)
    return result
