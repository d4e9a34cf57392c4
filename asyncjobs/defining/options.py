"""Options of a job: what they may be, checked before anything is stored."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Any

from asyncjobs.exceptions import InvalidOption

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_KIND = re.compile(
    r"[^\s\x00-\x1f\x7f\ud800-\udfff](?:[^\x00-\x1f\x7f\ud800-\udfff]{0,198}[^\s\x00-\x1f\x7f\ud800-\udfff])?"
)

LEAST_PRIORITY, GREATEST_PRIORITY = -32768, 32767
MOST_REASON = 1_000
SHORTEST_TIMEOUT = 0.001
MOST_CRASHES = 1_000
LONGEST = timedelta(days=3650).total_seconds()
"""Seconds: the furthest a time may lie ahead, ten years."""


def is_queue_name(value: str) -> bool:
    """Whether `value` can name a queue."""
    return _NAME.fullmatch(value) is not None and not value.startswith("-")


def queue_name(value: Any) -> str:
    """Return `value` if it can name a queue.

    Raises:
        InvalidOption: Not 1 to 64 of letters, digits and ``_ . : -`` .
    """
    if not isinstance(value, str) or not is_queue_name(value):
        raise InvalidOption(
            f"queue={shown(value)} is no queue name: use 1 to 64 letters, digits and _ . : - , not beginning with -"
        )
    return value


def kind_name(value: Any) -> str:
    """Return `value` if it can name a kind: 1 to 200 printable characters, no space at either end."""
    if not isinstance(value, str) or not _KIND.fullmatch(value):
        raise InvalidOption(
            f"kind={shown(value)} is no kind: use 1 to 200 printable characters, such as 'app.jobs.welcome'"
        )
    return value


def priority(value: Any) -> int:
    """Return `value` if it is a priority: a whole number in PostgreSQL's smallint; smaller runs first."""
    if type(value) is not int or not LEAST_PRIORITY <= value <= GREATEST_PRIORITY:
        raise InvalidOption(
            f"priority={shown(value)} is not allowed: use a whole number from {LEAST_PRIORITY} to {GREATEST_PRIORITY}; "
            "smaller runs first"
        )
    return value


def duration(value: Any, name: str, *, least: float = 0.0, most: float = LONGEST) -> float:
    """Return a time span in seconds, from a number of seconds or a timedelta.

    Raises:
        InvalidOption: Of another type, NaN, below `least` or above `most`.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # Compared before float(): an int may be too large for one.
        seconds = float(value) if isinstance(value, float) or abs(value) <= most else math.inf
    else:
        raise InvalidOption(f"{name}={shown(value)} is no time span: use seconds or a timedelta")
    if math.isnan(seconds) or not least <= seconds <= most:
        longest = "10 years" if most == LONGEST else f"{most:g} seconds"
        raise InvalidOption(f"{name}={shown(value)} is out of range: use {least:g} seconds to {longest}")
    return seconds


def fraction(value: Any, name: str) -> float:
    """Return `value` if it lies between 0 and 1.

    Raises:
        InvalidOption: It does not, or is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidOption(f"{name}={shown(value)} is not allowed: use a number from 0 to 1")
    return float(value)


def whole(value: Any, name: str, *, least: int, most: int) -> int:
    """Return `value` if it is a whole number within limits.

    Raises:
        InvalidOption: It is not.
    """
    if type(value) is not int or not least <= value <= most:
        raise InvalidOption(f"{name}={shown(value)} is not allowed: use a whole number from {least} to {most}")
    return value


def reason(value: Any) -> str:
    """Return `value` if it can say why: text of at most `MOST_REASON` characters, which PostgreSQL can store.

    Raises:
        InvalidOption: It is no text, too long, or holds a NUL or a lone surrogate.
    """
    if not isinstance(value, str):
        raise InvalidOption(f"reason={shown(value)} is no text")
    if len(value) > MOST_REASON:
        raise InvalidOption(f"reason has {len(value)} characters: use at most {MOST_REASON}")
    if re.search("[\x00\ud800-\udfff]", value):
        raise InvalidOption(f"reason={shown(value)} holds a character that cannot be stored: NUL or a lone surrogate")
    return value


def moment(value: Any, name: str) -> datetime:
    """Return a point in time within ten years of now; one in the past means now.

    Raises:
        InvalidOption: No datetime, without a time zone, or too far away.
    """
    if not isinstance(value, datetime):
        raise InvalidOption(f"{name}={shown(value)} is no time: use an aware datetime")
    if value.utcoffset() is None:
        raise InvalidOption(
            f"{name}={shown(value)} has no time zone, and which one is meant would depend on the machine: "
            "use datetime.now(UTC) + …, or .replace(tzinfo=…)"
        )
    now = datetime.now(value.tzinfo)
    # Compared by year: near datetime.max the difference of two zones overflows.
    if abs(value.year - now.year) > 10:
        raise InvalidOption(f"{name}={shown(value)} is out of range: use a time within ten years of now")
    return value


def shown(value: Any) -> str:
    """Return a value as it is named in an error: at most 60 characters."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "…"
