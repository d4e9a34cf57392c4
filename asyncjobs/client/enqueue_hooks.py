"""Hooks around jobs that are stored together: each job is inside its own hooks."""

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
    """Insert jobs together: after the hooks that run before each job, and before those that run after it.

    Args:
        layers: The middleware.
        jobs: The jobs, each once.
        insert: Called once, with the jobs that no hook has kept from being enqueued, in their order.

    Raises:
        Exception: An error of a hook or of `insert`.
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
                task.result()  # raises the hook's error; without one, the hook has left the job out
        await insert([job for job in jobs if job not in arrived or arrived[job].is_set()])
        inserted.set_result(None)
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        inserted.cancel()
