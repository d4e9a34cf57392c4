"""Log lines about jobs: one for each end, but not thousands a second when everything fails."""

from __future__ import annotations

import logging
import time

from asyncjobs.checks.foreign_texts import brief, log, shown
from asyncjobs.failing.deciding import What
from asyncjobs.performing.outcomes import Outcome
from asyncjobs.records.claimed import Claimed

logger = logging.getLogger("asyncjobs.worker")
ends = logging.getLogger("asyncjobs.worker.ends")
"""A logger of its own, since the error reporter reports the same errors."""

LINES, PERIOD = 10, 10.0
"""At most `LINES` lines about one kind in `PERIOD` seconds; further ones are counted, and their number is logged."""


class Ration:
    """Bounds the number of log lines about each kind; used by one thread.

    Args:
        what: The subject of the lines, in the plural.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun: dict[str, float] = {}
        self._told: dict[str, int] = {}

    def may(self, kind: str) -> bool:
        """Whether to log one more line; the number of those left out is logged when the next period begins."""
        now = time.monotonic()
        if now - self._begun.get(kind, float("-inf")) >= PERIOD:
            if (left := self._told.get(kind, 0) - LINES) > 0:
                log(logger, logging.WARNING, "%s: %d more %s like these within %g s", kind, left, self._what, PERIOD)
            self._begun[kind], self._told[kind] = now, 0
        self._told[kind] += 1
        return self._told[kind] <= LINES


class JobLog:
    """Logs the ends of attempts, except plain successes."""

    def __init__(self) -> None:
        self._ration = Ration("ends")

    def tell(self, claimed: Claimed, outcome: Outcome) -> None:
        """Log one attempt's end."""
        level, text = _line(claimed, outcome)
        if text and self._ration.may(claimed.kind):
            log(ends, level, "%s %s %s", claimed.kind, claimed.id, text)


def _line(claimed: Claimed, outcome: Outcome) -> tuple[int, str]:
    error = "" if outcome.error is None else shown(outcome.error)
    reason = brief(outcome.reason or "")
    match outcome.what:
        case What.fail:
            return logging.ERROR, f"failed: {error}"
        case What.retry:
            return logging.WARNING, f"attempt {claimed.attempt} failed, again in {outcome.wait:.3g} s: {error}"
        case What.snooze:
            return logging.INFO, f"snoozed for {outcome.wait:.3g} s"
        case What.discard:
            return logging.INFO, f"discarded: {reason}"
        case What.cancel:
            return logging.INFO, f"cancelled: {reason or 'by request'}"
        case What.succeed if error:
            return logging.WARNING, f"rescued: {error}"
    return logging.DEBUG, ""
