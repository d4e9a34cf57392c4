"""`AsyncJobs`: it assembles settings, database, client and worker; its constructor does no I/O.

Settings, the worker and the embedded PostgreSQL are imported when they are needed: otherwise they would be 40 % of the time
of `import asyncjobs` in a web application that only enqueues.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, Self, TypeVar, Unpack, overload
from uuid import UUID

from asyncjobs.checks import limits
from asyncjobs.checks.texts import is_storable, shown
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.client import finding
from asyncjobs.client.client import Client
from asyncjobs.client.finding import Sought
from asyncjobs.client.job_actions import Asked
from asyncjobs.client.job_filters import Action, Which, filter_of
from asyncjobs.client.job_rows import check_job
from asyncjobs.client.recurring import Recurring
from asyncjobs.definitions import registry
from asyncjobs.exceptions import AlreadyOpen, InvalidCall, InvalidOption, NotOpen
from asyncjobs.failing.failures import Failures
from asyncjobs.jobs.batches import Batch
from asyncjobs.jobs.events import stored_event
from asyncjobs.jobs.functions import JobFunction
from asyncjobs.jobs.job import Job, _Performs, _PerformsAsync
from asyncjobs.jobs.naming import JobOrId, batch_id, id_of
from asyncjobs.jobs.pauses import Pause, end_of_pause, paused, who
from asyncjobs.modules.guarding import refuse_while_importing
from asyncjobs.modules.importing import import_modules
from asyncjobs.opening import Opened, open_client
from asyncjobs.performing.awaited_results import result_of
from asyncjobs.records.found_job import FoundJob
from asyncjobs.records.live import Progress, StreamItem
from asyncjobs.records.status import Status

if TYPE_CHECKING:
    from asyncjobs.client.blocking import BlockingJobs
    from asyncjobs.metrics.counting import Metrics
    from asyncjobs.metrics.prometheus import JobsCollector
    from asyncjobs.settings import Settings
    from asyncjobs.worker.embedded_worker import EmbeddedWorker
    from asyncjobs.worker.watching.probes import Outside
    from asyncjobs.worker.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
J = TypeVar("J", bound=Job[Any])


class AsyncJobs:
    """The client, and on request the worker, of one database.

    Making one does no I/O and reads nothing; settings are read when it is opened::

        jobs = AsyncJobs()
        async with jobs: ...                      # client: enqueue and await
        async with jobs.running(): ...            # client and worker pools on this loop
        app = FastAPI(lifespan=jobs.lifespan)     # the same, embedded

    Args:
        config: Path of a config.toml; None: the one in the working directory, if there is one.
        environment: The table of it to lay over `[default]`; None: `ASYNCJOBS_ENV`, else ``"development"``.
        middleware: Objects around every job that is enqueued or performed here, the outermost first. Each may have any of
            the methods `before_enqueue(job)`, `after_enqueue(job)`, `around_enqueue(job, call)`, the same three with
            `perform`, and `after_discard(job, error)`, `def` or `async def`; they are run like the callbacks of these names.
        **settings: Any setting by name, such as `database_url`; these win over environment and file.
    """

    @answered(remedy='everything goes by name, as in `AsyncJobs(database_url="postgresql://…")`')
    def __init__(
        self,
        *,
        config: Path | str | None = None,
        environment: str | None = None,
        middleware: Sequence[Any] = (),
        **settings: Any,
    ) -> None:
        self._middleware = tuple(middleware)
        self._config = config
        self._environment = environment
        self._arguments = settings
        self._settings: Settings | None = None
        self._stack: AsyncExitStack | None = None
        self._opened: Opened | None = None
        self._embedded: EmbeddedWorker | None = None
        self._collector: JobsCollector | None = None

    # Opening and closing

    async def open(self) -> Self:
        """Open the client; `async with` does it for you.

        Raises:
            InvalidSettings: Every problem at once.
            SchemaMismatch: The database has no schema, or another version's; the message has the command.
            DatabaseUnavailable: The database cannot be reached.
            AlreadyOpen: This AsyncJobs is open already.
            InvalidDefinition: The program is being imported for its jobs, and has no `if __name__ == "__main__":`.
        """
        if self._stack is not None:
            raise AlreadyOpen("this AsyncJobs is open already: open it once, or make another")
        refuse_while_importing()
        async with AsyncExitStack() as stack:
            self._settings = self._load()
            self._opened = await open_client(
                self._settings,
                stack,
                self._middleware,
                metrics=None if self._collector is None else self._collector.metrics,
            )
            stack.callback(setattr, self, "_opened", None)
            self._stack = stack.pop_all()
        return self

    def _load(self) -> Settings:
        from asyncjobs.settings import load

        return load(self._config, environment=self._environment, **self._arguments)

    async def close(self) -> None:
        """Close the client; calls under way fail. Closing twice does nothing."""
        stack, self._stack = self._stack, None
        self._opened = None
        if stack is not None:
            await stack.aclose()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise InvalidCall(
                "AsyncJobs is opened on an event loop: write `async with AsyncJobs() as jobs:`, or where there is none "
                "`with AsyncJobs().blocking() as jobs:`"
            )

        def __exit__(self, *_: object) -> None: ...

    def blocking(self) -> BlockingJobs:
        """Return this AsyncJobs for a program without an event loop: Flask, Django, a script, cron.

        ::

            with AsyncJobs().blocking() as jobs:
                jobs.enqueue(send_welcome(42))

        In the block its `enqueue`, `enqueue_all`, `emit`, `get`, `result`, `status`, `cancel`, `retry`, `pause`, `resume`,
        `pauses` and the methods of `recurring` are called without ``await``, from any thread; they run on an event loop in a
        thread of its own. It runs no jobs.

        Raises:
            InsideEventLoop: On entering, and at each call: an event loop runs in this thread.
            AlreadyOpen: On entering: this AsyncJobs is open.
        """
        from asyncjobs.client.blocking import BlockingJobs

        return BlockingJobs(self, self._client)

    def _in_use(self) -> Opened:
        if self._opened is None:
            raise NotOpen("this AsyncJobs is not open: use it inside `async with jobs:`")
        return self._opened

    def _client(self) -> Client:
        return self._in_use().client

    @property
    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            NotOpen: It was never opened.
        """
        if self._settings is None:
            raise NotOpen("settings are read when AsyncJobs is opened: use it inside `async with jobs:`")
        return self._settings

    @property
    def database_url(self) -> str:
        """The URL of the database in use, also of a private one, for asyncpg or psycopg; it may hold a password.

        Raises:
            NotOpen: It is not open.
        """
        return self._in_use().url

    # Working

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Open the client and run jobs here, on this event loop, until the block ends.

        No signal handlers are installed. Leaving the block stops the worker as SIGTERM stops `asyncjobs run`: running jobs
        may finish for `shutdown_timeout`, then they are cancelled and given back unspent. A worker that fails is started
        again, with a growing pause, and `healthy` is False meanwhile.
        """
        async with self:
            import_modules(self.settings.imports)
            with contextlib.ExitStack() as stack:
                make = self._in_use().make_worker
                if self.settings.http:
                    make = partial(make, outside=self._probed(stack))
                from asyncjobs.worker.embedded_worker import EmbeddedWorker

                embedded = self._embedded = EmbeddedWorker(make)
                try:
                    yield self
                finally:
                    self._embedded = None
                    await embedded.stop(self.settings.shutdown_timeout + self.settings.cleanup_timeout + 10)

    @property
    def _worker(self) -> Worker | None:
        return None if self._embedded is None else self._embedded.worker

    def _probed(self, stack: contextlib.ExitStack) -> Outside:
        """Return what asks after the worker, with a socket that is closed with the stack."""
        from asyncjobs.probes.listening import listen
        from asyncjobs.worker.watching.probes import Outside

        self._in_use().measure(probed=True)
        return Outside(stack.enter_context(listen(self.settings.http)))

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:  # noqa: ARG002 - web frameworks pass it
        """Run jobs for as long as a web application runs: ``FastAPI(lifespan=jobs.lifespan)``, Starlette likewise."""
        async with self.running():
            yield

    @property
    def healthy(self) -> bool:
        """Whether this is open, and the database answers; needs no I/O, and can be read from any thread.

        With a worker: whether it runs and holds its lease, and was not without connections, or unable to store ends, for as
        long as a lease. Without one: whether the database has answered, and would have taken a write, within the last
        `lease` seconds (30), in which it is asked a few times. A restart of the database in between is not noticed.
        """
        opened = self._opened
        if opened is None:
            return False
        if self._embedded is not None:
            return self._embedded.healthy
        return opened.sessions.pool.unanswered < self.settings.lease

    @property
    def metrics(self) -> JobsCollector:
        """A collector of `prometheus_client`, to be registered once: ``REGISTRY.register(jobs.metrics)``.

        What happens here is counted from the first use of this on; it may come before `open`. Needs the extra `prometheus`.

        Raises:
            InvalidOption: prometheus_client is not installed.
        """
        if self._collector is None:
            try:
                from asyncjobs.metrics.prometheus import JobsCollector
            except ImportError:
                raise InvalidOption(
                    "jobs.metrics needs prometheus_client: pip install 'asyncjobs-pg[prometheus]'"
                ) from None
            from asyncjobs.metrics.counting import Metrics

            opened = self._opened
            metrics = Metrics() if opened is None or opened.metrics is None else opened.metrics
            self._collector = JobsCollector(metrics)
            if opened is not None and opened.metrics is None:
                opened.client.loop.call_soon_threadsafe(self._measure, opened, metrics)
        return self._collector

    def _measure(self, opened: Opened, metrics: Metrics) -> None:
        """Have what goes on here already counted from now on."""
        opened.count(metrics)
        if (worker := self._worker) is not None:
            worker.count(metrics)

    @property
    def listening(self) -> bool:
        """Whether notices are heard; if not, jobs start and awaits end at the next poll, with no other effect.

        Also False for a client that has awaited no job yet: it does not listen before it needs to.
        """
        opened = self._opened
        return opened is not None and not opened.listener.deaf

    # What an application does

    async def enqueue(self, job: J, *, connection: Any = None) -> J:
        """Insert a job through this client; `job.enqueue()` uses the one opened last. See `Job.enqueue`."""
        check_job(job)
        await self._client().enqueue(job, connection=connection)
        return job

    async def get_batch(self, batch: UUID | str) -> Batch:
        """Return a stored batch, to await it or to read its status.

        Raises:
            BatchNotFound: No such batch can be seen.
            InvalidOption: `batch` is no id.
        """
        return await self._client().get_batch(batch_id(batch))

    @answered(remedy="give all of them as one iterable: `enqueue_all([send(1), send(2)])`")
    async def enqueue_all(self, jobs: Iterable[Job[Any]] | AsyncIterable[Job[Any]]) -> int:
        """Insert many jobs through this client; see `asyncjobs.enqueue_all`."""
        return await self._client().enqueue_all(jobs)

    async def emit(self, name: str, *, key: Any = None, payload: Any = None, connection: Any = None) -> int:
        """Emit an event through this client; `asyncjobs.emit` uses the one opened last. See there."""
        return await self._client().emit(*stored_event(name, key, payload), connection=connection)

    @overload
    async def get(self, job: J) -> J: ...
    @overload
    async def get(self, job: UUID | str) -> Job[Any]: ...
    @overload
    async def get(self, job: JobOrId, kind: JobFunction[P, R]) -> Job[R]: ...
    @overload
    async def get(self, job: JobOrId, kind: type[J]) -> J: ...
    async def get(self, job: JobOrId, kind: Any = None) -> Job[Any]:
        """Return a job by its id, to await it or to read its status.

        Args:
            job: A UUID or its text; or a job, which is read again, into another object.
            kind: The `@job` function or Job class of the job; its result then has that type.

        If this role may not read arguments, the job has none, and can be awaited all the same.

        Raises:
            JobNotFound: No row can be seen.
            KindMismatch: The job is of another kind.
            NotEnqueued: `job` has no row yet.
            InvalidOption: `job` is neither a job nor an id.
        """
        return await self._client().get(job, kind)

    @overload
    async def result(self, job: _PerformsAsync[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    async def result(self, job: _Performs[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    async def result(self, job: Job[T], *, timeout: float | timedelta | None = None) -> T: ...
    @overload
    async def result(self, job: UUID | str, *, timeout: float | timedelta | None = None) -> Any: ...
    async def result(self, job: Any, *, timeout: float | timedelta | None = None) -> Any:
        """Wait until a job is final and return its return value; see `Job.result`.

        Args:
            job: A job, a UUID or its text. For an id the value has the type of the kind if that is defined here, else it is
                plain JSON.
            timeout: Seconds or a timedelta; None: no limit. At its end the job is left alone.
        """
        client = self._client()
        found = job if isinstance(job, Job) else await client.get(job)
        return await result_of(found, timeout, client)

    def watch(self, job: JobOrId) -> AsyncIterator[Progress]:
        """Yield the progress of a job, what it has shown last first, until the job is final; from any process.

        A reader that is slow gets the latest only. A job that follows another keeps its slot meanwhile.

        Args:
            job: A job, a UUID or its text.

        Raises:
            JobNotFound: No row can be seen; when iterated.
            AwaitCycle: `job` is the job that runs here.
            NotEnqueued: `job` has no row yet.
            InvalidOption: `job` is neither a job nor an id.
        """
        return self._client().watch(id_of(job))

    def stream(self, job: JobOrId, *, after: int = 0) -> AsyncIterator[StreamItem]:
        """Yield the items of a job's stream, each once and in order, until the job is final; from any process.

        Items are kept as long as the job is, so that a reader that comes late, or comes back, misses none. After a retry the
        stream goes on: an item tells its attempt. A job that follows another keeps its slot meanwhile.

        Args:
            job: A job, a UUID or its text.
            after: The number of the last item that the reader has; 0: it has none.

        Raises:
            JobNotFound: No row can be seen; when iterated.
            AwaitCycle: `job` is the job that runs here.
            NotEnqueued: `job` has no row yet.
            InvalidOption: `job` is neither a job nor an id, or `after` is no whole number from 0.
        """
        if type(after) is not int or not 0 <= after < 2**63:
            raise InvalidOption(f"after={shown(after)} is not allowed: use the number of an item, or 0 for all of them")
        return self._client().stream(id_of(job), after)

    async def cancel(self, job: JobOrId, reason: str = "") -> bool:
        """Cancel a job, or the one with this id; see `Job.cancel`."""
        return await self._client().cancel(id_of(job), limits.reason(reason))

    async def status(self, job: JobOrId) -> Status:
        """Read the status of a job, or of the one with this id; see `Job.status`."""
        return await self._client().status(id_of(job))

    @property
    def recurring(self) -> Recurring:
        """The schedules: `add`, `remove`, `pause`, `resume`, `run` and `all`.

        Raises:
            NotOpen: This AsyncJobs is not open.
        """
        return Recurring(self._client())

    # By hand

    async def retry(self, job: JobOrId, *, force: bool = False, from_step: str | None = None) -> bool:
        """Make a job ready again that failed, was discarded or cancelled, or waits for its retry.

        It keeps its id, its errors and its attempt: its next attempt is the one after the last. The counters of its
        declarations, its crashes and its expiry are reset. Retried twice at once, it runs once.

        Args:
            job: A job, a UUID or its text.
            force: Retry a job that succeeded, too, and one that is scheduled for its first run.
            from_step: The step from which on steps run again, also of a job that succeeded; attributes stay as they were
                last saved. None: the job goes on after the steps that have succeeded.

        Returns:
            False when there is nothing to retry: the job is ready, running or waiting, or it succeeded.

        Raises:
            JobNotFound: No row can be seen.
            NotEnqueued: `job` has no row yet.
            InvalidOption: `job` is neither a job nor an id, or the job has no such step.
            PermissionDenied: The role may only enqueue, or only read.
        """
        asked = Asked(Action.retry, forced=force or from_step is not None, from_step=from_step)
        return await self._client().do(asked, id_of(job))

    async def discard(self, job: JobOrId, *, reason: str = "") -> bool:
        """Discard a job that is scheduled, ready or waiting, or has failed. No `after_discard` runs: no worker takes part.

        Args:
            job: A job, a UUID or its text.
            reason: Stored, and part of the error for code that awaits the job; at most 1,000 characters.

        Returns:
            False when it cannot be discarded: it runs (cancel it), or it ended otherwise.

        Raises:
            JobNotFound: No row can be seen.
            NotEnqueued: `job` has no row yet.
            InvalidOption: `job` is neither a job nor an id, or `reason` cannot be stored.
            PermissionDenied: The role may only enqueue, or only read.
        """
        return await self._client().do(Asked(Action.discard, limits.reason(reason)), id_of(job))

    async def find(self, *, limit: int = 100, after: JobOrId | None = None, **sought: Unpack[Sought]) -> list[FoundJob]:
        """Find jobs, newest first, among live and finished ones; without a filter, all.

        ``await jobs.find(kind=import_user, state="failed", tag="nightly", arguments={"user_id": 42})``

        Tags, meta and arguments that the kind declares as ``searchable`` are looked up in an index. Other arguments are
        compared job by job, for 10 s at most. Without a kind, jobs that have it searchable are found; if none, any other.

        Args:
            limit: The number of jobs, from 1 to 1,000.
            after: The last job of the page before, or its id: the page goes on with older ones.
            **sought: `state`, `kind`, `queue`, `tag`, `meta`, `arguments`, `error` and `older_than`; all must hold. Of
                `state` and `tag` one or several; a job has one of the states, and all of the tags.

        Raises:
            InvalidOption: A value is invalid, or there is no such filter; the message names it, its limit and the remedy.
            InvalidArguments: A value does not fit the argument of the kind.
            PermissionDenied: The role may only enqueue, or may not read arguments and was asked for some.
            DatabaseUnavailable: The search took longer than 10 s.
        """
        before = None if after is None else id_of(after)
        limit = limits.whole(limit, "limit", least=1, most=finding.MOST)
        return await self._client().find(finding.wanted_of(**sought), before=before, limit=limit)

    async def count(self, *, most: int | None = None, **sought: Unpack[Sought]) -> int:
        """Count jobs, live and finished ones; the filters are those of `find`.

        Args:
            most: Stop counting there, and return it; None: count all, for 10 s at most.
            **sought: See `find`.

        Raises:
            InvalidOption, InvalidArguments, PermissionDenied, DatabaseUnavailable: See `find`.
        """
        bound = finding.MOST_COUNTED if most is None else limits.whole(most, "most", least=1, most=finding.MOST_COUNTED)
        return await self._client().count(finding.wanted_of(**sought), most=bound)

    async def failures(self) -> Failures:
        """Return failed jobs in groups: by kind, type of error, and line of the user's code.

        The 2,000 failed jobs that were enqueued last are grouped; `is_complete` says whether these are all.
        `retry_all(group=…)` and `discard_all(group=…)` take all jobs of a group, however many there are.

        Raises:
            PermissionDenied: The role may only enqueue.
        """
        return await self._client().failures()

    async def retry_all(self, *, dry_run: bool = False, **which: Unpack[Which]) -> int:
        """Retry all failed jobs that match, the oldest first; see `retry`.

        This is done in batches, each committed: if the database fails in between, call it again, and it goes on from there.
        Jobs that end after the call has begun are left alone.

        Args:
            dry_run: Change nothing, and return how many would be retried.
            **which: `kind`, `queue`, `state`, `error`, `older_than`, `limit`, `group`, `tag`, `meta` and `arguments`, as in
                `Which`; without any, every failed job. `state` may be ``"failed"``, ``"discarded"``, ``"cancelled"`` and,
                for jobs that wait for their retry, ``"scheduled"``.

        Returns:
            How many were retried.

        Raises:
            InvalidOption: A value is invalid.
            PermissionDenied: The role may only enqueue, or only read.
        """
        return await self._do_all(Asked(Action.retry), which, dry_run=dry_run)

    async def discard_all(self, *, reason: str = "", dry_run: bool = False, **which: Unpack[Which]) -> int:
        """Discard all jobs that match; return how many. See `discard` and `retry_all`.

        Args:
            reason: Stored with each job.
            dry_run: Change nothing, and return how many would be discarded.
            **which: As in `Which`; without any, every job that can be discarded. `state` may be ``"scheduled"``,
                ``"ready"``, ``"waiting"`` and ``"failed"``.
        """
        return await self._do_all(Asked(Action.discard, limits.reason(reason)), which, dry_run=dry_run)

    async def cancel_all(self, *, reason: str = "", dry_run: bool = False, **which: Unpack[Which]) -> int:
        """Cancel all jobs that match; return how many, with those cancelled along. See `Job.cancel` and `retry_all`.

        Args:
            reason: Stored with each job.
            dry_run: Change nothing, and return how many would be cancelled.
            **which: As in `Which`; without any, every job that is not final. `state` may be ``"scheduled"``, ``"ready"``,
                ``"running"`` and ``"waiting"``.
        """
        return await self._do_all(Asked(Action.cancel, limits.reason(reason)), which, dry_run=dry_run)

    # Pauses

    @answered(remedy='say what by name, as in `pause(queue="mailers")` or `pause(kind=send_welcome)`')
    async def pause(
        self,
        *,
        queue: str | None = None,
        kind: Any = None,
        until: datetime | timedelta | float | None = None,
        reason: str = "",
        by: str | None = None,
    ) -> Pause:
        """Pause a queue or a kind: within a second, no worker starts a job of it; running jobs go on.

        A pause lasts until `resume`, or until its end by the database's clock, whichever workers are restarted in between.
        Jobs are enqueued as usual, wait as `ready`, and hold no place of a limit. A second pause replaces the first.

        Args:
            queue: The name of a queue. Give this or `kind`.
            kind: A `@job` function or a Job class, with its aliases, or a kind's name.
            until: The end: an aware datetime, or a timedelta or seconds from now. None: it lasts until `resume`.
            reason: Shown wherever the pause is; at most 1,000 characters.
            by: Shown as the author of the pause; None: this process's login and host.

        Raises:
            InvalidOption: A value is invalid, or `until` is in the past.
            PermissionDenied: The role may only enqueue, or only read.
        """
        what, end = paused(queue, kind), end_of_pause(until)
        return await self._client().pause(what, *end, reason=limits.reason(reason), by=who(by))

    @answered(remedy='say what by name, as in `resume(queue="mailers")` or `resume(kind=send_welcome)`')
    async def resume(self, *, queue: str | None = None, kind: Any = None) -> bool:
        """Resume a paused queue or kind; return False when it was not paused. See `pause`."""
        return await self._client().resume(paused(queue, kind))

    async def pauses(self) -> list[Pause]:
        """Return the pauses in force: of queues, then of kinds, by name."""
        return await self._client().pauses()

    async def _do_all(self, asked: Asked, which: Which, *, dry_run: bool) -> int:
        return (await self._client().do_all(asked, filter_of(asked.action, **which), dry_run=dry_run)).total

    async def why(self, job: JobOrId) -> str:
        """Return one sentence, without its subject: what a job waits for, where it runs, or how it ended.

        Raises:
            JobNotFound: No row can be seen.
            NotEnqueued: `job` has no row yet.
            InvalidOption: `job` is neither a job nor an id.
            PermissionDenied: The role may only enqueue.
        """
        return (await self._client().why(id_of(job))).sentence

    # Seeing

    @answered(remedy="everything goes by name, as in `dashboard(auth=allow, read_only=True)`")
    def dashboard(
        self,
        *,
        auth: Callable[[Any], Any] | None = None,
        read_only: bool = False,
        redact: Callable[[str, dict[str, Any]], Any] | None = None,
    ) -> Any:
        """Return the dashboard, an ASGI application: ``app.mount("/jobs", jobs.dashboard(auth=allow))``.

        Needs the extra `web`. It reads and acts through this AsyncJobs, which must be open while it is used.

        Args:
            auth: A function, `def` or `async def`, of the request (a `starlette.requests.Request`). It returns whether that
                may come in: the name of who asks, for the audit, or True, with which the audit has an address; or a
                response, such as a redirect to a login. None: only requests from this machine itself come in, and none
                through a proxy.
            read_only: Whether nothing can be changed.
            redact: Takes a kind's stored name and a job's arguments, or attributes, and returns what is shown of them.

        Raises:
            InvalidCall: The extra `web` is not installed.
            InvalidOption: A value is invalid.
        """
        from asyncjobs.web.missing import check_extra

        check_extra()
        from asyncjobs.web.application import dashboard_application
        from asyncjobs.web.dashboard import Dashboard

        for name, value in (("auth", auth), ("redact", redact)):
            if value is not None and not callable(value):
                raise InvalidOption(f"{name}={shown(value)} cannot be called: give a function")
        return dashboard_application(
            Dashboard(self._in_use, auth=auth, read_only=limits.flag(read_only, "read_only"), redact=redact)
        )

    async def set_limit(self, key: str, most: int | None) -> None:
        """Set how many jobs run at once under a limit, for all workers, from now on; running jobs go on.

        The number stays until it is set again, whatever configurations and later versions of the code say.

        Args:
            key: A `key` that kinds share; a kind, for all its limits; one of its limits, as ``"app.jobs.sync(account_id)"``;
                or one key of that, as `why` names it: ``"app.jobs.sync(account_id) 7"``.
            most: From 0, with which no job starts, to 1,000,000; None: the number of the configuration (`[default.limits]`),
                or else of the code.

        Raises:
            InvalidOption: `most` is outside its bounds, or no job with such a limit was enqueued or run yet.
            PermissionDenied: The role may only enqueue, or only read.
        """
        if not isinstance(key, str) or not is_storable(key):
            raise InvalidOption(
                f"key={shown(key)} is no text: give a shared key, a kind's name, or a key as `why` names it"
            )
        await self._client().set_limit(registry.stored_name(key), most)
