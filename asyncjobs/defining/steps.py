"""`@step`: methods of a job as its steps, in the order in which they are declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from asyncjobs import keywords
from asyncjobs.defining import options
from asyncjobs.defining.bare_calls import answering
from asyncjobs.defining.calling import check_method, check_takes
from asyncjobs.defining.declaring import Declaration
from asyncjobs.defining.policies import RetryOn
from asyncjobs.defining.step_code import Code, Values
from asyncjobs.defining.type_variables import known
from asyncjobs.exceptions import InvalidDefinition, InvalidOption

if TYPE_CHECKING:
    from asyncjobs.defining.base import Job

F = TypeVar("F", bound=Callable[..., Any])

Condition = str | Callable[[Any], Any]
"""A function of the job, `def` or `async def`, or the name of a method."""
ErrorHandler = str | Callable[[Any, BaseException], Any]
"""A function of the job and the error, `def` or `async def`, or the name of a method `(self, error)`."""

_MARK = "__asyncjobs_step__"
_MORE = {"on_error": ("the error",)}
"""What the functions of some options are given beside the job."""


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What may be said about a step, checked.

    Attributes:
        timeout: Seconds that one run of it may take.
        retry: Asked before the job's own declarations, with counts of their own.
        formerly: Names that earlier versions of the code recorded it under.
    """

    isolated: bool = False
    when: Condition | None = None
    unless: Condition | None = None
    on_error: ErrorHandler | None = None
    timeout: float | None = None
    retry: tuple[RetryOn, ...] = ()
    formerly: tuple[str, ...] = ()

    @property
    def is_conditional(self) -> bool:
        """Whether somebody is to be asked if it runs."""
        return self.when is not None or self.unless is not None


@dataclass(frozen=True, kw_only=True)
class Step:
    """A declared step."""

    name: str
    options: StepOptions


@overload
def step(method: F, /) -> F: ...
@overload
def step(
    *,
    isolated: bool = False,
    when: Condition | None = None,
    unless: Condition | None = None,
    on_error: ErrorHandler | None = None,
    timeout: float | timedelta | None = None,
    retry: Declaration | Sequence[Declaration] = (),
    formerly: str | Sequence[str] = (),
) -> Callable[[F], F]: ...
def step(
    method: Any = None,
    /,
    *,
    isolated: bool = False,
    when: Condition | None = None,
    unless: Condition | None = None,
    on_error: ErrorHandler | None = None,
    timeout: float | timedelta | None = None,
    retry: Declaration | Sequence[Declaration] = (),
    formerly: str | Sequence[str] = (),
    **unknown: Any,
) -> Any:
    """Make a method a step of its job: run in the order of declaration, and never again once it is recorded.

    ``@step``, or ``@step(timeout=60)``. The method is `async def`, or `def` to run in a thread. It may take ``cursor:
    Cursor[int]`` for progress inside it, and ``connection`` when it is isolated. What it returns is stored like a job's
    result. A class with steps inherits a `perform` that runs them; one of its own calls ``await self.run_steps()``, or runs
    them one by one with `Job.step`, sleeps and waits between them. Steps of a base class come first; one that is declared
    again keeps its place. A function that is no method is decorated to give `Job.step` what is said about it.

    Args:
        method: `async def` or `def` of the job alone.
        isolated: It runs in a transaction of its own, given to it as `connection`, which also records it: its effects there
            happen exactly once. That is asyncpg's connection, or SQLAlchemy's when annotated as its `AsyncConnection`. No
            connection is held otherwise.
        when: Runs it only if this is true. It is asked once: a step that was skipped is recorded as such.
        unless: Runs it only if this is false.
        on_error: Called with the error when it fails, after its own `retry`; if it returns, the step is recorded as handled
            and the job goes on.
        timeout: Seconds or a timedelta that one run of it may take, then it ends in a `TimeoutError`. A thread goes on.
        retry: ``retry_on(ConnectionError, attempts=3)``, or several: asked before the job's own, each with its own count.
        formerly: Names that earlier versions of the code recorded it under.
        unknown: Nothing: refused by its name.

    Raises:
        InvalidDefinition: Out of these limits, or this is no method.
    """
    if unknown:
        known = [option.name for option in fields(StepOptions)]
        raise InvalidDefinition(keywords.unknown("@step", next(iter(unknown)), known))
    checked = _checked(
        isolated=isolated, when=when, unless=unless, on_error=on_error, timeout=timeout, retry=retry, formerly=formerly
    )

    def decorate(function: F) -> F:
        if not inspect.isfunction(function):
            raise InvalidDefinition(f"@step decorates a method of a job, not {type(function).__name__}")
        answers = answering(function)
        setattr(answers, _MARK, checked)
        return answers

    return decorate if method is None else decorate(method)


def _checked(
    *, timeout: float | timedelta | None, retry: Any, formerly: Any, isolated: bool, **conditions: Any
) -> StepOptions:
    for name, condition in conditions.items():
        if condition is None or isinstance(condition, str):
            continue
        if not callable(condition):
            raise InvalidDefinition(f"step: {name}={condition!r:.60} is no function and no name of a method")
        check_takes(condition, f"step: {name}", "the job", *_MORE.get(name, ()))
    policies: list[RetryOn] = []
    for declaration in retry if isinstance(retry, Sequence) else [retry]:
        if not isinstance(declaration, Declaration) or not isinstance(declaration.policy, RetryOn):
            raise InvalidDefinition(f"step: retry={retry!r:.60} is no retry_on(…)")
        policies.append(declaration.policy)
    if not isinstance(isolated, bool):
        raise InvalidDefinition(f"step: isolated={isolated!r:.60} is not True or False")
    names = tuple(formerly) if isinstance(formerly, Sequence) and not isinstance(formerly, str) else (formerly,)
    if not all(isinstance(name, str) for name in names):
        raise InvalidDefinition(f"step: formerly={formerly!r:.60} is no name of a step, and no list of names")
    try:
        seconds = None if timeout is None else options.duration(timeout, "timeout", least=0.001)
    except InvalidOption as error:
        raise InvalidDefinition(f"step: {error}") from error
    return StepOptions(isolated=isolated, timeout=seconds, retry=tuple(policies), formerly=names, **conditions)


def steps_of(cls: type) -> tuple[Step, ...]:
    """Return the steps of a class, in the order in which they run."""
    found: dict[str, StepOptions] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if (said := getattr(value, _MARK, None)) is not None:
                found[name] = said
    return tuple(
        Step(name=name, options=replace(said, retry=tuple(_of_step(name, policy) for policy in said.retry)))
        for name, said in found.items()
    )


def options_of(name: str, function: Callable[..., Any], *, isolated: bool) -> StepOptions:
    """Return what `@step` says of a function that is run as the step `name`; nothing, when it is not decorated."""
    said: StepOptions | None = getattr(function, _MARK, None)
    if said is None:
        return _ISOLATED if isolated else _PLAIN
    retry = tuple(_of_step(name, policy) for policy in said.retry)
    return replace(said, retry=retry, isolated=said.isolated or bool(isolated))


_PLAIN = StepOptions()
_ISOLATED = StepOptions(isolated=True)


@dataclass(frozen=True, kw_only=True)
class _StepRetryOn(RetryOn):
    step: str = ""

    @property
    def key(self) -> str:
        """Of the step, too: the job's own declaration for the same errors counts by itself."""
        return f"{self.step}: {super().key}"


def _of_step(name: str, policy: RetryOn) -> RetryOn:
    return _StepRetryOn(**vars(policy), step=name)


def check_steps(cls: type[Job[Any]], name: str) -> None:
    """Refuse steps that cannot run.

    Raises:
        InvalidDefinition: A parameter that nobody gives, a cursor or a connection in a thread, a method that is not there.
    """
    declared_steps = steps_of(cls)
    names = {declared.name for declared in declared_steps}
    for declared in declared_steps:
        function = getattr(cls, declared.name)
        where = f"{name}.{declared.name}"
        if declared.name == "perform":
            raise InvalidDefinition(
                f"{where} is the job itself and no step of it: remove @step, or give the method another name"
            )
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise InvalidDefinition(f"{where} is a generator: a step returns its result; use `return`, not `yield`")
        if taken := [name for name in declared.options.formerly if name in names]:
            raise InvalidDefinition(
                f"{where}: formerly={taken[0]!r} is a step of {name} still: an earlier name is one that is gone"
            )
        if not inspect.signature(function).parameters:
            raise InvalidDefinition(f"{where} takes no `self`: a step is a method of its job")
        code = Code.of(function, cls)
        given = {code.cursor_name, "connection"} if declared.options.isolated else {code.cursor_name}
        more = [parameter for parameter in list(inspect.signature(function).parameters)[1:] if parameter not in given]
        if more:
            raise InvalidDefinition(
                f"{where} takes {more[0]!r}, which nobody gives: a step takes `cursor: Cursor[…]`, and `connection` with "
                "isolated=True; what else it needs are fields and attributes of the job"
            )
        if declared.options.isolated and code.cursor_name:
            raise InvalidDefinition(
                f"{where} is isolated and takes a cursor: what it does is undone as a whole when it is cut, and what its "
                "cursor has passed would not be done again; use a cursor in a step that is not isolated"
            )
        if not code.is_async and (code.cursor_name or code.takes_connection):
            raise InvalidDefinition(
                f"{where} is a `def` and runs in a thread, where a cursor or a connection cannot be used: write `async def`"
            )
        Values(where, known(code.returns, cls, where))
        if code.cursor is not None:
            Values(where, code.cursor, "cursor")
        for option in ("when", "unless", "on_error"):
            _check_named(cls, where, option, getattr(declared.options, option))


def _check_named(cls: type, where: str, option: str, method: Condition | None) -> None:
    if not isinstance(method, str):
        return
    if not callable(getattr(cls, method, None)):
        if any(method in inspect.get_annotations(base) for base in cls.__mro__):
            raise InvalidDefinition(f"{where} names the field {method!r}: write `{option}=lambda job: job.{method}`")
        raise InvalidDefinition(f"{where} names the method {method!r}, which {cls.__qualname__} does not have")
    check_method(cls, method, f"{where}: {option}", *_MORE.get(option, ()))
