"""Checks of a definition, made where it is written: its kind and its options."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from asyncjobs.checks import limits
from asyncjobs.definitions.options import Options
from asyncjobs.definitions.order_keys import refuse_unknown
from asyncjobs.exceptions import InvalidDefinition, InvalidOption
from asyncjobs.modules.origin import Origin


def refuse_dropped(name: str, dropped: Iterable[str], arguments: Iterable[str]) -> None:
    """Refuse `dropped` names that are arguments.

    Raises:
        InvalidDefinition: A name is both.
    """
    for both in set(dropped).intersection(arguments):
        raise InvalidDefinition(f"{name}: dropped names {both!r}, which is an argument: leave it out of one of them")


def refuse_unknown_by(name: str, options: Options, arguments: Collection[str]) -> None:
    """Refuse options whose `by` names no argument.

    Raises:
        InvalidDefinition: A name is no argument.
    """
    for option, each in options.ordered:
        refuse_unknown(name, option, each.by, arguments)


def refuse_unknown_searchable(name: str, options: Options, arguments: Collection[str]) -> None:
    """Refuse searchable names that are no arguments.

    Raises:
        InvalidDefinition: A name is no argument.
    """
    for each in options.searchable:
        if each not in arguments:
            known = f"its arguments are {', '.join(arguments)}" if arguments else "it has none"
            raise InvalidDefinition(f"{name}: searchable has {each!r}, which is no argument: {known}")


def refuse_schedule(name: str, options: Options, needed: Iterable[str]) -> None:
    """Refuse a schedule for a job that cannot be made without arguments.

    Args:
        name: The definition's.
        options: The definition's.
        needed: Names of arguments without a default.

    Raises:
        InvalidDefinition: The job needs arguments.
    """
    if options.schedule is not None and (missing := sorted(needed)):
        raise InvalidDefinition(
            f"{name}: schedule= enqueues it without arguments, and {', '.join(missing)} has no default: give it one, or say "
            "when it recurs in config.toml, [default.recurring.NAME] with args"
        )


def checked_kind(kind: str | None, target: Any, origin: Origin) -> str:
    """Return the kind of a function or class: `kind`, or its importable name.

    Raises:
        InvalidDefinition: `kind` is not given and there is no importable name, or `kind` is no valid name.
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
