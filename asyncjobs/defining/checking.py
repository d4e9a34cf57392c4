"""What may be said of a definition, checked where it is made: its options, its kind, its aliases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asyncjobs.defining import limits
from asyncjobs.defining.origin import Origin
from asyncjobs.exceptions import InvalidDefinition, InvalidOption


def refuse_dropped(name: str, dropped: Iterable[str], arguments: Iterable[str]) -> None:
    """Refuse to ignore what is an argument.

    Raises:
        InvalidDefinition: It is one.
    """
    for both in set(dropped).intersection(arguments):
        raise InvalidDefinition(f"{name}: dropped names {both!r}, which is an argument: leave it out of one of them")


def checked_kind(kind: str | None, target: Any, origin: Origin) -> str:
    """Return the kind of a function or class: `kind`, or its importable name.

    Raises:
        InvalidDefinition: It has no importable name and was given none, or `kind` cannot be one.
    """
    name = f"{target.__module__}.{target.__qualname__}"
    if kind is None:
        if target.__name__ == "<lambda>":
            raise InvalidDefinition(f"{name} is a lambda, which has no name to store: write a function")
        if "<" in target.__qualname__:
            raise InvalidDefinition(
                f"{name} stands inside a function, where no worker can import it: move it to module level, "
                "or give it a name of its own with kind=…"
            )
        kind = f"{origin.name}.{target.__qualname__}"
    try:
        return limits.kind_name(kind)
    except InvalidOption as error:
        raise InvalidDefinition(f"{name}: {error}") from error
