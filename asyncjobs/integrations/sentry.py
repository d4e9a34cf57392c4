"""The error reporter to Sentry: ``errors.subscribe(report_to_sentry)`` after `sentry_sdk.init`; needs the extra `sentry`.

Importing it gives each attempt an isolation scope of its own: what a job tells Sentry (`set_user`, `set_tag`,
breadcrumbs) is in no other job's reports, nor in its caller's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.scope import add_global_event_processor
from sentry_sdk.utils import event_from_exception

from asyncjobs import errors
from asyncjobs.errors import Severity
from asyncjobs.performing import context_variables

# Sentry makes an event of each log line of level error; these lines would repeat what is reported.
for _name in ("asyncjobs.worker.ends", "asyncjobs.hooks", "asyncjobs.errors.reports"):
    ignore_logger(_name)

FLUSH_TIMEOUT = 2.0
"""Seconds at most for which a job process goes on, to send its events."""
errors.add_flush(lambda: sentry_sdk.flush(timeout=FLUSH_TIMEOUT))


@contextmanager
def own_scope(in_worker: bool) -> Iterator[None]:
    """Fork Sentry's isolation scope; in a worker, without the breadcrumbs of the worker's own statements."""
    if not sentry_sdk.get_client().is_active():
        yield
        return
    with sentry_sdk.isolation_scope() as scope:
        if in_worker:
            scope.clear_breadcrumbs()
        yield


context_variables.around.append(own_scope)

_OURS = ("asyncjobs", "asyncpg")


def _without_our_variables(event: Any, _hint: Any) -> Any:
    """Drop the variables of asyncjobs's frames, which hold stored arguments and the database's password."""
    stacks = [*_values(event.get("exception")), *_values(event.get("threads"))]
    for frame in (frame for stack in stacks for frame in (stack.get("stacktrace") or {}).get("frames") or ()):
        if str(frame.get("module")).partition(".")[0] in _OURS:
            frame.pop("vars", None)
    return event


def _values(part: Any) -> list[Any]:
    return list(part.get("values") or ()) if isinstance(part, dict) else list(part or ())


# For all events: Sentry's own integrations report errors with the same frames.
add_global_event_processor(_without_our_variables)

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
