"""Log lines about jobs: one for each end, but not thousands a second, whether everything fails or everything succeeds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from contextvars import Context
from typing import Any

from asyncjobs.checks.foreign_texts import brief, log, shown
from asyncjobs.failing.deciding import What
from asyncjobs.failing.stored_errors import traceback_of
from asyncjobs.metrics.counting import LONGEST_WAIT
from asyncjobs.performing.outcomes import SUCCEEDED, Outcome
from asyncjobs.records.claimed import Claimed

logger = logging.getLogger("asyncjobs.worker")
ends = logging.getLogger("asyncjobs.worker.ends")
"""A logger of its own, since the error reporter reports the same errors."""

LINES, PERIOD = 10, 10.0
"""At most `LINES` lines about one kind in `PERIOD` seconds; further ones are counted, and their number is logged."""
MOST_SUCCESSES = 200
"""Lines a second about jobs that succeed; further ones are counted, and their number is logged."""

_OUTCOMES = {
    What.succeed: "succeeded",
    What.fail: "failed",
    What.discard: "discarded",
    What.cancel: "cancelled",
    What.retry: "retried",
}


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
    """Logs the ends of attempts.

    Args:
        successes: Whether to log those of jobs that succeed, too.
    """

    def __init__(self, *, successes: bool) -> None:
        self._ration = Ration("ends")
        self._successes = successes
        self._second = self._told = self._left_out = 0

    def tell(self, claimed: Claimed, outcome: Outcome, begun: float) -> None:
        """Log one attempt's end; `begun` is when it began, by the monotonic clock."""
        level, text = _line(claimed, outcome)
        if not text:
            if outcome.what is What.succeed:
                self.succeeded(claimed, begun)
        elif (ends.isEnabledFor(level) or ends.disabled) and self._ration.may(claimed.kind):
            extra = _fields(claimed, _OUTCOMES.get(outcome.what, outcome.what.name), begun)
            error = outcome.error
            if outcome.what is What.fail and error is not None and error.__traceback__ is not None:
                _log_failure(error, "%s %s %s", claimed.kind, claimed.id, text, extra=extra)
            else:
                log(ends, level, "%s %s %s", claimed.kind, claimed.id, text, extra=extra)

    def succeeded(self, claimed: Claimed, begun: float) -> None:
        """Log the end of an attempt that simply succeeded."""
        if not self._successes or not ends.isEnabledFor(logging.INFO):
            return
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        if self._told >= MOST_SUCCESSES:
            if not self._left_out:
                # Not in the context of the job that ends here.
                asyncio.get_running_loop().call_later(1.0, self.tell_of_left_out, context=Context())
            self._left_out += 1
            return
        self._told += 1
        extra = _fields(claimed, "succeeded", begun)
        text = "%s %s succeeded: attempt %d, queue %s, waited %s s, took %s s"
        waited, took = (_seconds(extra[name]) for name in ("wait_s", "duration_s"))
        log(
            ends,
            logging.INFO,
            text,
            claimed.kind,
            claimed.id,
            claimed.attempt,
            claimed.queue,
            waited,
            took,
            extra=extra,
        )

    def tell_of_left_out(self) -> None:
        """Log the number of lines that were left out since it was last logged."""
        left, self._left_out = self._left_out, 0
        if not left:
            return
        text = "%d more jobs succeeded within a second: at most %d lines a second say so"
        log(ends, logging.INFO, text, left, MOST_SUCCESSES)


def _log_failure(error: BaseException, text: str, *arguments: object, extra: dict[str, Any]) -> None:
    """Log a failure with its traceback as it is stored: bounded, and in a form that any log can write."""
    ends.disabled = False
    with contextlib.suppress(Exception):  # of a handler
        traced = (type(error), error, error.__traceback__)
        record = ends.makeRecord(ends.name, logging.ERROR, __file__, 0, text, arguments, traced, "tell", extra)
        record.exc_text = traceback_of(error).rstrip("\n")
        ends.handle(record)


def _fields(claimed: Claimed, outcome: str, begun: float) -> dict[str, Any]:
    return {
        "job_id": str(claimed.id),
        "job_kind": claimed.kind,
        "job_attempt": claimed.attempt,
        "queue": claimed.queue,
        "outcome": outcome,
        "wait_s": round(max(claimed.waited, 0.0), 6) if claimed.waited < LONGEST_WAIT else None,
        "duration_s": round(time.monotonic() - begun, 6),
    }


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"


def _line(claimed: Claimed, outcome: Outcome) -> tuple[int, str]:
    if outcome is SUCCEEDED:
        return logging.INFO, ""
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
    return logging.INFO, ""
