"""The labels of one job as they are stored: its tags and meta, and the arguments by which it can be found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncjobs.definitions.labels import labels_of, searchable_of
from asyncjobs.performing import tracing
from asyncjobs.values import codec
from asyncjobs.values.previous import previous_in

if TYPE_CHECKING:
    from asyncjobs.performing.job_value import JobValue


def stored_labels(job: JobValue) -> tuple[str, ...] | None:
    """Return the tags and meta of a job, with the context of the trace in which it is enqueued; None: it has none."""
    return set_labels(job, {} if tracing.active is None else tracing.active.carried())


def set_labels(job: JobValue, more: dict[str, str]) -> tuple[str, ...] | None:
    """Return the tags and meta that `set` has given a job, with more meta; None: it has none."""
    said = job._set_options or {}
    return tuple(labels_of(said.get("tags") or (), {**more, **(said.get("meta") or {})})) or None


def stored_searchable(job: JobValue) -> tuple[str, ...] | None:
    """Return the searchable arguments of a job; None: it has none.

    The result of the job before in a chain is not among them, since it is not known yet.
    """
    names = job._definition.options.searchable
    if not names:
        return None
    stored = codec.loads(job._stored_arguments())
    unknown = previous_in(job)
    return tuple(searchable_of(name, stored[name]) for name in names if name in stored and name not in unknown) or None
