"""The registry of job definitions of this process, by kind and by alias. A stored kind is looked up here and never imported.

While an `AsyncJobs` is open, every kind begins with its `kind_prefix`: in the database, in logs and in `job.kind`. A user
may leave the prefix out in a filter or a command's argument.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from asyncjobs.checks.keywords import nearest
from asyncjobs.definitions.definition import Definition
from asyncjobs.exceptions import InvalidDefinition, InvalidSettings
from asyncjobs.modules.sameness import difference

_definitions: dict[str, Definition] = {}
_all: weakref.WeakSet[Definition] = weakref.WeakSet()
"""Also definitions that were replaced: code may still make jobs of them."""


class _Prefix:
    """The prefix of all kinds, and the number of blocks that hold it."""

    text = ""
    holders = 0


@contextmanager
def prefixed(prefix: str) -> Iterator[None]:
    """Have every kind begin with `prefix` until the block ends; blocks with the same prefix may overlap.

    Raises:
        InvalidSettings: Another prefix is in use: a process belongs to one application.
    """
    if _Prefix.holders and prefix != _Prefix.text:
        other = f"{_Prefix.text!r} of another AsyncJobs that is open in this process"
        raise InvalidSettings([f"kind_prefix is {prefix!r} here and {other}: give all of a process the same"])
    _Prefix.holders += 1
    _use(prefix)
    try:
        yield
    finally:
        _Prefix.holders -= 1
        if not _Prefix.holders:
            _use("")


def _use(prefix: str) -> None:
    if prefix == _Prefix.text:
        return
    former, _Prefix.text = _Prefix.text, prefix
    for definition in _all:
        definition.begin_with(prefix)
    known = [(prefix + name.removeprefix(former), definition) for name, definition in _definitions.items()]
    _definitions.clear()
    _definitions.update(known)


def prefix() -> str:
    """Return the prefix of every kind."""
    return _Prefix.text


def stored_name(kind: str) -> str:
    """Return the stored name of a kind, which is given with its prefix or without."""
    begins = prefix()
    known = kind in _definitions or (kind.startswith(begins) and begins + kind not in _definitions)
    return kind if known else begins + kind


def with_prefix(name: str) -> str:
    """Return a name with this process's prefix, which it may have already."""
    return name if name.startswith(_Prefix.text) else _Prefix.text + name


def register(definition: Definition) -> None:
    """Add a definition under its kind and aliases; the same definition again (a reload) replaces it.

    Raises:
        InvalidDefinition: Another definition has one of these names.
    """
    definition.begin_with(_Prefix.text)
    names = (definition.kind, *definition.aliases)
    for name in names:
        if (other := _definitions.get(name)) is not None:
            _refuse_second(name, definition, other)
    _all.add(definition)
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
    if (differs := difference(code, former, options=(definition.options, other.options))) is not None:
        raise InvalidDefinition(
            f"kind {name!r} is defined twice: by {other.source} and by {definition.source}, which differ in {differs!r}: "
            "the stored jobs of both would run one of them; give each a kind of its own with kind=…"
        )


def find(kind: str) -> Definition | None:
    """Return the definition of a kind or an alias, given with the prefix or without; None: it is unknown."""
    return _definitions.get(kind) or _definitions.get(_Prefix.text + kind)


def end_those_since(before: Iterable[Definition]) -> None:
    """Mark definitions as over that were made inside functions and are not among `before`."""
    known = set(map(id, before))
    for definition in _definitions.values():
        if id(definition) not in known and "<locals>" in definition.source.qualname:
            definition.is_over = True


def all_names() -> list[str]:
    """Return every kind and alias, sorted: the names that a worker of this process may claim."""
    return sorted(_definitions)


def by_name() -> dict[str, Definition]:
    """Return every definition by each of its names, aliases included."""
    return dict(_definitions)


def all_definitions() -> list[Definition]:
    """Return every definition once, by kind."""
    return sorted({id(d): d for d in _definitions.values()}.values(), key=lambda d: d.kind)


def similar(kind: str) -> str:
    """Return ``; did you mean …?`` with the nearest known kind, or an empty string."""
    near = nearest(kind, _definitions)
    return "" if near is None else f"; did you mean {near!r}?"
