"""A module that turns the traces of jobs on, as that of an application does, with jobs that run in processes of their own."""

from __future__ import annotations

from opentelemetry import trace

from asyncjobs import current_attempt, job
from asyncjobs.integrations.opentelemetry import AsyncJobsInstrumentor

AsyncJobsInstrumentor().instrument()


@job(kind="otel.process", executor="process")
def in_process(broken: bool = False) -> list[str]:
    if broken:
        raise ValueError("broken apart")
    here = trace.get_current_span().get_span_context()
    return [format(here.span_id, "016x"), current_attempt().meta["traceparent"], *current_attempt().tags]
