"""Background jobs for asyncio Python on PostgreSQL.

The rooms, each importing only from those below it::

    cli  demo          the edges: commands, the demonstration,
    integrations  testing      other libraries, the pytest plugin
    forking            the process that forks for jobs that run apart
    app                AsyncJobs: assembles the rest
    embedded           a private PostgreSQL for development
    worker | client    what runs jobs | what enqueues and awaits them
    db                 the only room that speaks to PostgreSQL
    defining           what a user writes: jobs, arguments, references, policies, hooks, steps
    errors             the error reporter
    services settings  scopes for tasks; config.toml and ASYNCJOBS_*
    exceptions harmless    every error; texts and log lines that must not raise
"""

from __future__ import annotations

from asyncjobs import errors
from asyncjobs.app import AsyncJobs, migrate
from asyncjobs.defining.attributes import attribute
from asyncjobs.defining.base import Job
from asyncjobs.defining.bulk import enqueue_all
from asyncjobs.defining.context import current_job
from asyncjobs.defining.cursors import Cursor
from asyncjobs.defining.declaring import discard_on, rescue_from, retry_on
from asyncjobs.defining.decorator import job
from asyncjobs.defining.events import emit, emit_from_thread
from asyncjobs.defining.hooks import (
    after_discard,
    after_enqueue,
    after_perform,
    around_enqueue,
    around_perform,
    before_enqueue,
    before_perform,
)
from asyncjobs.defining.references import register_reference
from asyncjobs.defining.signals import Cancel, Discard, JobSignal, Retry, Snooze
from asyncjobs.defining.status import AttemptError, ChildStatus, Status, StepStatus
from asyncjobs.defining.steps import step
from asyncjobs.exceptions import (
    AlreadyEnqueued,
    AlreadyOpen,
    AssignmentNotSaved,
    AsyncJobsError,
    AwaitCycle,
    DatabaseError,
    DatabaseUnavailable,
    DeserializationError,
    EnqueueOutcomeUnknown,
    InsideEventLoop,
    InvalidArguments,
    InvalidCall,
    InvalidConnection,
    InvalidDefinition,
    InvalidOption,
    InvalidSettings,
    InvalidStep,
    JobCancelled,
    JobCrashed,
    JobDiscarded,
    JobError,
    JobExpired,
    JobFailed,
    JobInterrupted,
    JobNeverEnqueued,
    JobNotFound,
    KindMismatch,
    LeaseLost,
    NotAJob,
    NotEnqueued,
    NotOpen,
    NotRunning,
    PermissionDenied,
    RecordNotFound,
    SchemaMismatch,
    UnstorableResult,
)
from asyncjobs.version import VERSION

__version__ = VERSION

__all__ = [
    "AlreadyEnqueued",
    "AlreadyOpen",
    "AssignmentNotSaved",
    "AsyncJobs",
    "AsyncJobsError",
    "AttemptError",
    "AwaitCycle",
    "Cancel",
    "ChildStatus",
    "Cursor",
    "DatabaseError",
    "DatabaseUnavailable",
    "DeserializationError",
    "Discard",
    "EnqueueOutcomeUnknown",
    "InsideEventLoop",
    "InvalidArguments",
    "InvalidCall",
    "InvalidConnection",
    "InvalidDefinition",
    "InvalidOption",
    "InvalidSettings",
    "InvalidStep",
    "Job",
    "JobCancelled",
    "JobCrashed",
    "JobDiscarded",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobInterrupted",
    "JobNeverEnqueued",
    "JobNotFound",
    "JobSignal",
    "KindMismatch",
    "LeaseLost",
    "NotAJob",
    "NotEnqueued",
    "NotOpen",
    "NotRunning",
    "PermissionDenied",
    "RecordNotFound",
    "Retry",
    "SchemaMismatch",
    "Snooze",
    "Status",
    "StepStatus",
    "UnstorableResult",
    "after_discard",
    "after_enqueue",
    "after_perform",
    "around_enqueue",
    "around_perform",
    "attribute",
    "before_enqueue",
    "before_perform",
    "current_job",
    "discard_on",
    "emit",
    "emit_from_thread",
    "enqueue_all",
    "errors",
    "job",
    "migrate",
    "register_reference",
    "rescue_from",
    "retry_on",
    "step",
]
