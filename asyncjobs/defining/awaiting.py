"""Waiting for a job's result, also inside another job."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from asyncjobs.defining import context, limits, open_clients
from asyncjobs.defining.calls import RESULT
from asyncjobs.exceptions import AwaitCycle

if TYPE_CHECKING:
    from asyncjobs.defining.base import Job
    from asyncjobs.defining.open_clients import OpenClient


async def result_of(job: Job[Any], timeout: float | timedelta | None, client: OpenClient | None = None) -> Any:
    """Wait until a job is final and return its result; see `Job.result`.

    Args:
        job: Whose result it is.
        timeout: Seconds or a timedelta; None waits as long as it takes.
        client: Who waits; None: the client that jobs use.
    """
    job._require_row()
    seconds = None if timeout is None else limits.duration(timeout, "timeout")
    running = context.running.get()
    if running is None or running._attempt is None:
        return await (client or open_clients.current(RESULT)).result(job, timeout=seconds)
    if running.id == job.id:
        raise AwaitCycle([(job.id, job.kind)])
    running._attempt.give_slot_back()
    try:
        return await (client or open_clients.current(RESULT)).result(job, timeout=seconds)
    finally:
        await running._attempt.take_slot()
