"""The error reporter: passes handled and unhandled errors to its subscribers (Rails' `Rails.error`).

::

    from asyncjobs import errors

    errors.subscribe(send_to_my_tracker)                 # called for every report

    with errors.handle(TimeoutError):                    # swallowed and reported, as a warning
        await fetch()
    with errors.record():                                # reported, as an error, and raised again
        await charge()
    errors.report(error, context={"cloud_id": 7})        # reported by hand

Inside a job, its id, kind, queue and attempt are in the context of every report. An error object is reported once, however
often it is passed on. Without a subscriber nothing happens: `asyncjobs.integrations` has some ready-made ones.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from asyncjobs.checks.foreign_texts import log
from asyncjobs.exceptions import InvalidOption

__all__ = ["Severity", "Subscriber", "handle", "record", "report", "set_context", "subscribe", "unsubscribe"]

logger = logging.getLogger("asyncjobs.errors")

Severity = Literal["error", "warning", "info"]
_SEVERITIES = ("error", "warning", "info")
F = TypeVar("F", bound=Callable[..., Any])


class Subscriber(Protocol):
    """A plain function that is called for every report, in whatever thread reports; it should be quick."""

    def __call__(
        self, error: BaseException, *, handled: bool, severity: Severity, context: dict[str, Any], source: str
    ) -> Any:
        """Take a report; an error raised here is logged and changes nothing."""


_subscribers: list[Callable[..., Any]] = []
_contexts: list[Callable[[], Mapping[str, Any]]] = []
_flushes: list[Callable[[], object]] = []
_context: ContextVar[Mapping[str, Any]] = ContextVar("asyncjobs_error_context", default={})  # noqa: B039 - never written to
_REPORTED = "__asyncjobs_reported__"


def subscribe(subscriber: F) -> F:
    """Call `subscriber(error, *, handled, severity, context, source)` for every report; return it.

    Subscribing one again changes nothing. Subscribers are called in the order in which they subscribed.

    Raises:
        InvalidOption: It cannot be called, or is an `async def`: reports come from any thread.
    """
    called = getattr(subscriber, "__call__", None)  # noqa: B004 - an object's may be async
    if not callable(subscriber) or any(map(inspect.iscoroutinefunction, (subscriber, called))):
        raise InvalidOption(f"{subscriber!r} cannot subscribe: give a plain function of (error, **report)")
    if subscriber not in _subscribers:
        _subscribers.append(subscriber)
    return subscriber


def unsubscribe(subscriber: Callable[..., Any]) -> None:
    """Stop calling `subscriber`; one that has not subscribed changes nothing."""
    if subscriber in _subscribers:
        _subscribers.remove(subscriber)


def set_context(**values: Any) -> None:
    """Add to the context of every later report of this task and of tasks it starts; inside a job, of this attempt."""
    _context.set({**_context.get(), **values})


def add_context(provider: Callable[[], Mapping[str, Any]]) -> None:
    """Add what `provider` returns to the context of every report."""
    _contexts.append(provider)


def add_flush(callback: Callable[[], object]) -> None:
    """Have `callback` called when a job process ends, which skips Python's own clean-up."""
    _flushes.append(callback)


def flush() -> None:
    """Have subscribers send the reports that they hold back; an error is logged."""
    for callback in _flushes:
        try:
            callback()
        except Exception as failed:
            log(
                logger,
                logging.ERROR,
                "an error subscriber failed to send the reports that it held back: %r",
                callback,
                error=failed,
            )


def report(
    error: BaseException,
    *,
    handled: bool = True,
    severity: Severity | None = None,
    context: Mapping[str, Any] | None = None,
    source: str = "application",
) -> None:
    """Report an error to the subscribers, unless this object was reported before, itself or as a cause.

    Args:
        error: An exception.
        handled: Whether the program goes on as if the error had not happened.
        severity: None: ``"warning"`` for handled errors, else ``"error"``.
        context: Added to the context of `set_context` and of the running job; its values win.
        source: Who reports: ``"application"``, or ``"asyncjobs"`` for a job's unhandled error and `report=True`.

    Raises:
        InvalidOption: `error` is no exception, or `severity` is unknown.
    """
    if not isinstance(error, BaseException):
        raise InvalidOption(f"errors.report takes an exception, not {type(error).__name__}")
    severity = _checked_severity(severity or ("warning" if handled else "error"))
    if _is_marked(error):
        return
    _mark(error)
    if not _subscribers:
        return
    whole: dict[str, Any] = {}
    for provider in _contexts:
        whole.update(provider())
    whole.update(_context.get())
    whole.update(context or {})
    for subscriber in tuple(_subscribers):  # a subscriber may unsubscribe while it is called
        try:
            subscriber(error, handled=handled, severity=severity, context=dict(whole), source=source)
        except KeyboardInterrupt:
            raise
        except BaseException as failed:  # even an exit or a signal, which would be taken for the job's own
            log(
                logger,
                logging.ERROR,
                "an error subscriber failed, and the others are called: %r",
                subscriber,
                error=failed,
            )


def _mark(error: BaseException) -> None:
    """Note that an error and its causes are reported, so that a later report of a cause does nothing."""
    current: BaseException | None = error
    while current is not None and not _is_marked(current):
        _attributes(current)[_REPORTED] = True
        current = current.__cause__


def _is_marked(error: BaseException) -> bool:
    return _REPORTED in _attributes(error)


def _attributes(error: BaseException) -> dict[str, Any]:
    """Return an error's own attributes, without the methods by which its class gets and sets them."""
    found: dict[str, Any] = object.__getattribute__(error, "__dict__")
    return found


def _checked_severity(severity: Severity) -> Severity:
    if severity not in _SEVERITIES:
        raise InvalidOption(f"severity={severity!r} is unknown: use one of {', '.join(_SEVERITIES)}")
    return severity


class _Guard:
    """A `with` block or decorator that reports errors raised inside; see `handle` and `record`."""

    def __init__(
        self,
        classes: tuple[type[BaseException], ...],
        *,
        swallow: bool,
        severity: Severity,
        context: Mapping[str, Any] | None,
        fallback: Any,
        source: str,
    ) -> None:
        for cls in classes:
            if not (isinstance(cls, type) and issubclass(cls, BaseException)):
                raise InvalidOption(f"{cls!r} is no exception class: name the errors to report")
        self._classes = classes or (Exception,)
        self._swallow = swallow
        self._severity: Severity = _checked_severity(severity)
        self._context = context
        self._fallback = fallback
        self._source = source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, self._classes):
            return False
        report(error, handled=self._swallow, severity=self._severity, context=self._context, source=self._source)
        return self._swallow

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        return self.__exit__(_type, error, _traceback)

    def __call__(self, function: F) -> F:
        """Guard every call of a function, `def` or `async def`; when its error is swallowed, the call returns the fallback.

        Raises:
            InvalidOption: It is a generator, whose body runs after the call.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidOption(f"{function.__qualname__} is a generator: guard its body with a `with` block")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def guarded_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)
                return self._instead()

            return guarded_async  # type: ignore[return-value]

        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)
            return self._instead()

        return guarded  # type: ignore[return-value]

    def _instead(self) -> Any:
        return self._fallback() if callable(self._fallback) else self._fallback


def handle(
    *classes: type[BaseException],
    severity: Severity = "warning",
    context: Mapping[str, Any] | None = None,
    fallback: Any = None,
    source: str = "application",
) -> _Guard:
    """Swallow and report errors: ``with errors.handle(TimeoutError):``, or as a decorator.

    Args:
        classes: Errors to swallow; none: `Exception`, so that a cancellation and a job's signals pass.
        severity: Of the report.
        context: Of the report.
        fallback: The result of a decorated function whose error was swallowed; a callable is called.
        source: Of the report.
    """
    return _Guard(classes, swallow=True, severity=severity, context=context, fallback=fallback, source=source)


def record(
    *classes: type[BaseException],
    severity: Severity = "error",
    context: Mapping[str, Any] | None = None,
    source: str = "application",
) -> _Guard:
    """Report errors and raise them again: ``with errors.record():``, or as a decorator. Arguments as for `handle`."""
    return _Guard(classes, swallow=False, severity=severity, context=context, fallback=None, source=source)
