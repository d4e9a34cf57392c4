"""Signatures: whether a function takes the arguments that it will be called with, checked at its definition."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import Format

from asyncjobs.exceptions import InvalidDefinition


def check_takes(function: Callable[..., Any], where: str, *given: str) -> None:
    """Refuse a function that cannot be called with these arguments by position.

    Args:
        function: A function without a signature, as some built-in ones are, passes. Of a wrapper, its own signature counts.
        where: Its place, for the message.
        given: Names of the arguments, for the message.

    Raises:
        InvalidDefinition: It takes fewer arguments, or needs more.
    """
    signature = signature_of(function)
    if signature is None:
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        empty = inspect.Parameter.empty
        bare = [parameter.replace(annotation=empty, default=empty) for parameter in signature.parameters.values()]
        shown = signature.replace(parameters=bare, return_annotation=empty)
        raise InvalidDefinition(
            f"{where}: {name}{shown} is called with {' and '.join(given) or 'nothing'}, which it does not take: {error}"
        ) from None


def check_method(cls: type, name: str, where: str, *given: str) -> None:
    """Refuse a method that cannot be called with these arguments beside `self`; a static or class method passes.

    Raises:
        InvalidDefinition: It takes fewer arguments, or needs more.
    """
    method = inspect.getattr_static(cls, name)
    if inspect.isfunction(method):
        check_takes(method, where, "self", *given)


def takes(function: Callable[..., Any], *arguments: Any, **named: Any) -> bool:
    """Whether a function can be called with these arguments, or has no signature, as some built-in ones."""
    signature = signature_of(function)
    try:
        return signature is None or bool(signature.bind(*arguments, **named))
    except TypeError:
        return False


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return a function's signature, a wrapper's own; None: it has none."""
    try:
        return _signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function, or of the one that it wraps; names in annotations may be unknown yet."""
    return _signature(function).parameters


def _signature(function: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    if sys.version_info >= (3, 14):  # evaluates annotations only when they are read
        return inspect.signature(function, follow_wrapped=follow_wrapped, annotation_format=Format.FORWARDREF)
    return inspect.signature(function, follow_wrapped=follow_wrapped)
