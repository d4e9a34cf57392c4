"""Tasks of a module that every worker imports."""

from __future__ import annotations

import threading
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.db import connection

from asyncjobs import Discard, current_attempt, retry_on
from tests.integrations.django_project.shop.models import Order

if django.VERSION >= (6, 0):
    from django.tasks import TaskContext, task
else:
    from django_tasks import TaskContext, task


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
async def add_async(a: int, b: int = 1) -> int:
    return a + b


@task
def take_order(note: str) -> int:
    return Order.objects.create(note=note).pk


@task
async def take_order_async(note: str) -> int:
    return (await Order.objects.acreate(note=note)).pk


@task
def session() -> int:
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return int(cursor.fetchone()[0])


GOES_ON = threading.Event()


@task
async def wait_in_thread() -> None:
    await sync_to_async(GOES_ON.wait)()


@task
def fail(message: str) -> None:
    raise ValueError(message)


@task
def leave(message: str) -> None:
    raise SystemExit(message)


@task
def give_up() -> None:
    raise Discard("nobody wants it")


@task
def unstorable() -> Any:
    return object()


@task
def as_it_was(*args: Any, **kwargs: Any) -> Any:
    return [args, kwargs]


@task(takes_context=True)
def about(context: TaskContext, word: str) -> Any:
    result = context.task_result
    return [word, context.attempt, result.id, result.status, result.args, current_attempt().job.kind]


@task(takes_context=True)
async def about_async(context: TaskContext, word: str) -> Any:
    return [word, context.attempt, current_attempt().job.kind]


@task(takes_context=True)
@retry_on(ConnectionError, wait=0, attempts=3)
def third_time_lucky(context: TaskContext) -> int:
    if context.attempt < 3:
        raise ConnectionError(f"attempt {context.attempt}")
    return context.attempt


def _misnamed() -> None: ...


misnamed = task(_misnamed)
