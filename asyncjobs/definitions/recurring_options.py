"""What may be said of something that recurs beside when: which missed times are made up for, whether it overlaps, jitter."""

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
    """Return `value` if it says which missed times are made up for.

    Raises:
        InvalidOption: It does not.
    """
    found: CatchUp = _one_of(value, name, get_args(CatchUp))
    return found


def checked_overlap(value: Any, name: str) -> Overlap:
    """Return `value` if it says whether a job recurs beside the one before.

    Raises:
        InvalidOption: It does not.
    """
    found: Overlap = _one_of(value, name, get_args(Overlap))
    return found


def checked_jitter(value: Any, name: str) -> float:
    """Return the seconds of a jitter, from a number of seconds or a timedelta.

    Raises:
        InvalidOption: Less than none, or more than a day.
    """
    try:
        return read_seconds(value, maximum=MOST_JITTER, text=False)
    except ValueError as error:
        raise InvalidOption(f"{name}={shown(value)} {error}") from None


def checked_name(value: Any) -> str:
    """Return `value` if something that recurs can have it for a name.

    Raises:
        InvalidOption: It cannot.
    """
    if not isinstance(value, str) or not names.is_kind(value):
        raise InvalidOption(f"name={shown(value)} is no name: use {names.KIND_RULE}, such as 'daily_report'")
    return value


def _one_of(value: Any, name: str, allowed: Sequence[str]) -> Any:
    if value not in allowed:
        known = ", ".join(f"'{each}'" for each in allowed)
        raise InvalidOption(f"{name}={shown(value)} is not known: use {known}")
    return value
