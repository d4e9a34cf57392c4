"""`attribute()`: fields of a job that are no arguments, saved at every checkpoint and restored when the job is resumed."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, overload

from pydantic.fields import FieldInfo

from asyncjobs.checks.signatures import check_takes
from asyncjobs.checks.texts import shown
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.exceptions import InvalidDefinition
from asyncjobs.values import codec
from asyncjobs.values.arguments import ValueCodec
from asyncjobs.values.type_variables import annotations_of, hints_of, known

T = TypeVar("T")
_MISSING: Any = object()


class Attribute:
    """The descriptor behind an `attribute()`."""

    def __init__(self, default: Any, default_factory: Callable[[], Any] | None) -> None:
        self._default = default
        self._factory = default_factory
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, job: Any, owner: type) -> Any:
        if job is None:
            return self
        values = job.__dict__
        if self.name not in values:
            values[self.name] = self._factory() if self._factory is not None else copy.deepcopy(self._default)
        return values[self.name]

    def __set__(self, job: Any, value: Any) -> None:
        job.__dict__[self.name] = value

    def declaration(self, name: str) -> str:
        """Return the declaration, as code."""
        kind = self._factory if self._factory is not None else type(self._default)
        annotation = kind.__name__ if isinstance(kind, type) and self._default is not None else "…"
        given = "default_factory=…" if self._factory is not None else f"default={shown(self._default)}"
        return f"{name}: {annotation} = attribute({given})"


@overload
def attribute(*, default: T, init: Literal[False] = False) -> T: ...
@overload
def attribute(*, default_factory: Callable[[], T], init: Literal[False] = False) -> T: ...
@answered(InvalidDefinition, "write `attribute(default=0)` or `attribute(default_factory=list)`")
def attribute(
    *, default: Any = _MISSING, default_factory: Callable[[], Any] | None = None, init: Literal[False] = False
) -> Any:
    """Declare a field that is no argument: saved at every checkpoint of a step, restored when the job is resumed.

    ::

        class ProcessCloud(Job):
            cloud_id: int
            total: int = attribute(default=0)

    Values are stored as JSON and restored in the annotated type, as arguments are. From the next checkpoint on the attribute
    has the value that a resumed job would get: 5 if "5" was assigned to an int.

    Args:
        default: The first value; copied for each job.
        default_factory: Makes the first value; in place of `default`.
        init: Always False: tells type checkers that the field is no argument.

    Raises:
        InvalidDefinition: Neither or both of `default` and `default_factory`, a `Field` in place of a value, a factory that
            needs arguments or cannot be called, or `init` is true.
    """
    if (default is _MISSING) == (default_factory is None):
        raise InvalidDefinition("attribute() takes default= or default_factory=, one of them")
    if isinstance(default, FieldInfo | dataclasses.Field):
        raise InvalidDefinition("attribute(default=Field(…)): give the value itself, as in `attribute(default=5)`")
    if init:
        raise InvalidDefinition("attribute(init=True): an attribute is no argument; annotate a plain field instead")
    if default_factory is not None:
        if not callable(default_factory):
            raise InvalidDefinition(
                f"attribute(default_factory={shown(default_factory)}) is no function: write default=…, which is copied for "
                "each job"
            )
        check_takes(default_factory, "attribute(default_factory=…)")
    return Attribute(default, default_factory)


def attributes_of(cls: type, kind: str) -> Mapping[str, ValueCodec]:
    """Return the codecs of a class's attributes, by name.

    Raises:
        InvalidDefinition: An annotation cannot be stored.
        NameError: An annotation cannot be resolved.
    """
    names = _names_in(cls)
    hints = hints_of(cls) if names else {}
    return {
        name: ValueCodec(f"{kind}.{name}", known(hints[name], cls, f"{kind}.{name}"), "attribute") for name in names
    }


def check_attributes(cls: type, name: str) -> None:
    """Refuse attributes without a type.

    Raises:
        InvalidDefinition: An attribute has no annotation.
    """
    annotated = {each for base in cls.__mro__ for each in annotations_of(base)}
    for missing in (each for each in _names_in(cls) if each not in annotated):
        declared = inspect.getattr_static(cls, missing).declaration(missing)
        raise InvalidDefinition(f"{name}.{missing} = attribute(…) has no annotation: write `{declared}`")


def _names_in(cls: type) -> list[str]:
    names = [
        name for base in reversed(cls.__mro__) for name, value in vars(base).items() if isinstance(value, Attribute)
    ]
    return list(dict.fromkeys(names))


def dump(job: Any) -> str | None:
    """Return a job's attributes as JSON text, and give it the values that a resumed job gets; None: its class has none.

    An attribute that would be loaded as it is stays the same object, which other code may hold and change.

    Raises:
        UnstorableResult: An attribute cannot be stored.
    """
    codecs = job._definition.attributes
    if not codecs:
        return None
    parts = []
    for name, of_one in codecs.items():
        value = getattr(job, name)
        kept, text = of_one.keep(value)
        if not of_one.is_kept(value, kept):
            setattr(job, name, kept)
        parts.append(f"{codec.dumps(name)}:{text or 'null'}")
    return "{" + ",".join(parts) + "}"


def restore(job: Any, text: str | None) -> None:
    """Give a job its saved attributes; saved attributes that this code does not have are left out.

    Raises:
        InvalidArguments: A saved value does not fit its annotation any more.
    """
    codecs = job._definition.attributes
    if text is None or not codecs:
        return
    saved = codec.loads(text)
    for name, of_one in codecs.items():
        if isinstance(saved, dict) and name in saved:
            value = saved[name]
            setattr(job, name, None if value is None else of_one.load_recorded(codec.dumps(value)))
