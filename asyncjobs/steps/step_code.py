"""The parameters and results of steps' code, by their annotations, and the codecs of their values."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from asyncjobs.checks.signatures import parameters_of
from asyncjobs.exceptions import InvalidArguments, InvalidDefinition
from asyncjobs.steps.cursors import Cursor
from asyncjobs.values.arguments import ValueCodec
from asyncjobs.values.type_variables import annotations_of, hints_of_method, is_generic

_known: WeakKeyDictionary[Callable[..., Any], dict[type | None, Code]] = WeakKeyDictionary()
"""Weak keys: a lambda or a closure is a new object in each attempt, and would keep its job alive."""


@dataclass(frozen=True)
class Code:
    """The parameters of a step's function beside the job's own arguments, and its result.

    Attributes:
        is_async: Whether it is `async def`; a `def` runs in a thread.
        cursor: The annotation of the cursor's value; None: it takes no cursor.
        cursor_name: The parameter for the cursor.
        takes_connection: Whether it has a parameter `connection`.
        through_sqlalchemy: Whether `connection` is annotated as SQLAlchemy's `AsyncConnection`.
        returns: The annotation of its result.
    """

    is_async: bool
    cursor: Any | None
    cursor_name: str
    takes_connection: bool
    through_sqlalchemy: bool
    returns: Any

    @classmethod
    def of(cls, function: Callable[..., Any], owner: type | None = None) -> Code:
        """Return the code of a function, as a method of `owner`."""
        hints = _hints(function, owner)
        try:
            names = list(parameters_of(function))
        except (ValueError, TypeError):  # some built-in functions have no signature
            names = []
        by_type = [name for name in names if _is_cursor(hints.get(name))]
        by_name = "cursor" in names and hints.get("cursor", Any) is Any
        cursor_name = by_type[0] if by_type else ("cursor" if by_name else "")
        (value,) = typing.get_args(hints[cursor_name]) if by_type and typing.get_args(hints[cursor_name]) else (Any,)
        target = inspect.unwrap(function)
        return cls(
            # An object with an async `__call__` is no coroutine function, but is called like one.
            is_async=any(map(inspect.iscoroutinefunction, (target, type(target).__call__))),
            cursor=(inspect.Parameter.empty if value is Any else value) if cursor_name else None,
            cursor_name=cursor_name,
            takes_connection="connection" in names,
            through_sqlalchemy=_is_sqlalchemys(hints.get("connection")),
            returns=hints.get("return", inspect.Parameter.empty),
        )


def code_of(function: Callable[..., Any], kind: str, name: str) -> Code:
    """Return the code of a function that is run as a step, read once and kept.

    Raises:
        InvalidDefinition: Its result cannot be stored.
    """
    owner: type | None = None
    if (bound_to := getattr(function, "__self__", None)) is not None:
        function = getattr(function, "__func__", function)
        method_of: type = type(bound_to)
        if is_generic(method_of):  # the result of its method depends on the derived class
            owner = method_of
    try:
        of_owners = _known.get(function)
    except TypeError:  # it has no hash, or no weak reference to it is possible
        return _checked(function, f"{kind}.{name}", owner)
    if of_owners is None:
        of_owners = _known[function] = {}
    if owner not in of_owners:
        of_owners[owner] = _checked(function, f"{kind}.{name}", owner)
    return of_owners[owner]


def _checked(function: Callable[..., Any], where: str, owner: type | None) -> Code:
    code = Code.of(function, owner)
    Values(where, code.returns)
    return code


class Values:
    """The codec of one place's values: the results of a step, or its cursor.

    Args:
        place: For messages.
        annotation: Of the values.
        what: What the values are, for messages.
    """

    def __init__(self, place: str, annotation: Any, what: str = "result") -> None:
        self._place = place
        try:
            self._codec = _codec_of(annotation, what)
        except TypeError:  # it has no hash
            self._codec = ValueCodec(place, annotation, what)
        except InvalidDefinition:
            ValueCodec(place, annotation, what)  # raises the same error, with the name of this place
            raise

    def dump(self, value: Any) -> str | None:
        """Return the JSON text of a value; None for None.

        Raises:
            UnstorableResult: It has no form in JSON.
        """
        try:
            return self._codec.dump(value)
        except InvalidArguments as error:
            raise self._named(error) from error

    def keep(self, value: Any) -> tuple[Any, str | None]:
        """Return a value as it will be loaded, and its JSON text; None for None.

        Raises:
            UnstorableResult: It has no form in JSON, or would be loaded as another value.
        """
        try:
            return self._codec.keep(value)
        except InvalidArguments as error:
            raise self._named(error) from error

    def kept(self, value: Any) -> Any:
        """Return a value as it will be loaded: nearly always itself.

        Raises:
            UnstorableResult: As `keep`.
        """
        return value if value is None or self._codec.is_exact(value) else self.keep(value)[0]

    @property
    def is_exact(self) -> Callable[[Any], bool]:
        """Whether a value is known to be loaded as itself; if not, `kept` finds out."""
        return self._codec.is_exact

    def load(self, text: str | None) -> Any:
        """Return the value of a stored text.

        Raises:
            InvalidArguments: It does not fit the annotation any more.
        """
        try:
            return self._codec.load(text)
        except InvalidArguments as error:
            raise self._named(error) from error

    def load_recorded(self, text: str | None) -> Any:
        """Return the value of a text that an earlier attempt has stored, perhaps by other code.

        Raises:
            InvalidArguments: It does not fit the annotation any more, or is another value by it.
        """
        try:
            return self._codec.load_recorded(text)
        except InvalidArguments as error:
            raise self._named(error) from error

    def _named(self, error: InvalidArguments) -> InvalidArguments:
        return type(error)(self._place, *error.args[1:])


@lru_cache(maxsize=1_000)
def _codec_of(annotation: Any, what: str) -> ValueCodec:
    """Return a codec shared by all places: a job may have a step for each page, and each codec took 160 µs."""
    return ValueCodec("step", annotation, what)


def _hints(function: Callable[..., Any], owner: type | None) -> dict[str, Any]:
    """Return the annotations that can be resolved; that of `connection` stays text if it cannot."""
    try:
        if owner is not None:
            return hints_of_method(owner, function)
        return typing.get_type_hints(function, include_extras=True)
    except Exception:
        target = inspect.unwrap(function)
    hints: dict[str, Any] = {}
    for name, annotation in annotations_of(target).items():
        alone: Any = SimpleNamespace(__annotations__={name: annotation})
        try:
            hints |= typing.get_type_hints(alone, globalns=getattr(target, "__globals__", {}), include_extras=True)
        except Exception:
            if name == "connection":
                hints[name] = getattr(annotation, "__forward_arg__", annotation)
    return hints


def _is_cursor(annotation: Any) -> bool:
    return annotation is Cursor or typing.get_origin(annotation) is Cursor


def _is_sqlalchemys(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] == "AsyncConnection"
    bases = getattr(annotation, "__mro__", ())
    return any(base.__name__ == "AsyncConnection" and base.__module__.startswith("sqlalchemy.") for base in bases)
