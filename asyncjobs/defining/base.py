"""`Job`: the class users derive from, and what every job, of a class or of a function, can do."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Coroutine, Generator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, overload
from uuid import UUID

from typing_extensions import TypeVar, dataclass_transform

from asyncjobs.defining import context, open_clients, options, registry
from asyncjobs.defining.arguments import Parameter
from asyncjobs.defining.definition import Definition, Executor, Options, Source, check_code
from asyncjobs.defining.identity import importable_module, new_id
from asyncjobs.defining.performing import perform_now
from asyncjobs.exceptions import AlreadyEnqueued, InvalidDefinition, InvalidOption, NotEnqueued

if TYPE_CHECKING:
    from asyncjobs.defining.status import Status

R = TypeVar("R", default=Any)
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

Disposition = Literal["enqueued", "duplicate", "replaced"]
CancelReason = Literal["user", "timeout", "shutdown", "lease_lost"]


class _PerformsAsync(Protocol[T_co]):
    def perform(self) -> Coroutine[Any, Any, T_co]: ...


class _Performs(Protocol[T_co]):
    def perform(self) -> T_co: ...


class Attempt(Protocol):
    """The run of a job that is going on, as the job sees it."""

    number: int
    stopping: bool
    cancel_reason: CancelReason | None

    def give_slot_back(self) -> None:
        """Let another job run while this one waits."""

    async def take_slot(self) -> None:
        """Wait for a slot to go on in."""


@dataclass_transform(kw_only_default=True)
class Job(Generic[R]):
    """A unit of work, as a value: its fields are its arguments.

    Derive from it, annotate the arguments, write `perform`::

        class ProcessCloud(Job, queue="critical"):
            cloud_id: int
            note: str = ""

            async def perform(self) -> str: ...

    Fields are keyword-only, their defaults are copied for each job, and a name that begins with an underscore is no
    argument. Making a job validates it; nothing is in the database before `enqueue`. Jobs compare by identity.

    Class options, inherited unless noted:
        kind: The stored name; default ``module.qualname``. Not inherited.
        aliases: Former kinds, whose stored jobs this class runs. Not inherited.
        abstract: True for a base class that is no job itself. Not inherited.
        queue: The queue's name, or a callable of the job that returns it, asked at enqueue. Default ``"default"``.
        priority: From -32768 to 32767; **smaller runs first**. Default 0.
        retention: Seconds or a timedelta that a finished job and its result are kept; None: the setting's (7 days).
        executor: ``"loop"`` for `async def`, ``"thread"`` for `def`; follows from `perform`.

    Raises:
        InvalidDefinition: When the class is made: a field, method or value that would hide something of `Job`, an
            `__init__` of its own, no `perform`, an unknown option, a kind that another definition has.
        InvalidArguments: When a job is made: arguments that do not fit the annotations or cannot be stored.
    """

    _definition: ClassVar[Definition]
    _options: ClassVar[Options] = Options()

    __slots__ = ("__dict__", "__weakref__", "_attempt", "_delay", "_disposition", "_id", "_priority", "_queue", "_run_at",
                 "_sent", "_state", "_text", "_values")  # fmt: skip

    def __init_subclass__(
        cls,
        *,
        abstract: bool = False,
        kind: str | None = None,
        aliases: tuple[str, ...] = (),
        queue: str | Callable[[Any], str] | None = None,
        priority: int | None = None,
        retention: float | timedelta | None = None,
        executor: Executor | None = None,
        **unknown: Any,
    ) -> None:
        super().__init_subclass__()
        name = f"{cls.__module__}.{cls.__qualname__}"
        own = checked_options(name, queue=queue, priority=priority, retention=retention, executor=executor, **unknown)
        cls._options = own.over(cls._options)
        _refuse_hiding(cls, name)
        if abstract or cls.__dict__.get("_is_function_job"):
            return
        perform = cls._perform_of_class()
        if perform is Job._perform_of_class():
            raise InvalidDefinition(f"{name} has no perform(): write `async def perform(self)`, or say abstract=True")
        check_code(perform, f"{name}.perform", cls._options.executor)
        if len(inspect.signature(perform).parameters) != 1:
            raise InvalidDefinition(
                f"{name}.perform takes arguments: a job's fields are its arguments; annotate them in the class, "
                "and write `perform(self)`"
            )
        cls._definition = Definition(
            kind=checked_kind(kind, cls),
            aliases=checked_aliases(name, aliases),
            options=cls._options,
            source=Source.of(cls, 1),
            job_class=cls,
            function=None,
            parameters=lambda: _fields(cls),
            returns=lambda: typing.get_type_hints(perform, include_extras=True).get("return", inspect.Parameter.empty),
        )
        registry.register(cls._definition)

    def __init__(self, *args: Any, **arguments: Any) -> None:
        definition = self._definition_of_class()
        self._begin(definition, *definition.arguments.make(args, arguments))

    @classmethod
    def _perform_of_class(cls) -> Callable[..., Any]:
        return cls.perform  # type: ignore[attr-defined,no-any-return]

    @classmethod
    def _definition_of_class(cls) -> Definition:
        definition = cls.__dict__.get("_definition")
        if definition is None:
            raise InvalidDefinition(f"{cls.__qualname__} is abstract: make a job of a class derived from it")
        return typing.cast("Definition", definition)

    def _begin(self, definition: Definition, values: dict[str, Any], text: str | None) -> None:
        """Fill a new job. `text`: the arguments as they will be stored; None when it came from there."""
        self._values = values
        self._text = text
        self._id: UUID | None = None
        self._queue: str | None = None
        self._priority: int | None = None
        self._run_at: datetime | None = None
        self._delay: float | None = None
        self._state: str | None = None
        self._sent = False
        self._disposition: Disposition | None = None
        self._attempt: Attempt | None = None
        if definition.function is None:
            self.__dict__.update(values)

    # What is known about it

    @property
    def id(self) -> UUID:
        """The job's id, a UUIDv7, known before the job is enqueued."""
        if self._id is None:
            self._id = new_id()
        return self._id

    @property
    def kind(self) -> str:
        """The stored name of the job's definition."""
        return self._definition.kind

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name, as Python values; a copy."""
        return dict(self._values)

    @property
    def queue(self) -> str:
        """The queue it is, or will be, in; a callable one is asked each time until the job is enqueued."""
        if self._queue is not None:
            return self._queue
        queue = self._definition.options.queue
        if queue is None:
            return "default"
        return queue if isinstance(queue, str) else options.queue_name(queue(self))

    @property
    def priority(self) -> int:
        """Smaller runs first."""
        return self._priority if self._priority is not None else self._definition.options.priority or 0

    @property
    def state(self) -> str | None:
        """The last state known here, without asking the database; None before `enqueue`. See `status`."""
        return self._state

    @property
    def disposition(self) -> Disposition | None:
        """What `enqueue` came to; None before it."""
        return self._disposition

    @property
    def attempt(self) -> int:
        """Number of the run that is going on, from 1; 0 when the job is not running here."""
        return self._attempt.number if self._attempt is not None else 0

    @property
    def stopping(self) -> bool:
        """Whether this run should come to an end: its worker is stopping, or the job was cancelled."""
        return self._attempt is not None and self._attempt.stopping

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why this run was cancelled; None while it was not."""
        return self._attempt.cancel_reason if self._attempt is not None else None

    # What can be done with it

    def set(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        wait: float | timedelta | None = None,
        at: datetime | None = None,
    ) -> Self:
        """Change how this one job is enqueued; return it.

        Args:
            queue: 1 to 64 of letters, digits and ``_ . : -`` .
            priority: From -32768 to 32767; smaller runs first.
            wait: Seconds or a timedelta from the enqueue on, by the database's clock.
            at: When it is due; aware. In the past: now.

        Raises:
            InvalidOption: Out of these limits, or both `wait` and `at`.
            AlreadyEnqueued: The row is made already.
        """
        if self._sent:
            raise AlreadyEnqueued(f"job {self.id} is enqueued already: call set() before enqueue()")
        if wait is not None and at is not None:
            raise InvalidOption("wait= and at= both say when: give one of them")
        # All are checked before the first is kept: a refused set() leaves the job as it was.
        checked_queue = self._queue if queue is None else options.queue_name(queue)
        checked_priority = self._priority if priority is None else options.priority(priority)
        if wait is not None:
            self._delay, self._run_at = options.duration(wait, "wait"), None
        if at is not None:
            self._delay, self._run_at = None, options.moment(at, "at")
        self._queue, self._priority = checked_queue, checked_priority
        return self

    async def enqueue(self, *, connection: Any = None) -> Self:
        """Insert the job; it is durable once this returns. Return the job.

        Enqueueing the same object again makes no second row.

        Args:
            connection: Take part in the caller's transaction: the job exists if and only if that commits. An asyncpg
                connection, an SQLAlchemy `AsyncSession` or `AsyncConnection`, or a psycopg `AsyncConnection`. None: a
                connection of the open client, and a transaction of its own.

        Raises:
            NotOpen: No AsyncJobs is open in this process, or it belongs to another event loop.
            EnqueueOutcomeUnknown: The database's answer was lost; call `enqueue` again.
            InvalidConnection: `connection` cannot carry it; nothing was written.
            DatabaseError: The database refused or cannot be reached; nothing was written.
        """
        await open_clients.current().enqueue(self, connection=connection)
        return self

    async def status(self) -> Status:
        """Read everything stored about the job.

        Raises:
            NotEnqueued: It has no row yet.
            JobNotFound: No row can be seen.
        """
        self._require_row()
        return await open_clients.current().status(self.id)

    @overload
    async def result(self: _PerformsAsync[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    async def result(self: _Performs[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    async def result(self: Job[T], *, timeout: float | timedelta | None = None) -> T: ...
    async def result(self, *, timeout: float | timedelta | None = None) -> Any:
        """Wait until the job is final and return its return value, in the type `perform` is annotated with.

        Inside a job the slot is given back for as long as this waits.

        Args:
            timeout: Seconds or a timedelta; None waits as long as it takes. Running out leaves the job alone.

        Raises:
            JobFailed, JobDiscarded, JobCancelled: It ended so.
            TimeoutError: It is not final yet.
            NotEnqueued: It has no row yet.
            JobNotFound: No row can be seen: rolled back, or past its retention.
        """
        self._require_row()
        seconds = None if timeout is None else options.duration(timeout, "timeout")
        running = context.running.get()
        if running is None or running._attempt is None:
            return await open_clients.current().result(self, timeout=seconds)
        if running.id == self.id:
            raise InvalidOption(f"job {self.id} awaits itself and would wait for ever")
        running._attempt.give_slot_back()
        try:
            return await open_clients.current().result(self, timeout=seconds)
        finally:
            await running._attempt.take_slot()

    @overload
    def __await__(self: _PerformsAsync[T]) -> Generator[Any, Any, T]: ...
    @overload
    def __await__(self: _Performs[T]) -> Generator[Any, Any, T]: ...
    @overload
    def __await__(self: Job[T]) -> Generator[Any, Any, T]: ...
    def __await__(self) -> Generator[Any, Any, Any]:
        return Job.result(self).__await__()

    @overload
    async def perform_now(self: _PerformsAsync[T]) -> T: ...
    @overload
    async def perform_now(self: _Performs[T]) -> T: ...
    @overload
    async def perform_now(self: Job[T]) -> T: ...
    async def perform_now(self) -> Any:
        """Run the job here and now, without a database, and return what `perform` returns.

        Raises:
            Exception: The error of `perform` itself.
            RecordNotFound, DeserializationError: A reference could not be loaded.
        """
        return await perform_now(self)

    # Hidden from type checkers: an override may be `async def` or `def` and return anything; and a `Job[str]`, which has no
    # `perform` to look at, is told from a class whose own says what awaiting it gives.
    if not TYPE_CHECKING:

        def perform(self) -> Any:
            """Do the work; written by the derived class, as `async def`, or as `def` to run in a thread."""
            raise NotImplementedError

    def _require_row(self) -> None:
        if not self._sent:
            raise NotEnqueued(
                f"{self.kind} has not been enqueued, and awaiting does not enqueue: "
                "call `await job.enqueue()` first, or `await job.perform_now()` to run it here"
            )

    def _stored_arguments(self) -> str:
        """Return the arguments as they are to be stored, with what was assigned since the job was made."""
        values = self._values
        if self._text is not None and self._definition.function is not None:
            return self._text
        now = {name: self.__dict__.get(name, value) for name, value in values.items()}
        fixed = all(value is values[name] and type(value) in _IMMUTABLE for name, value in now.items())
        if self._text is None or not fixed:
            self._values = now
            self._text = self._definition.arguments.dump(now)
        return self._text

    def __repr__(self) -> str:
        state = f" {self._state}" if self._state else ""
        return f"<{self.kind} {self._id or 'not enqueued'}{state}>"


_IMMUTABLE = frozenset({int, str, float, bool, bytes, type(None), UUID, datetime, timedelta})

_OF_JOB = frozenset(name for name in (*vars(Job), *Job.__slots__) if not name.startswith("__"))
_LATER = frozenset({"cancel", "then", "run_steps", "step", "sleep", "wait_for", "steps", "resumed"})
"""Names that jobs will have: a field that took one today would break tomorrow."""
_MAY_OVERRIDE = frozenset({"perform"})
_BOOKKEEPING = frozenset({"_definition", "_options", "_is_function_job"})


def _refuse_hiding(cls: type, name: str) -> None:
    taken = (_OF_JOB | _LATER | {"__init__", "__await__"}) - _MAY_OVERRIDE - _BOOKKEEPING
    if cls.__dict__.get("_is_function_job"):
        return
    for base in cls.__mro__[: cls.__mro__.index(Job)]:
        if base is not cls and issubclass(base, Job):
            continue  # looked at when it was made
        for own in (*_annotation_names(base), *base.__dict__):
            if own == "__init__":
                raise InvalidDefinition(
                    f"{name} has an __init__ of its own: a job's fields are its arguments; annotate them"
                )
            if own in taken:
                raise InvalidDefinition(f"{name}.{own} would hide Job.{own}: give it another name")


def _annotation_names(cls: type) -> list[str]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return list(annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF))
    return list(inspect.get_annotations(cls))


def _fields(cls: type[Job[Any]]) -> list[Parameter]:
    """Return a class's arguments, base classes first, as its annotations and defaults say."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found: dict[str, Parameter] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, Job) or base is Job:
            continue
        for name in _annotation_names(base):
            if name.startswith("_") or typing.get_origin(hints[name]) is ClassVar or hints[name] is ClassVar:
                continue
            default = getattr(cls, name, inspect.Parameter.empty)
            found[name] = Parameter(name=name, annotation=hints[name], default=default, positional=False)
    return list(found.values())


def checked_options(
    name: str,
    *,
    queue: Any = None,
    priority: Any = None,
    retention: Any = None,
    executor: Any = None,
    **unknown: Any,
) -> Options:
    """Return a definition's options, checked.

    Raises:
        InvalidDefinition: Naming the definition, the option and its limit.
    """
    if unknown:
        known = "kind, aliases, abstract, queue, priority, retention, executor"
        raise InvalidDefinition(f"{name} has no option {next(iter(unknown))!r}; there are {known}")
    try:
        return Options(
            queue=queue if queue is None or callable(queue) else options.queue_name(queue),
            priority=None if priority is None else options.priority(priority),
            retention=None if retention is None else options.duration(retention, "retention"),
            executor=executor,
        )
    except InvalidOption as error:
        raise InvalidDefinition(f"{name}: {error}") from error


def checked_kind(kind: str | None, target: Any) -> str:
    """Return the kind of a function or class: `kind`, or its importable name.

    Raises:
        InvalidDefinition: It has no importable name and was given none, or `kind` cannot be one.
    """
    name = f"{target.__module__}.{target.__qualname__}"
    if kind is None:
        if target.__name__ == "<lambda>":
            raise InvalidDefinition(f"{name} is a lambda, which has no name to store: write a function")
        if "<" in target.__qualname__:
            raise InvalidDefinition(
                f"{name} stands inside a function, where no worker can import it: move it to module level, "
                "or give it a name of its own with kind=…"
            )
        kind = f"{importable_module(target.__module__)}.{target.__qualname__}"
    try:
        return options.kind_name(kind)
    except InvalidOption as error:
        raise InvalidDefinition(f"{name}: {error}") from error


def checked_aliases(name: str, aliases: Any) -> tuple[str, ...]:
    """Return a definition's aliases as a tuple of kinds."""
    if isinstance(aliases, str):
        raise InvalidDefinition(f"{name}: aliases={aliases!r} is a string: give a tuple, such as ({aliases!r},)")
    try:
        return tuple(options.kind_name(alias) for alias in aliases)
    except InvalidOption as error:
        raise InvalidDefinition(f"{name}: aliases: {error}") from error
