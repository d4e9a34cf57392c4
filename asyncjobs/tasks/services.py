"""The scope that owns background tasks of a client or worker: services, and short tasks.

A task group must be left by the task that entered it, but an AsyncJobs is often opened by one task and closed by another
(test fixtures, some web servers), so the scope is an object that ends the tasks it has started.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

logger = logging.getLogger("asyncjobs")

CLOSE_TIMEOUT = 5.0
"""Seconds that cancelled tasks get to end."""


class Services:
    """The owner of tasks: it keeps a reference while they run, logs a line when one fails, and ends them at `close`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._context = copy_context()

    def start(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `coroutine` in a task of its own until it ends or the scope is closed."""
        loop = asyncio.get_running_loop()
        # Not in the context of its first user, which may be a job: the task outlives that.
        task = loop.create_task(coroutine, name=f"asyncjobs {name}", context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error(
                "the background task %r ended with an error and does not run any more", task.get_name(), exc_info=error
            )

    async def close(self) -> None:
        """Cancel running tasks and wait for them, at most `CLOSE_TIMEOUT` seconds."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
