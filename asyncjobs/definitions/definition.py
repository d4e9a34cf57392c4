"""`Definition`: one kind of job, with its options, its code, and the codecs compiled for it at first use."""

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
from asyncjobs.steps.step_decorator import Step, steps_of
from asyncjobs.values.arguments import ArgumentCodec, Parameter, ValueCodec

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """The place of a definition in the code; tells a reload from a second definition of the same kind."""

    module: str
    qualname: str
    file: str
    line: int
    origin: Origin
    spec: Any = field(default=None, repr=False, compare=False)
    """The module's spec: `importlib.reload` makes a new one."""

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
        """Whether both were made by one load of a module."""
        return self.origin.namespace is other.origin.namespace and self.spec is other.spec

    def is_run_again(self, other: Source) -> bool:
        """Whether both were made by one line in one load of a module."""
        return self.is_of_one_load(other) and self.file == other.file and self.line == other.line

    def replaces(self, other: Source) -> bool:
        """Whether this is the same definition again: a reload, a cell run again, an import by another path."""
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
    """Resolves the annotations; called at first use, when forward references can be resolved."""
    returns: Callable[[], Any] = field(repr=False)
    name: str = field(default="", init=False, repr=False)
    """The kind without this process's prefix."""
    is_over: bool = field(default=False, init=False, repr=False)
    """Whether the test that made it has ended: another definition may then take its kind."""

    def __post_init__(self) -> None:
        self.name, self._former = self.kind, self.aliases

    def begin_with(self, prefix: str) -> None:
        """Put a prefix in front of the kind and its aliases, in place of the one before."""
        self.kind = prefix + self.name
        self.aliases = tuple(prefix + former for former in self._former)

    @cached_property
    def arguments(self) -> ArgumentCodec:
        """The codec that binds, validates, dumps and loads this kind's arguments."""
        _ = self.attributes  # an attribute that cannot be stored is refused here, not at a job's first checkpoint
        return ArgumentCodec(self.kind, self._resolved(self.parameters), dropped=self.options.dropped)

    @cached_property
    def result(self) -> ValueCodec:
        """The codec that dumps and loads this kind's results."""
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
        """The declarations about errors, in the order in which they are asked."""
        found: list[Policy] = []
        for cls in self.job_class.__mro__:
            own = vars(cls).get("_declared")
            found += rescues_in(cls) if own is None else own  # None: a mix-in that is no job, whose methods may count
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
        """Deaths of its process that a job may have before it fails."""
        return self.options.max_crashes

    @cached_property
    def is_async(self) -> bool:
        """Whether the code is a coroutine function; a plain function runs in a thread."""
        return inspect.iscoroutinefunction(self.function or self.job_class._perform_of_class())

    @property
    def executor(self) -> Executor:
        """Where the code runs: loop, thread or process."""
        return self.options.executor or ("loop" if self.is_async else "thread")

    def load(self, text: str) -> Any:
        """Return a job of this kind from its stored arguments, as Any: `Job` has no `perform` for type checkers.

        Raises:
            InvalidArguments: The arguments do not fit the annotations any more.
        """
        return self.restore(self.arguments.load(text))

    def restore(self, values: dict[str, Any]) -> Any:
        """Return a job of this kind with `values`, which are valid already, and the job's from now on."""
        job = self.job_class.__new__(self.job_class)
        job._begin(self, values, None)
        return job


def run_as(target: Callable[..., Any], executor: str | None) -> Callable[..., Any]:
    """Return a job's code as it is run: a plain wrapper of an `async def` as an `async def`, unless `executor` forbids it.

    What the wrapper returns is awaited if it is awaitable, since a wrapper may also return a plain value.
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
        InvalidDefinition: A generator, or an executor that does not fit the code or its program.
    """
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target):
        raise InvalidDefinition(f"{name} is a generator: a job returns its result; use `return`, not `yield`")
    is_async = inspect.iscoroutinefunction(inspect.unwrap(target))
    # A plain wrapper of an `async def` may run it in a loop of its own; an executor then says that it is a `def`.
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
