"""Time spans as people write them: seconds, or text such as "45s", "10m", "7d", "1h30m"."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from asyncjobs.checks.texts import shown

TEN_YEARS = 3650 * 86400.0
"""Seconds; the longest time of any option. A longer one is a mistake of units."""

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
# Largest unit first and each once, so that "1h30m" is read, and "30m1h" or "5m5m" is refused as a mistake.
_TEXT = re.compile(r"\s*".join(rf"(?:([0-9]+(?:\.[0-9]+)?)\s*{unit})?" for unit in _UNITS))


def seconds(value: object, *, name: str, minimum: float = 0.0) -> float:
    """Return the seconds of a time span, ten years at most.

    Args:
        value: Seconds as a number, text such as "45s", "10m", "7d", "1h30m", "500ms" or "45", or a `timedelta`.
        name: The option's name, with which the error begins.
        minimum: In seconds; itself allowed.

    Raises:
        ValueError: No time span, not finite, or outside the limits.
    """
    try:
        return read_seconds(value, minimum=minimum)
    except ValueError as error:
        raise ValueError(f"{name}: {shown(value)} {error}") from None


def read_seconds(value: object, *, minimum: float = 0.0, maximum: float = TEN_YEARS, text: bool = True) -> float:
    """Return the seconds of a time span as `seconds` does, with an error that names neither the option nor the value.

    Args:
        value: As for `seconds`.
        minimum: As for `seconds`.
        maximum: In seconds; itself allowed.
        text: Whether text is allowed; in code it is not.
    """
    number = _number(value) if text or not isinstance(value, str) else None
    # Compared before float(): an int may be too large for one. A NaN compares false and is refused here too.
    if number is None or not minimum <= number <= maximum:
        fact = "is not a time" if number is None else "is not allowed"
        limits = f"from {spell(minimum)} to {spell(maximum)}"
        forms = 'as text like "45s", "10m" or "7d"' if text else "a timedelta"
        raise ValueError(f"{fact}; give {limits}, as seconds or {forms}")
    return float(number)


def spell(number: float) -> str:
    """Return seconds as short text that `seconds` reads back: 0.05 as "50ms", 5400 as "1h30m"."""
    rest = round(number * 1000)
    parts = []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, round(size * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _number(value: object) -> float | None:
    """Return seconds, not checked against limits; None when the value is no time span."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        return _from_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _from_text(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        return float(text)
    match = _TEXT.fullmatch(text)
    if not text or match is None:
        return None
    # Summed from the smallest unit up, so that 500ms and 1s are exactly 1.5, however other orders would round.
    return math.fsum(float(count) * size for count, size in zip(match.groups(), _UNITS.values(), strict=True) if count)
