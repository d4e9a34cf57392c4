"""Values that plain JSON cannot give back unchanged, and their places.

The check is done in C: text is made and read again, and must equal the value (1 KB of nested rows: 16 µs; walking them in
Python takes 106). Only a value that differs is walked, to name the places.
"""

from __future__ import annotations

import json
import marshal
import math
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json

from asyncjobs.checks.texts import MOST_SHOWN, cut, is_storable, shown_plainly
from asyncjobs.values import codec

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 200
"""Levels of lists and dicts that are not empty, the arguments' own dict included: the limit of pydantic's JSON reader."""
TOO_DEEP: Final = f"circular, or nested deeper than {MAX_DEPTH} levels; pass a flatter value"
INVERSE: Final = (
    "what a class writes (serializers, exclude) it must read as the same value (validators, __init__, __post_init__)"
)
MIN_INT: Final = -(2**63)
MAX_INT: Final = 2**64 - 1
NUL_ESCAPE: Final = "\\u0000"
MANY: Final = 5
"""Problems that one error names; more would say the same again."""

_NONE: Final = object()
_ATOMS: Final = frozenset({bool, type(None)})
ANNOTATE: Final = "annotate it, or "
"""The part of a remedy that is of no use where nothing can be annotated."""
_REMEDY: Final = f"{ANNOTATE}pass dict (with str keys), list, str, int, float, bool or None"


def is_plain(value: Any) -> bool:
    """Whether plain JSON is known to give back an equal value; False may also mean that only a walk can tell."""
    return _is_plain_scalar(value) or _copied(value) is not _NONE


def is_exactly_plain(value: Any) -> bool:
    """Whether plain JSON gives back an equal value of the same types, at every depth."""
    if _is_plain_scalar(value):
        return True
    try:
        marshal.dumps(value)  # refuses an instance of a subclass, such as a member of a StrEnum, wherever it stands
    except ValueError:
        return False
    return _copied(value) is not _NONE


def plain(value: Any) -> Any:
    """Return a value as plain JSON gives it back: a member of a StrEnum becomes text, and a defaultdict a dict.

    Raises:
        ValueError: It does not come back equal.
    """
    if _is_plain_scalar(value):
        return value
    copy = _copied(value)
    if copy is not _NONE:
        return copy
    if problems(value, ""):
        raise ValueError
    return json.loads(json.dumps(value))  # for keys of a subclass of str, which orjson refuses


def _is_plain_scalar(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return is_storable(value)
    if kind is int:
        return bool(MIN_INT <= value <= MAX_INT)
    return kind in _ATOMS


def _copied(value: Any) -> Any:
    """Return the value read back from JSON, if it is equal; else _NONE."""
    try:
        text = codec.dumps(value)
        if NUL_ESCAPE in text or too_deep(text):
            return _NONE
        copy = codec.loads(text)
    except (TypeError, ValueError, RecursionError):
        return _NONE
    return copy if copy == value else _NONE


def too_deep(text: str) -> bool:
    """Whether the text is nested deeper than pydantic's reader can read.

    Brackets are counted first: that is 10 times faster than reading, and most texts have few.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    try:
        from_json(text)
    except ValueError:
        return True
    return False


def problems(value: Any, path: str) -> list[tuple[str, str]]:
    """Return up to MANY `(path, fact and remedy)` of parts that plain JSON cannot give back, in the order of the value."""
    found = []
    for problem in _walk(value, path, 0):
        found.append(problem)
        if len(found) == MANY:
            break
    return found


def shown(text: str) -> Any:
    """Return the value of a stored text; the text itself where it is no JSON, or nested too deep."""
    try:
        return text if too_deep(text) else codec.loads(text)
    except ValueError:
        return text


def shown_object(text: str | None) -> dict[str, Any]:
    """Return the JSON object of a stored text; an empty one if it is no object."""
    found = None if text is None else shown(text)
    return found if isinstance(found, dict) else {}


def is_large(value: Any, most: int) -> bool:
    """Whether lists and dicts hold more than `most` values, at all depths together."""
    stack, left = [value], most
    while stack:
        value = stack.pop()
        if isinstance(value, list | tuple | dict | set | frozenset):
            left -= len(value)
            if left < 0:
                return True
            stack += value.values() if isinstance(value, dict) else value
    return False


def join(path: str, key: Any) -> str:
    """Return the path of an item: `rows` and 3 give `rows[3]`, `rows[3]` and "name" give `rows[3].name`."""
    if isinstance(key, str) and key.isidentifier() and len(key) <= MOST_SHOWN:
        return f"{path}.{key}" if path else key
    return f"{path}[{shown_plainly(key)}]"


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        fact = text_problem(value)
        if fact:
            yield path, fact
    elif isinstance(value, bool | None):
        pass
    elif isinstance(value, int):
        if not MIN_INT <= value <= MAX_INT:
            yield path, "an int past 64 bits (-2**63 to 2**64-1); pass it as str"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield path, f"{value} is not JSON; pass None, or a str"
    elif isinstance(value, list | dict):
        if depth >= MAX_DEPTH:
            yield cut(path), TOO_DEEP
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from _walk(item, f"{path}[{index}]", depth + 1)
        else:
            yield from _walk_dict(value, path, depth + 1)
    else:
        yield path, f"{type(value).__qualname__} is not plain JSON; {_REMEDY}"


def _walk_dict(value: dict[Any, Any], path: str, depth: int) -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if not isinstance(key, str):
            yield (
                path,
                f"the key {shown_plainly(key)} is no str; use str keys, or annotate dict[{type(key).__qualname__}, …]",
            )
            continue
        fact = text_problem(key)
        if fact:
            yield path, f"the key {shown_plainly(key)}: {fact}"
        else:
            yield from _walk(item, join(path, key), depth)


def text_problem(value: str) -> str:
    """Return why PostgreSQL or UTF-8 cannot hold a text; empty if they can."""
    if is_storable(value):
        return ""
    if "\x00" in value:
        return "holds a NUL character, which PostgreSQL cannot store; remove it, or pass bytes"
    return "holds a lone surrogate, which is no text; decode it properly, or pass bytes"
