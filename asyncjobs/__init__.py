"""Background jobs for asyncio Python on PostgreSQL.

The rooms, each importing only from those below it; the first lines of each `__init__.py` say what is there::

    cli                the commands
    demo  integrations  testing    the demonstration; other libraries; the pytest plugin
    processes          worker processes: started, signalled, supervised, forked for jobs
    app                AsyncJobs: assembles the rest
    web                the dashboard: pages about jobs, and what can be done there
    terminal           what commands show: tables, options, exit codes
    embedded  worker  client       a private PostgreSQL; what runs jobs; what enqueues and awaits them
    db                 the only room that speaks to PostgreSQL
    jobs               what a user has in hand: jobs, batches, chains, events, schedules
    performing         one attempt, in whatever process
    definitions        kinds of jobs: options, fields, callbacks, the registry
    steps  failing     steps as they are declared; errors: declared, decided, stored
    values             arguments and results: from Python to JSON and back
    settings           config.toml and ASYNCJOBS_*
    modules  tasks  operating_system    where code stands; tasks that somebody owns; forks, child processes
    schedules  errors  logs        when something recurs; the error reporter; log lines
    probes  metrics    what monitoring asks: health over HTTP, systemd; what is counted
    records  checks  exceptions    what is stored, as values; what is given, checked; every error
"""

from __future__ import annotations

from asyncjobs import errors
from asyncjobs.app import AsyncJobs
from asyncjobs.definitions.attributes import attribute
from asyncjobs.definitions.hooks import (
    after_discard,
    after_enqueue,
    after_perform,
    around_enqueue,
    around_perform,
    before_enqueue,
    before_perform,
)
from asyncjobs.definitions.limiting import Limit
from asyncjobs.definitions.uniqueness import Unique
from asyncjobs.exceptions import (
    AlreadyEnqueued,
    AlreadyOpen,
    AssignmentNotSaved,
    AsyncJobsError,
    AwaitCycle,
    BatchNotFound,
    BatchOver,
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
    InvalidSchedule,
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
    NotUnique,
    PermissionDenied,
    QueueFull,
    RecordNotFound,
    SchemaMismatch,
    UnstorableResult,
)
from asyncjobs.failing.control_exceptions import Cancel, Discard, JobSignal, Retry, Snooze
from asyncjobs.failing.declarations import discard_on, rescue_from, retry_on
from asyncjobs.failing.failures import FailureGroup, Failures
from asyncjobs.jobs.batches import Batch
from asyncjobs.jobs.chains import Chain, chain
from asyncjobs.jobs.current import CurrentAttempt, current_attempt, current_job
from asyncjobs.jobs.enqueue_all import enqueue_all
from asyncjobs.jobs.events import emit, emit_from_thread
from asyncjobs.jobs.functions import job
from asyncjobs.jobs.job import Job
from asyncjobs.jobs.pauses import Pause
from asyncjobs.jobs.rates import Rate
from asyncjobs.jobs.recurring import RecurringStatus
from asyncjobs.migration import migrate
from asyncjobs.records.batch_status import BatchStatus
from asyncjobs.records.found_job import FoundJob
from asyncjobs.records.live import Progress, StreamItem
from asyncjobs.records.status import AttemptError, ChildStatus, Status, StepStatus
from asyncjobs.steps.cursors import Cursor
from asyncjobs.steps.step_decorator import step
from asyncjobs.values.references import register_reference
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
    "Batch",
    "BatchNotFound",
    "BatchOver",
    "BatchStatus",
    "Cancel",
    "Chain",
    "ChildStatus",
    "CurrentAttempt",
    "Cursor",
    "DatabaseError",
    "DatabaseUnavailable",
    "DeserializationError",
    "Discard",
    "EnqueueOutcomeUnknown",
    "FailureGroup",
    "Failures",
    "FoundJob",
    "InsideEventLoop",
    "InvalidArguments",
    "InvalidCall",
    "InvalidConnection",
    "InvalidDefinition",
    "InvalidOption",
    "InvalidSchedule",
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
    "Limit",
    "NotAJob",
    "NotEnqueued",
    "NotOpen",
    "NotRunning",
    "NotUnique",
    "Pause",
    "PermissionDenied",
    "Progress",
    "QueueFull",
    "Rate",
    "RecordNotFound",
    "RecurringStatus",
    "Retry",
    "SchemaMismatch",
    "Snooze",
    "Status",
    "StepStatus",
    "StreamItem",
    "Unique",
    "UnstorableResult",
    "after_discard",
    "after_enqueue",
    "after_perform",
    "around_enqueue",
    "around_perform",
    "attribute",
    "before_enqueue",
    "before_perform",
    "chain",
    "current_attempt",
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
