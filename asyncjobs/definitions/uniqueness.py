"""`Unique`: of jobs with the same key, one at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias, cast

from asyncjobs.checks import limits
from asyncjobs.checks.texts import shown
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.definitions.order_keys import By, checked_by
from asyncjobs.exceptions import InvalidOption

OnConflict: TypeAlias = Literal["skip", "replace", "raise"]

STATES: Final = ("scheduled", "ready", "running", "waiting")
_UNTIL: Final = {frozenset(STATES): 0, frozenset(STATES[:2]): 1, frozenset(STATES[:3]): 2}
"""When a key is freed: 0 at the end, 1 at the start, 2 when the job is parked."""


class Unique:
    """Of the jobs of a kind that have the same key, one is stored at a time.

    An index of the database enforces it: for every enqueuer, also in callers' transactions. The key is free when the job
    leaves `states`, for whatever reason, and the job does not take it again.

    Args:
        by: Names of arguments whose values are the key, or a callable of the job that returns it; (): the whole kind.
        states: The states in which a job holds its key: all four of these; or ("scheduled", "ready"), until it starts; or
            these and "running", until it is parked.
        window: Seconds or a timedelta: a job enqueued within that time also holds the key, finished or not. None: only
            jobs in `states` do.
        on_conflict: "skip": nothing is stored, and `disposition` is "duplicate"; "replace": the waiting job takes the new
            arguments, time, queue and priority ("replaced"), and a running one is followed by the new one; "raise":
            `NotUnique`.

    Raises:
        InvalidOption: A value outside these limits.
    """

    __slots__ = ("by", "on_conflict", "states", "until", "window")

    @answered(remedy='what the key is comes first, the rest goes by name: `Unique(("user_id",), window=60)`')
    def __init__(
        self,
        by: By = (),
        *,
        states: tuple[str, ...] = STATES,
        window: float | timedelta | None = None,
        on_conflict: OnConflict = "skip",
    ) -> None:
        self.by = checked_by(by, "Unique")
        self.states = _checked(states)
        self.until: int = _UNTIL[frozenset(self.states)]
        self.window = None if window is None else limits.timeout(window, "Unique: window")
        if on_conflict not in ("skip", "replace", "raise"):
            raise InvalidOption(
                f"Unique: on_conflict={shown(on_conflict)} is not known: use 'skip', 'replace' or 'raise'"
            )
        self.on_conflict: OnConflict = on_conflict

    def __repr__(self) -> str:
        return (
            f"Unique(by={self.by!r}, states={self.states!r}, window={self.window!r}, on_conflict={self.on_conflict!r})"
        )


def checked_unique(value: Any, name: str) -> Unique:
    """Return `value`.

    Raises:
        InvalidOption: It is no `Unique`.
    """
    if not isinstance(value, Unique):
        raise InvalidOption(f"{name}={shown(value)} is not allowed: give {name}=Unique(), or Unique(by=('argument',))")
    return value


def _checked(value: Any) -> tuple[str, ...]:
    given = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (value,)
    if unknown := [each for each in given if each not in STATES]:
        raise InvalidOption(
            f"Unique: states has {shown(unknown[0])}: use some of {', '.join(STATES)}; for jobs that have ended give window="
        )
    if frozenset(given) not in _UNTIL:
        raise InvalidOption(
            f"Unique: states={shown(given)} is not allowed: give ('scheduled', 'ready'), "
            "these and 'running', or all four"
        )
    return cast("tuple[str, ...]", given)
