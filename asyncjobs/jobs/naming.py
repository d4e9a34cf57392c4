"""Ids of jobs and batches, from whatever a caller names them by: a job, a UUID or its text."""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import UUID

from asyncjobs.checks.texts import shown
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.job import Job

JobOrId: TypeAlias = Job[Any] | UUID | str
"""A job that has a row, its id, or the text of its id."""


def batch_id(batch: UUID | str) -> UUID:
    """Return the id of the named batch.

    Raises:
        InvalidOption: It is no id, or the nil UUID.
    """
    if (found := _uuid(batch)) is None:
        raise InvalidOption(f"{shown(batch)} names no batch: give its id (`batch.id`, a UUID) or the text of that")
    return found


def _uuid(given: Any) -> UUID | None:
    if isinstance(given, str):
        try:
            given = UUID(given)
        except ValueError:
            return None
    return given if isinstance(given, UUID) and given.int else None


def id_of(job: JobOrId) -> UUID:
    """Return the id of the named job.

    Raises:
        NotEnqueued: It is a job that has no row yet.
        InvalidOption: It is neither a job nor an id, or the nil UUID.
    """
    if isinstance(job, Job):
        job._require_row()
        return job.id
    if (found := _uuid(job)) is None:
        raise InvalidOption(
            f"{shown(job)} names no job: give a job that was enqueued, its id (`job.id`, a UUID) or the text of that"
        )
    return found
