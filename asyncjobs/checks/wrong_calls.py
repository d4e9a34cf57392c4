"""Wrong calls, refused with what to write instead, where Python would count arguments."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial, update_wrapper, wraps
from types import MethodType
from typing import Any, NoReturn, TypeVar, cast

from asyncjobs.checks import keywords
from asyncjobs.exceptions import AsyncJobsError, InvalidCall, InvalidDefinition, NotAJob

F = TypeVar("F", bound=Callable[..., Any])


def answered(kind: type[AsyncJobsError] = InvalidCall, remedy: str = "") -> Callable[[F], F]:
    """Make a function raise `kind` for a call with wrong arguments; a right call costs 0.1 µs more.

    An `async def` raises when it is awaited.

    Args:
        kind: The error, a TypeError.
        remedy: What to write when an argument is missing or given by position; empty: Python's own words.
    """

    def decorate(function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    begun = function(*args, **kwargs)
                except TypeError as error:  # from the call itself: none of the code has run
                    raise kind(_said(function, args, kwargs, remedy, error)) from None
                return await begun

        else:

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    return function(*args, **kwargs)
                except TypeError as error:
                    if _takes(function, args, kwargs):
                        raise
                    raise kind(_said(function, args, kwargs, remedy, error)) from None

        return cast("F", call)

    return decorate


def of_a_job(remedy: str = "") -> Callable[[F], F]:
    """Make a method answer wrong calls, also when it is called on a class in place of a job; see `answered`."""

    def decorate(function: F) -> F:
        return cast("F", _OfAJob(function, answered(remedy=remedy)(function)))

    return decorate


class _OfAJob:
    def __init__(self, function: Callable[..., Any], call: Callable[..., Any]) -> None:
        update_wrapper(cast("Any", self), function)
        self._call = call
        self._is_async = inspect.iscoroutinefunction(function)

    def __get__(self, job: Any, owner: type) -> Callable[..., Any]:
        if job is not None:
            if self._is_async and job._made_at is not None:
                job._asked = self._call.__name__
            return MethodType(self._call, job)
        return update_wrapper(partial(_called_on_class, self._call, owner), self._call)


def _called_on_class(call: Callable[..., Any], owner: type, /, *args: Any, **kwargs: Any) -> Any:
    if args and isinstance(args[0], owner):
        return call(*args, **kwargs)
    raise NotAJob(no_job(owner.__qualname__, owner.__name__, call.__name__))


def no_job(shown: str, name: str, method: str) -> str:
    """Return the message that a definition is no job."""
    return f"{shown} is a definition: call it with the job's arguments first, as in `await {name}(…).{method}()`"


FOREIGN_METHODS = ("apply_async", "delay", "perform_later")
"""Methods that enqueue a job in other systems; fields may have these names."""


class ForeignMethod:
    """A method of other systems' jobs, which raises an error with the remedy."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, job: Any, owner: type) -> NoReturn:
        if job is None:
            raise NotAJob(no_job(owner.__qualname__, owner.__name__, "enqueue"))
        raise NotAJob(
            f"a job has no {self._name}(): `await job.enqueue()` enqueues it, `set(wait=…)` says when it is due"
        )


class NoDataclass:
    """An attribute that a library looks up in base classes when it makes a dataclass, which no job class may become.

    Args:
        asking: Beginning of the names of the library's functions, with the class in a local variable `cls`; for other
            callers the attribute does not exist.
    """

    def __init__(self, asking: str) -> None:
        self._asking = asking

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, job: Any, owner: type) -> NoReturn:
        frame = sys._getframe(1)
        if frame.f_code.co_name.startswith(self._asking):
            raise refused_dataclass(frame.f_locals.get("cls", owner))
        raise AttributeError(self._name)

    def items(self) -> NoReturn:
        """Refuse pydantic's dataclass, which reads the attribute from the base's `__dict__`."""
        raise refused_dataclass(sys._getframe(1).f_locals.get("cls", type(self)))


def refused_dataclass(cls: type) -> InvalidDefinition:
    """Return the error for a job class that is made a dataclass."""
    return InvalidDefinition(
        f"{cls.__module__}.{cls.__qualname__}: a job class is no dataclass: remove the decorator; the fields that it "
        "annotates are its arguments already"
    )


class NoValues:
    """Stands for the values of a job that has none, because its class had its `__init__` replaced."""

    def __get__(self, job: Any, owner: type) -> NoReturn:
        raise refused_dataclass(owner)


def _takes(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _said(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], remedy: str, error: TypeError
) -> str:
    method = function.__name__
    where = f"{type(args[0]).__name__ if method == '__init__' else method}()"
    parameters = inspect.signature(function).parameters.values()
    by_name = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    known = {each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)} - {
        "self"
    }
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    if not takes_any and (strange := next((name for name in kwargs if name not in known), None)) is not None:
        is_meant = keywords.ours(strange, known) and not keywords.ours(strange, by_name)
        return keywords.unknown(where, strange, sorted(known) if is_meant or not by_name else by_name)
    if remedy:
        return f"{where}: {remedy}"
    if by_name and len(args) > len([each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]):
        return f"{where} takes its options by name: write {' or '.join(f'{name}=…' for name in by_name)}"
    return f"{where} got wrong arguments: {str(error).partition(') ')[2] or error}"
