"""Every job definition of this process, by kind and by alias. A stored kind is looked up here and never imported."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from asyncjobs.defining.sameness import difference
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
        if (other := _definitions.get(name)) is not None:
            _refuse_second(name, definition, other)
    for name in names:
        _definitions[name] = definition


def _refuse_second(name: str, definition: Definition, other: Definition) -> None:
    if not definition.source.replaces(other.source):
        raise InvalidDefinition(
            f"kind {name!r} is defined twice: by {other.source} and by {definition.source}; "
            "rename one, or give it a kind of its own with kind=…"
        )
    if other.is_over or not definition.source.is_run_again(other.source):
        return
    code, former = definition.function or definition.job_class, other.function or other.job_class
    if (differs := difference(code, former)) is not None:
        raise InvalidDefinition(
            f"kind {name!r} is defined twice: by {other.source} and by {definition.source}, which differ in {differs!r}: "
            "the stored jobs of both would run one of them; give each a kind of its own with kind=…"
        )


def find(kind: str) -> Definition | None:
    """Return the definition of a kind or an alias, or None."""
    return _definitions.get(kind)


def end_those_since(before: Iterable[Definition]) -> None:
    """Take the definitions for over that were made inside functions, and are not among `before`."""
    known = set(map(id, before))
    for definition in _definitions.values():
        if id(definition) not in known and "<locals>" in definition.source.qualname:
            definition.is_over = True


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
