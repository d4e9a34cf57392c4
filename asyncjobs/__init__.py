"""Background jobs for asyncio Python on PostgreSQL.

The rooms, each importing only from those below it::

    cli  demo          the edges: commands, the demonstration
    app                AsyncJobs: assembles the rest
    embedded           a private PostgreSQL for development
    worker | client    what runs jobs | what enqueues and awaits them
    db                 the only room that speaks to PostgreSQL
    defining           what a user writes: jobs, arguments, references
    services settings  scopes for tasks; config.toml and ASYNCJOBS_*
    exceptions         every error
"""

from __future__ import annotations

from asyncjobs.app import AsyncJobs
from asyncjobs.defining.base import Job
from asyncjobs.defining.bulk import enqueue_all
from asyncjobs.defining.context import current_job
from asyncjobs.defining.decorator import job
from asyncjobs.defining.references import register_reference
from asyncjobs.defining.status import AttemptError, Status
from asyncjobs.exceptions import (
    AlreadyEnqueued,
    AlreadyOpen,
    AsyncJobsError,
    Cancel,
    DatabaseError,
    DatabaseUnavailable,
    DeserializationError,
    Discard,
    EnqueueOutcomeUnknown,
    InvalidArguments,
    InvalidConnection,
    InvalidDefinition,
    InvalidOption,
    InvalidSettings,
    JobCancelled,
    JobDiscarded,
    JobError,
    JobFailed,
    JobNotFound,
    JobSignal,
    KindMismatch,
    LeaseLost,
    NotEnqueued,
    NotOpen,
    NotRunning,
    PermissionDenied,
    RecordNotFound,
    SchemaMismatch,
)

__version__ = "0.1.0"

__all__ = [
    "AlreadyEnqueued",
    "AlreadyOpen",
    "AsyncJobs",
    "AsyncJobsError",
    "AttemptError",
    "Cancel",
    "DatabaseError",
    "DatabaseUnavailable",
    "DeserializationError",
    "Discard",
    "EnqueueOutcomeUnknown",
    "InvalidArguments",
    "InvalidConnection",
    "InvalidDefinition",
    "InvalidOption",
    "InvalidSettings",
    "Job",
    "JobCancelled",
    "JobDiscarded",
    "JobError",
    "JobFailed",
    "JobNotFound",
    "JobSignal",
    "KindMismatch",
    "LeaseLost",
    "NotEnqueued",
    "NotOpen",
    "NotRunning",
    "PermissionDenied",
    "RecordNotFound",
    "SchemaMismatch",
    "Status",
    "current_job",
    "enqueue_all",
    "job",
    "register_reference",
]
