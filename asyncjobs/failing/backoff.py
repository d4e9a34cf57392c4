"""Waits before a next attempt: the formulas, and the limits of computed waits.

Source: ActiveJob's `polynomially_longer` and jitter (`activejob/lib/active_job/exceptions.rb`).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Literal

from asyncjobs.checks import limits
from asyncjobs.checks.signatures import parameters_of
from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import InvalidOption

Formula = Literal["polynomially_longer", "exponential"]
Computed = float | timedelta | Awaitable[float | timedelta]
WaitFunction = Callable[[int], Computed] | Callable[[int, Any], Computed]
Wait = float | timedelta | Formula | WaitFunction

DEFAULT_WAIT = 3.0
DEFAULT_JITTER = 0.15
LONGEST_COMPUTED = 7 * 86_400.0
"""Seconds: a wait from a formula, a function or an error is cut to a week; a wait declared as a number is not."""

_FORMULAS = ("polynomially_longer", "exponential")


def checked_wait(wait: Any) -> float | Formula | WaitFunction:
    """Return a declared wait, a time span in seconds.

    Raises:
        InvalidOption: It is no time span, formula or function.
    """
    if callable(wait):
        return wait  # type: ignore[no-any-return]
    if isinstance(wait, str):
        if wait not in _FORMULAS:
            raise InvalidOption(
                f"wait={wait!r} is no formula: use seconds, a timedelta, a function, or one of {', '.join(_FORMULAS)}"
            )
        return wait  # type: ignore[return-value]
    return limits.duration(wait, "wait")


def seconds(wait: float | str, executions: int, *, jitter: float, random: float) -> float:
    """Return the seconds to wait by a fixed time or a formula.

    Args:
        wait: Seconds, ``"polynomially_longer"`` (n⁴ + random·n⁴·jitter + 2) or ``"exponential"`` (2ⁿ); a fixed time is
            lengthened by random·wait·jitter.
        executions: n, from 1.
        jitter: From 0 to 1.
        random: From 0 to 1.
    """
    n = min(executions, 100)  # beyond 100 both are cut to a week, and 2ⁿ would grow too large for a float
    if wait == "polynomially_longer":
        return min(n**4 + random * n**4 * jitter + 2, LONGEST_COMPUTED)
    if wait == "exponential":
        return min(2.0**n, LONGEST_COMPUTED)
    assert not isinstance(wait, str)
    return wait + random * wait * jitter


def takes_error(function: WaitFunction) -> bool:
    """Whether a wait function also takes the error: it has a second positional parameter."""
    try:
        parameters = parameters_of(function).values()
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)


def asked_by(error: BaseException) -> float | None:
    """Return the seconds that an error asks for by its attribute `retry_after`, cut to a week; None: it has none."""
    try:
        return computed(getattr(error, "retry_after", None))
    except Exception:  # ValueError, or any error of a property
        return None


def computed(value: Any) -> float:
    """Return a computed wait in seconds, cut to a week.

    Raises:
        ValueError: It is no number and no timedelta, negative, or NaN.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    # isnan comes last and sees floats only: an int may be too large for one.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value < 0 or (isinstance(value, float) and math.isnan(value)):
        raise ValueError(f"{shown(value)} is no time to wait: return seconds or a timedelta, not negative")
    return float(min(value, LONGEST_COMPUTED))
