"""Fields of a job class: its arguments, and the names that belong to `Job`."""

from __future__ import annotations

import inspect
import typing
from functools import cache
from typing import ClassVar

from asyncjobs.checks.wrong_calls import FOREIGN_METHODS
from asyncjobs.definitions.attributes import Attribute, attribute
from asyncjobs.exceptions import InvalidDefinition
from asyncjobs.steps.cursors import Cursor
from asyncjobs.values.arguments import Parameter
from asyncjobs.values.type_variables import annotations_of, hints_of, known

_LATER = frozenset({"then", "steps"})
"""Reserved names that `Job` has or may get: a field of such a name would break with a later version."""
_MAY_OVERRIDE = frozenset({"perform"})
_BOOKKEEPING = frozenset({"_declared", "_definition", "_function_hooks", "_options", "_is_function_job"})


def refuse_hiding(cls: type, name: str, root: type) -> None:
    """Refuse a class whose names, or those of a mix-in, would hide names of `root`, which is `Job`."""
    taken = ({*_own_names(root), "__init__", "__await__"} | _LATER) - _MAY_OVERRIDE - _BOOKKEEPING
    for base in cls.__mro__[: cls.__mro__.index(root)]:
        if base is not cls and issubclass(base, root):
            continue  # checked when it was made
        for own in (*annotations_of(base), *base.__dict__):
            if own == "__init__":
                raise InvalidDefinition(
                    f"{name} has an __init__ of its own: a job's fields are its arguments; annotate them"
                )
            if own in taken:
                raise InvalidDefinition(f"{name}.{own} would hide Job.{own}: give it another name")


@cache
def _own_names(root: type) -> frozenset[str]:
    names = [name for base in root.__mro__[:-1] for name in (*vars(base), *annotations_of(base))]
    return frozenset(name for name in names if not name.startswith("__") and name not in FOREIGN_METHODS)


def names_of_fields(cls: type, root: type) -> set[str]:
    """Return the names that a class and its bases annotate: its arguments, attributes and class variables."""
    return {name for base in cls.__mro__[: cls.__mro__.index(root)] for name in annotations_of(base)}


def names_needed(cls: type, root: type) -> set[str]:
    """Return the names of arguments without a default."""
    return {
        name
        for base in cls.__mro__[: cls.__mro__.index(root)]
        for name, annotation in annotations_of(base).items()
        if not name.startswith("_") and not hasattr(cls, name) and "ClassVar" not in str(annotation)
    }


def fields_of(cls: type, root: type) -> list[Parameter]:
    """Return a class's arguments from its annotations and defaults, base classes first."""
    hints = hints_of(cls, root)
    found: dict[str, Parameter] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, root) or base is root:
            continue
        for name in annotations_of(base):
            where = f"{cls.__module__}.{cls.__qualname__}.{name}"
            default = getattr(cls, name, inspect.Parameter.empty)
            _refuse_slip(where, name, hints[name], default)
            if name.startswith("_") or typing.get_origin(hints[name]) is ClassVar or hints[name] is ClassVar:
                continue
            if isinstance(default, Attribute):
                continue
            annotation = known(hints[name], cls, where)
            found[name] = Parameter(name=name, annotation=annotation, default=default, positional=False)
    return list(found.values())


def _refuse_slip(where: str, name: str, annotation: object, default: object) -> None:
    """Refuse a field that was meant as an attribute or as a step's cursor."""
    if default is attribute:
        raise InvalidDefinition(f"{where} = attribute is not called: write `{name}: … = attribute(default=…)`")
    for part in (annotation, *typing.get_args(annotation)):
        if isinstance(part, Attribute):
            raise InvalidDefinition(f"{where} has attribute(…) in its annotation: write `{part.declaration(name)}`")
        if part is Cursor or typing.get_origin(part) is Cursor:
            raise InvalidDefinition(
                f"{where} is a cursor, which is no field: a step takes it, `async def export(self, {name}: Cursor[int])`"
            )
