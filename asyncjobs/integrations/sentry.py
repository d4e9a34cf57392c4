"""The error reporter to Sentry: ``errors.subscribe(report_to_sentry)`` after `sentry_sdk.init`; needs the extra `sentry`."""

from __future__ import annotations

from typing import Any

import sentry_sdk
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.utils import event_from_exception

from asyncjobs import errors
from asyncjobs.errors import Severity

# Sentry makes an event of each log line of level error; these lines say again what is reported.
for _name in ("asyncjobs.worker.ends", "asyncjobs.hooks", "asyncjobs.errors.reports"):
    ignore_logger(_name)

FLUSH_TIMEOUT = 2.0
"""Seconds that the process of a job lasts longer, at most, for its events to be sent."""
errors.add_flush(lambda: sentry_sdk.flush(timeout=FLUSH_TIMEOUT))

_TAGS = ("kind", "queue", "attempt", "job_id")


def report_to_sentry(
    error: BaseException, *, handled: bool, severity: Severity, context: dict[str, Any], source: str
) -> None:
    """Send a report as an event: the job's kind, queue, attempt and id as tags, the whole context beside it."""
    client = sentry_sdk.get_client()
    if not client.is_active():
        return
    event, hint = event_from_exception(
        (type(error), error, error.__traceback__),
        client_options=client.options,
        mechanism={"type": source, "handled": handled},
    )
    event["level"] = severity
    with sentry_sdk.new_scope() as scope:
        for name in _TAGS:
            if name in context:
                scope.set_tag(f"job.{name.removeprefix('job_')}", str(context[name]))
        scope.set_context("asyncjobs", context)
        sentry_sdk.capture_event(event, hint=hint, scope=scope)
