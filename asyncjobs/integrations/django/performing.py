"""How a worker performs Django's tasks: the kinds of asyncjobs that call them."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections, connections, reset_queries
from django.utils import timezone

from asyncjobs.checks.names import is_kind
from asyncjobs.definitions.definition import Definition
from asyncjobs.failing.declarations import declared_on
from asyncjobs.integrations.django import discovery
from asyncjobs.integrations.django.api import (
    Task,
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)
from asyncjobs.integrations.django.backend import Backend
from asyncjobs.integrations.django.kinds import OTHER, OTHER_ASYNC
from asyncjobs.integrations.django.results import as_enqueued, made_at, set_value, workers
from asyncjobs.jobs.current import current_attempt
from asyncjobs.jobs.functions import JobFunction, job


def define_all(tasks: Iterator[Task[Any, Any]]) -> None:
    """Define the kinds of tasks, and the two for all others."""
    _define(OTHER, None, is_async=False)
    _define(OTHER_ASYNC, None, is_async=True)
    for task in tasks:
        if is_kind(path := task.module_path):
            definition = _define(path, path, is_async=iscoroutinefunction(task.func))
            definition.job_class._declared = declared_on(task.func)
            code = task.func.__code__
            definition.source = replace(definition.source, file=code.co_filename, line=code.co_firstlineno)


def _define(kind: str, only: str | None, *, is_async: bool) -> Definition:
    """Define a kind that performs one task alone, whatever is stored, or None: that which is stored."""

    def perform(task: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        with _connections():
            return _call(only or task, args, kwargs)

    async def perform_async(task: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        # As Django has it for each request under ASGI: a thread of its own for what the task does by `sync_to_async`.
        async with ThreadSensitiveContext():
            try:
                return await _acall(only or task, args, kwargs)
            finally:
                await sync_to_async(connections.close_all)()

    def tell_failure(failed: Any, error: BaseException) -> None:
        values = failed._values
        _tell_failure(only or values["task"], values["args"], values["kwargs"], error)

    made: JobFunction[..., Any] = job(kind=kind)(perform_async if is_async else perform)
    made.after_discard(tell_failure)
    return made._definition


def _call(path: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    task, result = _started(path, args, kwargs)
    task_started.send_robust(Backend, task_result=result)
    given = [TaskContext(task_result=result), *args] if task.takes_context else args
    value = normalize_json(task.func(*given, **kwargs))
    task_finished.send_robust(Backend, task_result=_succeeded(result, value))
    return value


async def _acall(path: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    task, result = _started(path, args, kwargs)
    await task_started.asend_robust(Backend, task_result=result)
    given = [TaskContext(task_result=result), *args] if task.takes_context else args
    value = normalize_json(await task.func(*given, **kwargs))
    await task_finished.asend_robust(Backend, task_result=_succeeded(result, value))
    return value


def _tell_failure(path: str, args: list[Any], kwargs: dict[str, Any], error: BaseException) -> None:
    """Send Django's signal for a task that has failed for good."""
    with _connections():
        try:
            _, result = _started(path, args, kwargs)
        except ImportError:
            return  # there is no task to tell of
        kind = type(error)
        text = "".join(traceback.format_exception(error))
        result.errors.append(TaskError(exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback=text))
        object.__setattr__(result, "status", TaskResultStatus.FAILED)
        object.__setattr__(result, "finished_at", timezone.now())
        frames = error.__traceback__
        try:
            raise error
        except kind:  # Django's receiver logs what is being handled
            task_finished.send_robust(Backend, task_result=result)
        finally:
            error.__traceback__ = frames


def _started(path: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[Task[Any, Any], TaskResult[Any]]:
    """Return the task of a path, and its result while it runs.

    Raises:
        ImportError: There is no such task.
    """
    found = discovery.find(path)
    if found is None:
        raise ImportError(f"{path} is no task: has its @task been removed?")
    attempt = current_attempt()
    now = timezone.now()
    result: TaskResult[Any] = TaskResult(
        task=as_enqueued(found, queue=attempt.job.queue, priority=attempt.job.priority, backend=found.backend),
        id=str(attempt.job.id),
        status=TaskResultStatus.RUNNING,
        enqueued_at=made_at(attempt.job.id),
        started_at=now,
        finished_at=None,
        last_attempted_at=now,
        args=args,
        kwargs=kwargs,
        backend=found.backend,
        errors=[],
        worker_ids=workers(attempt.number, socket.gethostname()),
    )
    return found, result


def _succeeded(result: TaskResult[Any], value: Any) -> TaskResult[Any]:
    set_value(result, value)
    object.__setattr__(result, "status", TaskResultStatus.SUCCESSFUL)
    object.__setattr__(result, "finished_at", timezone.now())
    return result


@contextmanager
def _connections() -> Iterator[None]:
    """Do what Django does at the beginning and the end of a request: connections that are broken or old are closed."""
    reset_queries()
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()
