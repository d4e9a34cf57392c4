"""Which job is running here: one context variable, set inside each job's own task and copied into its threads."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from asyncjobs import errors
from asyncjobs.exceptions import NotRunning

if TYPE_CHECKING:
    from asyncjobs.defining.base import Job

running: ContextVar[Job[Any] | None] = ContextVar("asyncjobs_running", default=None)


def current_job() -> Job[Any]:
    """Return the job whose code is running here.

    In a task, a thread or a callback that the job started, too.

    Raises:
        NotRunning: Outside any job.
    """
    job = running.get()
    if job is None:
        raise NotRunning("no job is running here: current_job() works inside a job's own code")
    return job


def _of_report() -> dict[str, Any]:
    job = running.get()
    if job is None:
        return {}
    return {"job_id": str(job.id), "kind": job.kind, "queue": job.queue, "attempt": job.attempt}


errors.add_context(_of_report)
