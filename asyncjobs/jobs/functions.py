"""`@job`: a function as a job definition."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, ParamSpec, TypeVar, Unpack, cast, overload

from asyncjobs.checks.option_tables import documented
from asyncjobs.checks.signatures import parameters_of
from asyncjobs.checks.wrong_calls import FOREIGN_METHODS, no_job
from asyncjobs.definitions import registry
from asyncjobs.definitions.attributes import Attribute
from asyncjobs.definitions.checking import (
    checked_kind,
    refuse_dropped,
    refuse_schedule,
    refuse_unknown_by,
    refuse_unknown_searchable,
)
from asyncjobs.definitions.definition import Definition, Source, check_code, run_as
from asyncjobs.definitions.hooks import Point, add_hook
from asyncjobs.definitions.options import OF_FUNCTION, JobOptions, Options
from asyncjobs.exceptions import InvalidDefinition, NotAJob
from asyncjobs.failing.declarations import declared_on, rescuing
from asyncjobs.jobs.job import Job
from asyncjobs.values.arguments import check_signature, parameters_of_function

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class FunctionJob(Job[R], Generic[R], abstract=True):
    """A job whose code is a function."""

    _is_function_job = True
    _made_by: ClassVar[JobFunction[..., Any]]

    def __reduce__(self) -> tuple[Any, ...]:
        # The function can be imported by name; the class made for it cannot.
        return _again, (self._made_by, self.__getstate__())

    def perform(self) -> Coroutine[Any, Any, R]:
        """Call the function with the job's arguments."""
        definition: Any = self._definition
        result: Coroutine[Any, Any, R] = definition.arguments.call(definition.function, self._values)
        return result


def _again(made_by: JobFunction[..., Any], state: dict[str, Any]) -> Job[Any]:
    job: Job[Any] = made_by._definition.job_class.__new__(made_by._definition.job_class)
    job.__dict__.update(state)
    return job


class JobFunction(Generic[P, R]):
    """A function made into a job definition by `@job`: calling it makes a `Job`, and runs nothing.

    Attributes:
        function: The function itself, to call directly.
        kind: The stored name.
    """

    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[..., Any], definition: Definition) -> None:
        self.function = function
        self._definition = definition
        self._job_class = definition.job_class
        cast("type[FunctionJob[R]]", self._job_class)._made_by = self
        update_wrapper(self, function)

    @property
    def kind(self) -> str:
        """The stored name of the definition."""
        return self._definition.kind

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Make a job of these arguments; nothing is in the database before `enqueue`.

        Raises:
            InvalidArguments: They do not fit the annotations, or cannot be stored.
        """
        definition = self._definition
        values, text = definition.arguments.make(args, kwargs)
        made: Job[R] = self._job_class.__new__(self._job_class)
        made._begin(definition, values, text)
        return made

    def before_enqueue(self, hook: F) -> F:
        """Call `hook(job)` before a job's row is inserted; see `asyncjobs.before_enqueue`."""
        return self._hooked("before_enqueue", hook)

    def after_enqueue(self, hook: F) -> F:
        """Call `hook(job)` once a job's row is inserted; see `asyncjobs.after_enqueue`."""
        return self._hooked("after_enqueue", hook)

    def around_enqueue(self, hook: F) -> F:
        """Enqueue inside `hook(job, call)`; see `asyncjobs.around_enqueue`."""
        return self._hooked("around_enqueue", hook)

    def before_perform(self, hook: F) -> F:
        """Call `hook(job)` before the function; see `asyncjobs.before_perform`."""
        return self._hooked("before_perform", hook)

    def after_perform(self, hook: F) -> F:
        """Call `hook(job)` after the function has returned; see `asyncjobs.after_perform`."""
        return self._hooked("after_perform", hook)

    def around_perform(self, hook: F) -> F:
        """Perform inside `hook(job, call)`; see `asyncjobs.around_perform`."""
        return self._hooked("around_perform", hook)

    def after_discard(self, hook: F) -> F:
        """Call `hook(job, error)` when a job is discarded; see `asyncjobs.after_discard`."""
        return self._hooked("after_discard", hook)

    def rescue_from(self, *errors: type[BaseException]) -> Callable[[F], F]:
        """Call the decorated `handler(job, error)` after one of `errors`; see `asyncjobs.rescue_from`."""
        return rescuing(self._job_class, errors)

    def _hooked(self, point: Point, hook: F) -> F:
        add_hook(self._job_class, point, hook)
        return hook

    def __reduce__(self) -> str:
        return self.__qualname__  # by its name in its module, as a function is

    # Hidden from type checkers, which would otherwise take a definition for anything with any attribute, a job included.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name in ("enqueue", "perform_now", "result", "set", "status", "cancel", *FOREIGN_METHODS):
                raise NotAJob(no_job(self.kind, self.__name__, "enqueue" if name in FOREIGN_METHODS else name))
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<job {self.kind}>"


class _JobDecorator:
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> JobFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> JobFunction[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> JobFunction[..., Any]:
        raise NotImplementedError


@overload
def job(function: Callable[P, Coroutine[Any, Any, R]], /) -> JobFunction[P, R]: ...
@overload
def job(function: Callable[P, R], /) -> JobFunction[P, R]: ...
@overload
def job(**options: Unpack[JobOptions[Job[Any]]]) -> _JobDecorator: ...
@documented(OF_FUNCTION)
def job(function: Any = None, /, **options: Any) -> Any:
    """Make a function a job definition: ``@job`` or ``@job(queue="mailers", priority=10)``.

    An `async def` runs on the event loop, a `def` in a thread. The options are those of `Job`, without `abstract`.

    Raises:
        InvalidDefinition: A lambda, a nested function without `kind`, a generator, ``*args``, an unknown option, a kind
            that another definition has.
    """
    if function is None:
        return lambda decorated: _define(decorated, options, 2)
    return _define(function, options, 2)


def _define(function: Any, given: dict[str, Any], depth: int) -> JobFunction[..., Any]:
    if isinstance(function, type):
        raise InvalidDefinition(f"{function.__qualname__} is a class: derive it from Job instead of decorating it")
    if isinstance(function, JobFunction):
        raise InvalidDefinition(f"{function.kind} is a job already: decorate it with @job once")
    if not inspect.isfunction(function):
        raise InvalidDefinition(f"@job takes a function, not {type(function).__name__}")
    name = f"{function.__module__}.{function.__qualname__}"
    if next(iter(parameters_of(function)), None) in ("self", "cls"):
        raise InvalidDefinition(f"{name} is a method: write a module-level function, or a class derived from Job")
    options = Options.of(name, given)
    source = Source.of(function, depth)
    check_code(function, name, options.executor, source.origin)
    check_signature(function)
    parameters = parameters_of(function)
    if wrong := [each.name for each in parameters.values() if isinstance(each.default, Attribute)]:
        raise InvalidDefinition(
            f"{name}: {wrong[0]}=attribute(…): a function has no attributes: write a class derived from Job, or "
            "keep what the steps of the function return"
        )
    refuse_dropped(name, options.dropped, parameters)
    refuse_unknown_by(name, options, parameters)
    refuse_unknown_searchable(name, options, parameters)
    refuse_schedule(name, options, [each.name for each in parameters.values() if each.default is each.empty])
    own = {"_is_function_job": True, "_function_hooks": {}}
    job_class: type[Job[Any]] = type(function.__name__, (FunctionJob,), own)
    job_class._declared = declared_on(function)
    definition = Definition(
        kind=checked_kind(options.kind, function, source.origin),
        aliases=options.aliases,
        options=options,
        source=source,
        job_class=job_class,
        function=run_as(function, options.executor),
        parameters=lambda: parameters_of_function(function),
        returns=lambda: typing.get_type_hints(function, include_extras=True).get("return", inspect.Parameter.empty),
    )
    job_class._definition = definition
    registry.register(definition)
    return JobFunction(function, definition)
