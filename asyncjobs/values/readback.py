"""The comparison of a value with what its stored text is read as: equal, of the same types, at every depth."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import types
import uuid
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from pydantic_core import TzInfo

from asyncjobs.checks.texts import shown_plainly
from asyncjobs.values import plain_json
from asyncjobs.values.parts import ABSENT, Difference, Pair, inner, otherwise
from asyncjobs.values.references import StoredKey

_SCALARS: Final = frozenset({bool, int, float, str, bytes, types.NoneType, uuid.UUID, dt.date, dt.timedelta})
_STANDARD: Final = _SCALARS | {
    decimal.Decimal, dt.datetime, dt.time, list, dict, set, frozenset, tuple, collections.deque
}  # fmt: skip
_ZONED: Final = frozenset({dt.datetime, dt.time})
_FIXED: Final = (dt.timezone, TzInfo)


class Likeness(NamedTuple):
    """The result of comparing a value with what is read back."""

    is_exact: bool
    """Whether the types are the same at every depth; else some are of a subclass of the type that comes back, and equal."""
    is_whole: bool
    """Whether the value that is read back holds no reference that is still to be loaded."""


def compare(given: Any, back: Any, path: str, named: Collection[type[Any]] = ()) -> Likeness:
    """Compare a value with what its text was read as, at every depth.

    A value of a subclass of one of Python's own types may come back as an equal value of that type (a member of an IntEnum,
    a defaultdict, asyncpg's UUID), an int as an equal float, and a time zone as its offset. Not so a value of a class that
    the annotation names beside Python's own: `str | Color` asks for either.

    Args:
        given: The value.
        back: What its text was read as.
        path: Where it stands, for messages.
        named: The classes that unions of the annotation name.

    Raises:
        Difference: The values differ otherwise.
    """
    is_exact, is_whole = True, True
    asked_for = tuple(cls for cls in named if cls not in _STANDARD)
    stack: list[Pair] = [(given, back, path)]
    met: dict[tuple[int, int], Any] = {}  # holds the values too, so that their ids are not used again
    while stack:
        given, back, path = stack.pop()
        if given is back:
            continue
        if type(back) is StoredKey:
            is_whole = False
            given, back = back.reference.key_of(given), back.key
        if type(given) is not type(back):
            if not _is_converted(given, back) or isinstance(given, asked_for):
                raise Difference(path, _of_another_type(given, back, is_asked_for=isinstance(given, asked_for)))
            is_exact = False
        elif type(back) in _ZONED and type(given.tzinfo) not in _FIXED:
            is_exact = is_exact and given.tzinfo is None
        kind = type(back)
        if kind in _SCALARS:
            if given != back:
                raise Difference(path, otherwise(back))
        elif (pair := (id(given), id(back))) not in met:
            met[pair] = given, back
            stack.extend([*inner(given, back, path)][::-1])
    return Likeness(is_exact, is_whole)


def is_same(given: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, at every depth."""
    try:
        return compare(given, other, "").is_exact
    except Difference:
        return False


def _is_converted(given: Any, back: Any) -> bool:
    kind = type(back)
    if kind is float and isinstance(given, int):
        return True
    return kind in _STANDARD and isinstance(given, kind)


def _of_another_type(given: Any, back: Any, *, is_asked_for: bool) -> str:
    if given is ABSENT:
        return f"is not there and would come back as {shown_plainly(back)}; {plain_json.INVERSE}"
    one, other = _name(given), _name(back)
    if isinstance(given, type(back)) and not is_asked_for:
        return f"is a {one} and would come back as a {other}; annotate {one}, or pass a {other}"
    return (
        f"is a {one} and would come back as a {other}: nothing there tells them apart; annotate {one} alone, or types "
        "that JSON tells apart"
    )


def _name(value: Any) -> str:
    return type(value).__qualname__
