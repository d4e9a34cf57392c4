"""What pydantic compiles for the two kinds of value it does not know: plain JSON, and references."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic_core import PydanticCustomError, core_schema

from asyncjobs.defining import plain_json
from asyncjobs.defining.references import NoKey, Reference, StoredKey

if TYPE_CHECKING:
    from collections.abc import Callable

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
        given = core_schema.no_info_after_validator_function(_check_plain, stored)
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
            # An object is met here too: the default of a parameter that a row does not have.
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


def _check_plain(value: Any) -> Any:
    if plain_json.is_plain(value) or not plain_json.problems(value, ""):
        return value
    raise PydanticCustomError(PLAIN_ERROR, "is not plain JSON")
