"""What is declared about errors: retry, discard, rescue; and the search for the declaration that takes one.

The rules are ActiveJob's (`activejob/lib/active_job/exceptions.rb`, `active_support/rescuable.rb`): the last declared is
asked first, then up the class hierarchy; the error, then its `__cause__`. Beyond Rails, a declaration takes an exception
group if it takes every leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asyncjobs.failing.backoff import DEFAULT_JITTER, DEFAULT_WAIT, Formula, WaitFunction
from asyncjobs.failing.signals import JobSignal

Handler = Callable[[Any, BaseException], Any]
"""Called with the job and the error; may be async."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A declaration that takes some errors."""

    errors: tuple[type[BaseException], ...]

    def takes(self, error: BaseException) -> bool:
        """Whether this is for `error`: it is of a class named here, or a group of nothing else."""
        if isinstance(error, JobSignal):
            return False  # said by the job on purpose; it is no error
        if isinstance(error, self.errors):
            return True
        return isinstance(error, BaseExceptionGroup) and all(self.takes(leaf) for leaf in error.exceptions)


@dataclass(frozen=True, kw_only=True)
class RetryOn(Policy):
    """Run the job again, `attempts` times in all by this declaration's own count."""

    wait: float | Formula | WaitFunction = DEFAULT_WAIT
    attempts: int | None = 5
    """The first run counts; None: without limit."""
    jitter: float = DEFAULT_JITTER
    queue: str | None = None
    priority: int | None = None
    report: bool = False
    on_exhausted: Handler | None = None

    @property
    def key(self) -> str:
        """The name under which this declaration counts: its errors', so that moving it in the code changes nothing.

        Two declarations of one job with the same errors need no two counts: the second is never reached.
        """
        return ",".join(sorted(f"{error.__module__}.{error.__qualname__}" for error in self.errors))


@dataclass(frozen=True, kw_only=True)
class DiscardOn(Policy):
    """Give the job up, as `discarded`."""

    report: bool = False


@dataclass(frozen=True, kw_only=True)
class RescueFrom(Policy):
    """Call a handler; when it returns, the job has succeeded with None."""

    handler: Handler


def find(policies: Sequence[Policy], error: BaseException) -> tuple[Policy, BaseException] | None:
    """Return the first of `policies` that takes `error`, else its cause, and so on; and which of these it took."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:  # a chain of causes may be a circle
        seen.add(id(current))
        for policy in policies:
            if policy.takes(current):
                return policy, current
        current = current.__cause__
    return None
