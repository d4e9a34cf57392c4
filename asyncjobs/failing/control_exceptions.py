"""Signals: exceptions that a job raises to say how its attempt ends.

::

JobSignal (BaseException)
├── Retry                           again later; spends an attempt
├── Snooze                          again later; spends none
├── Discard                         never again, as `discarded`
├── Cancel                          never again, as `cancelled`
├── Interrupted                     again, unspent, from the last checkpoint; raised by checkpoints
└── Parked                          again, unspent, after a time or an event; raised by durable waits
"""

from __future__ import annotations

from datetime import timedelta

from asyncjobs.checks import limits

LEAST_WAIT = 0.001
"""The shortest time left of a limited wait, in seconds: 0 would mean that it has no limit."""


class JobSignal(BaseException):
    """Base of the signals, which a job raises to say how its attempt ends.

    It derives from `BaseException`, so that a job's own `except Exception` does not catch it; no declaration handles it.

    Attributes:
        reason: Stored with the job and shown to whoever awaits it.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class Retry(JobSignal):
    """Raised by a job: run it again after `wait`; this spends an attempt, but counts for no declaration.

    An error given as the cause (``raise Retry(wait=60) from error``) is stored as the attempt's error.

    Args:
        wait: Seconds or a timedelta, from 0 to ten years, by the database's clock.
        reason: Stored as the attempt's error when there is no cause.

    Raises:
        InvalidOption: `wait` is outside these limits.
    """

    def __init__(self, wait: float | timedelta = 3, reason: str = "") -> None:
        self.wait = limits.duration(wait, "wait")
        super().__init__(reason)


class Snooze(JobSignal):
    """Raised by a job: run it again after `wait`; no attempt is spent and nothing is stored as an error.

    Args:
        wait: Seconds or a timedelta, from 0 to ten years, by the database's clock.
        reason: For people who read the code.

    Raises:
        InvalidOption: `wait` is outside these limits.
    """

    def __init__(self, wait: float | timedelta, reason: str = "") -> None:
        self.wait = limits.duration(wait, "wait")
        super().__init__(reason)


class Discard(JobSignal):
    """Raised by a job: end for good as `discarded`."""


class Cancel(JobSignal):
    """Raised by a job: end as `cancelled`."""


class Interrupted(JobSignal):
    """Raised by a checkpoint: the run ends, and goes on from there in another process; no attempt is spent."""


class Parked(JobSignal):
    """Raised by a durable sleep or wait: the run ends, and goes on when the wait is over; no attempt is spent.

    Args:
        wait: Seconds left; None: as long as it takes.
        on_event: Whether an event ends it earlier.
        kind: The job's, for messages.
        step: The name of the wait, for messages.
    """

    def __init__(self, wait: float | None, *, on_event: bool, kind: str = "", step: str = "") -> None:
        self.wait = None if wait is None else max(wait, LEAST_WAIT)
        self.on_event = on_event
        self.kind = kind
        self.step = step
        super().__init__()


UNSPENT = (Snooze, Interrupted, Parked)
"""Signals after which a job runs again and no attempt is spent."""
