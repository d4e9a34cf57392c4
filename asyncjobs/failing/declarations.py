"""`retry_on`, `discard_on` and `rescue_from`: declarations on functions, classes and methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from asyncjobs.checks import limits
from asyncjobs.checks.decorator_marks import marks_on
from asyncjobs.checks.signatures import check_method, check_takes
from asyncjobs.checks.texts import shown
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.exceptions import InvalidDefinition, InvalidOption
from asyncjobs.failing.backoff import DEFAULT_JITTER, DEFAULT_WAIT, Wait, checked_wait
from asyncjobs.failing.control_exceptions import JobSignal
from asyncjobs.failing.policies import DiscardOn, Handler, Policy, RescueFrom, RetryOn

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

MOST_ATTEMPTS = 1_000
_ON_FUNCTION = "__asyncjobs_policies__"
_ON_METHOD = "__asyncjobs_rescues__"


class Declaration:
    """A decorator that returns the function or class that it decorates."""

    def __init__(self, name: str, policy: Policy) -> None:
        self._name = name
        self.policy = policy

    def __call__(self, target: T) -> T:
        """Declare the policy on a job's function or class, and return that."""
        job_class = getattr(target, "_job_class", target)
        if isinstance(job_class, type):
            declare = getattr(job_class, "_declare", None)
            if declare is None:
                raise InvalidDefinition(
                    f"{self._name} on {job_class.__qualname__}, which is no job: derive it from Job"
                )
            declare(self.policy)
        elif inspect.isfunction(target):
            setattr(target, _ON_FUNCTION, (*declared_on(target), self.policy))
        else:
            raise InvalidDefinition(f"{self._name} decorates a job's function or class, not {type(target).__name__}")
        return target


def declared_on(function: Callable[..., Any]) -> tuple[Policy, ...]:
    """Return the declarations on a function that is about to become a job, the lowest in the source first."""
    return getattr(function, _ON_FUNCTION, ())


@answered(InvalidDefinition)
def retry_on(
    *errors: type[BaseException],
    wait: Wait = DEFAULT_WAIT,
    attempts: int | Literal["unlimited"] = 5,
    jitter: float = DEFAULT_JITTER,
    queue: str | None = None,
    priority: int | None = None,
    report: bool = False,
    on_exhausted: Handler | None = None,
) -> Declaration:
    """Run the job again after one of `errors`: ``@retry_on(ConnectionError, wait="polynomially_longer")``.

    Decorates a function, above or below `@job`, or a class derived from `Job`. Declarations are inherited. The last declared
    one that names the error decides, then those up the class hierarchy; if none does, the error's `__cause__` is looked at,
    and so on. A declaration handles an exception group if it names every leaf. An error that none names ends the job in
    `failed`.

    Args:
        errors: Exception classes; their subclasses are included.
        wait: Until the next attempt, by the database's clock. Seconds or a timedelta, lengthened by random·wait·jitter;
            ``"polynomially_longer"``: n⁴ + random·n⁴·jitter + 2 seconds; ``"exponential"``: 2ⁿ; or a function, `def` or
            `async def`, of n, or of n and the error, whose seconds are lengthened likewise. n is how often this declaration
            has handled an error of this job. A computed wait is cut to a week. A function that raises, hangs for 5 seconds
            or returns no time gives 3 seconds. An error's `retry_after` (seconds or a timedelta) is used instead, unless the
            function takes the error.
        attempts: Runs in all, the first included, 1 to 1,000, by this declaration's own count; or ``"unlimited"``.
        jitter: From 0 to 1.
        queue: Of the next attempts; None: as before.
        priority: Of the next attempts; None: as before.
        report: Report each retry to `asyncjobs.errors`.
        on_exhausted: Called with job and error when attempts are used up, `def` or `async def`; the job is then `discarded`.
            If it raises, the job fails with that error. None: the job fails with its own error.

    Raises:
        InvalidDefinition: A value outside these limits.
    """
    try:
        policy = RetryOn(
            errors=_checked_errors("retry_on", errors),
            wait=checked_wait(wait),
            attempts=_checked_attempts(attempts),
            jitter=limits.fraction(jitter, "jitter"),
            queue=None if queue is None else limits.queue_name(queue),
            priority=None if priority is None else limits.priority(priority),
            report=report,
            on_exhausted=_checked_handler("on_exhausted", on_exhausted),
        )
    except InvalidOption as error:
        raise InvalidDefinition(f"retry_on: {error}") from error
    return Declaration("retry_on", policy)


@answered(InvalidDefinition)
def discard_on(*errors: type[BaseException], report: bool = False) -> Declaration:
    """Discard the job after one of `errors`. It decorates and is looked up like `retry_on`.

    Args:
        errors: Exception classes.
        report: Report the error to `asyncjobs.errors`.

    Raises:
        InvalidDefinition: No error is named, or one is no exception class.
    """
    return Declaration("discard_on", DiscardOn(errors=_checked_errors("discard_on", errors), report=report))


@answered(InvalidDefinition, "it takes errors, and decorates the method that handles them: `@rescue_from(ValueError)`")
def rescue_from(*errors: type[BaseException]) -> Callable[[F], F]:
    """Call this method `(self, error)` after one of `errors`; when it returns, the job has succeeded with None.

    If it raises, that decides: a `Retry`, `Snooze`, `Discard` or `Cancel`, or an error, with which the job fails. It may
    take as long as the job's `timeout`. For a function job: ``@send_welcome.rescue_from(ValueError)`` on a function of
    the job and the error. It is looked up like `retry_on`.

    Raises:
        InvalidDefinition: No error is named, or one is no exception class.
    """
    checked = _checked_errors("rescue_from", errors)

    def decorate(method: F) -> F:
        if not inspect.isroutine(method):
            raise InvalidDefinition(f"rescue_from decorates a method or a function, not {type(method).__name__}")
        setattr(method, _ON_METHOD, (*getattr(method, _ON_METHOD, ()), checked))
        return method

    return decorate


def rescuing(job_class: type[Any], errors: tuple[type[BaseException], ...]) -> Callable[[F], F]:
    """Return a decorator that makes a function the handler of `errors` for a function's jobs."""
    checked = _checked_errors("rescue_from", errors)

    def decorate(handler: F) -> F:
        if not callable(handler) or isinstance(handler, type):
            raise InvalidDefinition(f"rescue_from decorates a function, not {type(handler).__name__}")
        check_takes(handler, "rescue_from", "the job", "the error")
        job_class._declare(RescueFrom(errors=checked, handler=handler), first=True)
        return handler

    return decorate


def rescues_in(cls: type) -> list[Policy]:
    """Return the `rescue_from` declarations in the body of a class, the lowest in the source first."""
    found: list[Policy] = []
    for name, value in vars(cls).items():
        for errors in marks_on(value, _ON_METHOD):
            found.insert(0, RescueFrom(errors=errors, handler=_by_name(name)))
    return found


def check_rescues(cls: type, name: str) -> None:
    """Refuse `rescue_from` on methods that do not take the error.

    Raises:
        InvalidDefinition: A method does not.
    """
    for attribute, value in vars(cls).items():
        if marks_on(value, _ON_METHOD):
            check_method(cls, attribute, f"{name}: @rescue_from", "the error")


def refuse_on_methods(cls: type, name: str) -> None:
    """Refuse `retry_on` and `discard_on` inside a class, where they would have no effect.

    Raises:
        InvalidDefinition: A method has one.
    """
    for attribute, value in vars(cls).items():
        if inspect.isfunction(value) and declared_on(value):
            raise InvalidDefinition(
                f"{name}.{attribute} is a method: write retry_on and discard_on above the class, for all of its jobs"
            )


def _by_name(name: str) -> Handler:
    def call(job: Any, error: BaseException) -> Any:
        return getattr(job, name)(error)  # so that an override in a derived class is called

    return call


def _checked_errors(what: str, errors: tuple[Any, ...]) -> tuple[type[BaseException], ...]:
    if not errors:
        raise InvalidDefinition(f"{what} names no error: write {what}(ConnectionError), for example")
    for error in errors:
        if not (isinstance(error, type) and issubclass(error, BaseException)):
            named = getattr(error, "__qualname__", None) or f"{shown(error)}"
            raise InvalidDefinition(
                f"{what}: {named} is no exception class: write {what}(ConnectionError), for example"
            )
        if issubclass(error, JobSignal):
            raise InvalidDefinition(
                f"{what}: {error.__name__} is raised on purpose, and is handled by no declaration: remove it"
            )
    return errors


def _checked_attempts(attempts: Any) -> int | None:
    if attempts == "unlimited":
        return None
    if type(attempts) is not int or not 1 <= attempts <= MOST_ATTEMPTS:
        raise InvalidOption(
            f"attempts={shown(attempts)} is not allowed: use a whole number from 1, the first run, to {MOST_ATTEMPTS}, "
            'or "unlimited"'
        )
    return attempts


def _checked_handler(name: str, handler: Any) -> Any:
    if handler is not None and not callable(handler):
        raise InvalidOption(f"{name}={shown(handler)} cannot be called: give a function of the job and the error")
    if handler is not None:
        check_takes(handler, name, "the job", "the error")
    return handler
