"""Workers that stop while a job is where the test wants it: what those tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from asyncjobs import AsyncJobs, Job, current_job

MakeJobs = Callable[..., AsyncJobs]

ran: list[str] = []
"""What the jobs of this test have done."""
here: list[Job[Any]] = []
"""The jobs that have come to the gate."""
gates: dict[str, asyncio.Event] = {}
"""Of this test: `arrived`, and `open`."""


def begin() -> None:
    """Forget the test before."""
    ran.clear()
    here.clear()
    gates.update(arrived=asyncio.Event(), open=asyncio.Event())


async def at_gate() -> None:
    """Say that the job is here, and wait until the gate is open."""
    here.append(current_job())
    gates["arrived"].set()
    await gates["open"].wait()


@asynccontextmanager
async def worker(make_jobs: MakeJobs, **settings: Any) -> AsyncIterator[AsyncExitStack]:
    """A worker; closing what this gives stops it."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(make_jobs(**settings).running())
        yield stack
