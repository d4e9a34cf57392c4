"""`Job`: the class users derive from, and what every job, of a class or of a function, can do."""

from __future__ import annotations

import typing
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context
from datetime import datetime, timedelta
from sys import _getframe
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, Unpack, cast, overload
from uuid import UUID

from typing_extensions import TypeVar, dataclass_transform

from asyncjobs.defining import calls, limits, never_enqueued, open_clients
from asyncjobs.defining.attempt import Attempt, CancelReason
from asyncjobs.defining.attributes import attribute
from asyncjobs.defining.awaiting import result_of
from asyncjobs.defining.definition import Definition
from asyncjobs.defining.hooks import Hook, Point
from asyncjobs.defining.identity import new_id
from asyncjobs.defining.job_classes import make_definition
from asyncjobs.defining.misuse import NeverMade, NoDataclass, NotHere, of_a_job
from asyncjobs.defining.option_tables import checked, documented
from asyncjobs.defining.options import IN_SET, OF_CLASS, ClassOptions, Options, SetOptions
from asyncjobs.defining.perform_now import perform_now
from asyncjobs.defining.policies import Policy
from asyncjobs.defining.step_methods import StepMethods
from asyncjobs.exceptions import AlreadyEnqueued, InvalidDefinition, InvalidOption, NotEnqueued

if TYPE_CHECKING:
    from asyncjobs.defining.status import Status

R = TypeVar("R", default=Any)
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

Disposition = Literal["enqueued", "duplicate", "replaced"]


class _PerformsAsync(Protocol[T_co]):
    def perform(self) -> Coroutine[Any, Any, T_co]: ...


class _Performs(Protocol[T_co]):
    def perform(self) -> T_co: ...


@documented(OF_CLASS)
@dataclass_transform(kw_only_default=True, field_specifiers=(attribute,))
class Job(StepMethods, Generic[R]):
    """A unit of work, as a value: its fields are its arguments.

    Derive from it, annotate the arguments, write `perform`::

        class ProcessCloud(Job, queue="critical"):
            cloud_id: int
            note: str = ""

            async def perform(self) -> str: ...

    Fields are keyword-only, their defaults are copied for each job, and a name that begins with an underscore is no
    argument; type checkers take it for one where the class annotates it (they have no word for this), so annotate it where
    it is assigned: ``self._cache: dict[str, int] = {}``. Making a job validates it; nothing is in the database before
    `enqueue`. Jobs compare by identity.

    Options are given to the class, ``class Report(Job, queue="low")``, and inherited, without `kind`, `aliases`, `abstract`.

    Raises:
        InvalidDefinition: When the class is made: a field, method or value that would hide something of `Job`, an
            `__init__` of its own, no `perform`, an unknown option, a kind that another definition has.
        InvalidArguments: When a job is made: arguments that do not fit the annotations or cannot be stored.
    """

    _definition: ClassVar[Definition]
    _options: ClassVar[Options] = Options()
    _declared: ClassVar[tuple[Policy, ...]] = ()
    _function_hooks: ClassVar[dict[Point, list[Hook]]] = {}

    # Of each job; what it does not say yet stands here once and for all, since setting ten attributes in each took 0.7 µs.
    _values: dict[str, Any] = cast("dict[str, Any]", NeverMade())
    _text: str | None = None
    _id: UUID | None = None
    _queue: str | None = None
    _priority: int | None = None
    _set_options: dict[str, Any] | None = None
    """What `set` was given, checked, by name."""
    _state: str | None = None
    _sent: bool = False
    _disposition: Disposition | None = None
    _attempt: Attempt | None = None
    _context: tuple[Context, Context] | None = None
    _made_at: never_enqueued.Place | None = None
    """None from its first use on, and for what was loaded."""
    _asked: str | None = None
    """The `async def` that was taken last from a job not yet used: a use only once it is awaited."""

    def __init_subclass__(cls, **options: Unpack[ClassOptions]) -> None:
        super().__init_subclass__()
        make_definition(cls, Job, options)

    @classmethod
    def _declare(cls, policy: Policy, *, first: bool = False) -> None:
        """Add a declaration about errors, asked before (`first`) or after those that this class has of its own."""
        own = cls.__dict__.get("_declared", ())
        cls._declared = (policy, *own) if first else (*own, policy)
        if (definition := cls.__dict__.get("_definition")) is not None:
            definition.__dict__.pop("policies", None)

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
        if definition.function is None:
            self.__dict__.update(values)
        if text is not None:
            frame = _getframe(2)  # of whoever called the class or the function
            self._made_at = frame.f_code, frame.f_lasti

    def __del__(self, warn: Callable[[str, never_enqueued.Place, str | None], None] = never_enqueued.warn) -> None:
        if self._made_at is not None and not self._sent:
            warn(self._definition.kind, self._made_at, self._asked)

    def __getstate__(self) -> dict[str, Any]:
        self._made_at = None  # whoever pickles or copies it goes on with that
        return {name: value for name, value in vars(self).items() if name not in ("_made_at", "_asked", "_context")}

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
        queue = self._definition.options.queue if self._set_options is None else self._option("queue")
        return queue if isinstance(queue, str) else limits.queue_name(queue(self))

    @property
    def priority(self) -> int:
        """Smaller runs first."""
        if self._priority is not None:
            return self._priority
        return self._definition.options.priority if self._set_options is None else self._option("priority")

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
        return self._attempt.seen_reason if self._attempt is not None else None

    # What can be done with it

    @of_a_job()
    @documented(IN_SET, of_one_job=True)
    def set(self, **options: Unpack[SetOptions]) -> Self:
        """Change how this one job is enqueued; return it.

        Raises:
            InvalidOption: Out of their limits, or both `wait` and `at`.
            AlreadyEnqueued: The row is made already.
        """
        made_at, self._made_at = self._made_at, None  # an error says enough
        if self._sent:
            raise AlreadyEnqueued(f"job {self.id} is enqueued already: call set() before enqueue()")
        # All are checked before the first is kept: a refused set() leaves the job as it was.
        said = checked(IN_SET, options, "set()", InvalidOption, in_set=True)
        if "wait" in said and "at" in said:
            raise InvalidOption("wait= and at= both say when: give one of them")
        before = self._set_options or {}
        if "wait" in said or "at" in said:
            before = {name: value for name, value in before.items() if name not in ("wait", "at")}
        self._set_options, self._made_at = {**before, **said}, made_at
        return self

    def _option(self, name: str) -> Any:
        """Return what holds of an option for this job: what `set` said, or the definition."""
        value = None if self._set_options is None else self._set_options.get(name)
        return getattr(self._definition.options, name) if value is None else value

    @of_a_job()
    async def enqueue(self, *, connection: Any = None) -> Self:
        """Insert the job; it is durable once this returns. Return the job.

        Enqueueing the same object again makes no second row.

        Args:
            connection: Take part in the caller's transaction: the job exists if and only if that commits. An asyncpg
                connection, an SQLAlchemy `AsyncSession` or `AsyncConnection`, or a psycopg `AsyncConnection`. None: a
                connection of the open client, and a transaction of its own.

        Raises:
            NotOpen: No AsyncJobs is open in this process, or it belongs to another event loop.
            AlreadyEnqueued: It is the job that runs here.
            EnqueueOutcomeUnknown: The database's answer was lost; call `enqueue` again.
            InvalidConnection: `connection` cannot carry it; nothing was written.
            DatabaseError: The database refused or cannot be reached; nothing was written.
        """
        self._made_at = None
        await open_clients.current(calls.ENQUEUE).enqueue(self, connection=connection)
        return self

    def enqueue_from_thread(self) -> Self:
        """Insert the job from a thread without an event loop: `enqueue`, on the loop of the client opened last.

        Raises:
            InsideEventLoop: This is that loop's own thread.
            NotOpen: No AsyncJobs is open in this process, or it was closed meanwhile.
        """
        self._made_at = None
        return open_clients.last(calls.ENQUEUE).run_from_thread(self.enqueue, calls.ENQUEUE)

    @of_a_job()
    async def status(self) -> Status:
        """Read everything stored about the job.

        Raises:
            NotEnqueued: It has no row yet.
            JobNotFound: No row can be seen.
        """
        self._require_row()
        return await open_clients.current(calls.STATUS).status(self.id)

    @of_a_job()
    async def cancel(self, reason: str = "") -> bool:
        """Cancel the job, wherever it is.

        Ready or scheduled, it is `cancelled` at once. Running, its task gets a `CancelledError` in whichever process it
        runs, within a second, and it is `cancelled` once it has ended; a `def` in a thread cannot be stopped, and what it
        returns is dropped. A cancelled job is never retried.

        Args:
            reason: Stored, and told to whoever awaits the job; at most 1,000 characters.

        Returns:
            False when the job was final already.

        Raises:
            NotEnqueued: It has no row yet.
            JobNotFound: No row can be seen.
            InvalidOption: `reason` cannot be stored.
        """
        self._require_row()
        return await open_clients.current(calls.CANCEL).cancel(self.id, limits.reason(reason))

    @overload
    async def result(self: _PerformsAsync[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    async def result(self: _Performs[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    async def result(self: Job[T], *, timeout: float | timedelta | None = None) -> T: ...
    @of_a_job()
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
            AwaitCycle: It awaits, perhaps through others, the job that awaits it here without a timeout.
        """
        return await result_of(self, timeout)

    @overload
    def result_from_thread(self: _PerformsAsync[T], timeout: float | timedelta | None = None) -> T: ...
    @overload
    def result_from_thread(self: _Performs[T], timeout: float | timedelta | None = None) -> T: ...
    @overload
    def result_from_thread(self: Job[T], timeout: float | timedelta | None = None) -> T: ...
    def result_from_thread(self, timeout: float | timedelta | None = None) -> Any:
        """Wait in a thread without an event loop: `result`, on the loop of the client opened last.

        Raises:
            InsideEventLoop: This is that loop's own thread.
            NotOpen: No AsyncJobs is open in this process, or it was closed meanwhile.
        """
        return open_clients.last(calls.RESULT).run_from_thread(lambda: Job.result(self, timeout=timeout), calls.RESULT)

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
    @of_a_job()
    async def perform_now(self) -> Any:
        """Run the job here and now, with its policies and callbacks, and return what `perform` returns.

        Retries follow at once, without waiting. No database is needed, but for `Snooze` and for durable sleeps and waits:
        the job is then enqueued, unless it was before, with what it has recorded, and a worker goes on with it, which this
        awaits.

        Raises:
            Exception: The last error of `perform` itself, when no policy took it or retries were used up.
            RecordNotFound, DeserializationError: A reference could not be loaded.
            JobDiscarded, JobCancelled: It ended so.
            NotOpen: It was snoozed, sleeps or waits, and no AsyncJobs is open.
        """
        return await perform_now(self)

    # Hidden from type checkers: an override may be `async def` or `def` and return anything; and a `Job[str]`, which has no
    # `perform` to look at, is told from a class whose own says what awaiting it gives.
    if not TYPE_CHECKING:

        async def perform(self) -> Any:
            """Do the work; written by the derived class, as `async def`, or as `def` to run in a thread. Runs the steps."""
            await self.run_steps()

        # What `dict(job)` gives, of which FastAPI makes the answer of an endpoint that returns a job: else it is made of all
        # that the object holds, arguments included.
        def __iter__(self) -> Iterator[tuple[str, Any]]:
            return iter((("id", self.id), ("kind", self.kind), ("state", self._state)))

        apply_async, delay, perform_later = NotHere(), NotHere(), NotHere()
        __dataclass_fields__ = NoDataclass("_process_class")
        __attrs_attrs__ = NoDataclass("_collect_base_attrs")

    def _require_row(self) -> None:
        self._made_at = None
        if not self._sent:
            raise NotEnqueued(
                f"{self.kind} has not been enqueued, and awaiting does not enqueue: "
                "call `await job.enqueue()` first, or `await job.perform_now()` to run it here"
            )

    def _stored_arguments(self) -> str:
        """Return the arguments as they are to be stored, with what was assigned since the job was made."""
        self._made_at = None
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
