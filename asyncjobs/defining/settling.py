"""From a verdict to an ending: what user code has its say in, the wait, the rescue, what happens when a job is given up."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncjobs import errors
from asyncjobs.defining import backoff
from asyncjobs.defining.deciding import Verdict, What, decide
from asyncjobs.defining.hooks import Hooks, call_hook
from asyncjobs.defining.policies import DiscardOn, RescueFrom, RetryOn
from asyncjobs.defining.signals import JobSignal, Parked, Retry, Snooze
from asyncjobs.harmless import log, shown

if TYPE_CHECKING:
    from asyncjobs.defining.base import Job

logger = logging.getLogger("asyncjobs.worker")


class Ending(NamedTuple):
    """How an attempt ended, once everybody has been heard.

    Attributes:
        what: One of succeed, fail, discard, cancel, retry, snooze, release, park, drop.
        error: To be kept with the job, and told to whoever awaits it.
        reason: Of a discarded or cancelled job.
        wait: Seconds until the next attempt.
        counts: How often each declaration has taken an error of this job by now; None: as before.
        queue: Of the next attempt; None: as before.
        priority: Of the next attempt; None: as before.
        on_event: Whether an event ends the wait before its time; without a time, `wait` is 0.
    """

    what: What
    error: BaseException | None = None
    reason: str | None = None
    wait: float = 0.0
    counts: dict[str, int] | None = None
    queue: str | None = None
    priority: int | None = None
    on_event: bool = False


async def settle(job: Job[Any], verdict: Verdict, hooks: Hooks, counts: Mapping[str, int]) -> Ending:
    """Return how the attempt ends, after asking the job's own code where it has a say.

    Nothing that code raises gets out, but for cancellation.
    """
    match verdict:
        case Verdict(what=What.retry, policy=RetryOn() as policy, taken=BaseException() as taken):
            return await _retry(job, verdict, policy, taken, counts)
        case Verdict(what=What.exhaust, policy=RetryOn() as policy, taken=BaseException() as taken):
            ending = await _exhaust(job, verdict, policy, taken)
        case Verdict(what=What.rescue, policy=RescueFrom() as policy, taken=BaseException() as taken):
            return await _rescue(job, verdict, policy, taken, hooks)
        case Verdict(what=What.discard, error=JobSignal() as signal):
            ending = Ending(What.discard, signal.__cause__, _reason(signal))
        case Verdict(what=What.discard, policy=policy, taken=taken):
            if isinstance(policy, DiscardOn) and policy.report and taken is not None:
                errors.report(taken, source="asyncjobs")
            ending = Ending(What.discard, verdict.error, "" if taken is None else shown(taken))
        case _:
            ending = plain(verdict)
    if ending.what in (What.discard, What.fail):
        given = verdict.error if verdict.error is not None else ending.error
        if ending.what is What.fail and ending.error is not None:
            given = ending.error
            errors.report(ending.error, handled=False, source="asyncjobs")
        if given is not None and hooks.after_discard:
            await hooks.discarded(job, given)
    return ending


def plain(verdict: Verdict) -> Ending:
    """Return how an attempt ends that its job's code has no say in."""
    match verdict:
        case Verdict(what=What.retry_as_asked, error=Retry() as signal):
            return Ending(What.retry, signal.__cause__ or signal, wait=signal.wait)
        case Verdict(what=What.snooze, error=Snooze() as signal):
            return Ending(What.snooze, wait=signal.wait)
        case Verdict(what=What.cancel, error=error):
            return Ending(What.cancel, reason=_reason(error) if isinstance(error, JobSignal) else None)
        case Verdict(what=What.park, error=Parked() as signal):
            return Ending(What.park, wait=signal.wait or 0.0, on_event=signal.on_event)
        case Verdict(what=What.succeed | What.release | What.drop as what):
            return Ending(what)
    return Ending(What.fail, verdict.error)


async def _retry(
    job: Job[Any], verdict: Verdict, policy: RetryOn, taken: BaseException, counts: Mapping[str, int]
) -> Ending:
    if policy.report:
        errors.report(taken, source="asyncjobs")
    return Ending(
        What.retry,
        verdict.error,
        wait=await _wait(job, policy, verdict.executions, taken),
        counts={**counts, policy.key: verdict.executions},
        queue=policy.queue,
        priority=policy.priority,
    )


async def _wait(job: Job[Any], policy: RetryOn, executions: int, error: BaseException) -> float:
    """Return the seconds until the next attempt; a function that fails stands for the default."""
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
        log(
            logger, logging.WARNING, "%s %s: its wait function failed, %g s stand for it: %s",
            job.kind, job.id, backoff.DEFAULT_WAIT, shown(failed),
        )  # fmt: skip
        fixed = backoff.DEFAULT_WAIT
    return min(backoff.seconds(fixed, executions, jitter=policy.jitter, random=jitter), backoff.LONGEST_COMPUTED)


async def _exhaust(job: Job[Any], verdict: Verdict, policy: RetryOn, taken: BaseException) -> Ending:
    if policy.on_exhausted is None:
        return Ending(What.fail, verdict.error)
    try:
        await call_hook(policy.on_exhausted, job, taken)
    except (JobSignal, Exception) as error:
        _chain(error, verdict.error, taken)
        return await _instead(job, error)
    if policy.report:  # only now is it known to be handled: an error that fails the job after all is reported as such
        errors.report(taken, source="asyncjobs")
    return Ending(What.discard, verdict.error, f"{verdict.executions} attempts used up: {shown(taken)}")


async def _rescue(job: Job[Any], verdict: Verdict, policy: RescueFrom, taken: BaseException, hooks: Hooks) -> Ending:
    try:
        await call_hook(policy.handler, job, taken, limit=job._definition.options.timeout)
    except (JobSignal, Exception) as error:
        _chain(error, verdict.error, taken)
        return await settle(job, decide(error), hooks, {})
    return Ending(What.succeed, verdict.error)


async def _instead(job: Job[Any], error: BaseException) -> Ending:
    """Return the ending that a handler asked for by raising."""
    return await settle(job, decide(error), Hooks(), {})


def _chain(raised: BaseException, error: BaseException | None, taken: BaseException) -> None:
    """Have what a handler raised bring along the error that it was called for, so that the attempt's error is kept."""
    if raised is error or raised is taken:
        return
    if isinstance(raised, JobSignal):
        raised.__cause__ = raised.__cause__ or error
    elif raised.__context__ is None:
        raised.__context__ = error


def _reason(signal: JobSignal) -> str:
    try:
        return str(signal.reason)  # text, or what somebody gave in place of it
    except BaseException:
        return type(signal.reason).__name__
