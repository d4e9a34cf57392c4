"""What an attempt's end means: one pure function, from values to a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from asyncjobs.exceptions import AsyncJobsError, InvalidStep, UnstorableResult
from asyncjobs.failing.policies import DiscardOn, Policy, RescueFrom, RetryOn, find
from asyncjobs.failing.signals import Cancel, Discard, Interrupted, JobSignal, Parked, Retry, Snooze


class What(Enum):
    """What becomes of the job."""

    succeed = auto()
    fail = auto()
    discard = auto()
    cancel = auto()
    retry = auto()
    """By a declaration: after its wait."""
    retry_as_asked = auto()
    """By `raise Retry`: after the wait it names."""
    snooze = auto()
    rescue = auto()
    """Its handler decides: returning is success."""
    exhaust = auto()
    """Retries are used up: `on_exhausted` decides, without one it fails."""
    release = auto()
    """Ready again, unspent: the worker stops, or a checkpoint ended the run."""
    park = auto()
    """Waiting, unspent, for a time or an event."""
    drop = auto()
    """Nothing may be written: another worker has the job."""


class Decision(NamedTuple):
    """What becomes of a job after an attempt.

    Attributes:
        error: The error that counts: raised, or made of a timeout; None when there is none.
        policy: The declaration that took it.
        taken: What the declaration took: the error, or one of its causes.
        executions: How often that declaration has taken one for this job, this time included.
    """

    what: What
    error: BaseException | None = None
    policy: Policy | None = None
    taken: BaseException | None = None
    executions: int = 0


_OF_SIGNALS = {
    Retry: What.retry_as_asked,
    Snooze: What.snooze,
    Discard: What.discard,
    Cancel: What.cancel,
    Interrupted: What.release,
    Parked: What.park,
}


def decide(
    error: BaseException | None,
    *,
    cancel_reason: str | None = None,
    timeout: float | None = None,
    policies: Sequence[Policy] = (),
    counts: Mapping[str, int] | None = None,
) -> Decision:
    """Return what becomes of a job.

    Args:
        error: What the attempt raised; None: it returned.
        cancel_reason: Why the attempt was cancelled, if it was.
        timeout: The time limit of the attempt, in seconds, for the message.
        policies: In the order in which they are asked.
        counts: How often each declaration has taken an error of this job so far, by `RetryOn.key`.
    """
    if cancel_reason == "lease_lost":
        return Decision(What.drop)
    if cancel_reason == "user":
        return Decision(What.cancel)  # however it took the cancellation, and whatever it returned after that
    signal = said_by(error)
    if isinstance(signal, Interrupted) and cancel_reason == "timeout":
        signal = (
            None  # its clean-up came to a checkpoint: given back unspent, it would exceed its timeout again and again
        )
    if signal is not None:
        return Decision(
            next((what for kind, what in _OF_SIGNALS.items() if isinstance(signal, kind)), What.fail), signal
        )
    if _is_or_holds(error, InvalidStep):
        return Decision(What.fail, error)  # to run the same code again would come to the same
    if _is_or_holds(error, UnstorableResult) and cancel_reason != "timeout":
        return Decision(What.fail, error)  # the work is done: to do it again would not make the result storable
    if cancel_reason == "shutdown" and error is not None:
        return Decision(What.release)  # an error while being cancelled is the cancellation's, and charged to nobody
    if cancel_reason == "timeout":
        error = _timed_out(error, timeout)
    if error is None:
        return Decision(What.succeed)
    return by_policy(error, policies, counts or {})


def said_by(error: BaseException | None) -> JobSignal | None:
    """Return what a job said on purpose: raised, or gathered by a task group whose tasks raised nothing else."""
    if isinstance(error, JobSignal):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    said = [said_by(leaf) for leaf in error.exceptions]
    return None if None in said else said[0]


def _is_or_holds(error: BaseException | None, kind: type[Exception]) -> bool:
    """Whether an error is of a kind, or a task group has gathered one that is."""
    if isinstance(error, BaseExceptionGroup):
        return any(_is_or_holds(leaf, kind) for leaf in error.exceptions)
    return isinstance(error, kind)


def by_policy(error: BaseException, policies: Sequence[Policy], counts: Mapping[str, int]) -> Decision:
    """Return what the declarations say about an error; those that retry are not asked about one that would come again."""
    if isinstance(error, AsyncJobsError) and error._recorded:
        policies = [policy for policy in policies if not isinstance(policy, RetryOn)]
    found = find(policies, error)
    match found:
        case (RetryOn() as policy, taken):
            executions = counts.get(policy.key, 0) + 1
            left = policy.attempts is None or executions < policy.attempts
            return Decision(What.retry if left else What.exhaust, error, policy, taken, executions)
        case (DiscardOn() as discarding, taken):
            return Decision(What.discard, error, discarding, taken)
        case (RescueFrom() as rescuing, taken):
            return Decision(What.rescue, error, rescuing, taken)
    return Decision(What.fail, error)


def _timed_out(error: BaseException | None, timeout: float | None) -> TimeoutError:
    if isinstance(error, TimeoutError) and not isinstance(error, asyncio.CancelledError):
        return error
    late = TimeoutError(f"the attempt took longer than its timeout of {timeout:g} s" if timeout else "timed out")
    late.__context__ = error
    return late
