"""Tables of options: frozen dataclasses with fields made by `option`, from which checks, errors and documentation come."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

from asyncjobs.checks import keywords
from asyncjobs.exceptions import AsyncJobsError, InvalidCall, InvalidOption

T = TypeVar("T")

Check = Callable[[Any, str], Any]
"""Takes a value and the option's name; returns the value to keep, or raises `InvalidOption` or `InvalidDefinition`."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """The facts about an option beside its name and type.

    Attributes:
        meaning: For the documentation.
        value: The default.
        default: The default, for the documentation.
        check: For the value in a definition or a step; None: only `Job.set` takes the option.
        in_set: For the value in `Job.set`; None: it does not take the option.
        of_class_only: Whether `@job` does not take it.
        inherited: Whether derived classes have their base's value.
        added: Whether a derived class's values are added to its base's.
        takes_none: Whether None is the same as leaving it out.
    """

    meaning: str
    value: Any
    default: str
    check: Check | None = None
    in_set: Check | None = None
    of_class_only: bool = False
    inherited: bool = True
    added: bool = False
    takes_none: bool = True


def option(default: Any = None, *, default_is: str = "", **said: Any) -> Any:
    """Return a field of a table.

    Args:
        default: The default.
        default_is: The default for the documentation, where it is no value.
        said: The other attributes of `Option`.
    """
    shown = default_is or (
        "none" if default in (None, ()) else f'`"{default}"`' if isinstance(default, str) else default
    )
    return field(default=default, metadata={"option": Option(value=default, default=str(shown), **said)})


def options_in(table: type) -> dict[str, Option]:
    """Return the options of a table, in its order."""
    return {each.name: each.metadata["option"] for each in fields(table)}


def checked(
    options: Mapping[str, Option],
    given: Mapping[str, Any],
    where: str,
    error: type[AsyncJobsError],
    *,
    in_set: bool = False,
) -> dict[str, Any]:
    """Return checked values, without those that are None and so count as left out.

    Args:
        options: The options that can be given.
        given: Values by name.
        where: The beginning of an error's message.
        error: The type of error to raise.
        in_set: Whether the values are for `Job.set`, which raises `InvalidCall` for an unknown option.
    """
    found = {}
    for name, value in given.items():
        if name not in options:
            raise (InvalidCall if in_set else error)(keywords.unknown(where, name, options))
        each = options[name]
        check = each.in_set if in_set else each.check
        assert check is not None
        if value is None and each.takes_none:
            continue
        try:
            found[name] = check(value, name)
        except InvalidOption as refused:
            raise error(f"{where}: {refused}") from refused
    return found


def documented(options: Mapping[str, Option], *, of_one_job: bool = False) -> Callable[[T], T]:
    """Add the options of a class or function that takes ``**options`` to its docstring, and to a function's signature.

    Args:
        options: The options.
        of_one_job: Whether they are for one job, so that the definition has their defaults.
    """

    def decorate(target: T) -> T:
        defaults = {name: "" if of_one_job else f" Default: {each.default}." for name, each in options.items()}
        lines = [f"{name}: {each.meaning}.{defaults[name]}" for name, each in options.items()]
        wrapped = [textwrap.fill(line, 116, initial_indent="    ", subsequent_indent="        ") for line in lines]
        target.__doc__ = "\n".join([inspect.cleandoc(target.__doc__ or ""), "", "Options:", *wrapped])
        if inspect.isfunction(target):
            signature = inspect.signature(target)
            own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
            made = [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None if of_one_job else each.value)
                for name, each in options.items()
            ]
            cast("Any", target).__signature__ = signature.replace(parameters=[*own, *made])
        return target

    return decorate
