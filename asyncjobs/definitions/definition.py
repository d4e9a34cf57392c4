"""A definition: one kind of job, its options, its code, and the codecs compiled for it at first use."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, TypeVar

from asyncjobs.definitions.attributes import attributes_of
from asyncjobs.definitions.hooks import Hooks, hooks_of
from asyncjobs.definitions.options import Executor, Options
from asyncjobs.exceptions import InvalidDefinition
from asyncjobs.failing.declarations import rescues_in
from asyncjobs.failing.policies import Policy
from asyncjobs.modules.origin import Origin, defining_frame
from asyncjobs.steps.declared import Step, steps_of
from asyncjobs.values.arguments import ArgumentCodec, Parameter, ValueCodec

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where a definition stands in the code; tells a reload from a second definition of one kind."""

    module: str
    qualname: str
    file: str
    line: int
    origin: Origin
    spec: Any = field(default=None, repr=False, compare=False)
    """Of the module: `importlib.reload` makes a new one."""

    @classmethod
    def of(cls, target: Any, frame_depth: int) -> Source:
        """Return the source of a function or class that is being defined `frame_depth` calls up."""
        frame = defining_frame(target, frame_depth + 1)
        origin = Origin.of(target, frame)
        return cls(
            target.__module__,
            target.__qualname__,
            frame.f_code.co_filename,
            frame.f_lineno,
            origin,
            origin.namespace.get("__spec__"),
        )

    def is_of_one_load(self, other: Source) -> bool:
        """Whether one load of a module has made both."""
        return self.origin.namespace is other.origin.namespace and self.spec is other.spec

    def is_run_again(self, other: Source) -> bool:
        """Whether one line of one load of a module has made both."""
        return self.is_of_one_load(other) and self.file == other.file and self.line == other.line

    def replaces(self, other: Source) -> bool:
        """Whether this is the same definition again: a reload, a rerun cell, an import by another path."""
        if (self.module, self.qualname) != (other.module, other.qualname):
            return self.file == other.file and self.line == other.line
        return not self.is_of_one_load(other) or self.file != other.file or self.line == other.line

    def __str__(self) -> str:
        return f"{self.module}.{self.qualname} ({self.file}:{self.line})"


@dataclass(eq=False, kw_only=True)
class Definition:
    """One kind of job.

    `job_class` is the class its jobs are made of; `function` is None when that class has a `perform` of its own.
    """

    kind: str
    aliases: tuple[str, ...]
    options: Options
    source: Source
    job_class: Any
    function: Callable[..., Any] | None
    parameters: Callable[[], list[Parameter]] = field(repr=False)
    """Resolves the annotations; called at first use, when names that were forward references exist."""
    returns: Callable[[], Any] = field(repr=False)
    name: str = field(default="", init=False, repr=False)
    """The kind without the prefix of this process's kinds."""
    is_over: bool = field(default=False, init=False, repr=False)
    """Whether what made it has ended, as a test has, and no jobs of it are left: another may take its kind."""

    def __post_init__(self) -> None:
        self.name, self._former = self.kind, self.aliases

    def begin_with(self, prefix: str) -> None:
        """Have its kind and aliases begin with a prefix, in place of what they begin with."""
        self.kind = prefix + self.name
        self.aliases = tuple(prefix + former for former in self._former)

    @cached_property
    def arguments(self) -> ArgumentCodec:
        """Binds, validates, dumps and loads this kind's arguments."""
        _ = self.attributes  # one that cannot be stored is refused now, not when a job comes to its first checkpoint
        return ArgumentCodec(self.kind, self._resolved(self.parameters), dropped=self.options.dropped)

    @cached_property
    def result(self) -> ValueCodec:
        """Dumps and loads this kind's results."""
        return ValueCodec(self.kind, self._resolved(self.returns))

    def _resolved(self, resolve: Callable[[], T]) -> T:
        try:
            return resolve()
        except (NameError, AttributeError) as error:
            raise InvalidDefinition(
                f"{self.kind}: an annotation cannot be resolved: {error}; import the name at module level, "
                "outside `if TYPE_CHECKING`"
            ) from error

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """What was declared about errors, in the order in which it is asked."""
        found: list[Policy] = []
        for cls in self.job_class.__mro__:
            own = vars(cls).get("_declared")
            found += rescues_in(cls) if own is None else own  # None: a class that is no job, and has methods to bring
        return tuple(found)

    @cached_property
    def hooks(self) -> Hooks:
        """The callbacks, in the order in which they are called."""
        return hooks_of(self.job_class)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The declared steps, in the order in which they run."""
        return steps_of(self.job_class)

    @cached_property
    def attributes(self) -> Mapping[str, ValueCodec]:
        """The codecs of the attributes, by name."""
        return self._resolved(lambda: attributes_of(self.job_class, self.kind))

    @cached_property
    def is_ordered(self) -> bool:
        """Whether its jobs keep an order among others."""
        return bool(self.options.ordered)

    @cached_property
    def is_limited(self) -> bool:
        """Whether its jobs pass limits or rates before they start."""
        return bool(self.options.concurrency or self.options.rate_limit)

    @property
    def max_crashes(self) -> int:
        """How often a job may end with its process before it has failed."""
        return self.options.max_crashes

    @cached_property
    def is_async(self) -> bool:
        """Whether its code is a coroutine function; a plain one runs in a thread."""
        return inspect.iscoroutinefunction(self.function or self.job_class._perform_of_class())

    @property
    def executor(self) -> Executor:
        """Where its code runs."""
        return self.options.executor or ("loop" if self.is_async else "thread")

    def load(self, text: str) -> Any:
        """Return a job of this kind from its stored arguments, as Any: `Job` itself has no `perform` for type checkers.

        Raises:
            InvalidArguments: They do not fit the annotations any more.
        """
        return self.restore(self.arguments.load(text))

    def restore(self, values: Mapping[str, Any]) -> Any:
        """Return a job of this kind around `values`, which are valid already."""
        job = self.job_class.__new__(self.job_class)
        job._begin(self, dict(values), None)
        return job


def run_as(target: Callable[..., Any], executor: str | None) -> Callable[..., Any]:
    """Return a job's code as it is run: a plain wrapper of an `async def` as an `async def`, unless it is to run elsewhere.

    What such a wrapper gives back is awaited where it can be; it may as well be a value that it had at hand.
    """
    is_wrapper = inspect.iscoroutinefunction(inspect.unwrap(target)) and not inspect.iscoroutinefunction(target)
    if not is_wrapper or executor in ("thread", "process"):
        return target

    @wraps(target)
    async def call(*args: Any, **kwargs: Any) -> Any:
        value = target(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    return call


def check_code(target: Any, name: str, executor: str | None, origin: Origin) -> None:
    """Refuse code that cannot be a job's.

    Raises:
        InvalidDefinition: A generator, or an executor that does not suit it or its program.
    """
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target):
        raise InvalidDefinition(f"{name} is a generator: a job returns its result; use `return`, not `yield`")
    is_async = inspect.iscoroutinefunction(inspect.unwrap(target))
    # A plain wrapper of an `async def` may be there to run it in a loop of its own; then it says that it is a `def`.
    if inspect.iscoroutinefunction(target) and executor in ("thread", "process"):
        raise InvalidDefinition(
            f"{name} is an `async def`: it runs on the loop; drop executor={executor!r} or write `def`"
        )
    if not is_async and executor == "loop":
        raise InvalidDefinition(
            f"{name} is a `def`: it would block the loop; drop executor='loop' or write `async def`"
        )
    if executor == "process" and "<" in name:
        raise InvalidDefinition(
            f"{name} stands inside a function, where no other process can import it: move it to module level, "
            "or drop executor='process'"
        )
    if executor == "process" and not origin.importable:
        raise InvalidDefinition(
            f"{name} cannot run in a process of its own: {origin.remedy}, or drop executor='process'"
        )
