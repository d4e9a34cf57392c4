"""The decision about an attempt: one pure function from values to what becomes of the job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from asyncjobs.exceptions import AsyncJobsError, InvalidStep, UnstorableResult
from asyncjobs.failing.control_exceptions import (
    UNSPENT,
    Cancel,
    Discard,
    Interrupted,
    JobSignal,
    Parked,
    Retry,
    Snooze,
)  # fmt: skip
from asyncjobs.failing.policies import DiscardOn, Policy, RescueFrom, RetryOn, find


class What(Enum):
    """The possible decisions."""

    succeed = auto()
    fail = auto()
    discard = auto()
    cancel = auto()
    retry = auto()
    """By a declaration, after its wait."""
    retry_as_asked = auto()
    """By `raise Retry`, after the wait that it names."""
    snooze = auto()
    rescue = auto()
    """A handler decides; if it returns, the job has succeeded."""
    exhaust = auto()
    """Retries are used up; `on_exhausted` decides, and without one the job fails."""
    release = auto()
    """Ready again without spending an attempt: the worker stops, or a checkpoint ended the run."""
    park = auto()
    """Waiting for a time or an event, without spending an attempt."""
    drop = auto()
    """Nothing is written, since another worker has the job."""


class Decision(NamedTuple):
    """The decision about a job after an attempt.

    Attributes:
        error: The error that was raised, or made for a timeout; None: there is none.
        policy: The declaration that handles it.
        taken: The error that the declaration names: `error`, or one of its causes.
        executions: Errors of this job that the declaration has handled, this one included.
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
    """Return the decision about a job.

    Args:
        error: The error of the attempt; None: it returned.
        cancel_reason: Why the attempt was cancelled; None: it was not.
        timeout: The time limit of the attempt, in seconds, for the message.
        policies: In the order in which they are asked.
        counts: How often each declaration has handled an error of this job before, by `RetryOn.key`.
    """
    if cancel_reason == "lease_lost":
        return Decision(What.drop)
    if cancel_reason == "user":
        return Decision(What.cancel)  # whether it raised or returned after the cancellation
    signal = said_by(error)
    if isinstance(signal, UNSPENT) and cancel_reason == "timeout":
        signal = None  # raised in its clean-up: given back unspent, the job would exceed its timeout for ever
    if signal is not None:
        what = next((what for kind, what in _OF_SIGNALS.items() if isinstance(signal, kind)), What.fail)
        return Decision(what, signal)
    if _is_or_holds(error, InvalidStep):
        return Decision(What.fail, error)  # the same code would fail again
    if _is_or_holds(error, UnstorableResult) and cancel_reason != "timeout":
        return Decision(What.fail, error)  # the work is done, and doing it again would not make the result storable
    if cancel_reason == "shutdown" and error is not None:
        return Decision(What.release)  # an error during a cancellation belongs to that, and counts for no policy
    if cancel_reason == "timeout":
        error = _timed_out(error, timeout)
    if error is None:
        return Decision(What.succeed)
    return by_policy(error, policies, counts or {})


def said_by(error: BaseException | None) -> JobSignal | None:
    """Return the signal that a job raised, alone or as all that a task group has gathered; None: it raised an error."""
    if isinstance(error, JobSignal):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    said = [said_by(leaf) for leaf in error.exceptions]
    return None if None in said else said[0]


def _is_or_holds(error: BaseException | None, kind: type[Exception]) -> bool:
    """Whether an error is of a type, or a group that holds one of that type."""
    if isinstance(error, BaseExceptionGroup):
        return any(_is_or_holds(leaf, kind) for leaf in error.exceptions)
    return isinstance(error, kind)


def by_policy(error: BaseException, policies: Sequence[Policy], counts: Mapping[str, int]) -> Decision:
    """Return the decision of the declarations about an error; `retry_on` is not asked about a recorded one, which stays."""
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
