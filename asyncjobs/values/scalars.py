"""Checks of a value's type, and of the few values that a type leaves open, that it comes back from JSON unchanged."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import types
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic_core import TzInfo

from asyncjobs.values import plain_json

Check = Callable[[Any], bool]

TYPES: Final[dict[str, type[Any]]] = {
    "none": types.NoneType,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes,
    "date": dt.date,
    "time": dt.time,
    "datetime": dt.datetime,
    "timedelta": dt.timedelta,
    "decimal": decimal.Decimal,
    "uuid": uuid.UUID,
}
"""Python's types by pydantic's names."""
_JSON_SCALARS: Final = frozenset({str, int, bool, types.NoneType})
_ABSENT: Final = object()


def never(_value: Any) -> bool:
    """Return False: a value is not known to come back unchanged."""
    return False


def always(_value: Any) -> bool:
    """Return True: every value comes back unchanged."""
    return True


class OfType:
    """A check for values of exactly one type, and those of another check; parts of a value are not looked at.

    A caller that checks many values compares the type itself, in a third of the time of a call.
    """

    def __init__(self, cls: type[Any], more: Check = never) -> None:
        self.cls = cls
        self.more = more

    def __call__(self, value: Any) -> bool:
        """Whether a value passes."""
        return type(value) is self.cls or self.more(value)


def holding(checks: Mapping[str, Check]) -> Callable[[Mapping[str, Any]], bool]:
    """Return a check whether all of some named values come back unchanged."""
    fields = [
        (name, check.cls, check.more) if isinstance(check, OfType) else (name, OfType, check)
        for name, check in checks.items()
    ]

    def holds(held: Mapping[str, Any]) -> bool:
        for name, cls, check in fields:
            item = held.get(name, _ABSENT)
            if type(item) is not cls and not check(item):
                return False
        return True

    return holds


def every(check: Check) -> Callable[[Iterable[Any]], bool]:
    """Return a check whether all of any number of values pass `check`."""
    if check is always:
        return always
    if isinstance(check, OfType) and check.more is never:
        only = {check.cls}
        return lambda values: only.issuperset(map(type, values))
    return lambda values: all(map(check, values))


def of_scalar(kind: str, limits: Mapping[str, Any]) -> Check:
    """Return the check of a user's own value.

    Args:
        kind: Pydantic's name of its type.
        limits: Its limits, by pydantic's names.
    """
    of_type = _CHECKS.get(kind) or OfType(TYPES[kind])
    if limits == {"ge": plain_json.MIN_INT, "le": plain_json.MAX_INT}:
        return _is_int
    if not limits:
        return of_type
    return lambda value: of_type(value) and all(_LIMITS[name](value, limit) for name, limit in limits.items())


def is_none(value: Any) -> bool:
    """Whether a value is None."""
    return value is None


def is_json_scalar(value: Any) -> bool:
    """Whether a value's type is one of JSON itself."""
    return type(value) in _JSON_SCALARS or _is_finite(value)


def _is_int(value: Any) -> bool:
    return type(value) is int and plain_json.MIN_INT <= value <= plain_json.MAX_INT


def _is_finite(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _is_finite_decimal(value: Any) -> bool:
    return type(value) is TYPES["decimal"] and value.is_finite()


def _is_zoned(cls: type[Any]) -> Check:
    utc, fixed, minute = dt.UTC, (dt.timezone, TzInfo), dt.timedelta(minutes=1)

    def check(value: Any) -> bool:
        if type(value) is not cls:
            return False
        zone = value.tzinfo
        if zone is None:
            return not value.fold
        # A zone is stored as its offset in whole minutes.
        return zone is utc or (type(zone) in fixed and not zone.utcoffset(None) % minute)

    return check


_CHECKS: Final[dict[str, Check]] = {
    "float": _is_finite,
    "decimal": _is_finite_decimal,
    "datetime": _is_zoned(dt.datetime),
    "time": _is_zoned(dt.time),
}
_LIMITS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "ge": lambda value, limit: value >= limit,
    "gt": lambda value, limit: value > limit,
    "le": lambda value, limit: value <= limit,
    "lt": lambda value, limit: value < limit,
    "min_length": lambda value, limit: len(value) >= limit,
    "max_length": lambda value, limit: len(value) <= limit,
    "tz_constraint": lambda value, limit: limit == ("naive" if value.tzinfo is None else "aware"),
}
