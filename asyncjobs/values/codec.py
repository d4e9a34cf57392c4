"""Plain JSON text, for the whole project: the only module that imports orjson.

orjson is exact for what Python and JSON share, with three traps that callers who store user values must close (see
`plain_json`): NaN and the infinities become null, tuples, enums, dates and UUIDs lose their type, and on reading an
integer past 64 bits becomes a float.
"""

from __future__ import annotations

from typing import Any

import orjson


def _plain_float(value: object) -> float:
    """Give orjson the one JSON-like type it refuses: subclasses of float, such as numpy.float64."""
    if isinstance(value, float):
        return float(value)
    raise TypeError


def dumps(value: Any) -> str:
    """JSON text of `value`; TypeError for what JSON has no form for."""
    return orjson.dumps(value, default=_plain_float).decode()


def loads(text: str | bytes) -> Any:
    """Value of a JSON text; ValueError for what is not JSON."""
    return orjson.loads(text)
