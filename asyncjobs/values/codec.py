"""Plain JSON text for the whole project: the only module that imports orjson.

orjson is exact for values that Python and JSON share, with three traps that callers who store user values must close (see
`plain_json`): NaN and the infinities become null; tuples, enums, dates and UUIDs lose their type; and an integer past 64
bits is read as a float.
"""

from __future__ import annotations

from typing import Any

import orjson


def _plain_float(value: object) -> float:
    """Return a float for instances of its subclasses, such as numpy.float64, which orjson refuses."""
    if isinstance(value, float):
        return float(value)
    raise TypeError


def dumps(value: Any) -> str:
    """Return the JSON text of `value`; raise TypeError if JSON has no form for it."""
    return orjson.dumps(value, default=_plain_float).decode()


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text; raise ValueError if it is no JSON."""
    return orjson.loads(text)
