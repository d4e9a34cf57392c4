"""The fields of the running job in log lines, and the error reporter to `logging`: ``errors.subscribe(log_report)``."""

from __future__ import annotations

import logging
from typing import Any

from asyncjobs.checks.foreign_texts import is_vast, shown
from asyncjobs.errors import Severity
from asyncjobs.performing.job_fields import JobFilter, follow_structlog, job_fields

__all__ = ["JobFilter", "add_job", "follow_structlog", "job_fields", "log_report"]

logger = logging.getLogger("asyncjobs.errors.reports")

_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}


def log_report(
    error: BaseException, *, handled: bool, severity: Severity, context: dict[str, Any], source: str
) -> None:
    """Log a report with its traceback at the level of its severity; the context is the record's `context`."""
    logger.log(
        _LEVELS[severity],
        "%s %s error: %s",
        source,
        "handled" if handled else "unhandled",
        shown(error),
        exc_info=None if is_vast(error) else (type(error), error, error.__traceback__),
        extra={"handled": handled, "source": source, "context": context},
    )


def add_job(record: Any) -> None:
    """Add the fields of the running job to the `extra` of a loguru record: ``logger.configure(patcher=add_job)``."""
    for name, value in job_fields().items():
        record["extra"].setdefault(name, value)
