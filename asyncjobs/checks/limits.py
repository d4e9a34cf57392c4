"""Limits of options' values: each check returns the value, or raises with the option, its limit and the remedy."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from asyncjobs.checks import names
from asyncjobs.checks.durations import TEN_YEARS, read_seconds
from asyncjobs.checks.texts import is_storable, shown
from asyncjobs.exceptions import InvalidOption

LEAST_PRIORITY, GREATEST_PRIORITY = -32768, 32767
MOST_REASON = 1_000
SHORTEST_TIMEOUT = 0.001
"""Seconds."""


def queue_name(value: Any, name: str = "queue") -> str:
    """Return `value`, the name of a queue.

    Raises:
        InvalidOption: It is no valid name, see `names.QUEUE_RULE`.
    """
    if not isinstance(value, str) or not names.is_queue(value):
        raise InvalidOption(f"{name}={shown(value)} is no queue name: use {names.QUEUE_RULE}")
    return value


def kind_name(value: Any, name: str = "kind") -> str:
    """Return `value`, the name of a kind.

    Raises:
        InvalidOption: It is no valid name, see `names.KIND_RULE`.
    """
    if not isinstance(value, str) or not names.is_kind(value):
        raise InvalidOption(f"{name}={shown(value)} is no kind: use {names.KIND_RULE}, such as 'app.jobs.welcome'")
    return value


def priority(value: Any, name: str = "priority") -> int:
    """Return `value`, a priority: a whole number in PostgreSQL's smallint; smaller runs first.

    Raises:
        InvalidOption: It is no such number.
    """
    try:
        return whole(value, name, least=LEAST_PRIORITY, most=GREATEST_PRIORITY)
    except InvalidOption as error:
        raise InvalidOption(f"{error}; smaller runs first") from None


def duration(value: Any, name: str, *, least: float = 0.0) -> float:
    """Return a time span in seconds, from a number of seconds or a timedelta.

    Raises:
        InvalidOption: It is of another type, NaN, below `least` or above ten years.
    """
    try:
        return read_seconds(value, minimum=least, maximum=TEN_YEARS, text=False)
    except ValueError as error:
        raise InvalidOption(f"{name}={shown(value)} {error}") from None


def timeout(value: Any, name: str) -> float:
    """Return a time span in seconds, of a millisecond at least; see `duration`.

    Raises:
        InvalidOption: As `duration`, or less than a millisecond.
    """
    return duration(value, name, least=SHORTEST_TIMEOUT)


def fraction(value: Any, name: str) -> float:
    """Return `value`, a number from 0 to 1.

    Raises:
        InvalidOption: It is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidOption(f"{name}={shown(value)} is not allowed: use a number from 0 to 1")
    return float(value)


def whole(value: Any, name: str, *, least: int, most: int) -> int:
    """Return `value`, a whole number within limits.

    Raises:
        InvalidOption: It is no such number.
    """
    if type(value) is not int or not least <= value <= most:
        raise InvalidOption(f"{name}={shown(value)} is not allowed: use a whole number from {least} to {most}")
    return value


def flag(value: Any, name: str) -> bool:
    """Return `value`, True or False.

    Raises:
        InvalidOption: It is neither.
    """
    if not isinstance(value, bool):
        raise InvalidOption(f"{name}={shown(value)} is not True or False")
    return value


def reason(value: Any, name: str = "reason") -> str:
    """Return `value`, a reason or the like: text of at most `MOST_REASON` characters, which PostgreSQL can store.

    Raises:
        InvalidOption: It is no text, too long, or holds a NUL or a lone surrogate.
    """
    if not isinstance(value, str):
        raise InvalidOption(f"{name}={shown(value)} is no text")
    if len(value) > MOST_REASON:
        raise InvalidOption(f"{name} has {len(value)} characters: use at most {MOST_REASON}")
    if not is_storable(value):
        raise InvalidOption(f"{name}={shown(value)} holds a character that cannot be stored: NUL or a lone surrogate")
    return value


def moment(value: Any, name: str) -> datetime:
    """Return a point in time within ten years of now; one in the past means now.

    Raises:
        InvalidOption: It is no datetime, has no time zone, or is too far away.
    """
    if not isinstance(value, datetime):
        raise InvalidOption(f"{name}={shown(value)} is no time: use an aware datetime")
    if value.utcoffset() is None:
        raise InvalidOption(
            f"{name}={shown(value)} has no time zone, and which one is meant would depend on the machine: "
            "use datetime.now(UTC) + …, or .replace(tzinfo=…)"
        )
    now = datetime.now(value.tzinfo)
    # Years are compared: near datetime.max the difference of two zones overflows.
    if abs(value.year - now.year) > 10:
        raise InvalidOption(f"{name}={shown(value)} is out of range: use a time within ten years of now")
    return value
