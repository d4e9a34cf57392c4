"""`Shape`: named values as JSON text and back, for arguments and results alike.

pydantic validates (its lax mode) and makes the tree, orjson writes it: that costs 0.1 µs more than pydantic's own
`to_json`, which would write NaN as null in a user's model and ints of any size.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import pydantic
from pydantic_core import ValidationError, core_schema

from asyncjobs.checks.texts import cut
from asyncjobs.exceptions import InvalidArguments, InvalidDefinition, OtherVersion, UnstorableResult
from asyncjobs.values import codec, explanations, plain_json, readback
from asyncjobs.values.annotations import Compiled, Unsupported, show
from asyncjobs.values.certainty import certainty
from asyncjobs.values.defaults import with_defaults
from asyncjobs.values.parameters import Parameter
from asyncjobs.values.parts import Difference
from asyncjobs.values.references import MISSING
from asyncjobs.values.scalars import Check, holding, never
from asyncjobs.values.unions import classes_of_unions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic.plugin._schema_validator import PluggableSchemaValidator
    from pydantic_core import SchemaValidator

MOST_STORED: Final = 1_048_576
"""The most bytes of a stored text that are read; asyncjobs stores no larger one."""
_MANY_NAMES: Final = 20_000
_OF_MANY: Final = frozenset({"list", "tuple", "set", "frozenset", "dict"})
_OF_CLASSES: Final = frozenset({"model", "dataclass"})
"""Types of schemas that their classes have compiled already."""
_NO_SCHEMAS: Final = frozenset(
    {"metadata", "default", "expected", "serialization", "config", "cls", "ref", "schema_ref"}
)
_REPLACEMENT: Final = "\ufffd"
_CONFIG: Final = pydantic.ConfigDict(
    allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
)
_CORE_CONFIG: Final = core_schema.CoreConfig(
    allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
)


class Shape:
    """The compiled form of a set of named values.

    Attributes:
        references: Names of values that hold references.
        opaque: Whether it holds types that are not, or must not be, validated twice: an AfterValidator, Json.
    """

    def __init__(self, kind: str, parameters: Sequence[Parameter], *, what: str, limit: int) -> None:
        self.kind, self.what, self.limit = kind, what, limit
        self.parameters = {parameter.name: with_defaults(kind, parameter) for parameter in parameters}
        self._compiled = {name: self._compile(parameter) for name, parameter in self.parameters.items()}
        fields = self._compiled.values()
        self.references = tuple(name for name, field in self._compiled.items() if field.references)
        self.opaque = any(field.opaque for field in fields)
        self._plain = any(field.plain or field.opaque for field in fields)
        adapter = self._adapter()
        self._validate: Callable[[Any], dict[str, Any]] = adapter.validator.validate_python
        self._read: Callable[..., dict[str, Any]] = adapter.validator.validate_json
        self._tree = adapter.serializer.to_python
        self._schemas, self._definitions = _compiled_schemas(adapter.core_schema)
        checks = {name: self._certainty(name, validated=True) for name in self.parameters}
        doubtful = {name: check for name, check in checks.items() if check is not None}
        self._doubtful = tuple(doubtful)
        self._is_certain = holding(doubtful) if doubtful else None

    def _adapter(self, *, in_full: bool = False) -> pydantic.TypeAdapter[dict[str, Any]]:
        return pydantic.TypeAdapter(Annotated[Any, _Schema(self, in_full=in_full)], config=_CONFIG)

    @cached_property
    def _in_full(self) -> SchemaValidator | PluggableSchemaValidator:
        """A validator that reports every problem; the others end each list and dict at the first wrong item.

        A list from a web form may have a million wrong items, which would take seconds and gigabytes.
        """
        return self._adapter(in_full=True).validator

    @cached_property
    def _names(self) -> frozenset[str]:
        """Names of fields, at every depth; other keys of a stored text are values."""
        return frozenset(_names_in([*self._schemas.values(), *self._definitions.values()])) | self.parameters.keys()

    @cached_property
    def _in_unions(self) -> dict[str, frozenset[type[Any]]]:
        """The classes that unions name, by the value."""
        return {name: frozenset(classes_of_unions(self._schemas[name], self._definitions)) for name in self._doubtful}

    def _certainty(self, name: str, *, validated: bool) -> Check | None:
        return certainty(self._schemas[name]["schema"], self._definitions, validated=validated)

    def is_exact(self, name: str) -> Check:
        """Return a check whether a user's own value is the same as its text would be read as."""
        return self._certainty(name, validated=False) or never

    def _compile(self, parameter: Parameter) -> Compiled:
        try:
            return Compiled(parameter.annotation)
        except Unsupported as error:
            raise InvalidDefinition(f"{self.kind}: {parameter.name}: {error}") from None

    def schema_of_values(self, handler: Any, *, in_full: bool) -> core_schema.CoreSchema:
        """Return a schema that is no TypedDict class's: its `extra` would also forbid fields of the user's dataclasses."""
        fields = {name: self._field(handler, parameter, in_full) for name, parameter in self.parameters.items()}
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid", config=_CORE_CONFIG)

    def _field(self, handler: Any, parameter: Parameter, in_full: bool) -> core_schema.TypedDictField:
        try:
            schema = handler.generate_schema(self._compiled[parameter.name].annotation)
        except (pydantic.errors.PydanticUserError, TypeError, NameError) as error:
            cause = cut(str(error).splitlines()[0].split(". ")[0], 200)
            raise InvalidDefinition(
                f"{self.kind}: {parameter.name}: {show(parameter.annotation)} cannot be stored as JSON; "
                f"annotate a supported type, or use register_reference ({cause})"
            ) from error
        if not in_full:
            schema = _failing_fast(schema)
        factory, default = parameter.default_factory, parameter.default
        if type(default) in (list, dict, set) and not default:
            factory = type(default)  # 0.4 µs a job; pydantic's deep copy of a list takes 1.8
        if factory is not None:
            schema = core_schema.with_default_schema(schema, default_factory=factory, validate_default=True)
        elif default is not MISSING:
            schema = core_schema.with_default_schema(schema, default=default, validate_default=True)
        return core_schema.typed_dict_field(schema, required=factory is None and default is MISSING)

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return values in their types, with defaults for those not given."""
        try:
            return self._validate(given)
        except ValidationError as error:
            found = explanations.in_full(error, given, self._in_full.validate_python)
            problems = explanations.explain(found, given, self.parameters, self.what)
            if found is error and not any(plain_json.TOO_DEEP in fact for _, fact in problems):
                problems.append(explanations.UNSEEN)
            raise self.invalid(problems) from None

    def store(self, values: dict[str, Any]) -> str:
        """Return the JSON text of validated values, and replace values in `values` that would be read as others."""
        try:
            if self.opaque:
                tree = self._tree(values, mode="json", round_trip=True, warnings="error")
            else:
                tree = self._tree(values, mode="json")
            text = codec.dumps(tree)
        except Exception as error:  # from a user's serializer or a reference's `dump`
            self._refuse(values, error)
        if plain_json.NUL_ESCAPE in text or (self._plain and plain_json.too_deep(text)):
            self._check(tree)
        if _REPLACEMENT in text:
            self._check_keys(values)
        if len(text) > self.limit // 4:
            self._check_size(tree, text)
        if self._is_certain is not None and not self._is_certain(values):
            self._read_back(values, tree, text)
        return text

    def _read_back(self, values: dict[str, Any], tree: dict[str, Any], text: str) -> None:
        """Refuse values that would be read as others.

        A row of 5 fields takes 10 µs, and it is done only for values whose annotation leaves the question open.
        """
        if codec.loads(text) != tree:
            self._check(tree)
        back = self._read_again(tree, text)
        found = []
        for name in self._doubtful:
            try:
                likeness = readback.compare(values.get(name), back[name], name, self._in_unions[name])
            except Difference as difference:
                found.append((difference.path, difference.fact))
            else:
                if not likeness.is_exact and likeness.is_whole:
                    values[name] = back[name]
        if found:
            raise self.invalid(found)

    def _read_again(self, tree: dict[str, Any], text: str) -> dict[str, Any]:
        try:
            return self._read(text, by_name=True, by_alias=True)
        except ValidationError as error:
            raise self.invalid(explanations.explain_unread(error, tree, self.parameters, self.what)) from error
        except Exception as error:  # from a user's constructor or validator
            raise self.invalid([(self._culprit(tree), explanations.unread(error))]) from error

    def _culprit(self, tree: dict[str, Any]) -> str:
        """Return the name of the value that cannot be read: without it there is no such error."""
        found = (name for name in self._doubtful if self._reads({**tree, name: None}))
        return next(found, self.what)

    def _reads(self, tree: dict[str, Any]) -> bool:
        """Whether a text is read without an error of the user's code; a value may still not fit."""
        try:
            self._read(codec.dumps(tree))
        except ValidationError:
            pass
        except Exception:
            return False
        return True

    def load(self, text: str) -> dict[str, Any]:
        """Return validated values of a stored text, with defaults for missing ones."""
        if len(text) > MOST_STORED // 4:
            self._check_stored(text)
        if self._plain:
            self._check_floats(text)
        try:
            return self._read(text, by_name=True, by_alias=True)
        except ValidationError as error:
            problems = self._problems_of_stored(error, text)
        raise problems

    def _problems_of_stored(self, error: ValidationError, text: str) -> InvalidArguments:
        try:
            given = codec.loads(text)
        except ValueError:
            given = None  # pydantic's error is better
        found = explanations.in_full(
            error, given, lambda _: self._in_full.validate_json(text, by_name=True, by_alias=True)
        )
        problems = explanations.explain_stored(found, text, self.parameters, self.what, self._names)
        if found is error:
            problems.append(explanations.UNSEEN)
        return self._other_version(given, problems) or self.invalid(problems, stored=True)

    def _other_version(self, given: Any, problems: list[tuple[str, str]]) -> OtherVersion | None:
        if self.what != "arguments" or not explanations.is_of_other_names(given, self.parameters):
            return None
        return OtherVersion(self.kind, problems, f"stored {self.what}")

    def _check_stored(self, text: str) -> None:
        """Refuse a text that only SQL can have written, before it is read, which could take long and much memory."""
        size = len(text.encode())
        if size > MOST_STORED:
            fact = f"the stored text takes {size:,} bytes, and at most {MOST_STORED:,} are read; correct the row"
            raise self.invalid([(self.what, fact)], stored=True)
        if text.count('":') > _MANY_NAMES:
            try:
                given = codec.loads(text)
            except ValueError:
                return  # pydantic's error is better
            found = explanations.unknown_values(given, self.parameters)
            if len(found) > explanations.MOST_EXPLAINED and (error := self._other_version(given, found)):
                raise error

    def invalid(self, problems: list[tuple[str, str]], *, stored: bool = False) -> InvalidArguments:
        """Return the error to raise."""
        error = InvalidArguments if stored or self.what == "arguments" else UnstorableResult
        return error(self.kind, problems, what=f"stored {self.what}" if stored else self.what)

    def _check(self, tree: dict[str, Any]) -> None:
        found = plain_json.problems(tree, "")
        if found:
            raise self.invalid(found)

    def _check_keys(self, values: dict[str, Any]) -> None:
        found = [problem for name, value in values.items() for problem in explanations.lost_keys(value, name)]
        if found:
            raise self.invalid(found)

    def _check_size(self, tree: dict[str, Any], text: str) -> None:
        size = len(text.encode())
        if size <= self.limit:
            return
        largest = max(tree, key=lambda name: len(codec.dumps(tree[name]))) if len(tree) > 1 else next(iter(tree))
        fact = f"the JSON takes {size:,} bytes, the limit is {self.limit:,}; store it elsewhere and pass its key"
        raise self.invalid([(largest, fact)])

    def _check_floats(self, text: str) -> None:
        """Refuse a number that a float cannot hold: pydantic would read it as infinity within plain JSON.

        orjson refuses it, at 115 KB in 0.6 ms, where searching the text for an exponent takes 4.
        """
        try:
            codec.loads(text)
        except ValueError:
            pass  # a large number, or another error
        else:
            return

        def finite(digits: str) -> float:
            if math.isinf(float(digits)):
                fact = "a number is too large for a float; store it as text"
                raise self.invalid([(self.what, fact)], stored=True)
            return 0.0

        try:
            json.loads(text, parse_float=finite, parse_int=len)
        except (json.JSONDecodeError, RecursionError):
            return  # pydantic's error is better

    def _refuse(self, values: dict[str, Any], error: Exception) -> NoReturn:
        """Raise an error that names the values that have no form in JSON."""
        found = []
        for name, value in values.items():
            try:
                tree = self._tree(values, mode="json", round_trip=True, warnings="error", include={name})
            except Exception as cause:
                found += self._problems(name, value, cause)
            else:
                found += plain_json.problems(tree, "")
        raise self.invalid(found or self._problems(self.what, values, error)) from error

    def _problems(self, name: str, value: Any, error: Exception) -> list[tuple[str, str]]:
        no_key = explanations.no_key(error)
        if no_key is not None:
            return [(explanations.place_of(no_key.value, value, name), str(no_key))]
        if isinstance(error, UnicodeEncodeError):
            return explanations.lost_keys(value, name) or [(name, explanations.unstorable(error))]
        field = self._compiled.get(name)
        found = plain_json.problems(value, name) if field and field.plain and not field.opaque else []
        return found or [(name, explanations.unstorable(error))]


class _Schema:
    """Pydantic metadata: the values of a shape, by name."""

    def __init__(self, shape: Shape, *, in_full: bool) -> None:
        self._shape = shape
        self._in_full = in_full

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> core_schema.CoreSchema:
        return self._shape.schema_of_values(handler, in_full=self._in_full)


def _failing_fast(schema: Any) -> Any:
    """Return a schema that ends each list and dict at its first wrong item, except in definitions that it refers to."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_failing_fast, schema))
    if not isinstance(schema, dict) or schema.get("type") in _OF_CLASSES:
        return schema
    found = {key: value if key in _NO_SCHEMAS else _failing_fast(value) for key, value in schema.items()}
    if found.get("type") in _OF_MANY:
        found["fail_fast"] = True
    return found


def _names_in(schema: Any) -> Iterator[str]:
    """Yield the names of fields in a schema, with aliases."""
    if isinstance(schema, list | tuple):
        for part in schema:
            yield from _names_in(part)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "fields" and isinstance(value, dict):
                yield from value
            elif key in ("validation_alias", "serialization_alias", "alias") or (key == "name" and "schema" in schema):
                yield from _texts(value)
            if key not in _NO_SCHEMAS:
                yield from _names_in(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _compiled_schemas(schema: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schemas of the values by name, and the definitions that they refer to."""
    definitions = {}
    if schema["type"] == "definitions":
        definitions = {definition["ref"]: definition for definition in schema["definitions"]}
        schema = schema["schema"]
    return schema["fields"], definitions
