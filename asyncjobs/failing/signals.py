"""What a job raises to say how its attempt ends.

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
"""Seconds that are left of a wait which has a limit: 0 is taken for one that has none."""


class JobSignal(BaseException):
    """Base of what a job raises to say how its attempt ends.

    Derives from `BaseException`, so that a job's own `except Exception` does not swallow it; no policy takes it.

    Attributes:
        reason: Stored with the job and shown to whoever awaits it.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class Retry(JobSignal):
    """Raised by a job: run it again after `wait`; the attempt is spent, and no policy's count.

    An error given as the cause (``raise Retry(wait=60) from error``) is stored as the attempt's error.

    Args:
        wait: Seconds or a timedelta, from 0 to ten years, by the database's clock.
        reason: Stored as the attempt's error when there is no cause.

    Raises:
        InvalidOption: `wait` is out of these limits.
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
        InvalidOption: `wait` is out of these limits.
    """

    def __init__(self, wait: float | timedelta, reason: str = "") -> None:
        self.wait = limits.duration(wait, "wait")
        super().__init__(reason)


class Discard(JobSignal):
    """Raised by a job: give this job up for good, as `discarded`."""


class Cancel(JobSignal):
    """Raised by a job: end as `cancelled`."""


class Interrupted(JobSignal):
    """Raised by a checkpoint: the run is to end here, and go on from here elsewhere; no attempt is spent."""


class Parked(JobSignal):
    """Raised by a durable sleep or wait: the run ends here, and goes on when it is over; no attempt is spent.

    Args:
        wait: Seconds that are left; None: as long as it takes.
        on_event: Whether an event ends it before that.
        kind: The job's, for messages.
        step: Its name, for messages.
    """

    def __init__(self, wait: float | None, *, on_event: bool, kind: str = "", step: str = "") -> None:
        self.wait = None if wait is None else max(wait, LEAST_WAIT)
        self.on_event = on_event
        self.kind = kind
        self.step = step
        super().__init__()
