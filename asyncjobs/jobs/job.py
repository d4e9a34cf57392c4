"""`Job`: the base class of users' jobs, with all that a job of a class or of a function can do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, Unpack, overload

from typing_extensions import TypeVar, dataclass_transform

from asyncjobs.checks import limits
from asyncjobs.checks.option_tables import checked, documented
from asyncjobs.checks.wrong_calls import ForeignMethod, NoDataclass, of_a_job
from asyncjobs.definitions import never_enqueued
from asyncjobs.definitions.attributes import attribute
from asyncjobs.definitions.job_classes import make_definition
from asyncjobs.definitions.options import IN_SET, OF_CLASS, ClassOptions, SetOptions
from asyncjobs.definitions.order_keys import refuse_unknown
from asyncjobs.exceptions import AlreadyEnqueued, InvalidOption
from asyncjobs.jobs.perform_now import perform_now
from asyncjobs.jobs.step_methods import StepMethods
from asyncjobs.performing import calls, open_clients
from asyncjobs.performing.awaited_results import result_of
from asyncjobs.performing.follow_ups import Follows, leave

if TYPE_CHECKING:
    from asyncjobs.records.status import Status

R = TypeVar("R", default=Any)
T_co = TypeVar("T_co", covariant=True)
_BY_ARGUMENTS: Final = frozenset({"unique", "concurrency", "rate_limit"})
"""Options whose values tell jobs apart."""

T = TypeVar("T")


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

    Fields are keyword-only, and their defaults are copied for each job. A name that begins with an underscore is no
    argument, but type checkers take it for one where the class annotates it, so annotate it where it is assigned:
    ``self._cache: dict[str, int] = {}``. Making a job validates it; nothing is in the database before `enqueue`. Jobs
    compare by identity.

    Options are given to the class, ``class Report(Job, queue="low")``, and inherited, except `kind`, `aliases`,
    `schedule` and `abstract`.

    Raises:
        InvalidDefinition: When the class is made: a field, method or value that would hide something of `Job`, an
            `__init__` of its own, no `perform`, an unknown option, a kind that another definition has.
        InvalidArguments: When a job is made: arguments that do not fit the annotations or cannot be stored.
    """

    def __init_subclass__(cls, **options: Unpack[ClassOptions]) -> None:
        super().__init_subclass__()
        make_definition(cls, Job, options)

    def __init__(self, *args: Any, **arguments: Any) -> None:
        definition = self._definition_of_class()
        self._begin(definition, *definition.arguments.make(args, arguments))

    def __del__(self, warn: Callable[[str, never_enqueued.Place, str | None], None] = never_enqueued.warn) -> None:
        if self._made_at is not None and not self._sent:
            warn(self._definition.kind, self._made_at, self._asked)

    # Actions

    @of_a_job()
    @documented(IN_SET, of_one_job=True)
    def set(self, **options: Unpack[SetOptions]) -> Self:
        """Change how this one job is enqueued; return it.

        Raises:
            InvalidOption: A value outside its limits, a `by` that names no argument, or both `wait` and `at`.
            AlreadyEnqueued: The job has a row already.
        """
        made_at, self._made_at = (
            self._made_at,
            None,
        )  # a job that set() refused needs no warning that it was never enqueued
        if self._sent:
            raise AlreadyEnqueued(f"job {self.id} is enqueued already: call set() before enqueue()")
        # All are checked before the first is kept: a refused set() leaves the job as it was.
        said = checked(IN_SET, options, "set()", InvalidOption, in_set=True)
        if "wait" in said and "at" in said:
            raise InvalidOption("wait= and at= both say when: give one of them")
        for name in _BY_ARGUMENTS & said.keys():
            for each in said[name] if isinstance(said[name], tuple) else (said[name],):
                refuse_unknown(self.kind, f"set({name}=)", each.by, self._definition.arguments.names, InvalidOption)
        before = self._set_options or {}
        if "wait" in said or "at" in said:
            before = {name: value for name, value in before.items() if name not in ("wait", "at")}
        self._set_options, self._made_at = {**before, **said}, made_at
        return self

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
            AlreadyEnqueued: It is the job that is running.
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
            InsideEventLoop: The calling thread runs that loop.
            NotOpen: No AsyncJobs is open in this process, or it was closed meanwhile.
        """
        self._made_at = None
        return open_clients.last(calls.ENQUEUE).run_from_thread(self.enqueue, calls.ENQUEUE)

    @of_a_job()
    def then(self, *jobs: Follows) -> None:
        """Have jobs and chains enqueued together with the success of the running attempt, and only then.

        They are stored in the same transaction as the success: if the attempt fails, is retried, snoozed or cancelled, or
        loses its lease, none of them is. The next attempt must call this again. A recorded step does not run again, so
        call it outside of steps.

        Args:
            jobs: Not enqueued yet; at most 1,000 an attempt. A job whose unique key is taken by then is not enqueued.

        Raises:
            NotRunning: The job is not running here.
            InvalidStep: A step is running: the call would be missing when the job goes on without running that step again.
            InvalidOption: An argument is no job or chain, or there are too many.
            AlreadyEnqueued: A job is enqueued already.
        """
        leave(self, jobs)

    @of_a_job()
    async def status(self) -> Status:
        """Read everything stored about the job.

        Raises:
            NotEnqueued: The job has no row yet.
            JobNotFound: No row can be seen.
        """
        self._require_row()
        return await open_clients.current(calls.STATUS, self._client).status(self.id)

    @of_a_job()
    async def cancel(self, reason: str = "") -> bool:
        """Cancel the job, wherever it is.

        A ready or scheduled job is `cancelled` at once. The task of a running job gets a `CancelledError` within a
        second, in whichever process it runs, and the job is `cancelled` once it has ended; a `def` in a thread cannot be
        stopped, and its result is dropped. A cancelled job is never retried.

        Args:
            reason: Stored, and told to whoever awaits the job; at most 1,000 characters.

        Returns:
            False when the job was final already.

        Raises:
            NotEnqueued: The job has no row yet.
            JobNotFound: No row can be seen.
            InvalidOption: `reason` cannot be stored.
        """
        self._require_row()
        return await open_clients.current(calls.CANCEL, self._client).cancel(self.id, limits.reason(reason))

    @overload
    async def result(self: _PerformsAsync[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    async def result(self: _Performs[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    async def result(self: Job[T], *, timeout: float | timedelta | None = None) -> T: ...
    @of_a_job()
    async def result(self, *, timeout: float | timedelta | None = None) -> Any:
        """Wait until the job is final and return its return value, in the type `perform` is annotated with.

        Inside a job, its slot is given back while this waits.

        Args:
            timeout: Seconds or a timedelta; None waits as long as it takes. Running out leaves the job alone.

        Raises:
            JobFailed, JobDiscarded, JobCancelled: The job ended so.
            TimeoutError: It was not final in time.
            NotEnqueued: It has no row yet.
            JobNotFound: No row can be seen: rolled back, or past its retention.
            AwaitCycle: It awaits, perhaps through other jobs, the job that calls this, and there is no timeout.
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
            InsideEventLoop: The calling thread runs that loop.
            NotOpen: No AsyncJobs is open in this process, or it was closed meanwhile.
        """
        return open_clients.last(calls.RESULT, self._client).run_from_thread(
            lambda: Job.result(self, timeout=timeout), calls.RESULT
        )

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
        """Run the job in the calling task, with its policies and callbacks, and return what `perform` returns.

        Retries follow at once, without waiting. No database is needed, except for `Snooze`, durable sleeps and waits: the
        job is then enqueued with what it has recorded, unless it was before, a worker goes on with it, and this awaits it.

        Raises:
            Exception: The last error of `perform` itself, when no policy handles it or retries are used up.
            RecordNotFound, DeserializationError: A reference could not be loaded.
            JobDiscarded, JobCancelled: The job ended so.
            NotOpen: The job was snoozed, sleeps or waits, and no AsyncJobs is open.
        """
        return await perform_now(self)

    # Hidden from type checkers, so that an override may be `async def` or `def` and return anything, and so that a
    # `Job[str]`, which has no `perform` of its own, differs from a class whose `perform` says what awaiting the job gives.
    if not TYPE_CHECKING:

        async def perform(self) -> Any:
            """Do the work: written by the derived class as `async def`, or as `def` to run in a thread. Runs the steps."""
            await self.run_steps()

        # What `dict(job)` gives. FastAPI makes the answer of an endpoint from it when that returns a job; without it, the
        # answer would hold the whole object, arguments included.
        def __iter__(self) -> Iterator[tuple[str, Any]]:
            return iter((("id", self.id), ("kind", self.kind), ("state", self._state)))

        apply_async, delay, perform_later = ForeignMethod(), ForeignMethod(), ForeignMethod()
        __dataclass_fields__ = NoDataclass("_process_class")
        __attrs_attrs__ = NoDataclass("_collect_base_attrs")
