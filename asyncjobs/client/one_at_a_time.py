"""Calls that enqueue the same job object at the same time follow each other.

The second call asks whether the job has a row, or has had one. Beside the statement that makes the row it could overtake
that: its own row would run and be gone, and the first statement would then make another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_under_way: dict[Any, list[asyncio.Future[None]] | None] = {}
"""Jobs whose rows are being made, each with those that wait for the end of that."""


def begin(job: Any) -> None:
    """Note that a statement is about to make the row of a job."""
    _under_way[job] = None


def end(jobs: Iterable[Any]) -> None:
    """Note that the statements for some jobs are over, however they ended."""
    for job in jobs:
        for waiting in _under_way.pop(job, None) or ():
            waiting.get_loop().call_soon_threadsafe(_wake, waiting)


async def earlier(job: Any) -> None:
    """Wait until no other call makes the row of a job; nearly always none does."""
    while job in _under_way:
        waiting = asyncio.get_running_loop().create_future()
        _under_way[job] = [*(_under_way[job] or ()), waiting]
        await waiting


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
