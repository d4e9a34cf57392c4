"""Tables of options: a frozen dataclass whose fields are made by `option`; checks, errors and documentation come from it."""

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
"""Takes a value and the option's name; returns it as it is kept, or raises `InvalidOption` or `InvalidDefinition`."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """What there is to say of an option besides its name and its type.

    Attributes:
        meaning: For the documentation.
        value: What holds when nobody says anything.
        default: That, for the documentation.
        check: Of what a definition, or a step, is given; None: it is said of single jobs only.
        in_set: Of what `Job.set` is given; None: that does not take it.
        of_class_only: `@job` does not take it.
        inherited: Whether derived classes have what their base says.
        added: Whether a derived class's are added to those of its base.
        takes_none: Whether None is the same as nothing.
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
        default: Its value when nobody says anything.
        default_is: That, for the documentation, where it is no value.
        said: The rest of `Option`.
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
    """Return what was given, checked, without what is None and so was not.

    Args:
        options: That can be given.
        given: By name.
        where: The beginning of an error's message.
        error: Raised.
        in_set: By `Job.set`, which raises `InvalidCall` for an option that there is not.
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
    """Have what takes options as ``**options`` show them in its docstring, and a function in its signature, too.

    Args:
        options: That it takes.
        of_one_job: What they are without it, the definition says.
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
