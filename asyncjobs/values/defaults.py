"""Defaults written with pydantic's `Field` or with `dataclasses.field`."""

from __future__ import annotations

import copy
import dataclasses
import typing
from typing import Annotated, Any, Final

import typing_extensions
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from asyncjobs.exceptions import InvalidDefinition
from asyncjobs.values.parameters import Parameter
from asyncjobs.values.references import MISSING

_ANNOTATED: Final = (typing.Annotated, typing_extensions.Annotated)


def with_defaults(kind: str, parameter: Parameter) -> Parameter:
    """Return a parameter whose default is a plain value or a factory, however it was written.

    Raises:
        InvalidDefinition: A factory takes the other arguments, or `init=False` says that the field is no argument.
    """
    default = parameter.default
    if isinstance(default, FieldInfo):
        annotation = Any if parameter.annotation is MISSING else parameter.annotation
        return _with(kind, parameter, Annotated[annotation, default], default=MISSING)
    if isinstance(default, dataclasses.Field):
        if not default.init:
            raise InvalidDefinition(f"{kind}: {parameter.name}: field(init=False) is no argument; use attribute()")
        said, factory = (_unless(value, dataclasses.MISSING) for value in (default.default, default.default_factory))
        return dataclasses.replace(parameter, default=said, default_factory=None if factory is MISSING else factory)
    if typing.get_origin(parameter.annotation) in _ANNOTATED:
        return _with(kind, parameter, parameter.annotation, default=default)
    return parameter


def _with(kind: str, parameter: Parameter, annotation: Any, *, default: Any) -> Parameter:
    """Move defaults out of the annotation, where pydantic does not look for them here; the last one counts."""
    metadata, factory = [], parameter.default_factory
    for said in annotation.__metadata__:
        if not isinstance(said, FieldInfo):
            metadata.append(said)
            continue
        if said.default_factory_takes_validated_data:
            raise InvalidDefinition(
                f"{kind}: {parameter.name}: a default_factory that takes the other fields' values is not supported; "
                "use one without arguments"
            )
        if default is MISSING and said.default is not PydanticUndefined and said.default is not ...:
            default = said.default
        elif default is MISSING and said.default_factory is not None:
            factory = typing.cast("typing.Callable[[], Any]", said.default_factory)
        rest = copy.copy(said)
        rest.default, rest.default_factory = PydanticUndefined, None
        metadata.append(rest)
    made = Annotated[(annotation.__origin__, *metadata)]
    return dataclasses.replace(parameter, annotation=made, default=default, default_factory=factory)


def _unless(value: Any, missing: Any) -> Any:
    return MISSING if value is missing else value
