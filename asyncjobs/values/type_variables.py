"""Type variables of generic job classes: the types that a derived class gives them, and annotations with these types."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import Format, NoDefault, get_annotations

from asyncjobs.exceptions import InvalidDefinition
from asyncjobs.modules.origin import namespace_of

Solution = Mapping[Any, Any]
"""The type for each type variable."""


@functools.lru_cache(maxsize=4_096)
def solutions(cls: type) -> Mapping[type, Solution]:
    """Return the types for the type variables of each generic base of a class, by base."""
    found: dict[type, dict[Any, Any]] = {}

    def look_at(derived: type, known: Solution) -> None:
        for base in vars(derived).get("__orig_bases__", derived.__bases__):
            origin = typing.get_origin(base) or base
            if origin in (typing.Generic, typing.Protocol, object) or not isinstance(origin, type):
                continue
            given = [solved(argument, known) for argument in typing.get_args(base)]
            own = found.setdefault(origin, {})
            for position, variable in enumerate(getattr(origin, "__parameters__", ())):
                if position < len(given):
                    own.setdefault(variable, given[position])
                elif (default := getattr(variable, "__default__", NoDefault)) is not NoDefault:
                    own.setdefault(variable, solved(default, own))
            look_at(origin, own)

    look_at(cls, {})
    return found


@functools.lru_cache(maxsize=4_096)
def is_generic(cls: type) -> bool:
    """Whether a class has a generic base beside `Job`."""
    return any(solution and base.__module__ != "asyncjobs.jobs.job" for base, solution in solutions(cls).items())


def solved(annotation: Any, solution: Solution) -> Any:
    """Return an annotation with types in place of its type variables, as far as they are known."""
    if isinstance(annotation, typing.TypeVar):
        return solution.get(annotation, annotation)
    open_ones = _variables(annotation)
    if not any(variable in solution for variable in open_ones):
        return annotation
    return annotation[tuple(solution.get(variable, variable) for variable in open_ones)]


def hints_of(cls: type, root: type = object) -> dict[str, Any]:
    """Return the annotations of a class and its bases, resolved, with types for type variables.

    Args:
        cls: The class.
        root: One of its bases, whose annotations are left out, with those of its own bases: resolving those of `Job` again
            for each class takes 1 ms.

    Raises:
        NameError: An annotation cannot be resolved.
    """
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base in root.__mro__:
            continue
        solution = solutions(cls).get(base, {})
        hints |= {name: solved(hint, solution) for name, hint in _own_hints(base).items()}
    return hints


def hints_of_method(cls: type, method: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a method of a class or one of its bases, like `hints_of`."""
    owner = next((base for base in cls.__mro__ if any(method is each for each in vars(base).values())), cls)
    named = {variable.__name__: variable for variable in getattr(owner, "__type_params__", ())}
    hints = typing.get_type_hints(method, localns=named or None, include_extras=True)
    return {name: solved(hint, solutions(cls).get(owner, {})) for name, hint in hints.items()}


def result_of(cls: type, root: type, method: Callable[..., Any]) -> Any:
    """Return the result type of a class's jobs, from its method or else from the class itself: `Job[int]`.

    Raises:
        NameError: It cannot be resolved.
        InvalidDefinition: It holds a type variable without a type.
    """
    said = hints_of_method(cls, method).get("return", inspect.Parameter.empty)
    if said is inspect.Parameter.empty:
        said = next(iter(solutions(cls).get(root, {}).values()), Any)
        if said is Any:
            return inspect.Parameter.empty
    return known(said, cls, f"{cls.__module__}.{cls.__qualname__}: what it returns")


def known(annotation: Any, cls: type, where: str) -> Any:
    """Return an annotation of a class that holds no type variable without a type.

    Raises:
        InvalidDefinition: It holds one.
    """
    is_variable = isinstance(annotation, typing.TypeVar)
    variable = annotation if is_variable else next(iter(_variables(annotation)), None)
    is_model_alone = getattr(annotation, "__pydantic_generic_metadata__", {"origin": True})["origin"] is None
    if variable is None or is_model_alone:
        return annotation
    generic = next((base for base in cls.__mro__ if variable in getattr(base, "__parameters__", ())), cls)
    raise InvalidDefinition(
        f"{where}: nothing says what the type variable {variable.__name__} stands for: derive from {generic.__name__}[…] "
        f"with a type in its place; {generic.__name__} itself is abstract=True"
    )


def annotations_of(target: Any) -> Mapping[str, Any]:
    """Return the annotations of a class's own body, or of a function, unresolved where names are not known yet."""
    return get_annotations(target, format=Format.FORWARDREF)


def _own_hints(base: type) -> dict[str, Any]:
    """Return the annotations of the body of one class, resolved in its module, whose names go before its own."""
    alone = type(base.__name__, (), {"__annotations__": annotations_of(base), "__module__": base.__module__})
    variables = {variable.__name__: variable for variable in getattr(base, "__type_params__", ())}
    return typing.get_type_hints(alone, dict(vars(base)), {**namespace_of(base), **variables}, include_extras=True)


def _variables(annotation: Any) -> tuple[Any, ...]:
    """Return the type variables that can be filled in an annotation; a generic class that stands alone has its own."""
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        # Not of the class alone: to pydantic, `Page[T]` with the variable of `Page` itself is `Page`.
        metadata = getattr(annotation, "__pydantic_generic_metadata__", {"parameters": ()})
        return tuple(metadata["parameters"])
    return tuple(getattr(annotation, "__parameters__", ()))
