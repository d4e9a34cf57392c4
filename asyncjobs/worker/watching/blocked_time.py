"""Blocked time: the seconds for which an event loop's pulse is late, without the time in which nothing ran at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class BlockedTime:
    """Distinguishes a blocked loop from a machine that slept, a process that was stopped, or a busy interpreter.

    The watching thread asks to be woken after `interval`. If it wakes late, nothing ran in that time, and it does not count
    as blocked. Unless the loop's own thread ran: then one call, such as a sort or a regular expression, held the
    interpreter.

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
        # CPU time is taken to be used within the interval first, and only the rest in the time by which this is late.
        self.busy = min(max(used - self._used - self._interval, 0.0), late)
        self._looked, self._used = now, used
        if pulse != self._pulse:
            self._pulse, self.excused = pulse, 0.0
        since = max(now - pulse, 0.0)
        self.excused = min(self.excused + late - self.busy, since)
        return since - self.excused


def clock_of_this_thread() -> Callable[[], float]:
    """Return a function, for any thread, of the CPU seconds that this thread has used; 0 where that is not known."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return lambda: 0.0
    clock = time.pthread_getcpuclockid(threading.get_ident())

    def used() -> float:
        try:
            return time.clock_gettime(clock)
        except OSError:
            return 0.0  # the thread is gone

    return used
