"""Declarations about errors: retry, discard, rescue; and the search for the one that handles an error.

The rules are ActiveJob's (`activejob/lib/active_job/exceptions.rb`, `active_support/rescuable.rb`): the last declared is
asked first, then up the class hierarchy; the error, then its `__cause__`. Beyond Rails, a declaration handles an exception
group if it names every leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asyncjobs.failing.backoff import DEFAULT_JITTER, DEFAULT_WAIT, Formula, WaitFunction
from asyncjobs.failing.control_exceptions import JobSignal

Handler = Callable[[Any, BaseException], Any]
"""Called with the job and the error; may be async."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A declaration for some errors."""

    errors: tuple[type[BaseException], ...]

    def takes(self, error: BaseException) -> bool:
        """Whether the declaration handles `error`: it is of a named class, or a group of nothing else."""
        if isinstance(error, JobSignal):
            return False  # a job raises it on purpose; it is no error
        if isinstance(error, self.errors):
            return True
        return isinstance(error, BaseExceptionGroup) and all(self.takes(leaf) for leaf in error.exceptions)


@dataclass(frozen=True, kw_only=True)
class RetryOn(Policy):
    """A retry, up to `attempts` runs by this declaration's own count."""

    wait: float | Formula | WaitFunction = DEFAULT_WAIT
    attempts: int | None = 5
    """The first run counts; None: no limit."""
    jitter: float = DEFAULT_JITTER
    queue: str | None = None
    priority: int | None = None
    report: bool = False
    on_exhausted: Handler | None = None

    @property
    def key(self) -> str:
        """The name of this declaration's count: its errors, so that moving it in the code changes nothing.

        Two declarations of one job with the same errors need no two counts: the second is never reached.
        """
        return ",".join(sorted(f"{error.__module__}.{error.__qualname__}" for error in self.errors))


@dataclass(frozen=True, kw_only=True)
class DiscardOn(Policy):
    """An end in the state `discarded`."""

    report: bool = False


@dataclass(frozen=True, kw_only=True)
class RescueFrom(Policy):
    """A handler; when it returns, the job has succeeded with None."""

    handler: Handler


def find(policies: Sequence[Policy], error: BaseException) -> tuple[Policy, BaseException] | None:
    """Return the first of `policies` that handles `error`, else its cause, and so on; and the error that it handles."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:  # a chain of causes may be a circle
        seen.add(id(current))
        for policy in policies:
            if policy.takes(current):
                return policy, current
        current = current.__cause__
    return None
