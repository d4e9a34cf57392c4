"""Blocking calls: an AsyncJobs for programs without an event loop, on a loop in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload
from uuid import UUID

from anyio.from_thread import start_blocking_portal

from asyncjobs.client.client import Client
from asyncjobs.client.finding import Sought
from asyncjobs.client.job_rows import check_job
from asyncjobs.client.recurring import Recurring
from asyncjobs.client.threads import refuse_inside
from asyncjobs.definitions.recurring_options import CatchUp, Overlap
from asyncjobs.exceptions import AlreadyOpen, InvalidOption, NotOpen
from asyncjobs.jobs.functions import JobFunction
from asyncjobs.jobs.job import Job, _Performs, _PerformsAsync
from asyncjobs.jobs.naming import JobOrId
from asyncjobs.jobs.pauses import Pause
from asyncjobs.jobs.recurring import RecurringStatus
from asyncjobs.records.found_job import FoundJob
from asyncjobs.records.status import Status

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
J = TypeVar("J", bound=Job[Any])

CHUNK = 2_000
"""Jobs in one statement."""


class BlockingRecurring:
    """The schedules of a database, without ``await``: `recurring` of `BlockingJobs`; see `Recurring`.

    Args:
        run: Runs a coroutine on the loop of the client, given a function that makes it.
        recurring: Returns the `Recurring` of the client, on that loop.
    """

    def __init__(
        self, run: Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any], recurring: Callable[[], Recurring]
    ) -> None:
        self._run = run
        self._recurring = recurring

    def add(
        self,
        name: str,
        job: Job[Any] | JobFunction[..., Any] | type[Job[Any]],
        *,
        schedule: str,
        timezone: str = "UTC",
        queue: str | None = None,
        priority: int | None = None,
        catch_up: CatchUp = "latest",
        overlap: Overlap = "allow",
        jitter: float | timedelta = 0.0,
        enabled: bool = True,
    ) -> RecurringStatus:
        """Have a job recur from now on; see `Recurring.add`."""
        added: RecurringStatus = self._run(
            lambda: self._recurring().add(
                name,
                job,
                schedule=schedule,
                timezone=timezone,
                queue=queue,
                priority=priority,
                catch_up=catch_up,
                overlap=overlap,
                jitter=jitter,
                enabled=enabled,
            )
        )
        return added

    def remove(self, name: str) -> bool:
        """Remove a schedule that was added; see `Recurring.remove`."""
        done: bool = self._run(lambda: self._recurring().remove(name))
        return done

    def pause(self, name: str) -> None:
        """Pause a schedule until it is resumed; see `Recurring.pause`."""
        self._run(lambda: self._recurring().pause(name))

    def resume(self, name: str) -> None:
        """Resume a paused schedule; see `Recurring.resume`."""
        self._run(lambda: self._recurring().resume(name))

    def run(self, name: str) -> Job[Any]:
        """Enqueue a job of a schedule now, and return the job; see `Recurring.run`."""
        made: Job[Any] = self._run(lambda: self._recurring().run(name))
        return made

    def all(self) -> list[RecurringStatus]:
        """Return all schedules, by name."""
        found: list[RecurringStatus] = self._run(lambda: self._recurring().all())
        return found


class BlockingJobs:
    """The methods of an `AsyncJobs`, without ``await``; made by `AsyncJobs.blocking`, open inside its ``with`` block.

    Any number of threads may use it at once; errors are those of the methods of the same names. Inside a running event loop
    every call is refused: there, ``await`` the methods of an `AsyncJobs`.
    """

    def __init__(self, jobs: Any, opened: Callable[[], Client]) -> None:
        self._jobs = jobs
        """The AsyncJobs; not typed, since its module imports this one."""
        self._opened = opened
        """Returns the client of `jobs`, while that is open."""
        self._stack: ExitStack | None = None

    def __enter__(self) -> Self:
        refuse_inside(None, "`async with AsyncJobs() as jobs:`")
        if self._stack is not None:
            raise AlreadyOpen("this AsyncJobs is open already: use it where it is open, or make another")
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal(name="asyncjobs"))
            portal.call(self._jobs.open)
            stack.callback(portal.call, self._jobs.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    def _client(self) -> Client:
        refuse_inside(None, "`async with AsyncJobs() as jobs:` around it, and `await`")
        if self._stack is None:
            raise NotOpen("it is open inside `with AsyncJobs().blocking() as jobs:` only")
        return self._opened()

    def _run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self._client().threads.run(make, "`await`")

    @property
    def database_url(self) -> str:
        """The database in use; see `AsyncJobs.database_url`."""
        self._client()
        url: str = self._jobs.database_url
        return url

    def enqueue(self, job: J) -> J:
        """Insert a job and return it; see `Job.enqueue`."""
        check_job(job)
        self._run(lambda: self._jobs.enqueue(job))
        return job

    def enqueue_all(self, jobs: Iterable[Job[Any]]) -> int:
        """Insert many jobs and return how many rows were made; see `asyncjobs.enqueue_all`.

        The iterable is read in this thread, chunk by chunk.
        """
        if isinstance(jobs, Job) or not isinstance(jobs, Iterable):
            raise InvalidOption(f"enqueue_all takes an iterable of jobs, not {type(jobs).__name__}")
        source, made, read = iter(jobs), 0, 0
        try:
            while chunk := list(islice(source, CHUNK)):
                made += self._run(partial(self._jobs.enqueue_all, chunk))
                read += len(chunk)
        except Exception as error:
            if read:
                error.add_note(f"enqueue_all: {made} jobs of the {read} items before were enqueued all the same")
            raise
        return made

    @overload
    def get(self, job: J) -> J: ...
    @overload
    def get(self, job: UUID | str) -> Job[Any]: ...
    @overload
    def get(self, job: JobOrId, kind: JobFunction[P, R]) -> Job[R]: ...
    @overload
    def get(self, job: JobOrId, kind: type[J]) -> J: ...
    def get(self, job: JobOrId, kind: Any = None) -> Job[Any]:
        """Return a job as it is stored; see `AsyncJobs.get`."""
        found: Job[Any] = self._run(lambda: self._jobs.get(job, kind))
        return found

    @overload
    def result(self, job: _PerformsAsync[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    def result(self, job: _Performs[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    def result(self, job: Job[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    def result(self, job: UUID | str, *, timeout: float | timedelta | None = None) -> Any: ...
    def result(self, job: Any, *, timeout: float | timedelta | None = None) -> Any:
        """Wait until a job is final and return its return value; see `AsyncJobs.result`."""
        return self._run(lambda: self._jobs.result(job, timeout=timeout))

    def find(self, *, limit: int = 100, after: JobOrId | None = None, **sought: Unpack[Sought]) -> list[FoundJob]:
        """Find jobs, newest first; see `AsyncJobs.find`."""
        found: list[FoundJob] = self._run(lambda: self._jobs.find(limit=limit, after=after, **sought))
        return found

    def count(self, *, most: int | None = None, **sought: Unpack[Sought]) -> int:
        """Count jobs; see `AsyncJobs.count`."""
        counted: int = self._run(lambda: self._jobs.count(most=most, **sought))
        return counted

    def status(self, job: JobOrId) -> Status:
        """Read a job's status; see `Job.status`."""
        status: Status = self._run(lambda: self._jobs.status(job))
        return status

    def cancel(self, job: JobOrId, reason: str = "") -> bool:
        """Cancel a job, in whatever state it is; see `Job.cancel`."""
        done: bool = self._run(lambda: self._jobs.cancel(job, reason))
        return done

    def retry(self, job: JobOrId, *, force: bool = False, from_step: str | None = None) -> bool:
        """Make a job ready again that failed, was discarded or cancelled; see `AsyncJobs.retry`."""
        done: bool = self._run(lambda: self._jobs.retry(job, force=force, from_step=from_step))
        return done

    def pause(
        self,
        *,
        queue: str | None = None,
        kind: Any = None,
        until: datetime | timedelta | float | None = None,
        reason: str = "",
        by: str | None = None,
    ) -> Pause:
        """Start no jobs of a queue or of a kind until it is resumed; see `AsyncJobs.pause`."""
        pause: Pause = self._run(lambda: self._jobs.pause(queue=queue, kind=kind, until=until, reason=reason, by=by))
        return pause

    def resume(self, *, queue: str | None = None, kind: Any = None) -> bool:
        """Resume a paused queue or kind; see `AsyncJobs.resume`."""
        done: bool = self._run(lambda: self._jobs.resume(queue=queue, kind=kind))
        return done

    def pauses(self) -> list[Pause]:
        """Return the pauses in force; see `AsyncJobs.pauses`."""
        found: list[Pause] = self._run(self._jobs.pauses)
        return found

    @property
    def recurring(self) -> BlockingRecurring:
        """The schedules: `add`, `remove`, `pause`, `resume`, `run` and `all`; see `AsyncJobs.recurring`."""
        self._client()
        return BlockingRecurring(self._run, lambda: self._jobs.recurring)

    def emit(self, name: str, *, key: Any = None, payload: Any = None) -> int:
        """Emit an event, and return how many waiting jobs it wakes; see `asyncjobs.emit`."""
        woken: int = self._run(lambda: self._jobs.emit(name, key=key, payload=payload))
        return woken
