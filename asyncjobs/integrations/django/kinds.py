"""Names of the kinds that perform tasks: a task's own where every worker imports its module, else one of two."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any

from asyncjobs.checks.names import is_kind
from asyncjobs.failing.declarations import declared_on
from asyncjobs.integrations.django.api import InvalidTask, Task

OTHERS = OTHER, OTHER_ASYNC = "django.task", "django.async_task"
"""Kinds of the tasks of modules that a worker imports only when it performs one of them."""


def kind_of(task: Task[Any, Any], *, is_known: bool) -> str:
    """Return the kind of a task; `is_known`: whether every worker imports its module.

    Raises:
        InvalidTask: It has policies, such as `retry_on`, and no kind of its own that they could belong to.
    """
    if is_known and is_kind(task.module_path):
        return task.module_path
    if declared_on(task.func):
        raise InvalidTask(
            f"{task.module_path} has policies such as retry_on, which workers know of modules that they import: move it to "
            f'the module `tasks` of an installed application, or add OPTIONS: {{"imports": ["{task.func.__module__}"]}}'
        )
    return OTHER_ASYNC if iscoroutinefunction(task.func) else OTHER
