"""Certainty, from pydantic's compiled schema, that values come back from JSON unchanged, and need not be read back.

Python's own scalars, containers of these, and dataclasses and models made of these always come back unchanged: that is known
once for a kind. Of a user's objects, which pydantic takes as they are, the types are checked. A schema with anything more
(a validator, a serializer, an alias) leaves the question open.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from asyncjobs.values import plain_json
from asyncjobs.values.scalars import (
    TYPES,
    Check,
    OfType,
    always,
    every,
    holding,
    is_json_scalar,
    is_none,
    never,
    of_scalar,
)
from asyncjobs.values.schemas import is_plain_schema, is_reference_schema, is_uuid_schema

Schema = Mapping[str, Any]

_NEUTRAL_KEYS: Final = frozenset({"type", "ref", "metadata", "microseconds_precision", "frozen", "strict", "fail_fast"})
_MADE_BY_PYDANTIC: Final = frozenset({"none", "bool", "int", "float", "str", "decimal"})
"""Types of which pydantic makes a new value when it validates; of others it takes an instance of a subclass as it is."""
_DISJOINT: Final = frozenset({"none", "bool", "int", "float", "str"})
"""Types that JSON itself tells apart, so that a member of a union of these is read as itself."""
_KEYS: Final = frozenset({"str", "int", "uuid"})
_CONTAINERS: Final[dict[str, type[Any]]] = {"list": list, "set": set, "frozenset": frozenset}
_LENGTHS: Final = frozenset({"min_length", "max_length"})
_BOUNDS: Final = frozenset({"ge", "gt", "le", "lt"})
_LIMITS: Final = {"int": _BOUNDS, "float": _BOUNDS, "str": _LENGTHS, "datetime": frozenset({"tz_constraint"})}
_VALIDATED: Final = _LENGTHS | _BOUNDS | {
    "multiple_of", "pattern", "regex_engine", "strip_whitespace", "to_lower", "to_upper", "tz_constraint", "max_digits",
    "decimal_places", "version", "allow_inf_nan",
}  # fmt: skip
"""Checks that a validated value has passed, and passes again."""
_NEUTRAL_CONFIG: Final = frozenset({"title", "from_attributes", "validate_assignment", "hide_input_in_errors"})
_OUR_CONFIG: Final = {"allow_inf_nan": False, "ser_json_inf_nan": "constants"}


class _Open(Exception):
    """A schema that leaves the question open."""


def certainty(schema: Schema, definitions: Mapping[str, Schema], *, validated: bool) -> Check | None:
    """Return a check whether a value comes back unchanged; None: every value does.

    Args:
        schema: Of the value.
        definitions: The schemas that it refers to, by name.
        validated: Whether the values come from pydantic's validator; else they are a user's own.
    """
    try:
        return _Schemas(definitions).check(schema, validated)
    except _Open:
        return never


class _Schemas:
    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        self._entered: list[str] = []
        self._known: dict[str, Callable[[Schema, bool], Check | None]] = {
            "any": lambda schema, _: _given(schema, is_json_scalar),
            "enum": self._enum,
            "literal": self._literal,
            "list": self._container,
            "set": self._container,
            "frozenset": self._container,
            "tuple": self._tuple,
            "dict": self._dict,
            "typed-dict": lambda schema, _: self._typed_dict(schema),
            "dataclass": lambda schema, _: self._dataclass(schema),
            "model": lambda schema, _: self._model(schema),
            "nullable": self._nullable,
            "union": self._union,
            "default": self._default,
            "definition-ref": self._definition,
        }

    def check(self, schema: Schema, validated: bool) -> Check | None:
        kind = schema["type"]
        if kind in TYPES:
            return _scalar(schema, validated)
        if is_plain_schema(schema):
            return None if validated else plain_json.is_exactly_plain
        if is_uuid_schema(schema):
            return None if validated else OfType(TYPES["uuid"])
        if is_reference_schema(schema) and validated:
            key = schema["serialization"]["return_schema"]
            return None if key["type"] in TYPES or is_plain_schema(key) or is_uuid_schema(key) else never
        if kind not in self._known:
            raise _Open
        return self._known[kind](schema, validated)

    def _definition(self, schema: Schema, validated: bool) -> Check | None:
        name = schema["schema_ref"]
        if name in self._entered or name not in self._definitions:
            raise _Open  # recursive
        self._entered.append(name)
        try:
            return self.check(self._definitions[name], validated)
        finally:
            self._entered.remove(name)

    def _default(self, schema: Schema, validated: bool) -> Check | None:
        _only(
            schema,
            {"schema", "default", "default_factory", "default_factory_takes_data", "validate_default", "copy_default"},
        )
        return self.check(schema["schema"], validated)

    def _nullable(self, schema: Schema, validated: bool) -> Check | None:
        _only(schema, {"schema"})
        inner = self.check(schema["schema"], validated)
        if isinstance(inner, OfType):
            return OfType(inner.cls, is_none)
        return None if inner is None else lambda value: value is None or inner(value)

    def _union(self, schema: Schema, validated: bool) -> Check | None:
        _only(schema, {"choices"})
        members = [choice[0] if isinstance(choice, tuple) else choice for choice in schema["choices"]]
        kinds = [member["type"] for member in members]
        if not _DISJOINT.issuperset(kinds) or len(set(kinds)) < len(kinds):
            raise _Open
        of_type = {TYPES[member["type"]]: self.check(member, validated) or always for member in members}
        return None if validated else lambda value: of_type.get(type(value), never)(value)

    def _enum(self, schema: Schema, validated: bool) -> Check | None:
        _only(schema, {"cls", "members", "sub_type", "missing"})
        _text_or_int(member.value for member in schema["members"])
        return None if validated else OfType(schema["cls"])

    def _literal(self, schema: Schema, validated: bool) -> Check | None:
        _only(schema, {"expected"})
        expected = schema["expected"]
        _text_or_int(expected)
        return None if validated else lambda value: type(value) in (str, int) and value in expected

    def _container(self, schema: Schema, validated: bool) -> Check | None:
        _only(schema, {"items_schema", *(_LENGTHS if validated else ())})
        cls, inner = _CONTAINERS[schema["type"]], self.check(schema.get("items_schema", {"type": "any"}), validated)
        if validated and inner is None:
            return None
        all_of = every(inner or always)
        return lambda value: type(value) is cls and all_of(value)

    def _tuple(self, schema: Schema, validated: bool) -> Check | None:
        _only(schema, {"items_schema", "variadic_item_index"})
        checks = [self.check(item, validated) for item in schema["items_schema"]]
        if validated and not any(checks):
            return None
        inners = [check or always for check in checks]
        if "variadic_item_index" not in schema:
            return lambda value: (
                type(value) is tuple and len(value) == len(inners)
                and all(inner(item) for inner, item in zip(inners, value, strict=True))
            )  # fmt: skip
        if len(inners) > 1:
            raise _Open
        all_of = every(inners[0])
        return lambda value: type(value) is tuple and all_of(value)

    def _dict(self, schema: Schema, validated: bool) -> Check | None:
        _only(schema, {"keys_schema", "values_schema", *(_LENGTHS if validated else ())})
        key = schema.get("keys_schema", {"type": "any"})
        if key["type"] not in _KEYS and not is_uuid_schema(key):
            raise _Open
        keys, values = self.check(key, validated), self.check(schema.get("values_schema", {"type": "any"}), validated)
        if validated and keys is None and values is None:
            return None
        all_keys, all_values = every(keys or always), every(values or always)
        return lambda value: type(value) is dict and all_keys(value) and all_values(value.values())

    def _typed_dict(self, schema: Schema) -> Check:
        _only(schema, {"cls", "cls_name", "fields", "total", "config", "extra_behavior"})
        _refuse_config(schema)
        inners, required = self._fields(schema["fields"], {"required"}), []
        for name, field in schema["fields"].items():
            if field.get("required", schema.get("total", True)):
                required.append(name)
        return lambda value: (
            type(value) is dict
            and all(name in value for name in required)
            and all(inners.get(name, never)(item) for name, item in value.items())
        )

    def _model(self, schema: Schema) -> Check:
        _only(schema, {"cls", "schema", "config", "custom_init", "root_model", "generic_origin"})
        _refuse_config(schema)
        cls, fields = schema["cls"], schema["schema"]
        if schema.get("custom_init") or schema.get("root_model") or fields["type"] != "model-fields":
            raise _Open
        _only(fields, {"fields", "model_name"})
        holds = holding(self._fields(fields["fields"], set()))
        return lambda value: type(value) is cls and holds(value.__dict__)

    def _dataclass(self, schema: Schema) -> Check:
        _only(schema, {"cls", "schema", "fields", "config", "post_init", "slots", "cls_name", "generic_origin"})
        _refuse_config(schema)
        cls, arguments = schema["cls"], schema["schema"]
        if schema.get("post_init") or arguments["type"] != "dataclass-args":
            raise _Open
        _only(arguments, {"dataclass_name", "fields", "collect_init_only"})
        fields = {field["name"]: field for field in arguments["fields"]}
        if any(field.get("init_only") or not field.get("init", True) for field in fields.values()):
            raise _Open
        names = [field.name for field in dataclasses.fields(cls)]
        if names != list(fields):
            raise _Open
        holds = holding(self._fields(fields, {"name", "kw_only", "init", "init_only"}))
        if not cls.__dictoffset__:  # a class with slots
            return lambda value: type(value) is cls and holds({name: getattr(value, name, never) for name in names})
        # An object with more attributes than fields has some that are not stored.
        return lambda value: type(value) is cls and len(value.__dict__) == len(names) and holds(value.__dict__)

    def _fields(self, fields: Mapping[str, Schema], more: set[str]) -> dict[str, Check]:
        """Return the checks of an object's fields, which a user may have set to anything."""
        for field in fields.values():
            _only(field, {"schema", *more})
        return {name: self.check(field["schema"], validated=False) or always for name, field in fields.items()}


def _scalar(schema: Schema, validated: bool) -> Check | None:
    kind = schema["type"]
    _only(schema, _VALIDATED if validated else _LIMITS.get(kind, ()))
    if schema.get("allow_inf_nan"):
        raise _Open
    if validated:
        return None if kind in _MADE_BY_PYDANTIC else of_scalar(kind, {})
    return of_scalar(kind, {name: schema[name] for name in _LIMITS.get(kind, ()) if schema.get(name) is not None})


def _given(schema: Schema, check: Check) -> Check:
    _only(schema, ())
    return check


def _only(schema: Schema, says: Iterable[str]) -> None:
    """Give up on a schema with more keys than are known here."""
    if not schema.keys() - {"computed_fields"} <= _NEUTRAL_KEYS.union(says) or schema.get("computed_fields"):
        raise _Open


def _text_or_int(values: Iterable[Any]) -> None:
    if not all(type(value) in (str, int) for value in values):
        raise _Open


def _refuse_config(schema: Schema) -> None:
    """Give up on a model whose config changes how it is written or read."""
    config = dict(schema.get("config") or {})
    extra = {config.pop("extra_fields_behavior", None), schema.get("extra_behavior")}
    encodings = {config.pop("ser_json_bytes", "utf8"), config.pop("val_json_bytes", "utf8")}
    rest = [name for name in config.keys() - _NEUTRAL_CONFIG if _OUR_CONFIG.get(name) != config[name]]
    if rest or "allow" in extra or len(encodings) > 1:
        raise _Open
