"""The error reporter to Sentry: ``errors.subscribe(report_to_sentry)`` after `sentry_sdk.init`; needs the extra `sentry`.

Imported, it gives each attempt an isolation scope of its own: what a job tells Sentry (`set_user`, `set_tag`, breadcrumbs)
is on no other job's reports, nor on its caller's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.utils import event_from_exception

from asyncjobs import errors
from asyncjobs.defining import contexts
from asyncjobs.errors import Severity

# Sentry makes an event of each log line of level error; these lines say again what is reported.
for _name in ("asyncjobs.worker.ends", "asyncjobs.hooks", "asyncjobs.errors.reports"):
    ignore_logger(_name)

FLUSH_TIMEOUT = 2.0
"""Seconds that the process of a job lasts longer, at most, for its events to be sent."""
errors.add_flush(lambda: sentry_sdk.flush(timeout=FLUSH_TIMEOUT))


@contextmanager
def own_scope(in_worker: bool) -> Iterator[None]:
    """Fork Sentry's isolation scope; in a worker without its breadcrumbs: they are of the worker's own statements."""
    if not sentry_sdk.get_client().is_active():
        yield
        return
    with sentry_sdk.isolation_scope() as scope:
        if in_worker:
            scope.clear_breadcrumbs()
        yield


contexts.around.append(own_scope)

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
