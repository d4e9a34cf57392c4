"""Parts of two values side by side: the stored value, and the value that its text is read as."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
from collections.abc import Callable, Iterator
from typing import Any, Final

import pydantic

from asyncjobs.checks.texts import shown_plainly
from asyncjobs.values import plain_json
from asyncjobs.values.annotations import ASTERISKS

Pair = tuple[Any, Any, str]
"""A part of each value, and its path."""
ABSENT: Final = object()
"""Stands for a part that only the other value has."""


class Difference(Exception):
    """A value that does not come back unchanged.

    Attributes:
        path: Of the changed part.
        fact: The fact and the remedy.
    """

    def __init__(self, path: str, fact: str) -> None:
        self.path, self.fact = path, fact
        super().__init__(f"{path}: {fact}")


def inner(given: Any, back: Any, path: str) -> Iterator[Pair]:
    """Compare two values without their parts, and yield the parts."""
    for cls, look_into in _LOOKS:
        if isinstance(back, cls):
            return look_into(given, back, path)
    if dataclasses.is_dataclass(back):
        _refuse_row(given, back, path)
        return _attributes(_held_by_dataclass(given), _held_by_dataclass(back), path)
    return _other_objects(given, back, path)


def _items(given: Any, back: Any, path: str) -> Iterator[Pair]:
    if len(given) != len(back):
        raise Difference(path, f"has {len(given)} items and would come back with {len(back)}; {plain_json.INVERSE}")
    if getattr(given, "maxlen", None) != getattr(back, "maxlen", None):
        raise Difference(path, "maxlen of a deque is not stored; pass one without")
    for index, (one, other) in enumerate(zip(given, back, strict=True)):
        yield one, other, f"{path}[{index}]"


def _members(given: Any, back: Any, path: str) -> Iterator[Pair]:
    yield from _by_key({one: one for one in given}, {other: other for other in back}, path)


def _entries(given: Any, back: Any, path: str) -> Iterator[Pair]:
    if type(given) is type(back) and getattr(given, "default_factory", None) != getattr(back, "default_factory", None):
        raise Difference(path, "its default_factory differs from the one of its annotation; use the annotated one")
    keys = {key: key for key in back}
    for key in given:
        yield key, keys.get(key, ABSENT), path
    yield from _by_key(given, back, path)


def _by_key(given: Any, back: Any, path: str) -> Iterator[Pair]:
    if len(given) != len(back) or not all(key in back for key in given):
        raise Difference(path, f"would come back as {shown_plainly(list(back))}; {plain_json.INVERSE}")
    for key, item in given.items():
        yield item, back[key], plain_json.join(path, key)


def _attributes(given: dict[str, Any], back: dict[str, Any], path: str) -> Iterator[Pair]:
    for name in given | back:
        place = plain_json.join(path, name)
        if name not in back:
            raise Difference(place, f"would not come back; {plain_json.INVERSE}")
        yield given.get(name, ABSENT), back[name], place


def _of_model(given: Any, back: Any, path: str) -> Iterator[Pair]:
    _refuse_row(given, back, path)
    yield from _attributes(_held_by_model(given), _held_by_model(back), path)


def _refuse_row(given: Any, back: Any, path: str) -> None:
    """Refuse a row of a mapped class, unless it is a model (SQLModel's) of nothing but text and numbers."""
    if not hasattr(type(back), "__table__"):
        return
    # A mapped dataclass has no state for its mapper when pydantic makes it.
    if not isinstance(back, pydantic.BaseModel) or repr(_held_by_model(given)) != repr(_held_by_model(back)):
        raise Difference(path, "a row of a table would not come back as it is; pass its key, or use register_reference")


def _held_by_model(value: pydantic.BaseModel) -> dict[str, Any]:
    return {
        **_assigned(value, type(value).model_fields),
        **(value.__pydantic_extra__ or {}),
        **(value.__pydantic_private__ or {}),
    }


def _held_by_dataclass(value: Any) -> dict[str, Any]:
    fields = {field.name for field in dataclasses.fields(value)}
    # A field that is neither given nor compared, such as a cache, need not come back.
    asked = [field.name for field in dataclasses.fields(value) if field.init or field.compare]
    held = {name: getattr(value, name) for name in asked if hasattr(value, name)}
    return {name: item for name, item in _assigned(value, asked).items() if name not in fields} | held


def _assigned(value: Any, fields: Any) -> dict[str, Any]:
    """Return an object's attributes, without private and cached ones."""
    return {
        name: item
        for name, item in getattr(value, "__dict__", {}).items()
        if name in fields
        or not (name.startswith("_") or type(getattr(type(value), name, None)).__name__ == "cached_property")
    }


def _other_objects(given: Any, back: Any, path: str) -> Iterator[Pair]:
    try:
        is_equal = bool(given == back)
    except Exception:  # an array compares item by item
        is_equal = True
    if is_equal:
        return
    own: Any = type(given).__eq__
    if own is not object.__eq__:
        raise Difference(path, otherwise(back))
    try:
        states = given.__getstate__(), back.__getstate__()
    except Exception:  # a lock or a connection, say: it has no state to compare
        return
    yield (*states, path)


def _datetimes(given: Any, back: Any, path: str) -> Iterator[Pair]:
    # `==` holds for no two zones in an hour that occurs twice in one of them.
    if given.replace(tzinfo=None) != back.replace(tzinfo=None) or given.utcoffset() != back.utcoffset():
        raise Difference(path, otherwise(back))
    if (given.tzinfo is None) != (back.tzinfo is None):
        raise Difference(path, "its zone is not stored; pass one with a fixed offset, or none")
    if given.tzinfo is None and given.fold != back.fold:
        raise Difference(path, "its fold is not stored; pass an aware datetime")
    yield from ()


def _texts(given: Any, back: Any, path: str) -> Iterator[Pair]:
    if str(given) != str(back):  # 1.5 and 1.50 are equal Decimals
        raise Difference(path, otherwise(back))
    yield from ()


def _others(_given: Any, back: Any, path: str) -> Iterator[Pair]:
    raise Difference(path, otherwise(back))


def otherwise(back: Any) -> str:
    """Return fact and remedy of a value that comes back as `back`."""
    if isinstance(back, pydantic.SecretStr | pydantic.SecretBytes):
        return ASTERISKS
    return f"would come back as {shown_plainly(back)}; {plain_json.INVERSE}"


_LOOKS: Final[tuple[tuple[type, Callable[[Any, Any, str], Iterator[Pair]]], ...]] = (
    (enum.Enum, _others),
    (dt.datetime, _datetimes),
    (dt.time, _datetimes),
    (decimal.Decimal, _texts),
    (dict, _entries),
    (list, _items),
    (tuple, _items),
    (collections.deque, _items),
    (set, _members),
    (frozenset, _members),
    (pydantic.BaseModel, _of_model),
)
