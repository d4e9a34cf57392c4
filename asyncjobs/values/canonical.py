"""The one form of a value in a key: equal values have equal keys, in every process."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from asyncjobs.values import codec


def canonical(stored: Any, value: Any) -> Any:
    """Return JSON in a form that equal values share.

    Sets and the keys of objects are sorted, since their order depends on the process; a Decimal loses trailing zeros, a time
    its zone, and a float that is zero its sign.

    Args:
        stored: The value's JSON.
        value: The value, as far as it is known; it tells a set from a list.

    Raises:
        ValueError: A float is not finite.
    """
    match stored:
        case float():
            if not math.isfinite(stored):
                raise ValueError(stored)
            return stored + 0.0  # -0.0 becomes 0.0
        case str():
            return _of_text(stored, value)
        case list() | tuple():
            is_set = isinstance(value, set | frozenset)
            given = [None] * len(stored) if is_set or not _is_alike(value, stored) else value
            items = [canonical(item, one) for item, one in zip(stored, given, strict=True)]
            return sorted(items, key=codec.dumps) if is_set else items
        case dict():
            return {str(name): canonical(stored[name], _item(value, name)) for name in sorted(stored, key=str)}
    return stored


def _of_text(stored: str, value: Any) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal) and value.is_finite():
        return format(value.normalize() + 0, "f")
    return stored


def _is_alike(value: Any, stored: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == len(stored)


def _item(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)
