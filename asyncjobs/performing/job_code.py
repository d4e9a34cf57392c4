"""A job's code: `def` run in a thread, `async def` awaited, references loaded."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import anyio.to_thread

from asyncjobs.performing.context_variables import InThread
from asyncjobs.performing.job_value import JobValue
from asyncjobs.tasks.shielding import shielded

run_code: Callable[[Callable[[], Any]], Any] = operator.call
"""Runs the code of `def` jobs, each in a thread of its own; a job process replaces it to use the main thread."""


async def perform(
    job: JobValue, *, limiter: anyio.CapacityLimiter | None = None, going_on: set[UUID] | None = None
) -> Any:
    """Run a job's code and return its result; a `def` runs in a thread.

    The caller has set `context.running`, in a task of the job's own.

    Args:
        job: With references loaded.
        limiter: Bounds the threads; None is anyio's default of 40.
        going_on: Holds the job's id as long as its thread runs, whatever becomes of this task and its loop.
    """
    if job._definition.is_async:
        return await cast("Any", job).perform()
    value = await _perform_in_thread(job, limiter, set() if going_on is None else going_on)
    return await value if inspect.iscoroutine(value) else value  # a `def` may return a coroutine


async def _perform_in_thread(job: JobValue, limiter: anyio.CapacityLimiter | None, going_on: set[UUID]) -> Any:
    """Run a `def` job in a thread; when cancelled, wait for the thread to end, drop its result, and then raise.

    A thread cannot be stopped. anyio's `run_sync` shields its wait from cancel scopes only: after `Task.cancel()` it returns
    at once, and the job would be given back and run elsewhere while its first run goes on.
    """

    def told() -> None:
        if job._attempt is not None:
            job._attempt.stopping = True  # the one sign of a cancellation that a thread can see

    call = InThread(job, cast("Any", job).perform)
    value, error = await shielded(_outcome_in_thread(job, call, limiter, going_on), told)
    call.adopt()
    if error is not None:
        raise error
    return value


async def _outcome_in_thread(
    job: JobValue, perform: Callable[[], Any], limiter: anyio.CapacityLimiter | None, going_on: set[UUID]
) -> tuple[Any, BaseException | None]:
    """Return the result and the error of a thread; SystemExit, raised in this task, would end the loop."""

    def call() -> Any:
        if job.cancel_reason is not None:
            return None  # cancelled before it began: the result is dropped
        going_on.add(job.id)
        try:
            return run_code(perform)
        finally:
            going_on.discard(job.id)

    try:
        return await anyio.to_thread.run_sync(call, limiter=limiter), None
    except BaseException as error:
        return None, error


async def load_references(job: JobValue) -> None:
    """Replace stored keys by the objects they refer to.

    Raises:
        RecordNotFound: An object is gone.
        DeserializationError: An object could not be loaded.
    """
    definition = job._definition
    if definition.arguments.has_references:
        job._values = await definition.arguments.resolve(job._values)
        if definition.function is None:
            job.__dict__.update(job._values)
