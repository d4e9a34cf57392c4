"""Jobs given to a batch, a chain or `then`: told from other values, and refused where they are enqueued already.

They are known by their attributes, since an import of their classes would be a circle.
"""

from __future__ import annotations

from typing import Any

from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import AlreadyEnqueued, InvalidOption


def is_job(value: Any) -> bool:
    """Whether a value is a job: no definition, chain or batch."""
    return not isinstance(value, type) and hasattr(value, "_disposition")


def check_new(job: Any, what: str) -> None:
    """Refuse a value that is no new job; `what` begins the message.

    Raises:
        InvalidOption: It is no job.
        AlreadyEnqueued: It is enqueued or running.
    """
    if not is_job(job):
        remedy = "call a @job function or a Job class"
        if hasattr(job, "_is_chain"):
            remedy = "enqueue a chain by itself, or give it to then()"
        elif isinstance(job, list | tuple):
            remedy = "give the jobs in it one by one, as in (*jobs)"
        raise InvalidOption(f"{what} got {shown(job)}, which is no job: {remedy}")
    if job._sent or job._attempt is not None:
        raise AlreadyEnqueued(f"{what} got {job.kind} {job.id}, which is enqueued already: make a new one")
