"""`Backend`: Django's tasks as jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections

from asyncjobs.client.stored_outcomes import read_status
from asyncjobs.db import through_dbapi
from asyncjobs.exceptions import InvalidArguments, InvalidSettings, PermissionDenied, QueueFull
from asyncjobs.integrations.django import discovery
from asyncjobs.integrations.django.api import (
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
)
from asyncjobs.integrations.django.database import url_of
from asyncjobs.integrations.django.kinds import OTHERS, kind_of
from asyncjobs.integrations.django.results import as_aware, made_at, result_of
from asyncjobs.records.status import Status
from asyncjobs.values import codec
from asyncjobs.values.plain_json import is_plain, problems

if TYPE_CHECKING:
    from asyncjobs.settings import Settings

OURS = ("database", "migrate")
"""Keys of OPTIONS that are no settings of asyncjobs."""


_settings: dict[str, tuple[dict[str, Any], Settings]] = {}
"""What was read, by the alias of the backend, with what was given then."""


class Backend(BaseTaskBackend):
    """Stores tasks as jobs, by Django's own connection: a task exists if and only if the transaction commits.

    `OPTIONS` may have any setting of asyncjobs, such as `shutdown_timeout` or `pools`, which then wins over config.toml and
    the environment, and:

    - `database`: the alias of the database in `DATABASES`; ``"default"`` if not given.
    - `migrate`: False: `manage.py migrate` leaves the schema of asyncjobs alone.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @property
    def database(self) -> str:
        """The alias of the database."""
        return str(self.options.get("database", DEFAULT_DB_ALIAS))

    @property
    def given(self) -> dict[str, Any]:
        """The settings of asyncjobs in OPTIONS."""
        return {key: value for key, value in self.options.items() if key not in OURS}

    @property
    def settings(self) -> Settings:
        """The settings of asyncjobs, read once in a process: Django makes a backend for each request."""
        from asyncjobs.settings import load

        given, found = _settings.get(self.alias, (None, None))
        if found is None or given != self.given:
            found = load(**self.given)
            _settings[self.alias] = self.given, found
        return found

    def enqueue(self, task: Task[Any, Any], args: Any, kwargs: Any) -> TaskResult[Any]:
        """Store a task, in the transaction of Django's connection.

        Raises:
            InvalidTask: No worker could perform it; the message says why.
            InvalidArguments: Arguments that JSON or PostgreSQL cannot hold.
            QueueFull: Its queue has a `max_depth` in the settings, and holds as many jobs.
            SchemaMismatch, PermissionDenied: The database is not ready for it; the message has the command.
        """
        self.validate_task(task)
        kind = self._kind_of(task)
        result: TaskResult[Any] = TaskResult(
            task=task,
            id="",
            status=TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        given = {"args": result.args, "kwargs": result.kwargs}
        if not is_plain(given) and (wrong := problems(given, "")):
            raise InvalidArguments(task.module_path, wrong)
        limit = self.settings.queues.get(task.queue_name)
        with connections[self.database].cursor() as cursor:
            if limit is not None and task.run_after is None:
                found = through_dbapi.depth(cursor, task.queue_name, limit.max_depth)
                if found >= limit.max_depth:
                    raise QueueFull(task.queue_name, found, limit.max_depth)
            job_id = through_dbapi.enqueue(
                cursor,
                self.settings.kind_prefix + kind,
                codec.dumps({"task": task.module_path, **given}),
                queue=task.queue_name,
                priority=-task.priority,  # Django's greatest runs first
                run_at=as_aware(task.run_after),
            )
        object.__setattr__(result, "id", str(job_id))
        object.__setattr__(result, "enqueued_at", made_at(job_id))
        task_enqueued.send(type(self), task_result=result)
        return result

    def _kind_of(self, task: Task[Any, Any]) -> str:

        path = task.module_path
        if path.startswith("__main__."):
            raise InvalidTask(f"{path} stands in the program itself, which no worker can import: move it to a module")
        try:
            found = discovery.find(path)
        except ImportError as error:
            raise InvalidTask(f"{path} cannot be imported, as a worker has to: {error}") from error
        if found is None:
            raise InvalidTask(f"{path} is no task but what one was made of: give the task the name of its function")
        return kind_of(task, is_known=discovery.is_known(task.func.__module__, self.settings.imports))

    def get_result(self, result_id: str) -> TaskResult[Any]:
        """Return the result of a stored task.

        Raises:
            TaskResultDoesNotExist: There is no such task: rolled back, not committed yet, past its retention, never made.
            ImportError: Its function is gone.
            PermissionDenied: This login may not read arguments, and the task has no kind of its own.
        """
        try:
            job_id = UUID(str(result_id))
        except ValueError:
            raise TaskResultDoesNotExist(result_id) from None
        with connections[self.database].cursor() as cursor:
            row = through_dbapi.read_status(cursor, job_id, self._way(cursor))
        if row is None:
            raise TaskResultDoesNotExist(result_id)
        status = read_status(row)
        path = self._path_of(status, reads_arguments=row.args is not None)
        task = None if path is None else discovery.find(path)
        if task is None:
            raise TaskResultDoesNotExist(result_id)
        return result_of(task, status, backend=self.alias)

    def _path_of(self, status: Status, *, reads_arguments: bool) -> str | None:
        """Return the path of a task's function; None: the job is no task."""
        kind = status.kind.removeprefix(self.settings.kind_prefix)
        if kind not in OTHERS:
            is_task = "task" in status.arguments or not reads_arguments
            is_known = discovery.is_known(kind.rpartition(".")[0], self.settings.imports)
            return kind if is_task and is_known else None
        if not reads_arguments:
            raise PermissionDenied(
                f"this login may not read arguments, and they alone say which task {status.id} is: use one with the role "
                "asyncjobs_worker, or move the task to the module `tasks` of an installed application"
            )
        path = status.arguments.get("task")
        return path if isinstance(path, str) and "." in path else None

    def _way(self, cursor: Any) -> str:
        """Return how this login may read jobs; asked once."""
        if (way := self.__dict__.get("_reads")) is None:
            way = self.__dict__["_reads"] = through_dbapi.status_way(cursor)
        return str(way)

    def check(self, **kwargs: Any) -> Iterable[checks.CheckMessage]:
        """Return what is wrong with the settings, for Django's system checks."""
        yield from super().check(**kwargs)
        try:
            url_of(self.database, connections.databases.get(self.database, {}))
        except InvalidSettings as error:
            yield checks.Error(str(error), obj=f"TASKS[{self.alias!r}]", id="asyncjobs.E001")
        try:
            _ = self.settings  # read, to find what is wrong with them
        except InvalidSettings as error:
            for problem in error.problems:
                yield checks.Error(problem, obj=f"TASKS[{self.alias!r}]['OPTIONS']", id="asyncjobs.E002")
