"""Outcomes: what is written about an attempt, after user code was asked for a wait, a rescue or a last word."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import NamedTuple

from asyncjobs import errors
from asyncjobs.checks.foreign_texts import log, shown
from asyncjobs.definitions.hooks import Hooks
from asyncjobs.failing import backoff
from asyncjobs.failing.control_exceptions import JobSignal, Parked, Retry, Snooze
from asyncjobs.failing.deciding import Decision, What, decide
from asyncjobs.failing.policies import DiscardOn, RescueFrom, RetryOn
from asyncjobs.performing.hook_calls import call_hook, discarded
from asyncjobs.performing.job_value import JobValue

logger = logging.getLogger("asyncjobs.worker")


class Outcome(NamedTuple):
    """The outcome of an attempt.

    Attributes:
        what: One of succeed, fail, discard, cancel, retry, snooze, release, park, drop.
        error: Kept with the job, and told to whoever awaits it.
        reason: Why the job was discarded or cancelled.
        wait: Seconds until the next attempt.
        counts: How often each declaration has handled an error of this job; None: as before.
        queue: Of the next attempt; None: as before.
        priority: Of the next attempt; None: as before.
        on_event: Whether an event ends the wait early; `wait` is 0 if only the event does.
        then: The jobs that follow a success, in the form of `asyncjobs.enqueue_then`.
        result: JSON of the job's result; None: None, or the job has not simply succeeded.
        cause: The error that was decided about; None: there was none.
    """

    what: What
    error: BaseException | None = None
    reason: str | None = None
    wait: float = 0.0
    counts: dict[str, int] | None = None
    queue: str | None = None
    priority: int | None = None
    on_event: bool = False
    result: str | None = None
    cause: BaseException | None = None
    then: str | None = None


SUCCEEDED = Outcome(What.succeed)
"""The outcome of a job that returned None."""


async def settle(job: JobValue, decision: Decision, hooks: Hooks, counts: Mapping[str, int]) -> Outcome:
    """Return the outcome of a decision, after asking the job's own code where it has a say.

    Errors of that code do not get out, except cancellation.
    """
    match decision:
        case Decision(what=What.retry, policy=RetryOn() as policy, taken=BaseException() as taken):
            return await _retry(job, decision, policy, taken, counts)
        case Decision(what=What.exhaust, policy=RetryOn() as policy, taken=BaseException() as taken):
            outcome = await _exhaust(job, decision, policy, taken)
        case Decision(what=What.rescue, policy=RescueFrom() as policy, taken=BaseException() as taken):
            return await _rescue(job, decision, policy, taken, hooks)
        case Decision(what=What.discard, error=JobSignal() as signal):
            outcome = Outcome(What.discard, signal.__cause__, _reason(signal))
        case Decision(what=What.discard, policy=policy, taken=taken):
            if isinstance(policy, DiscardOn) and policy.report and taken is not None:
                errors.report(taken, source="asyncjobs")
            outcome = Outcome(What.discard, decision.error, "" if taken is None else shown(taken))
        case _:
            outcome = plain(decision)
    if outcome.what in (What.discard, What.fail):
        given = decision.error if decision.error is not None else outcome.error
        if outcome.what is What.fail and outcome.error is not None:
            given = outcome.error
            errors.report(outcome.error, handled=False, source="asyncjobs")
        if given is not None and hooks.after_discard:
            await discarded(hooks, job, given)
    return outcome


def plain(decision: Decision) -> Outcome:
    """Return the outcome of a decision in which the job's code has no say."""
    match decision:
        case Decision(what=What.retry_as_asked, error=Retry() as signal):
            return Outcome(What.retry, signal.__cause__ or signal, wait=signal.wait)
        case Decision(what=What.snooze, error=Snooze() as signal):
            return Outcome(What.snooze, wait=signal.wait)
        case Decision(what=What.cancel, error=error):
            return Outcome(What.cancel, reason=_reason(error) if isinstance(error, JobSignal) else None)
        case Decision(what=What.park, error=Parked() as signal):
            return Outcome(What.park, wait=signal.wait or 0.0, on_event=signal.on_event)
        case Decision(what=What.succeed | What.release | What.drop as what):
            return Outcome(what)
    return Outcome(What.fail, decision.error)


async def _retry(
    job: JobValue, decision: Decision, policy: RetryOn, taken: BaseException, counts: Mapping[str, int]
) -> Outcome:
    if policy.report:
        errors.report(taken, source="asyncjobs")
    return Outcome(
        What.retry,
        decision.error,
        wait=await _wait(job, policy, decision.executions, taken),
        counts={**counts, policy.key: decision.executions},
        queue=policy.queue,
        priority=policy.priority,
    )


async def _wait(job: JobValue, policy: RetryOn, executions: int, error: BaseException) -> float:
    """Return the seconds until the next attempt; the default if the wait function fails."""
    jitter = random.random()
    wait = policy.wait
    sees_error = callable(wait) and backoff.takes_error(wait)
    if not sees_error and (asked := backoff.asked_by(error)) is not None:
        return asked
    if not callable(wait):
        return backoff.seconds(wait, executions, jitter=policy.jitter, random=jitter)
    try:
        given = (executions, error) if sees_error else (executions,)
        fixed = backoff.computed(await call_hook(lambda _job: wait(*given), job))
    except (JobSignal, Exception) as failed:
        text = "%s %s: its wait function failed, so it waits %g s: %s"
        log(logger, logging.WARNING, text, job.kind, job.id, backoff.DEFAULT_WAIT, shown(failed))
        fixed = backoff.DEFAULT_WAIT
    return min(backoff.seconds(fixed, executions, jitter=policy.jitter, random=jitter), backoff.LONGEST_COMPUTED)


async def _exhaust(job: JobValue, decision: Decision, policy: RetryOn, taken: BaseException) -> Outcome:
    if policy.on_exhausted is None:
        return Outcome(What.fail, decision.error)
    try:
        await call_hook(policy.on_exhausted, job, taken)
    except (JobSignal, Exception) as error:
        _chain(error, decision.error, taken)
        return await _instead(job, error)
    if policy.report:  # only after the handler: if it raises, the error that fails the job is reported instead
        errors.report(taken, source="asyncjobs")
    return Outcome(What.discard, decision.error, f"{decision.executions} attempts used up: {shown(taken)}")


async def _rescue(job: JobValue, decision: Decision, policy: RescueFrom, taken: BaseException, hooks: Hooks) -> Outcome:
    try:
        await call_hook(policy.handler, job, taken, limit=job._definition.options.timeout)
    except (JobSignal, Exception) as error:
        _chain(error, decision.error, taken)
        return await settle(job, decide(error), hooks, {})
    return Outcome(What.succeed, decision.error)


async def _instead(job: JobValue, error: BaseException) -> Outcome:
    """Return the outcome that a handler asked for by raising."""
    return await settle(job, decide(error), Hooks(), {})


def _chain(raised: BaseException, error: BaseException | None, taken: BaseException) -> None:
    """Chain an error that a handler raised to the error that it was called for, so that both are kept."""
    if raised is error or raised is taken:
        return
    if isinstance(raised, JobSignal):
        raised.__cause__ = raised.__cause__ or error
    elif raised.__context__ is None:
        raised.__context__ = error


def _reason(signal: JobSignal) -> str:
    try:
        return str(signal.reason)  # may be any object that a user gave
    except BaseException:
        return type(signal.reason).__name__
