"""Traces by OpenTelemetry: ``AsyncJobsInstrumentor().instrument()``; needs the extra `otel`, which is its API alone.

One trace goes from the request that enqueues a job through its attempts, their steps and the jobs that these enqueue: the
context is stored in the job's `meta`. Names and attributes follow the semantic conventions for messaging as of version 1.44;
they are not stable there yet, so they are written out here.

Without a tracer provider spans are not recorded, and nothing is stored with a job.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry import context, propagate, trace
from opentelemetry.trace import Link, Span, SpanKind, StatusCode

from asyncjobs import errors
from asyncjobs.checks.foreign_texts import message_of
from asyncjobs.checks.texts import is_storable
from asyncjobs.db.rows import Finish, Reschedule, State, state_name
from asyncjobs.definitions.labels import MOST_META_KEY, MOST_META_VALUE, labels_of, meta_in, tags_in
from asyncjobs.failing.control_exceptions import JobSignal
from asyncjobs.failing.deciding import What
from asyncjobs.failing.stored_errors import read_errors
from asyncjobs.performing import tracing
from asyncjobs.performing.outcomes import Outcome
from asyncjobs.version import VERSION

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt
    from asyncjobs.performing.job_value import JobValue
    from asyncjobs.records.claimed import Claimed

T = TypeVar("T")

SYSTEM: Final = "messaging.system"
DESTINATION: Final = "messaging.destination.name"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGE_ID: Final = "messaging.message.id"
BODY_SIZE: Final = "messaging.message.body.size"
COUNT: Final = "messaging.batch.message_count"
ERROR_TYPE: Final = "error.type"
KIND: Final = "asyncjobs.kind"
ATTEMPT: Final = "asyncjobs.attempt"
OUTCOME: Final = "asyncjobs.outcome"
STEP: Final = "asyncjobs.step"
FLUSH_TIMEOUT: Final = 2_000
"""Milliseconds for which a process of a job goes on, to send its spans."""

_FAILED = {What.fail: "failed", What.retry: "retried"}
_OTHERS = {
    What.succeed: "succeeded",
    What.discard: "discarded",
    What.cancel: "cancelled",
    What.snooze: "snoozed",
    What.release: "interrupted",
    What.park: "waiting",
    What.drop: "lost",
}


class AsyncJobsInstrumentor:
    """Turns the traces of jobs on and off for this process; `opentelemetry-instrument` finds it by itself."""

    def instrument(self, *, tracer_provider: trace.TracerProvider | None = None, **_others: Any) -> None:
        """Have spans made from now on, in clients and workers of this process.

        Call it where the tracer provider is set, in the web application and in the modules that a worker imports.

        Args:
            tracer_provider: None: the global one, also if it is set later.
        """
        tracing.active = _Tracer(trace.get_tracer("asyncjobs", VERSION, tracer_provider), tracer_provider)

    def uninstrument(self, **_others: Any) -> None:
        """Have no more spans made."""
        tracing.active = None


class _Tracer:
    """Makes the spans of jobs."""

    def __init__(self, tracer: trace.Tracer, provider: trace.TracerProvider | None) -> None:
        self._tracer = tracer
        self._provider = provider

    def carried(self) -> dict[str, str]:
        """Return the context of the present trace, without what is too long for the meta of a job, such as long baggage."""
        if not trace.get_current_span().get_span_context().is_valid:
            return {}
        found: dict[str, str] = {}
        propagate.inject(found)
        return {key: value for key, value in found.items() if _fits(key, value)}

    async def sending(self, call: Coroutine[Any, Any, T], jobs: Sequence[JobValue] | None = None) -> T:
        """Run an enqueue in a span."""
        kinds = {getattr(job, "kind", None) for job in jobs or ()}  # what is no job, the call refuses
        said = {SYSTEM: "asyncjobs", OPERATION: "send", OPERATION_TYPE: "send"}
        name = f"send {kinds.pop()}" if len(kinds) == 1 else "send"
        with self._tracer.start_as_current_span(name, kind=SpanKind.PRODUCER, attributes=said) as span:
            made = await call
            if span.is_recording():
                span.set_attributes(_of_sent(jobs, made))
            return made

    async def awaiting(self, call: Coroutine[Any, Any, T], job: JobValue) -> T:
        """Run the wait for the end of a job in a span."""
        with self._tracer.start_as_current_span(
            f"await {job.kind}", attributes={SYSTEM: "asyncjobs", KIND: job.kind, MESSAGE_ID: str(job.id)}
        ):
            return await call

    async def processing(
        self, call: Coroutine[Any, Any, T], attempt: Attempt, *, in_worker: bool = True, is_apart: bool = False
    ) -> T:
        """Run an attempt in a span: in the trace in which its job was enqueued, and linked to the span of that.

        What the worker's own task has inherited, such as the span in which it was started, is no part of that.
        """
        meta = meta_in(attempt.claimed.labels)
        before = propagate.extract(meta, context.Context()) if in_worker else context.get_current()
        token = context.attach(before)
        try:
            if tracing.apart:
                return await call
            sent = trace.get_current_span(before).get_span_context()
            with self._tracer.start_as_current_span(
                f"process {attempt.claimed.kind}",
                kind=SpanKind.CONSUMER,
                attributes=_of_claimed(attempt.claimed),
                links=[Link(sent)] if in_worker and sent.is_valid else (),
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                if is_apart:  # the other process has the context from here, for the spans that it makes
                    labels = labels_of(tags_in(attempt.claimed.labels), {**meta, **self.carried()})
                    attempt.claimed = attempt.claimed._replace(labels=labels)
                result = await call
                if span.is_recording():
                    _tell(span, result)
                return result
        finally:
            context.detach(token)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run the code of a step in a span."""
        with self._tracer.start_as_current_span(f"step {name}", attributes={STEP: name}):
            yield

    def flush(self) -> None:
        """Send the spans that a provider holds back."""
        provider: Any = self._provider or trace.get_tracer_provider()
        if hasattr(provider, "force_flush"):
            provider.force_flush(FLUSH_TIMEOUT)


def _flush() -> None:
    if isinstance(tracing.active, _Tracer):
        tracing.active.flush()


errors.add_flush(_flush)


def _fits(key: str, value: str) -> bool:
    return (
        0 < len(key) <= MOST_META_KEY and "=" not in key and len(value) <= MOST_META_VALUE and is_storable(key + value)
    )


def _of_sent(jobs: Sequence[JobValue] | None, made: Any) -> dict[str, Any]:
    if jobs is None:
        return {COUNT: made} if isinstance(made, int) else {}
    queues = {job.queue for job in jobs}
    said: dict[str, Any] = {DESTINATION: queues.pop()} if len(queues) == 1 else {}
    if len(jobs) != 1:
        return {**said, COUNT: len(jobs)}
    return {**said, KIND: jobs[0].kind, MESSAGE_ID: str(jobs[0].id)}


def _of_claimed(claimed: Claimed) -> Mapping[str, Any]:
    return {
        SYSTEM: "asyncjobs",
        OPERATION: "process",
        OPERATION_TYPE: "process",
        DESTINATION: claimed.queue,
        MESSAGE_ID: str(claimed.id),
        BODY_SIZE: len(claimed.args.encode()),
        KIND: claimed.kind,
        ATTEMPT: claimed.attempt,
    }


def _tell(span: Span, result: Any) -> None:
    """Write how an attempt has ended on its span."""
    match result:
        case Outcome():
            error = result.error or result.cause
            if isinstance(error, JobSignal):  # `raise Retry(…)` is no error by itself
                error = error.__cause__
            what = _FAILED.get(result.what) or _OTHERS.get(result.what, result.what.name)
            if error is not None and result.what in (*_FAILED, What.discard):
                span.record_exception(error)
            if result.what is What.fail or (result.what is What.retry and error is not None):
                name = "unknown" if error is None else f"{type(error).__module__}.{type(error).__qualname__}"
                _fail(span, name, "" if error is None else message_of(error))
        case Finish():
            what = state_name(result.state)
            _tell_stored(span, result.error, is_failed=result.state == State.failed)
        case Reschedule():
            what = _rescheduled(result)
            _tell_stored(span, result.error, is_failed=result.error is not None)
        case _:
            what = "lost"
    span.set_attribute(OUTCOME, what)


def _rescheduled(end: Reschedule) -> str:
    if end.waits:
        return "waiting"
    if end.spent or end.error is not None:
        return "retried"
    return "snoozed" if end.delay else "interrupted"


def _tell_stored(span: Span, line: str | None, *, is_failed: bool) -> None:
    """Write the error of an attempt that ran in a process of its own."""
    for error in read_errors(line):
        said = {
            "exception.type": error.type,
            "exception.message": error.message,
            "exception.stacktrace": error.traceback,
        }
        span.add_event("exception", said)
        if is_failed:
            _fail(span, error.type, error.message)


def _fail(span: Span, error_type: str, message: str) -> None:
    span.set_attribute(ERROR_TYPE, error_type.removeprefix("builtins."))
    span.set_status(StatusCode.ERROR, message)
