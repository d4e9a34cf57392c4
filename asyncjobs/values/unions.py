"""The classes that a value's unions name, from pydantic's compiled schema.

Each is asked for by name, so a value of one that comes back as an equal value of Python's own type has changed its type.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from typing import Any, Final

_OF_TYPES: Final[dict[str, type[Any]]] = {"ordered-dict": collections.OrderedDict, "counter": collections.Counter}
_NOT_SCHEMAS: Final = frozenset({"metadata", "default", "expected", "serialization", "config", "members"})


def classes_of_unions(schema: Any, definitions: Mapping[str, Any]) -> Iterator[type[Any]]:
    """Yield the classes that the members of its unions name, at every depth; some twice."""
    return _walk(schema, definitions, set(), within=False)


def _walk(part: Any, definitions: Mapping[str, Any], entered: set[str], *, within: bool) -> Iterator[type[Any]]:
    """Yield the classes in a part of a schema; `within`: it is a member of a union, or belongs to one."""
    if isinstance(part, list | tuple):
        for one in part:
            yield from _walk(one, definitions, entered, within=within)
    elif isinstance(part, dict):
        kind, name = part.get("type"), part.get("schema_ref")
        if within:
            yield from (named for named in (part.get("cls"), part.get("function")) if isinstance(named, type))
            if kind in _OF_TYPES:
                yield _OF_TYPES[kind]
        if name is not None and name in definitions and (key := f"{name} {within}") not in entered:
            entered.add(key)
            yield from _walk(definitions[name], definitions, entered, within=within)
        for key, inner in part.items():
            if key not in _NOT_SCHEMAS:
                yield from _walk(inner, definitions, entered, within=within or kind == "union")
