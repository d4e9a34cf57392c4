"""What names a job: a job, its id, or the text of that."""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import UUID

from asyncjobs.defining.base import Job
from asyncjobs.exceptions import InvalidOption
from asyncjobs.texts import shown

JobOrId: TypeAlias = Job[Any] | UUID | str
"""A job that has a row, its id, or the text of that."""


def id_of(job: JobOrId) -> UUID:
    """Return the id of the job that is named.

    Raises:
        NotEnqueued: It is a job that has no row yet.
        InvalidOption: It is neither a job nor an id, or the nil UUID.
    """
    if isinstance(job, Job):
        job._require_row()
        return job.id
    found: Any = job
    if isinstance(job, str):
        try:
            found = UUID(job)
        except ValueError:
            found = None
    if not isinstance(found, UUID) or found.int == 0:
        raise InvalidOption(
            f"{shown(job)} names no job: give a job that was enqueued, its id (`job.id`, a UUID) or the text of that"
        )
    return found
