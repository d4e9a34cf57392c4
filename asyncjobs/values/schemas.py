"""Schemas for values that pydantic does not know: plain JSON, references, and UUIDs of derived classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pydantic_core import PydanticCustomError, core_schema

from asyncjobs.values import plain_json
from asyncjobs.values.references import NoKey, Reference, StoredKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PLAIN_ERROR: Final = "not_plain_json"


class PlainSchema:
    """Pydantic metadata: plain JSON, of any type or of a list or a dict."""

    def __init__(self, container: type | None) -> None:
        self.container = container

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        stored: core_schema.CoreSchema
        if self.container is list:
            stored = core_schema.list_schema()
        elif self.container is dict:
            stored = core_schema.dict_schema()
        else:
            stored = core_schema.any_schema()
        given = core_schema.no_info_after_validator_function(_made_plain, stored)
        return core_schema.json_or_python_schema(json_schema=stored, python_schema=given)


class ReferenceSchema:
    """Pydantic metadata: an object of a registered class in Python, its key in JSON."""

    def __init__(self, reference: Reference[Any, Any], key: Any, *, plain_key: bool) -> None:
        self.reference = reference
        self.key = key
        self.plain_key = plain_key

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> core_schema.CoreSchema:
        reference = self.reference
        key = handler.generate_schema(self.key)

        def stored_key(value: Any, read: Callable[[Any], Any]) -> Any:
            # A value may be an object already: the default of a parameter that a row does not have.
            return value if isinstance(value, reference.cls) else StoredKey(reference, read(value))

        stored = core_schema.no_info_wrap_validator_function(stored_key, key)
        return core_schema.json_or_python_schema(
            json_schema=stored,
            python_schema=core_schema.is_instance_schema(reference.cls),
            serialization=core_schema.plain_serializer_function_ser_schema(self._key_of, return_schema=key),
        )

    def _key_of(self, value: Any) -> Any:
        key = self.reference.key_of(value)
        if self.plain_key and not plain_json.is_plain(key):
            for _, fact in plain_json.problems(key, ""):
                raise NoKey(value, f"its key: {fact}")
        return key


class UuidSchema:
    """Pydantic metadata: a UUID of Python's own class, into which asyncpg's derived class is converted."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        stored = core_schema.uuid_schema()
        given = core_schema.no_info_after_validator_function(_own_uuid, stored)
        return core_schema.json_or_python_schema(json_schema=stored, python_schema=given)


def refuse_other_tuple(cls: type[Any], value: Any) -> Any:
    """Refuse a NamedTuple of another class: pydantic would make one of `cls` from its items, whatever they mean."""
    if type(value) is not cls and isinstance(value, tuple) and hasattr(value, "_fields"):
        raise PydanticCustomError(
            "other_tuple", "is a {other}, not a {cls}", {"other": type(value).__name__, "cls": cls.__name__}
        )
    return value


def is_plain_schema(schema: Mapping[str, Any]) -> bool:
    """Whether a compiled schema is that of plain JSON."""
    return _given_to(schema) is _made_plain


def is_uuid_schema(schema: Mapping[str, Any]) -> bool:
    """Whether a compiled schema is that of a UUID."""
    return _given_to(schema) is _own_uuid


def is_reference_schema(schema: Mapping[str, Any]) -> bool:
    """Whether a compiled schema is that of a reference."""
    writer = schema.get("serialization", {}).get("function")
    return isinstance(getattr(writer, "__self__", None), ReferenceSchema)


def _given_to(schema: Mapping[str, Any]) -> Any:
    """Return the function that gets a Python value after validation; None: another schema."""
    given = schema.get("python_schema", {})
    return given["function"].get("function") if given.get("type") == "function-after" else None


def _own_uuid(value: UUID) -> UUID:
    return value if type(value) is UUID else UUID(int=value.int)


def _made_plain(value: Any) -> Any:
    try:
        return plain_json.plain(value)
    except ValueError:
        raise PydanticCustomError(PLAIN_ERROR, "is not plain JSON") from None
