"""A value spelled out with the types of all that it consists of: two are the same if their spellings are."""

from __future__ import annotations

import dataclasses
import enum
from collections import defaultdict, deque
from datetime import datetime, time
from typing import Any

from pydantic import BaseModel


def spelled(value: Any) -> Any:
    """Return what a value is made of, to be compared with another's: types, items, attributes, a zone as its offset."""
    kind = type(value)
    if isinstance(value, enum.Enum) or value is None:
        return kind, repr(value)
    if isinstance(value, BaseModel):
        held = {**vars(value), **(value.__pydantic_extra__ or {}), **(value.__pydantic_private__ or {})}
        return kind, [(name, spelled(item)) for name, item in sorted(held.items())]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return kind, [(name, spelled(getattr(value, name))) for name in names], sorted(getattr(value, "__dict__", ()))
    if isinstance(value, dict):
        made = value.default_factory if isinstance(value, defaultdict) else None
        return kind, made, sorted(((spelled(key), spelled(item)) for key, item in value.items()), key=repr)
    if isinstance(value, set | frozenset):
        return kind, sorted((spelled(item) for item in value), key=repr)
    if isinstance(value, list | tuple | deque):
        return kind, [spelled(item) for item in value], getattr(value, "maxlen", None)
    if isinstance(value, datetime):
        return (
            kind,
            value.replace(tzinfo=None).isoformat(),
            value.fold if value.tzinfo is None else 0,
            value.utcoffset(),
        )
    if isinstance(value, time):
        return kind, value.replace(tzinfo=None).isoformat(), value.tzinfo is None, value.utcoffset()
    return kind, repr(value), str(value)
