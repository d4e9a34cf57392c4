"""Every job definition of this process, by kind and by alias. A stored kind is looked up here and never imported."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from asyncjobs.exceptions import InvalidDefinition

if TYPE_CHECKING:
    from asyncjobs.defining.definition import Definition

_definitions: dict[str, Definition] = {}


def register(definition: Definition) -> None:
    """Add a definition under its kind and aliases; the same one again (a reload) replaces.

    Raises:
        InvalidDefinition: Another definition has one of these names.
    """
    names = (definition.kind, *definition.aliases)
    for name in names:
        other = _definitions.get(name)
        if other is not None and not definition.source.replaces(other.source):
            raise InvalidDefinition(
                f"kind {name!r} is defined twice: by {other.source} and by {definition.source}; "
                "rename one, or give it a kind of its own with kind=…"
            )
    for name in names:
        _definitions[name] = definition


def find(kind: str) -> Definition | None:
    """Return the definition of a kind or an alias, or None."""
    return _definitions.get(kind)


def all_names() -> list[str]:
    """Return every kind and alias, sorted: what a worker of this process may claim."""
    return sorted(_definitions)


def by_name() -> dict[str, Definition]:
    """Return every definition by each of its names, aliases included."""
    return dict(_definitions)


def all_definitions() -> list[Definition]:
    """Return every definition once, by kind."""
    return sorted({id(d): d for d in _definitions.values()}.values(), key=lambda d: d.kind)


def similar(kind: str) -> str:
    """Return ``; did you mean …?`` with the nearest known kind, or an empty string."""
    near = difflib.get_close_matches(kind, _definitions, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
