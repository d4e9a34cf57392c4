"""Jobs that are given to something that enqueues them later: told from other things, and refused where they cannot be taken.

By what they have, since their classes import what imports this.
"""

from __future__ import annotations

from typing import Any

from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import AlreadyEnqueued, InvalidOption


def is_job(value: Any) -> bool:
    """Whether a value is a job: not a definition, and neither a chain nor a batch."""
    return not isinstance(value, type) and hasattr(value, "_disposition")


def check_new(job: Any, what: str) -> None:
    """Refuse what is no job, or is enqueued already; `what` begins the message.

    Raises:
        InvalidOption: It is no job.
        AlreadyEnqueued: It is enqueued, or runs here.
    """
    if not is_job(job):
        remedy = "call a @job function or a Job class"
        if hasattr(job, "_is_chain"):
            remedy = "a chain is enqueued by itself, or left to then()"
        elif isinstance(job, list | tuple):
            remedy = "give the jobs in it one by one, as in (*jobs)"
        raise InvalidOption(f"{what} got {shown(job)}, which is no job: {remedy}")
    if job._sent or job._attempt is not None:
        raise AlreadyEnqueued(f"{what} got {job.kind} {job.id}, which is enqueued already: make a new one")
