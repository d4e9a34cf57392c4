"""The answer to a step that is called by its bare name, without its cursor or connection: what to write instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asyncjobs.checks.signatures import signature_of
from asyncjobs.exceptions import InvalidCall
from asyncjobs.steps.step_code import Code

F = TypeVar("F", bound=Callable[..., Any])


def answering(function: F) -> F:
    """Return a step's function, wrapped so that a call without its cursor or connection says how to run a step.

    A function that needs neither is returned as it is, and its calls cost no more.
    """
    signature = signature_of(function)
    if signature is None or not inspect.iscoroutinefunction(function) or _needed(signature) in ([], ["self"]):
        return function

    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            begun = function(*args, **kwargs)
        except TypeError as error:  # from the call itself: none of the code has run
            if (missing := _missing(function, signature, args, kwargs)) is None:
                raise
            raise InvalidCall(_said(function, args, missing)) from error
        return await begun

    cast("Any", call).__signature__ = signature  # for callers that look at the wrapper's signature
    return cast("F", call)


def _needed(signature: inspect.Signature) -> list[str]:
    named = [each for each in signature.parameters.values() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    return [each.name for each in named if each.default is each.empty]


def _missing(
    function: Callable[..., Any], signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    """Return the cursor or connection that this call lacks; None: the call is wrong in another way."""
    try:
        bound = signature.bind_partial(*args, **kwargs).arguments
    except TypeError:
        return None
    missing = [name for name in _needed(signature) if name not in bound]
    return missing[0] if missing in ([Code.of(function).cursor_name], ["connection"]) else None


def _said(function: Callable[..., Any], args: tuple[Any, ...], missing: str) -> str:
    name = function.__name__
    said = f"{function.__qualname__}() is a step, and gets its {missing!r} only when it is run as one: write "
    if args and hasattr(args[0], "run_steps"):
        return f'{said}`await self.step("{name}", self.{name})`, or `await self.run_steps()`, which runs all'
    return f'{said}`await current_job().step("{name}", {name}, …)`'
