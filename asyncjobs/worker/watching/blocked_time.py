"""How long an event loop has owed its pulse, not counting what kept whoever looks from running, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class BlockedTime:
    """Tells a loop that is blocked from a machine that slept, a process that was stopped, an interpreter that is busy.

    Whoever looks asks to be woken after `interval`. What it was late by, the loop is not to blame for: nothing ran. Unless
    the loop's thread did run in that time: then it was that one call which let nobody else run, such as a sort or a regular
    expression that keeps the interpreter to itself.

    Args:
        interval: Seconds between looks.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._looked = self._used = self._pulse = 0.0
        self.excused = 0.0
        """Seconds since the last pulse that do not count."""
        self.busy = 0.0
        """Seconds for which the last look was late because the loop's thread ran."""

    def begin(self, now: float, used: float) -> None:
        """Note the time before the first look."""
        self._looked, self._used = now, used

    def owed(self, now: float, pulse: float, used: float) -> float:
        """Return the seconds for which the pulse is late.

        Args:
            now: The time of this look.
            pulse: The time of the last pulse.
            used: Seconds of CPU that the loop's thread has used so far.
        """
        late = max(now - self._looked - self._interval, 0.0)
        # What it used is taken to have been used in the time that was asked for, as far as that goes.
        self.busy = min(max(used - self._used - self._interval, 0.0), late)
        self._looked, self._used = now, used
        if pulse != self._pulse:
            self._pulse, self.excused = pulse, 0.0
        since = max(now - pulse, 0.0)
        self.excused = min(self.excused + late - self.busy, since)
        return since - self.excused


def clock_of_this_thread() -> Callable[[], float]:
    """Return a function that any thread may call, for the seconds of CPU that this one has used; where none, 0."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return lambda: 0.0
    clock = time.pthread_getcpuclockid(threading.get_ident())

    def used() -> float:
        try:
            return time.clock_gettime(clock)
        except OSError:
            return 0.0  # the thread is gone

    return used
