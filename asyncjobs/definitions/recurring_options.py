"""Options of a schedule beside its times: missed times, overlaps, jitter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

from asyncjobs.checks import names
from asyncjobs.checks.durations import read_seconds
from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import InvalidOption

CatchUp = Literal["none", "latest", "all"]
Overlap = Literal["allow", "skip"]

MOST_JITTER: Final = 86_400.0
"""Seconds."""


def checked_catch_up(value: Any, name: str) -> CatchUp:
    """Return `value`.

    Raises:
        InvalidOption: It is no value of `catch_up`.
    """
    found: CatchUp = _one_of(value, name, get_args(CatchUp))
    return found


def checked_overlap(value: Any, name: str) -> Overlap:
    """Return `value`.

    Raises:
        InvalidOption: It is no value of `overlap`.
    """
    found: Overlap = _one_of(value, name, get_args(Overlap))
    return found


def checked_jitter(value: Any, name: str) -> float:
    """Return the seconds of a jitter, from a number of seconds or a timedelta.

    Raises:
        InvalidOption: Negative, or more than a day.
    """
    try:
        return read_seconds(value, maximum=MOST_JITTER, text=False)
    except ValueError as error:
        raise InvalidOption(f"{name}={shown(value)} {error}") from None


def checked_name(value: Any) -> str:
    """Return `value`, the name of a schedule.

    Raises:
        InvalidOption: It is no valid name.
    """
    if not isinstance(value, str) or not names.is_kind(value):
        raise InvalidOption(f"name={shown(value)} is no name: use {names.KIND_RULE}, such as 'daily_report'")
    return value


def _one_of(value: Any, name: str, allowed: Sequence[str]) -> Any:
    if value not in allowed:
        known = ", ".join(f"'{each}'" for each in allowed)
        raise InvalidOption(f"{name}={shown(value)} is not known: use {known}")
    return value
