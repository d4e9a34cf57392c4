"""Waiting for a job's result, also inside another job."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from asyncjobs.checks import limits
from asyncjobs.exceptions import AwaitCycle
from asyncjobs.performing import open_clients, running_job
from asyncjobs.performing.calls import RESULT
from asyncjobs.performing.job_value import JobValue

if TYPE_CHECKING:
    from asyncjobs.performing.open_clients import OpenClient


async def result_of(job: JobValue, timeout: float | timedelta | None, client: OpenClient | None = None) -> Any:
    """Wait until a job is final and return its result; see `Job.result`.

    Args:
        client: The client that waits; None: the client that jobs use.
    """
    job._require_row()
    seconds = None if timeout is None else limits.duration(timeout, "timeout")
    running = running_job.running.get()
    if running is None or running._attempt is None:
        return await (client or open_clients.current(RESULT, job._client)).result(job, timeout=seconds)
    if running.id == job.id:
        raise AwaitCycle([(job.id, job.kind)])
    async with giving_slot_back():
        return await (client or open_clients.current(RESULT, job._client)).result(job, timeout=seconds)


@contextlib.asynccontextmanager
async def giving_slot_back() -> AsyncIterator[None]:
    """Let another job run while the running job, if there is one, waits in a block."""
    running = running_job.running.get()
    if running is None or (attempt := running._attempt) is None:
        yield
        return
    attempt.give_slot_back()
    try:
        yield
    finally:
        await attempt.take_slot()
