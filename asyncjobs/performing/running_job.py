"""The running job: one context variable, set inside each job's own task and copied into its threads."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from asyncjobs import errors
from asyncjobs.performing.job_value import JobValue

running: ContextVar[JobValue | None] = ContextVar("asyncjobs_running", default=None)

on_begin: Callable[[JobValue], object] | None = None
"""Called in the context of each attempt, as soon as its job is known there; None: nobody asks."""


def _of_report() -> dict[str, Any]:
    job = running.get()
    if job is None:
        return {}
    return {"job_id": str(job.id), "kind": job.kind, "queue": job.queue, "attempt": job.attempt}


errors.add_context(_of_report)
