"""Running a job's code once, wherever that is: in a worker or by `perform_now`."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import anyio.to_thread

from asyncjobs.defining import attributes, context, open_clients
from asyncjobs.defining.attempt import E, Latch
from asyncjobs.defining.contexts import Inside, InThread, surroundings
from asyncjobs.defining.deciding import Verdict, What, decide, said_by
from asyncjobs.defining.recording_here import RecorderHere
from asyncjobs.defining.settling import Ending, settle
from asyncjobs.defining.signals import Interrupted
from asyncjobs.defining.uncut import uncut
from asyncjobs.exceptions import JobCancelled, JobDiscarded, NotOpen

if TYPE_CHECKING:
    from asyncjobs.defining.attempt import Attempt, CancelReason
    from asyncjobs.defining.base import Job
    from asyncjobs.defining.hooks import Hooks

run_code: Callable[[Callable[[], Any]], Any] = operator.call
"""Runs the code of `def` jobs, each in a thread of its own; a job's own process has it run in the main thread."""


async def perform(
    job: Job[Any], *, limiter: anyio.CapacityLimiter | None = None, going_on: set[UUID] | None = None
) -> Any:
    """Run a job's code and return what it returns; a `def` runs in a thread.

    The caller has set `context.running`, in a task of the job's own.

    Args:
        job: With references loaded.
        limiter: Bounds the threads; None is anyio's default of 40.
        going_on: Holds the job's id for as long as its thread runs, whatever becomes of this task and its loop.
    """
    if job._definition.is_async:
        return await cast("Any", job).perform()
    value = await _perform_in_thread(job, limiter, set() if going_on is None else going_on)
    return await value if inspect.iscoroutine(value) else value  # of a `def` that returns what an `async def` gave it


async def _perform_in_thread(job: Job[Any], limiter: anyio.CapacityLimiter | None, going_on: set[UUID]) -> Any:
    """Run a `def` job in a thread; cancelled, go on waiting for it, drop what it returns, and only then be cancelled.

    A thread cannot be stopped. anyio's `run_sync` shields its wait from cancel scopes only: at `Task.cancel()` it returns
    at once, and the job would be given back, and run elsewhere, while its first run goes on.
    """

    def told() -> None:
        if job._attempt is not None:
            job._attempt.stopping = True  # all that a thread can see of it

    call = InThread(job, cast("Any", job).perform)
    value, error = await uncut(_outcome_in_thread(job, call, limiter, going_on), told)
    call.adopt()
    if error is not None:
        raise error
    return value


async def _outcome_in_thread(
    job: Job[Any], perform: Callable[[], Any], limiter: anyio.CapacityLimiter | None, going_on: set[UUID]
) -> tuple[Any, BaseException | None]:
    """Return what a thread returned and what it raised; SystemExit, let out of this task, would end the loop."""

    def call() -> Any:
        if job.cancel_reason is not None:
            return None  # cancelled before it began: nobody takes the result
        going_on.add(job.id)
        try:
            return run_code(perform)
        finally:
            going_on.discard(job.id)

    try:
        return await anyio.to_thread.run_sync(call, limiter=limiter), None
    except BaseException as error:
        return None, error


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


class _HereAndNow(Latch):
    """The attempt of a job that `perform_now` runs.

    Args:
        number: From 1.
        outer: The run inside which it is called, whose slot it uses and with which it comes to an end; None: no job's.
        counts: How often each declaration has taken an error of this job.
        recorder: Where its steps are recorded.
    """

    def __init__(self, number: int, outer: Attempt | None, counts: Mapping[str, int], recorder: RecorderHere) -> None:
        super().__init__()
        self.number = number
        self.counts = counts
        self.recorder = recorder
        self._outer = outer
        self._stopping = False
        self._cancel_reason: CancelReason | None = None

    @property
    def row(self) -> tuple[UUID, int] | None:
        return None if self._outer is None else self._outer.row

    @property
    def stopping(self) -> bool:
        return self._stopping or (self._outer is not None and self._outer.stopping)

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self._stopping = stopping

    @property
    def cancel_reason(self) -> CancelReason | None:
        return self._cancel_reason or (None if self._outer is None else self._outer.cancel_reason)

    @property
    def outermost(self) -> Attempt | None:
        return None if self._outer is None else self._outer.outermost

    def end_by(self, error: E) -> E:
        """Have the run end by an error; an interruption is that of the run around it, too."""
        if self._outer is not None and isinstance(error, Interrupted):
            self._outer.end_by(error)
        return super().end_by(error)

    def stop(self, reason: CancelReason) -> None:
        """Let the job's code see that it should come to an end: a thread cannot be told otherwise."""
        self._stopping, self._cancel_reason = True, reason

    def give_slot_back(self) -> None:
        if self._outer is not None:
            self._outer.give_slot_back()

    async def take_slot(self) -> None:
        if self._outer is not None:
            await self._outer.take_slot()


async def perform_now(job: Job[Any]) -> Any:
    """Run a job here and now, through the same codecs, policies and hooks that a worker uses; see `Job.perform_now`."""
    definition = job._definition
    hooks = definition.hooks.within(open_clients.middleware())
    counts: dict[str, int] = {}
    outer = context.running.get()
    recorder = RecorderHere()
    for number in itertools.count(1):
        copy = definition.load(job._stored_arguments())
        copy._id, copy._queue, copy._priority = job.id, job.queue, job.priority
        copy._attempt = _HereAndNow(number, None if outer is None else outer._attempt, counts, recorder)
        attributes.restore(copy, recorder.attributes)
        if recorder.records:
            copy._resume(recorder.records)
        value, verdict, ending = await Inside(_run_here(copy, hooks, counts))
        match ending.what:
            case What.retry:
                if not recorder.records and not (copy._stepper and copy._stepper.progress.next_number):
                    recorder.attributes = attributes.dump(copy)  # those of a job with steps are saved with these
                counts = ending.counts or counts
                await asyncio.sleep(0)  # a job that awaits nothing would be run for ever, and nobody could cancel it
            case What.snooze:
                if not job._sent:  # else its row is run anyway, at a time of its own
                    await job.set(wait=ending.wait).enqueue()
                return await job
            case What.park:
                try:
                    client = open_clients.current()
                except NotOpen as error:
                    error.add_note(
                        f"{job.kind} sleeps or waits for an event: perform_now hands it to a worker for that"
                    )
                    raise
                await client.adopt(job, recorder.attributes, recorder.records)
                return await job
            case What.release if verdict.error is not None:
                raise verdict.error  # the run around it is to end, and so is this one
            case What.discard:
                raise JobDiscarded(job_id=job.id, kind=job.kind, reason=ending.reason or "") from verdict.error
            case What.cancel:
                raise JobCancelled(job_id=job.id, kind=job.kind, reason=ending.reason or "") from verdict.error
            case What.fail if ending.error is not None:
                raise ending.error
            case _:
                return value if verdict.what is What.succeed else None
    raise AssertionError


async def _run_here(copy: Job[Any], hooks: Hooks, counts: dict[str, int]) -> tuple[Any, Verdict, Ending]:
    context.running.set(copy)
    with surroundings(in_worker=False):
        value, verdict = await _attempt_here(copy, hooks, counts)
        if verdict.what is What.succeed:
            return value, verdict, Ending(What.succeed)
        return value, verdict, await settle(copy, verdict, hooks, counts)


async def _attempt_here(copy: Job[Any], hooks: Hooks, counts: dict[str, int]) -> tuple[Any, Verdict]:
    definition, attempt = copy._definition, cast("_HereAndNow", copy._attempt)
    policies, timeout = definition.policies, definition.options.timeout
    value, error = None, None
    limit = asyncio.timeout(timeout)
    timer = None if timeout is None else asyncio.get_running_loop().call_later(timeout, attempt.stop, "timeout")

    async def run() -> Any:
        result = await perform(copy)
        with contextlib.suppress(RuntimeError):  # it has run out, or a task that a hook has left behind got here
            limit.reschedule(None)  # the hooks that follow have a limit of their own
        return result

    try:
        async with limit:
            await load_references(copy)
            value = await hooks.perform(copy, run)
        value, _ = definition.result.keep(value)  # as whoever awaits it would be given it
    except BaseException as raised:
        if not isinstance(raised, Exception) and said_by(raised) is None:
            raise  # a cancellation or an exit: the caller's
        # The limit's own error says nothing: the cancellation that it was made of becomes one that names the limit.
        is_limit = isinstance(raised, TimeoutError) and isinstance(raised.__cause__, asyncio.CancelledError)
        error = raised.__cause__ if limit.expired() and is_limit else raised
    finally:
        if timer is not None:
            timer.cancel()
    error = attempt.end_of(error)
    reason = "timeout" if limit.expired() else None
    if copy._stepper is not None:
        policies = (*copy._stepper.policies(error), *policies)
    return value, decide(error, cancel_reason=reason, timeout=timeout, policies=policies, counts=counts)
