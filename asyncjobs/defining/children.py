"""Running other jobs as a step: enqueued once, and awaited, whatever ends the run in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asyncjobs.defining.cursors import Cursor
from asyncjobs.exceptions import InvalidOption, InvalidStep

if TYPE_CHECKING:
    from asyncjobs.defining.base import Job


def running(children: Sequence[Job[Any]]) -> Callable[[Cursor[list[UUID]]], Awaitable[list[str | None]]]:
    """Return the code of a step that runs `children` and returns the JSON of each one's result.

    Raises:
        InvalidOption: One is no job.
    """
    for child in children:
        if isinstance(child, type) or not hasattr(child, "_sent"):
            raise InvalidOption(f"run: {type(child).__name__} is no job: give the jobs one by one, `run(name, *jobs)`")
        child._made_at = None  # recorded as run, it is not enqueued again

    async def run_children(cursor: Cursor[list[UUID]]) -> list[str | None]:
        if cursor.value is None:
            # Durable before the first is enqueued: whoever goes on from here enqueues these, and not others beside them.
            await cursor.set([child.id for child in children])
            await cursor.flush()
        else:
            _identify(children, cursor.value)
        for child in children:
            await child.enqueue()
        ended = await asyncio.gather(*(child.result() for child in children), return_exceptions=True)
        for result in ended:
            if isinstance(result, BaseException):
                raise result
        return [child._definition.result.dump(result) for child, result in zip(children, ended, strict=True)]

    return run_children


def _identify(children: Sequence[Job[Any]], ids: Sequence[UUID]) -> None:
    """Have jobs that were made again be those that were made before."""
    if len(children) != len(ids):
        raise InvalidStep(
            f"the step runs {len(children)} jobs, and was recorded with {len(ids)}: make the same ones again"
        )
    for child, job_id in zip(children, ids, strict=True):
        child._id = job_id
        child._sent = True  # perhaps: its row is looked for before one is made
