"""`@step`: methods of a job as its steps, in the order in which they are declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypedDict, TypeVar, Unpack, cast, overload

from asyncjobs.checks import limits
from asyncjobs.checks.option_tables import checked, documented, option, options_in
from asyncjobs.checks.signatures import check_method, check_takes, parameters_of
from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import InvalidDefinition, InvalidOption
from asyncjobs.failing.declarations import Declaration
from asyncjobs.failing.policies import RetryOn
from asyncjobs.steps.bare_calls import answering
from asyncjobs.steps.step_code import Code, Values
from asyncjobs.values.type_variables import annotations_of, known

F = TypeVar("F", bound=Callable[..., Any])

Condition = str | Callable[[Any], Any]
"""A function of the job, `def` or `async def`, or the name of a method."""
ErrorHandler = str | Callable[[Any, BaseException], Any]
"""A function of the job and the error, `def` or `async def`, or the name of a method `(self, error)`."""

_MARK = "__asyncjobs_step__"
_MORE = {"on_error": ("the error",)}
"""Arguments of an option's function beside the job."""


class StepArguments(TypedDict, total=False):
    """The options of `@step`, for type checkers."""

    isolated: bool
    when: Condition | None
    unless: Condition | None
    on_error: ErrorHandler | None
    timeout: float | timedelta | None
    retry: Declaration | Sequence[Declaration]
    formerly: str | Sequence[str]


def _function(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return value
    if not callable(value):
        raise InvalidOption(f"{name}={shown(value)} is no function and no name of a method")
    check_takes(value, f"@step: {name}", "the job", *_MORE.get(name, ()))
    return value


def _policies(value: Any, name: str) -> tuple[RetryOn, ...]:
    found = [getattr(each, "policy", None) for each in (value if isinstance(value, Sequence) else [value])]
    if not all(isinstance(each, RetryOn) for each in found):
        raise InvalidOption(f"{name}={shown(value)} is no retry_on(…)")
    return cast("tuple[RetryOn, ...]", tuple(found))


def _names(value: Any, name: str) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if not all(isinstance(each, str) for each in names):
        raise InvalidOption(f"{name}={shown(value)} is no name of a step, and no list of names")
    return names


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """The table of options of a step; an instance holds one step's."""

    isolated: bool = option(
        False,
        check=limits.flag,
        takes_none=False,
        meaning="it runs in a transaction of its own, given to it as `connection`, which also records it: its effects there "
        "happen exactly once. The connection is asyncpg's, or SQLAlchemy's if annotated as its `AsyncConnection`. Other "
        "steps hold no connection",
    )
    when: Condition | None = option(
        check=_function,
        meaning="runs it only if this is true. It is asked once: a step that was skipped is recorded as such",
    )
    unless: Condition | None = option(check=_function, meaning="runs it only if this is false")
    on_error: ErrorHandler | None = option(
        check=_function,
        meaning="called with the error when it fails, after its own `retry`; if it returns, the step is recorded as handled "
        "and the job goes on",
    )
    timeout: float | None = option(
        check=limits.timeout,
        meaning="seconds or a timedelta that one run of it may take, then it ends in a `TimeoutError`. A thread goes on",
    )
    retry: tuple[RetryOn, ...] = option(
        (),
        check=_policies,
        takes_none=False,
        meaning="``retry_on(ConnectionError, attempts=3)``, or several: asked before the job's own, each with its own count",
    )
    formerly: tuple[str, ...] = option(
        (),
        check=_names,
        takes_none=False,
        meaning="names that earlier versions of the code recorded it under",
    )

    @property
    def is_conditional(self) -> bool:
        """Whether a condition decides if it runs."""
        return self.when is not None or self.unless is not None


OF_STEP: Final = options_in(StepOptions)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A declared step."""

    name: str
    options: StepOptions


@overload
def step(method: F, /) -> F: ...
@overload
def step(**options: Unpack[StepArguments]) -> Callable[[F], F]: ...
@documented(OF_STEP)
def step(method: Any = None, /, **options: Any) -> Any:
    """Make a method a step of its job: run in the order of declaration, and never again once it is recorded.

    ``@step``, or ``@step(timeout=60)``. The method is `async def`, or `def` to run in a thread. It may take ``cursor:
    Cursor[int]`` for progress inside it, and ``connection`` if it is isolated. Its result is stored as a job's is. A class
    with steps inherits a `perform` that runs them; a `perform` of its own calls ``await self.run_steps()``, or runs them one
    by one with `Job.step`, with sleeps and waits between them. Steps of a base class come first; a step that is declared
    again keeps its place. On a function that is no method, the options are for `Job.step`.

    Raises:
        InvalidDefinition: An option outside these limits, or not on a function.
    """
    said = StepOptions(**checked(OF_STEP, options, "@step", InvalidDefinition))

    def decorate(function: F) -> F:
        if not inspect.isfunction(function):
            raise InvalidDefinition(f"@step decorates a method of a job, not {type(function).__name__}")
        answers = answering(function)
        setattr(answers, _MARK, said)
        return answers

    return decorate if method is None else decorate(method)


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
    """Return the options of a function that is run as the step `name`; defaults if it has no `@step`."""
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
        """The step's: the job's own declaration for the same errors has a count of its own."""
        return f"{self.step}: {super().key}"


def _of_step(name: str, policy: RetryOn) -> RetryOn:
    return _StepRetryOn(**vars(policy), step=name)


def check_steps(cls: type[Any], name: str) -> None:
    """Refuse steps that cannot run.

    Raises:
        InvalidDefinition: An unknown parameter, a cursor or a connection in a thread, or the name of a missing method.
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
                f"{where}: formerly={taken[0]!r} is still a step of {name}: give only names that no step has any more"
            )
        if not parameters_of(function):
            raise InvalidDefinition(f"{where} takes no `self`: a step is a method of its job")
        code = Code.of(function, cls)
        given = {code.cursor_name, "connection"} if declared.options.isolated else {code.cursor_name}
        more = [parameter for parameter in list(parameters_of(function))[1:] if parameter not in given]
        if more:
            raise InvalidDefinition(
                f"{where} takes {more[0]!r}, which it will not be given: a step takes `cursor: Cursor[…]`, and `connection` "
                "with isolated=True; what else it needs are fields and attributes of the job"
            )
        if declared.options.isolated and code.cursor_name:
            raise InvalidDefinition(
                f"{where} is isolated and takes a cursor: its work is undone as a whole when it is interrupted, and items "
                "that its cursor has passed would not be done again; use a cursor in a step that is not isolated"
            )
        if not code.is_async and (code.cursor_name or code.takes_connection):
            raise InvalidDefinition(
                f"{where} is a `def` and runs in a thread, where a cursor or a connection cannot be used: write `async def`"
            )
        Values(where, known(code.returns, cls, where))
        if code.cursor is not None:
            Values(where, code.cursor, "cursor")
        for named in ("when", "unless", "on_error"):
            _check_named(cls, where, named, getattr(declared.options, named))


def _check_named(cls: type, where: str, option: str, method: Condition | None) -> None:
    if not isinstance(method, str):
        return
    if not callable(getattr(cls, method, None)):
        if any(method in annotations_of(base) for base in cls.__mro__):
            raise InvalidDefinition(f"{where} names the field {method!r}: write `{option}=lambda job: job.{method}`")
        raise InvalidDefinition(f"{where} names the method {method!r}, which {cls.__qualname__} does not have")
    check_method(cls, method, f"{where}: {option}", *_MORE.get(option, ()))
