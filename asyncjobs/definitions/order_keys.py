"""Names and parts of the keys of unique jobs, limits and rates: the values of a job's arguments, as text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypeAlias

from asyncjobs.checks import names
from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import AsyncJobsError, InvalidDefinition, InvalidOption

MOST_NAME: Final = 185
"""Characters of a name: of a key of 256, which ends in a SHA-256 when it is long, a name is all of the beginning."""

_OF_RATES: Final = "rate:"

By: TypeAlias = tuple[str, ...] | Callable[[Any], Any]
"""Names of arguments, or a callable that returns the key of a job; () is the whole kind."""


def checked_by(value: Any, what: str) -> By:
    """Return `value`.

    Raises:
        InvalidOption: It is neither names of arguments nor callable.
    """
    if callable(value):
        by: By = value
        return by
    if isinstance(value, str):
        raise InvalidOption(f"{what}: by={shown(value)} is a string: give a tuple, such as by=({shown(value)},)")
    given = tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(name, str) for name in given):
        raise InvalidOption(
            f"{what}: by={shown(value)} is neither a tuple of arguments' names nor a callable of the job"
        )
    return given


def checked_key(value: Any, what: str) -> str | None:
    """Return `value`, a key that kinds share; None: they share none.

    Raises:
        InvalidOption: It is no valid key.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not names.is_kind(value):
        raise InvalidOption(f"{what}: key={shown(value)} is no key: use {names.KIND_RULE}, such as 'stripe'")
    if value.startswith(_OF_RATES):
        raise InvalidOption(
            f"{what}: key={shown(value)} is no key: keys of rates are stored with {_OF_RATES!r} before them; leave that out"
        )
    return value


def refuse_unknown(
    name: str, option: str, by: By, arguments: Collection[str], kind: type[AsyncJobsError] = InvalidDefinition
) -> None:
    """Refuse a `by` that names no argument.

    Raises:
        AsyncJobsError: Of the type `kind`.
    """
    for each in by if isinstance(by, tuple) else ():
        if each not in arguments:
            known = f"its arguments are {', '.join(arguments)}" if arguments else "it has none"
            raise kind(f"{name}: {option}: by has {shown(each)}, which is no argument: {known}")


def name_of(kind: str, by: By) -> str:
    """Return the name that begins all keys of one kind and one `by`."""
    base = kind.replace(" ", "\u00a0")  # the values begin after the first space of a key
    if not isinstance(by, tuple):
        base += "(*)"
    elif by:
        base += f"({','.join(by)})"
    return base if len(base) <= MOST_NAME else f"{base[: MOST_NAME - 65]}~{hashlib.sha256(base.encode()).hexdigest()}"


def rate_name_of(name: str) -> str:
    """Return the name for the keys of a rate, which differ from those of a limit with the same key."""
    return _OF_RATES + name


def without_values(key: str) -> str:
    """Return a key without the values of arguments that it ends in."""
    name, space, _ = key.partition(" ")
    return f"{name} …" if space else name


def shown_key(key: str) -> str:
    """Return a key of a limit or a rate, as users know it."""
    return key.removeprefix(_OF_RATES)
