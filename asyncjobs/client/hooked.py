"""Jobs that are stored together, each of them inside its own hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from asyncjobs.jobs.job import Job
from asyncjobs.performing import hook_calls
from asyncjobs.performing.hook_calls import Layers


async def inside_hooks(
    layers: Layers, jobs: Sequence[Job[Any]], insert: Callable[[Sequence[Job[Any]]], Awaitable[None]]
) -> None:
    """Have jobs inserted together: after what is to happen before each, and before what is to happen after it.

    Args:
        layers: The middleware.
        jobs: Each once.
        insert: Given those that no hook has kept from being enqueued, in their order; called once.

    Raises:
        Exception: Of a hook, or of `insert`.
    """
    hooked = [job for job in jobs if layers.around(job._definition).on_enqueue]
    if not hooked:
        await insert(jobs)
        return
    inserted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    arrived = {job: asyncio.Event() for job in hooked}

    async def enqueue(job: Job[Any]) -> None:
        async def wait() -> None:
            arrived[job].set()
            await asyncio.shield(inserted)

        await hook_calls.enqueue(layers.around(job._definition), job, wait)

    tasks = {asyncio.ensure_future(enqueue(job)): job for job in hooked}
    try:
        for task, job in tasks.items():
            there = asyncio.ensure_future(arrived[job].wait())
            await asyncio.wait([there, task], return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            if not arrived[job].is_set():
                task.result()  # raises what its hook has; else that has left it out
        await insert([job for job in jobs if job not in arrived or arrived[job].is_set()])
        inserted.set_result(None)
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        inserted.cancel()
