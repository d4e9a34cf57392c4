"""Codecs of a job's arguments and result: bound, validated, stored as JSON and read again, compiled once per kind.

Measured with one int (Python 3.11, pydantic 2.14, 2 busy cores): bind 1.2 µs by position and 0.35 by name, dump 1.0,
load 0.5; `inspect.Signature.bind` alone takes 2.4.
"""

from __future__ import annotations

import inspect
import json
import typing
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from asyncjobs.checks.signatures import parameters_of
from asyncjobs.checks.texts import cut, shown
from asyncjobs.exceptions import InvalidArguments, InvalidDefinition, OtherVersion
from asyncjobs.values import codec, plain_json, readback, references
from asyncjobs.values.parameters import Parameter
from asyncjobs.values.previous import PREVIOUS, Pending, new_mark
from asyncjobs.values.references import MISSING
from asyncjobs.values.shape import Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "MAX_ARGUMENT_BYTES",
    "MAX_RESULT_BYTES",
    "MISSING",
    "ArgumentCodec",
    "Parameter",
    "ValueCodec",
    "annotations_of",
    "check_signature",
    "parameters_of_function",
]

MAX_ARGUMENT_BYTES: Final = 262_144
MAX_RESULT_BYTES: Final = 1_048_576


def check_signature(function: Callable[..., Any]) -> None:
    """Refuse a signature whose arguments JSON cannot hold by name; annotations are not looked at yet.

    Raises:
        InvalidDefinition: ``*args``, ``**kwargs``, or a name that begins with an underscore.
    """
    kind = f"{function.__module__}.{function.__qualname__}"
    for parameter in parameters_of(function).values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars, instead = ("*", "list") if parameter.kind is parameter.VAR_POSITIONAL else ("**", "dict")
            raise InvalidDefinition(
                f"{kind}: {stars}{parameter.name} cannot be stored by name; use a {instead} parameter instead"
            )
        if parameter.name.startswith("_"):
            raise InvalidDefinition(f"{kind}: {parameter.name} begins with an underscore; rename it")


def parameters_of_function(function: Callable[..., Any]) -> list[Parameter]:
    """Return the arguments of a function job; raise InvalidDefinition as `check_signature` and `annotations_of`."""
    check_signature(function)
    hints = annotations_of(function)
    return [
        Parameter(
            parameter.name,
            hints.get(parameter.name, MISSING),
            parameter.default,
            positional=parameter.kind is not parameter.KEYWORD_ONLY,
            positional_only=parameter.kind is parameter.POSITIONAL_ONLY,
        )
        for parameter in parameters_of(function).values()
    ]


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return resolved annotations with `return`; raise InvalidDefinition with the name that cannot be resolved."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise InvalidDefinition(
            f"{function.__module__}.{function.__qualname__}: an annotation cannot be resolved ({error}); "
            "import what it names at the top of the module, not under TYPE_CHECKING nor inside a function"
        ) from error


class ArgumentCodec:
    """The codec that binds, stores and reads the arguments of one kind.

    Args:
        kind: For messages.
        parameters: The kind's.
        dropped: Names of former arguments, which `load` ignores.

    Attributes:
        has_references: Whether `resolve` has objects to load.
    """

    def __init__(self, kind: str, parameters: Sequence[Parameter], *, dropped: Sequence[str] = ()) -> None:
        self._shape = Shape(kind, parameters, what="arguments", limit=MAX_ARGUMENT_BYTES)
        self._dropped = frozenset(dropped) - {parameter.name for parameter in parameters}
        self._positional = tuple(parameter.name for parameter in parameters if parameter.positional)
        self._positional_only = tuple(parameter.name for parameter in parameters if parameter.positional_only)
        self.has_references = bool(self._shape.references)
        self._pending: dict[frozenset[str], Shape] = {}
        """Shapes for arguments of which some are the result of the job before, by the names of these."""
        self._single: dict[str, Shape] = {}
        """Shapes for one argument, by its name."""

    @property
    def names(self) -> list[str]:
        """The arguments' names, in order."""
        return list(self._shape.parameters)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return validated arguments by name, with defaults.

        Values that cannot be stored (NUL, size, a reference without a key) are found by `dump`.

        Raises:
            InvalidArguments: With every problem at once.
        """
        return self._shape.validate(self._by_name(args, kwargs) if args else kwargs)

    def make(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Return arguments as they will be loaded, and their JSON text, validated only once.

        Raises:
            InvalidArguments: With every problem at once.
        """
        shape = self._shape
        try:
            values = shape.validate(self._by_name(args, kwargs) if args else kwargs)
            return values, shape.store(values)
        except Exception:
            # Looked for only after an error: `chain.previous` is rare, and fits no annotation.
            given = self._by_name(args, kwargs)
            if not any(value is PREVIOUS for value in given.values()):
                raise
        return self._make_pending(given)

    def _make_pending(self, given: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Return arguments of which some are the result of the job before in a chain, and so cannot be checked yet."""
        names = frozenset(name for name, value in given.items() if value is PREVIOUS)
        if names not in self._pending:
            # They count as plain JSON: the stored arguments have a text in their place.
            parameters = [
                replace(each, annotation=MISSING) if name in names else each
                for name, each in self._shape.parameters.items()
            ]
            self._pending[names] = Shape(self._shape.kind, parameters, what="arguments", limit=MAX_ARGUMENT_BYTES)
        shape, mark = self._pending[names], new_mark()
        values = shape.validate({name: mark if name in names else value for name, value in given.items()})
        text = shape.store(values)
        return Pending.of(values, names, mark, shape), text

    def annotation_of(self, name: str) -> Any:
        """Return the annotation of an argument; MISSING: it has none."""
        return self._shape.parameters[name].annotation

    def stored(self, name: str, value: Any) -> Any:
        """Return one argument as it is stored, as plain JSON.

        Raises:
            InvalidArguments: It does not fit, or cannot be stored.
        """
        if name not in self._single:
            alone = replace(self._shape.parameters[name], default=MISSING, default_factory=None)
            self._single[name] = Shape(self._shape.kind, [alone], what="arguments", limit=MAX_ARGUMENT_BYTES)
        shape = self._single[name]
        return json.loads(shape.store(shape.validate({name: value})))[name]

    def call(self, function: Callable[..., Any], values: dict[str, Any]) -> Any:
        """Call `function` with its arguments, its positional-only ones by position."""
        if not self._positional_only:
            return function(**values)
        rest = dict(values)
        return function(*[rest.pop(name) for name in self._positional_only], **rest)

    def dump(self, values: dict[str, Any]) -> str:
        """Return the JSON object of the arguments, checked again: fields may have been assigned since `bind`.

        Raises:
            InvalidArguments: With the path of each value that cannot be stored.
        """
        shape = self._shape
        return shape.store(dict(values) if shape.opaque else shape.validate(values))

    def load(self, text: str) -> dict[str, Any]:
        """Return the arguments of a stored row, with defaults for missing ones; references are still StoredKeys.

        Raises:
            OtherVersion: An argument is unknown here, or missing.
            InvalidArguments: Other code or SQL has stored values that do not fit this code.
        """
        try:
            return self._shape.load(text)
        except OtherVersion:
            if not self._dropped:
                raise
        kept = {name: value for name, value in json.loads(text).items() if name not in self._dropped}
        return self._shape.load(json.dumps(kept))

    async def resolve(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return loaded arguments with objects in place of their stored keys; the rest is shared with `values`.

        Raises:
            RecordNotFound: An object is gone.
            DeserializationError: A loader failed for another reason.
        """
        loaded = dict(values)
        for name in self._shape.references:
            loaded[name] = await references.resolve(values[name])
        return loaded

    def _by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = dict(zip(self._positional, args, strict=False))
        if len(args) > len(self._positional) or (kwargs and not given.keys().isdisjoint(kwargs)):
            self._refuse_binding(args, {**given, **kwargs}, given.keys() & kwargs.keys())
        given.update(kwargs)
        return given

    def _refuse_binding(self, args: tuple[Any, ...], given: dict[str, Any], twice: set[str]) -> None:
        """Raise for arguments that are too many or given twice, together with all other problems."""
        problems = [(name, "given by position and by name; give it once") for name in sorted(twice)]
        most = len(self._positional)
        if len(args) > most:
            by_name = [name for name in self._shape.parameters if name not in self._positional]
            remedy = f"pass {', '.join(by_name)} by name" if by_name else "leave the rest out"
            problems.append(("arguments", f"{len(args)} given by position, at most {most} are taken; {remedy}"))
        try:
            self._shape.validate(given)
        except InvalidArguments as error:
            problems += error.problems
        raise self._shape.invalid(problems)


class ValueCodec:
    """The codec that stores and reads the values of one place: results of a kind, or the cursor of a step.

    Args:
        place: For messages.
        annotation: Of the values.
        what: The word for them in messages.
        annotatable: Whether the place is one at which a user can annotate them.

    Attributes:
        annotation: As given, but None's for a place that has no value.
    """

    def __init__(self, place: str, annotation: Any, what: str = "result", *, annotatable: bool = True) -> None:
        if annotation in (None, typing.NoReturn, typing.Never):
            annotation = type(None)
        self.annotation = annotation
        self._what = what
        self._annotatable = annotatable
        self._before = f'{{"{what}":'
        self._shape = Shape(place, [Parameter(what, annotation)], what=what, limit=MAX_RESULT_BYTES)
        if self._shape.references:
            raise InvalidDefinition(f"{place}: the {what} cannot be a reference, as nothing loads it; use its key")

    def dump(self, value: Any) -> str | None:
        """Return the JSON text of a value; None for None, which is not stored."""
        return self.keep(value)[1]

    def keep(self, value: Any) -> tuple[Any, str | None]:
        """Return a value as it will be loaded, and its JSON text; None for None, which is not stored.

        Raises:
            UnstorableResult: It does not fit the annotation, or would come back changed.
        """
        if value is None:
            return None, None
        shape = self._shape
        try:
            values = shape.validate({self._what: value})
            text = shape.store(values)
        except InvalidArguments as error:
            if inspect.iscoroutine(value):
                value.close()  # the error says that it was not awaited, so Python need not warn
                missing = "a coroutine that was not awaited: write `await`, in an `async def`"
                raise shape.invalid([(self._what, missing)]) from None
            if hasattr(type(value), "_definition_of_class"):
                made = (
                    "a job, which is no result: `await` it after `enqueue()` and return its result, or return its `id`"
                )
                raise shape.invalid([(self._what, made)]) from None
            if not self._annotatable:
                facts = [(place, fact.replace(plain_json.ANNOTATE, "")) for place, fact in error.problems]
                raise shape.invalid(facts) from None
            raise
        return values[self._what], text[len(self._before) : -1]

    def is_kept(self, value: Any, kept: Any) -> bool:
        """Whether `keep` changed nothing of a value, at any depth."""
        return value is kept or self.is_exact(value) or readback.is_same(value, kept)

    @cached_property
    def is_exact(self) -> Callable[[Any], bool]:
        """Whether a value is known by its type, in 0.1 µs, to be loaded as itself; if not, `keep` finds out."""
        return self._shape.is_exact(self._what)

    def load(self, text: str | None) -> Any:
        """Return the value of a stored text."""
        if text is None:
            return None
        return self._shape.load(f"{self._before}{text}}}")[self._what]

    def load_recorded(self, text: str | None) -> Any:
        """Return the value of a text that an earlier attempt has stored, perhaps by other code.

        Raises:
            InvalidArguments: It does not fit the annotation any more, or is another value by it: an id would be a time.
        """
        value = self.load(text)
        again = self.dump(value)
        if again != text and not _are_alike(codec.loads(text or "null"), codec.loads(again or "null")):
            was = f"was recorded as {cut(text or 'null', 100)}, which is read as {shown(value)} now"
            raise self._shape.invalid([(self._what, f"{was}: keep its type while jobs are in flight")], stored=True)
        return value


def _are_alike(one: Any, other: Any) -> bool:
    """Whether two values of JSON are of the same types wherever both have something."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_are_alike(value, other[key]) for key, value in one.items() if key in other)
    if isinstance(one, list) and isinstance(other, list):
        return all(map(_are_alike, one, other))
    return type(one) is type(other) or (type(one) in (int, float) and type(other) in (int, float))
