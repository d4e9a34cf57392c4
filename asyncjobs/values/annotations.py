"""`Compiled`: a user's annotation turned into the one that pydantic compiles.

Changed are, also inside containers and unions but never inside a user's own models: no annotation, Any, object and
containers without item types, to plain JSON; int, to the bounds of 64 bits; datetime, to one with a timezone; a registered
class, to its reference. Annotations whose values would come back changed are refused.
"""

from __future__ import annotations

import collections
import collections.abc as abcs
import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from functools import partial
from typing import Annotated, Any, Final, ForwardRef, Literal, TypeVar, Union

import pydantic
import typing_extensions

from asyncjobs.values import plain_json
from asyncjobs.values.references import MISSING, reference_for
from asyncjobs.values.schemas import PlainSchema, ReferenceSchema, UuidSchema, refuse_other_tuple

_SCALARS: Final = frozenset(
    {bool, float, type(None), dt.date, dt.time, dt.timedelta, decimal.Decimal, pydantic.NaiveDatetime}
)
ASTERISKS: Final = "a secret would be stored as asterisks; pass the name of the secret and look it up in the job"
_REFUSED: Final[dict[Any, str]] = {
    pydantic.SecretStr: ASTERISKS,
    pydantic.SecretBytes: ASTERISKS,
    bytearray: "it would come back as bytes; annotate bytes",
    memoryview: "it would come back as bytes; annotate bytes",
    abcs.Callable: "JSON cannot hold code; pass the name of what is to be called",
    type: "JSON cannot hold a class; pass its name",
} | dict.fromkeys(
    (abcs.Iterable, abcs.Iterator, abcs.Generator, abcs.AsyncIterable, abcs.AsyncIterator, abcs.AsyncGenerator),
    "it can be read only once; annotate list",
)
NOT_STORED: Final = "__asyncjobs_not_stored__"
"""On a class of asyncjobs: why it cannot be the type of a stored value."""
_REFUSED_KEYS: Final = frozenset({bytes, type(None), tuple, frozenset})
_CONTAINERS: Final = (list, tuple, dict, set, frozenset, collections.deque)
_UNIONS: Final = (Union, types.UnionType)
_CONCRETE: Final[dict[Any, Any]] = {
    abcs.Sequence: list,
    abcs.MutableSequence: list,
    abcs.Mapping: dict,
    abcs.MutableMapping: dict,
    abcs.Set: set,
    abcs.MutableSet: set,
}
"""Types that JSON gives back for them, whatever the value was."""
_TEXT: Final = (typing.Annotated, typing_extensions.Annotated)


class Unsupported(TypeError):
    """An annotation that cannot be stored; the message is fact and remedy."""


class Unresolved(Unsupported):
    """An annotation that is still a string."""


class Compiled:
    """An annotation made ready for pydantic, and what it holds.

    Attributes:
        annotation: The annotation for pydantic.
        opaque: Whether it holds types whose content pydantic does not check for asyncjobs, so that the JSON is checked.
        plain: Whether it holds plain JSON, where a number can be too large for a float.
        references: Whether it holds registered classes.
    """

    def __init__(self, annotation: Any) -> None:
        self.opaque, self.plain, self.references = False, False, False
        self._open_aliases: list[Any] = []
        self.annotation = self._prepare(annotation)

    def _prepare(self, annotation: Any) -> Any:
        if annotation is int:
            return _INT
        if annotation is uuid.UUID:
            return Annotated[uuid.UUID, UuidSchema()]
        if annotation in (dt.datetime, pydantic.AwareDatetime):
            return pydantic.AwareDatetime
        if _hashable(annotation) and annotation in _SCALARS:
            return annotation
        if annotation is None:
            return type(None)
        if annotation in (str, bytes):
            return annotation
        if annotation in (MISSING, Any, object, pydantic.JsonValue):
            self.plain = True
            return Annotated[Any, PlainSchema(None)]
        return self._prepare_special(annotation)

    def _prepare_special(self, annotation: Any) -> Any:
        origin = typing.get_origin(annotation)
        concrete = _CONCRETE.get(origin or annotation) if _hashable(annotation) else None
        if concrete is not None:
            return self._prepare(concrete[typing.get_args(annotation)] if typing.get_args(annotation) else concrete)
        refusal = _REFUSED.get(origin or annotation) if _hashable(annotation) else None
        refusal = refusal or getattr(origin or annotation, NOT_STORED, None)
        if refusal:
            raise Unsupported(f"{show(annotation)} cannot be stored: {refusal}")
        if isinstance(annotation, str | ForwardRef):
            raise Unresolved(f"{show(annotation)} cannot be resolved; import it where the job is defined")
        if isinstance(annotation, TypeVar):
            return self._prepare(annotation.__bound__ or MISSING)
        if hasattr(annotation, "__supertype__"):
            return self._prepare(annotation.__supertype__)
        if isinstance(annotation, typing_extensions.TypeAliasType):
            return self._prepare_alias(annotation)
        reference = reference_for(annotation)
        if reference:
            self.references = self.opaque = True
            key = Compiled(reference.key)
            return Annotated[Any, ReferenceSchema(reference, key.annotation, plain_key=key.plain)]
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return self._prepare_enum(annotation)
        if origin is not None:
            return self._prepare_generic(annotation, origin, typing.get_args(annotation))
        return self._prepare_bare(annotation)

    def _prepare_alias(self, alias: Any) -> Any:
        """Prepare a `type` statement; a recursive one is left to pydantic, which can resolve it."""
        if alias not in self._open_aliases:
            self._open_aliases.append(alias)
            try:
                return self._prepare(alias.__value__)
            except Unresolved:  # a string, which only pydantic can resolve
                pass
            finally:
                self._open_aliases.remove(alias)
        self.opaque = True
        return alias

    def _prepare_enum(self, annotation: type[enum.Enum]) -> Any:
        for member in annotation:
            if not isinstance(member.value, str | int | float | bool | None):
                raise Unsupported(
                    f"the value of {member} is a {type(member.value).__qualname__}, which JSON does not give back; "
                    "give the members str or int values"
                )
        return annotation

    def _prepare_bare(self, annotation: Any) -> Any:
        if annotation in (list, dict):
            self.plain = True
            return Annotated[annotation, PlainSchema(annotation)]
        if annotation is tuple:
            return self._prepare(tuple[Any, ...])
        if annotation in (set, frozenset, collections.deque):
            return self._prepare(annotation[Any])
        if annotation is collections.OrderedDict:
            return self._prepare(annotation[str, Any])
        if annotation is collections.defaultdict:
            raise Unsupported(
                "defaultdict does not say what it makes; annotate defaultdict[str, int], or what its values are"
            )
        self.opaque = True
        if isinstance(annotation, type) and issubclass(annotation, tuple):
            return Annotated[annotation, pydantic.BeforeValidator(partial(refuse_other_tuple, annotation))]
        return annotation

    def _prepare_generic(self, annotation: Any, origin: Any, args: tuple[Any, ...]) -> Any:
        if origin in _TEXT:
            self.opaque = True
            own = any(hasattr(data, "__get_pydantic_core_schema__") for data in annotation.__metadata__)
            # Pydantic's UUID4 and Strict() work only with its own schema of a UUID.
            is_as_it_is = args[0] is uuid.UUID or (own and args[0] in (Any, object))
            inner = args[0] if is_as_it_is else self._prepare(args[0])
            return Annotated[(inner, *annotation.__metadata__)]
        if origin is Literal:
            return _prepare_literal(annotation)
        if origin in _UNIONS:
            return self._prepare_union(annotation, args)
        if not args and origin is not tuple:  # typing.List, typing.Dict
            return self._prepare_bare(origin)
        if origin is list and args == (Any,):
            return self._prepare_bare(list)
        if isinstance(origin, type) and issubclass(origin, abcs.Mapping) and len(args) == 2:
            return self._prepare_mapping(annotation, origin, args)
        if origin.__module__ in ("builtins", "collections", "collections.abc"):
            return origin[tuple(arg if arg is ... else self._prepare(arg) for arg in args)]
        self.opaque = True
        return annotation

    def _prepare_mapping(self, annotation: Any, origin: Any, args: tuple[Any, Any]) -> Any:
        key = typing.get_args(args[0])[0] if typing.get_origin(args[0]) in _TEXT else args[0]
        refused = (typing.get_origin(key) or key) in (*_REFUSED_KEYS, *_UNIONS) if _hashable(key) else True
        if refused or reference_for(key):
            raise Unsupported(
                f"the keys of {show(annotation)} would not come back from JSON; use str, int, UUID, date or Enum keys"
            )
        if key in (Any, object):
            key = str
        if origin is dict and key is str and args[1] in (Any, object):
            return self._prepare_bare(dict)
        values = self._prepare(args[1])
        if origin is collections.defaultdict and args[1] in (int, list, dict):
            # Pydantic knows the factories of these types, but not of the annotated ones.
            values = Annotated[(args[1], pydantic.Field(default_factory=args[1]), *values.__metadata__)]
        return origin[self._prepare(args[0] if key is not str else key), values]

    def _prepare_union(self, annotation: Any, args: tuple[Any, ...]) -> Any:
        _refuse_kin(annotation, [typing.get_origin(arg) or arg for arg in args])
        before, self.references = self.references, False
        members = [self._prepare(arg) for arg in args]
        if self.references and len([arg for arg in args if arg not in (None, type(None))]) > 1:
            raise Unsupported(
                f"in {show(annotation)} a stored key does not say which type it belongs to; "
                "use one registered class, or that and None"
            )
        self.references = self.references or before
        return Union[tuple(members)]  # noqa: UP007 - built from a list


def _refuse_kin(annotation: Any, classes: list[Any]) -> None:
    """Refuse a union of a container and a subclass of it, of which pydantic makes the container."""
    for one in classes:
        for base in classes:
            if base in _CONTAINERS and one is not base and isinstance(one, type) and issubclass(one, base):
                raise Unsupported(
                    f"in {show(annotation)} a {one.__qualname__} would become a {base.__qualname__}, of which it is a "
                    "subclass; annotate one of them"
                )


def _prepare_literal(annotation: Any) -> Any:
    for value in typing.get_args(annotation):
        if isinstance(value, bytes):
            raise Unsupported(f"{show(annotation)}: JSON does not give back bytes here; use str")
    return annotation


def show(annotation: Any) -> str:
    """Return an annotation nearly as the user wrote it."""
    if annotation is MISSING:
        return "plain JSON"
    if typing.get_origin(annotation) in _TEXT:
        return show(typing.get_args(annotation)[0])
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def _hashable(annotation: Any) -> bool:
    """Whether an annotation has a hash; Annotated with unhashable metadata has none."""
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


_INT: Final = Annotated[int, pydantic.Field(ge=plain_json.MIN_INT, le=plain_json.MAX_INT)]
