"""The log lines about attempts: one each, but not thousands a second when everything fails."""

from __future__ import annotations

import logging
import time

from asyncjobs.db.rows import Claimed
from asyncjobs.defining.deciding import What
from asyncjobs.defining.settling import Ending

logger = logging.getLogger("asyncjobs.worker")

LINES, PERIOD = 10, 10.0
"""Lines about one kind's ends in so many seconds; then they are counted, and the count is told."""


class Teller:
    """Logs how attempts ended that did not simply succeed."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._told: dict[str, int] = {}

    def tell(self, claimed: Claimed, ending: Ending) -> None:
        """Log one attempt's end."""
        level, text = _line(claimed, ending)
        if text and self._may(claimed.kind):
            logger.log(level, "%s %s %s", claimed.kind, claimed.id, text)

    def _may(self, kind: str) -> bool:
        now = time.monotonic()
        if now - self._begun.get(kind, float("-inf")) >= PERIOD:
            if (left := self._told.get(kind, 0) - LINES) > 0:
                logger.warning("%s: %d more such ends within %g s", kind, left, PERIOD)
            self._begun[kind], self._told[kind] = now, 0
        self._told[kind] += 1
        return self._told[kind] <= LINES


def _line(claimed: Claimed, ending: Ending) -> tuple[int, str]:
    error = "" if ending.error is None else f"{type(ending.error).__name__}: {_text(ending.error)}"
    match ending.what:
        case What.fail:
            return logging.ERROR, f"failed: {error}"
        case What.retry:
            return logging.WARNING, f"attempt {claimed.attempt} failed, again in {ending.wait:.3g} s: {error}"
        case What.snooze:
            return logging.INFO, f"snoozed for {ending.wait:.3g} s"
        case What.discard:
            return logging.INFO, f"discarded: {ending.reason}"
        case What.cancel:
            return logging.INFO, f"cancelled: {ending.reason or 'by request'}"
        case What.succeed if error:
            return logging.WARNING, f"rescued: {error}"
    return logging.DEBUG, ""


def _text(error: BaseException) -> str:
    try:
        return str(error)[:500]
    except Exception:
        return "<unreadable>"
