"""`Limit` and the options of `Rate`: how many jobs run at once, and how many start in a time, over all workers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, TypeVar

from asyncjobs.checks import limits
from asyncjobs.checks.durations import TEN_YEARS
from asyncjobs.checks.texts import shown
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.definitions.order_keys import By, checked_by, checked_key
from asyncjobs.exceptions import InvalidOption

T = TypeVar("T")

MOST_RUNNING: Final = 1_000_000
MOST_STARTS: Final = 1_000_000
MOST_TOGETHER: Final = 50
"""Limits and rates of one job."""


class Limit:
    """How many jobs with the same key run at once, over all workers.

    A job beyond the limit stays `ready`, and is passed over. A place is held under a live lease only: by a job that runs, or
    that is about to after it was let pass. The place is free again when the worker is found dead, and while the job awaits,
    sleeps or waits.

    Args:
        most: Jobs at once, at least 1.
        by: Names of arguments whose values are the key, or a callable of the job that returns it; (): the whole kind.
        key: Shared by all kinds that give it, in place of the kind.

    Raises:
        InvalidOption: A value outside these limits.
    """

    __slots__ = ("by", "key", "most")

    @answered(remedy='how many comes first, the rest goes by name: `Limit(1, by=("account_id",))`')
    def __init__(self, most: int, *, by: By = (), key: str | None = None) -> None:
        self.most = limits.whole(most, "Limit", least=1, most=MOST_RUNNING)
        self.by = checked_by(by, "Limit")
        self.key = checked_key(key, "Limit")

    def __repr__(self) -> str:
        return f"Limit({self.most}, by={self.by!r}, key={self.key!r})"


class RateLimit:
    """The options of a rate; users make a `Rate`."""

    __slots__ = ("burst", "by", "count", "follow_retry_after", "key", "per")

    @answered(
        remedy='how many comes first, then in which time, the rest by name: `Rate(10, per=60, by=("account_id",))`'
    )
    def __init__(
        self,
        count: int,
        per: float | timedelta,
        *,
        by: By = (),
        key: str | None = None,
        burst: int | None = None,
        follow_retry_after: bool = False,
    ) -> None:
        self.count = limits.whole(count, "Rate", least=1, most=MOST_STARTS)
        self.per = limits.timeout(per, "Rate: per")
        self.by = checked_by(by, "Rate")
        self.key = checked_key(key, "Rate")
        self.burst = self.count if burst is None else limits.whole(burst, "Rate: burst", least=1, most=MOST_STARTS)
        if (filling := self.spacing * self.burst) > TEN_YEARS:
            raise InvalidOption(
                f"Rate: burst={self.burst} is full only after {filling / TEN_YEARS * 10:,.0f} years without a start: "
                "give a burst that is full after ten years at most"
            )
        self.follow_retry_after = limits.flag(follow_retry_after, "Rate: follow_retry_after")

    @property
    def spacing(self) -> float:
        """Seconds from one token to the next."""
        return self.per / self.count

    def __repr__(self) -> str:
        return f"Rate({self.count}, per={self.per:g}, by={self.by!r}, key={self.key!r}, burst={self.burst})"


def checked_limits(value: Any, name: str) -> tuple[Limit, ...]:
    """Return limits, given one or several.

    Raises:
        InvalidOption: Something else is given, or two limits with the same key.
    """
    return _several(value, name, Limit, "Limit(1)")


def checked_rates(value: Any, name: str) -> tuple[RateLimit, ...]:
    """Return rates, given one or several.

    Raises:
        InvalidOption: Something else is given, or two rates with the same key.
    """
    return _several(value, name, RateLimit, "Rate(10, per=60)")


def _several(value: Any, name: str, kind: type[T], such_as: str) -> tuple[T, ...]:
    given = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(each, kind) for each in given):
        raise InvalidOption(f"{name}={shown(value)} is not allowed: give {name}={such_as}, or a list of such")
    if len(given) > MOST_TOGETHER:
        raise InvalidOption(
            f"{name}= has {len(given)} of them: a job has at most {MOST_TOGETHER} limits and rates together"
        )
    if len({(each.key, each.by) for each in given}) < len(given):
        raise InvalidOption(f"{name}={shown(value)}: two of them have the same key and by=: leave one out")
    return given
