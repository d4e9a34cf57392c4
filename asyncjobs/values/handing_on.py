"""Whether a result, handed on as JSON, is read by an argument's annotation as what it was.

A call checks its values: what would come back changed is refused. `chain.previous` has no value yet, only annotations.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from typing import Annotated, Any, Final, Literal, Union

import pydantic

from asyncjobs.values.annotations import show
from asyncjobs.values.references import MISSING

_ANYTHING: Final = (MISSING, Any, object, pydantic.JsonValue)
_WRITTEN: Final = (bytes, uuid.UUID, decimal.Decimal, dt.date, dt.time, dt.timedelta)
"""Types that JSON has as text."""
_TIMES: Final = (dt.date, dt.time, dt.timedelta)
"""Types that are read from numbers, too."""
_LISTS: Final = (list, tuple, set, frozenset)


def misread(result: Any, argument: Any) -> str | None:
    """Return why results of one annotation may be read as other values by another, with a remedy.

    None: no reason is known; the argument is checked when the job runs.
    """
    takes = _members(argument)
    if any(one in _ANYTHING for one in takes):
        return None
    for one in _members(result):
        if one in _ANYTHING:
            return None
        if one in takes:
            other = next((other for other in takes if other != one and _are_alike(one, other)), None)
            if other is not None:
                return f"the result of the job before, {show(one)}, may be read as {show(other)}: annotate {show(one)} alone"
        elif (read := next((other for other in takes if _is_read(one, other)), None)) is not None:
            return f"the result of the job before, {show(one)}, would be read as {show(read)}: annotate {show(one)}"
        elif (inner := _misread_inside(one, takes)) is not None:
            return inner
    return None


def _misread_inside(one: Any, takes: list[Any]) -> str | None:
    """Return why an item of a container may be read as another value."""
    origin = typing.get_origin(one)
    alike = [typing.get_args(other) for other in takes if origin is not None and typing.get_origin(other) is origin]
    pairs = [pair for args in alike for pair in zip(typing.get_args(one), args, strict=False)]
    return next((found for each, other in pairs if (found := misread(each, other)) is not None), None)


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, without None, or the annotation alone."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [member for arg in typing.get_args(annotation) for member in _members(arg)]
    if hasattr(annotation, "__supertype__"):
        return _members(annotation.__supertype__)
    return [] if annotation in (None, type(None)) else [annotation]


def _are_alike(one: Any, other: Any) -> bool:
    """Whether JSON has values of two types in the same form."""
    if _fields(one) is not None and _fields(other) is not None:
        return _fields(one) == _fields(other)
    return _form(one) is not None and _form(one) == _form(other)


def _is_read(one: Any, other: Any) -> bool:
    """Whether a value of one type is read as another's, though a call refuses it."""
    if _fields(one) is not None:
        return isinstance(other, type) and other in one.__mro__ and _fields(other) is not None
    if not isinstance(one, type) or not isinstance(other, type):
        return False
    if other is str:
        return issubclass(one, _WRITTEN)
    return one in (int, float) and issubclass(other, _TIMES)


def _form(annotation: Any) -> str | None:
    kind = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return None
    if issubclass(kind, _LISTS):
        return "list"
    if issubclass(kind, (str, *_WRITTEN)):
        return "text"
    if issubclass(kind, enum.Enum):
        return "text" if all(isinstance(member.value, str) for member in kind) else None
    return None


def _fields(annotation: Any) -> frozenset[str] | None:
    """Return the names of an object's fields; None: it has none, or a Literal that tells it from others."""
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, pydantic.BaseModel):
        types_of: dict[str, Any] = {name: field.annotation for name, field in annotation.model_fields.items()}
    elif dataclasses.is_dataclass(annotation):
        types_of = {field.name: field.type for field in dataclasses.fields(annotation)}
    else:
        return None
    told = any(typing.get_origin(each) is Literal or "Literal[" in str(each) for each in types_of.values())
    return None if told else frozenset(types_of)
