"""What may be said of a definition, checked where it is made: its options, its kind, its aliases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asyncjobs import keywords
from asyncjobs.defining import options
from asyncjobs.defining.definition import Options
from asyncjobs.defining.origin import Origin
from asyncjobs.exceptions import InvalidDefinition, InvalidOption


def checked_options(
    name: str,
    *,
    queue: Any = None,
    priority: Any = None,
    retention: Any = None,
    executor: Any = None,
    timeout: Any = None,
    expires_in: Any = None,
    max_crashes: Any = None,
    dropped: Any = None,
    **unknown: Any,
) -> Options:
    """Return a definition's options, checked.

    Raises:
        InvalidDefinition: Naming the definition, the option and its limit.
    """
    if unknown:
        known = ["kind", "aliases", "abstract", *Options.__dataclass_fields__]
        raise InvalidDefinition(keywords.unknown(name, next(iter(unknown)), known))
    try:
        return Options(
            queue=queue if queue is None or callable(queue) else options.queue_name(queue),
            priority=None if priority is None else options.priority(priority),
            retention=None if retention is None else options.duration(retention, "retention"),
            executor=executor,
            timeout=None if timeout is None else options.duration(timeout, "timeout", least=options.SHORTEST_TIMEOUT),
            expires_in=None
            if expires_in is None
            else options.duration(expires_in, "expires_in", least=options.SHORTEST_TIMEOUT),
            max_crashes=(
                None
                if max_crashes is None
                else options.whole(max_crashes, "max_crashes", least=1, most=options.MOST_CRASHES)
            ),
            dropped=None if dropped is None else _checked_dropped(dropped),
        )
    except InvalidOption as error:
        raise InvalidDefinition(f"{name}: {error}") from error


def _checked_dropped(dropped: Any) -> tuple[str, ...]:
    names = dropped if isinstance(dropped, tuple | list | set | frozenset) else (None,)
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise InvalidOption(f'dropped={dropped!r} is no tuple of former arguments\' names: give such as ("lang",)')
    return tuple(names)


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
        return options.kind_name(kind)
    except InvalidOption as error:
        raise InvalidDefinition(f"{name}: {error}") from error


def checked_aliases(name: str, aliases: Any) -> tuple[str, ...]:
    """Return a definition's aliases as a tuple of kinds."""
    if isinstance(aliases, str):
        raise InvalidDefinition(f"{name}: aliases={aliases!r} is a string: give a tuple, such as ({aliases!r},)")
    try:
        return tuple(options.kind_name(alias) for alias in aliases)
    except InvalidOption as error:
        raise InvalidDefinition(f"{name}: aliases: {error}") from error
