"""Ends of attempts as messages of their processes: JSON of a fixed shape, accepted for the process's own attempt alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from asyncjobs.checks.durations import TEN_YEARS
from asyncjobs.checks.limits import GREATEST_PRIORITY, LEAST_PRIORITY
from asyncjobs.checks.texts import is_storable
from asyncjobs.db.rows import Finish, RatePause, Reschedule, State
from asyncjobs.failing.retry_after import LONGEST
from asyncjobs.jobs.ordering import MOST_KEY
from asyncjobs.records.claimed import Claimed

End = Finish | Reschedule | None
"""The end of an attempt, as the ledger writes it; None: nothing may be written."""

_MOST_DAYS = 3990
_MOST_PAUSES = 100
"""Rates of one job."""


class NoEnd(ValueError):
    """A message is no end of the attempt that the process runs."""


def said(end: End) -> list[Any]:
    """Return an end as a message."""
    match end:
        case None:
            return ["none"]
        case Finish(job_id, fence, state, result, error, reason, days, _, then, pauses):
            return ["finish", str(job_id), fence, int(state), result, error, reason, days, then, [*map(list, pauses)]]
    return [
        *("reschedule", str(end.id), end.fence, end.delay, end.error, end.counts, end.spent, end.queue, end.priority),
        *(end.started, end.waits, [*map(list, end.pauses)]),
    ]


def heard(words: Any, claimed: Claimed) -> End:
    """Return the end that a message stands for.

    Args:
        words: The message: any JSON value.
        claimed: The row of the process's attempt. A process decides neither on other attempts nor on charged crashes.

    Raises:
        NoEnd: The message is not an end of this attempt.
    """
    match words:
        case ["none"]:
            return None
        case ["finish", *who, state, result, error, reason, days, then, pauses]:
            _check(who, claimed)
            _check_all(_is_whole(state) and State.succeeded <= state <= State.cancelled, _is_whole(days))
            _check_all(0 <= days <= _MOST_DAYS, *map(_is_text, (result, error, reason, then)))
            return Finish(
                claimed.id, claimed.fence, state, result, error, reason, days, claimed.batch, then, _pauses(pauses)
            )
        case ["reschedule", *who, delay, error, counts, spent, queue, priority, started, waits, pauses]:
            _check(who, claimed)
            _check_all(_is_delay(delay), *map(_is_text, (error, counts, queue)))
            _check_all(*(type(flag) is bool for flag in (spent, started, waits)))
            within = _is_whole(priority) and LEAST_PRIORITY <= priority <= GREATEST_PRIORITY
            _check_all(priority is None or within)
            return Reschedule(
                claimed.id,
                claimed.fence,
                delay,
                error,
                counts,
                spent=spent,
                queue=queue,
                priority=priority,
                started=started,
                waits=waits,
                pauses=_pauses(pauses),
            )
    raise NoEnd("it is of no known shape")


def _check(who: Sequence[Any], claimed: Claimed) -> None:
    if who != [str(claimed.id), claimed.fence] or not _is_whole(who[1]):
        raise NoEnd("it is of another attempt")


def _pauses(words: Any) -> tuple[RatePause, ...]:
    _check_all(type(words) is list and len(words) <= _MOST_PAUSES)
    _check_all(*(type(each) is list and len(each) == 2 for each in words))
    _check_all(*(type(key) is str and 1 <= len(key) <= MOST_KEY and is_storable(key) for key, _ in words))
    _check_all(*(_is_delay(seconds) and seconds <= LONGEST for _, seconds in words))
    return tuple(RatePause(key, seconds) for key, seconds in words)


def _check_all(*held: bool) -> None:
    if not all(held):
        raise NoEnd("a value of it is of another type, or out of bounds")


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_text(value: Any) -> bool:
    return value is None or type(value) is str


def _is_delay(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= TEN_YEARS
