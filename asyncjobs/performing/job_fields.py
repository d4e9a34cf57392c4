"""The id, kind and attempt of the running job in its log lines, whichever library writes them."""

from __future__ import annotations

import logging
import sys
from typing import Any

from asyncjobs.performing import running_job
from asyncjobs.performing.job_value import JobValue


def job_fields() -> dict[str, Any]:
    """Return the fields of a log line that is written here; none outside a job."""
    job = running_job.running.get()
    return {} if job is None else _of(job)


def _of(job: JobValue) -> dict[str, Any]:
    return {"job_id": str(job.id), "job_kind": job.kind, "job_attempt": job.attempt}


class JobFilter(logging.Filter):
    """Adds `job_id`, `job_kind` and `job_attempt` to every record of a job, also of its tasks and threads.

    Give it to handlers, not to loggers: a logger's filter does not see the records of the loggers below it. A field that the
    log call gives itself is left alone. `asyncjobs run` has it on every handler of the root logger.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields, and let the record through."""
        for name, value in job_fields().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def follow_structlog() -> None:
    """Bind the fields of each job in structlog's context variables from now on, if structlog was imported.

    So its lines have them also where it writes by itself; `merge_contextvars`, which is among structlog's own default
    processors, adds them.
    """
    if "structlog" in sys.modules:
        from structlog.contextvars import bind_contextvars

        running_job.on_begin = lambda job: bind_contextvars(**_of(job))


def filter_handlers() -> None:
    """Give the handlers of the root logger a `JobFilter`, unless they have one."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(each, JobFilter) for each in handler.filters):
            handler.addFilter(JobFilter())
