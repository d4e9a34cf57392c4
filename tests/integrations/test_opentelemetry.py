"""Traces by OpenTelemetry: one from the request through its jobs, and none where nothing is configured."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from otel_jobs import in_process

from asyncjobs import (
    AsyncJobs,
    Batch,
    Discard,
    Job,
    JobDiscarded,
    JobFailed,
    Retry,
    Snooze,
    chain,
    current_attempt,
    enqueue_all,
    job,
    retry_on,
    step,
)
from asyncjobs.integrations.opentelemetry import AsyncJobsInstrumentor
from asyncjobs.performing import tracing
from tests.support.asking import until
from tests.support.imports import imported_by


def span_id() -> str:
    return format(trace.get_current_span().get_span_context().span_id, "016x")


@job(kind="otel.child")
async def child(n: int) -> int:
    return n


@job(kind="otel.here")
async def here() -> list[Any]:
    return [span_id(), baggage.get_baggage("tenant"), current_attempt().meta]


@job(kind="otel.thread")
def in_thread() -> str:
    return span_id()


@job(kind="otel.follower")
async def follower() -> None: ...


class Parent(Job, kind="otel.Parent"):
    @step
    async def first(self) -> None: ...

    @step
    async def second(self) -> None: ...

    async def perform(self) -> None:
        await self.run_steps()
        await self.run("children", child(1), child(2))
        self.then(follower())


@retry_on(ConnectionError, attempts=2, wait=0)
@job(kind="otel.failing")
async def failing() -> None:
    raise ConnectionError("the host is gone")


@job(kind="otel.discarding")
async def discarding() -> None:
    raise Discard("no longer needed")


@job(kind="otel.retrying")
async def retrying() -> None:
    if current_attempt().number == 1:
        raise Retry(wait=0)


@job(kind="otel.snoozing")
async def snoozing() -> None:
    if current_attempt().job.priority == 0:
        raise Snooze(3600)


class Broken(Job, kind="otel.Broken"):
    @step
    async def breaks(self) -> None:
        raise ValueError("broken")


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("the application")

    def all(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span

    def path(self, span: ReadableSpan) -> list[str]:
        """The names of a span and of those above it, all of one trace."""
        found = [span.name]
        by_id = {each.context.span_id: each for each in self.all()}
        while span.parent is not None:
            assert span.parent.trace_id == span.context.trace_id
            span = by_id[span.parent.span_id]
            found.append(span.name)
        return found

    async def until(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """Wait until so many have ended: a job's ends a moment after the job."""
        async with asyncio.timeout(30):
            while len(found := self.named(name)) < count:
                await asyncio.sleep(0)
        return found


@pytest.fixture(autouse=True)
def off() -> None:
    """`otel_jobs` has turned them on, in this process, too."""
    AsyncJobsInstrumentor().uninstrument()


@pytest.fixture
def spans() -> Iterator[Spans]:
    found = Spans()
    AsyncJobsInstrumentor().instrument(tracer_provider=found.provider)
    yield found
    AsyncJobsInstrumentor().uninstrument()


async def test_one_trace_from_a_request_through_enqueue_wait_attempt_steps_and_children(
    jobs: AsyncJobs, spans: Spans
) -> None:
    app = FastAPI()

    @app.middleware("http")
    async def traced(request: Any, call: Any) -> Any:
        with spans.tracer.start_as_current_span("GET /", kind=SpanKind.SERVER):
            return await call(request)

    @app.get("/")
    async def index() -> None:
        await (await Parent().enqueue())

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/")).status_code == 200
    [followed] = await spans.until("process otel.follower")
    await spans.until("GET /")
    sent = ["send otel.Parent", "GET /"]
    process = ["process otel.Parent", *sent]
    children = ["step children", *process]
    assert spans.path(spans.one("await otel.Parent")) == ["await otel.Parent", "GET /"]
    assert spans.path(spans.one("step first")) == ["step first", *process]
    assert spans.path(spans.one("step second")) == ["step second", *process]
    assert spans.path(spans.one("send")) == ["send", *children]
    assert [spans.path(each) for each in spans.named("process otel.child")] == [
        ["process otel.child", "send", *children]
    ] * 2
    assert spans.path(followed) == ["process otel.follower", *process]
    assert len({span.context.trace_id for span in spans.all()}) == 1


async def test_send_and_process_are_as_the_conventions_for_messaging_have_them(jobs: AsyncJobs, spans: Spans) -> None:
    made = await child(1).set(queue="low").enqueue()
    await made
    [processed], sent = await spans.until("process otel.child"), spans.one("send otel.child")
    both = {
        "messaging.system": "asyncjobs",
        "messaging.destination.name": "low",
        "messaging.message.id": str(made.id),
        "asyncjobs.kind": "otel.child",
    }
    assert sent.kind is SpanKind.PRODUCER
    assert dict(sent.attributes or {}) == {
        **both, "messaging.operation.name": "send", "messaging.operation.type": "send"
    }  # fmt: skip
    assert processed.kind is SpanKind.CONSUMER
    assert dict(processed.attributes or {}) == {
        **both,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.body.size": len('{"n":1}'),
        "asyncjobs.attempt": 1,
        "asyncjobs.outcome": "succeeded",
    }
    assert [link.context.span_id for link in processed.links] == [sent.context.span_id]
    assert processed.status.status_code is StatusCode.UNSET


async def test_each_attempt_has_a_span_with_its_error(jobs: AsyncJobs, spans: Spans) -> None:
    with pytest.raises(JobFailed):
        await (await failing().enqueue())
    first, second = await spans.until("process otel.failing", 2)
    sent = spans.one("send otel.failing")
    for span, outcome in ((first, "retried"), (second, "failed")):
        assert span.attributes is not None
        assert (span.attributes["asyncjobs.outcome"], span.attributes["error.type"]) == (
            outcome,
            "ConnectionError",
        )
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "the host is gone")
        assert [event.attributes["exception.message"] for event in span.events] == ["the host is gone"]
        assert [link.context.span_id for link in span.links] == [sent.context.span_id]
        assert span.parent is not None
        assert span.parent.span_id == sent.context.span_id
    assert [span.attributes["asyncjobs.attempt"] for span in (first, second)] == [1, 2]


async def test_other_ends_are_no_errors(jobs: AsyncJobs, spans: Spans) -> None:
    with pytest.raises(JobDiscarded):
        await (await discarding().enqueue())
    await snoozing().enqueue()
    await (await retrying().enqueue())
    ended = [
        *await spans.until("process otel.discarding"),
        *await spans.until("process otel.snoozing"),
        *await spans.until("process otel.retrying", 2),
    ]
    assert [span.attributes["asyncjobs.outcome"] for span in ended] == ["discarded", "snoozed", "retried", "succeeded"]
    assert {span.status.status_code for span in ended} == {StatusCode.UNSET}


async def test_an_error_of_a_step_is_on_its_span(jobs: AsyncJobs, spans: Spans) -> None:
    with pytest.raises(JobFailed):
        await (await Broken().enqueue())
    await spans.until("process otel.Broken")
    assert spans.one("step breaks").status.status_code is StatusCode.ERROR
    assert [event.name for event in spans.one("step breaks").events] == ["exception"]


async def test_many_at_once_have_one_span_with_their_number(jobs: AsyncJobs, spans: Spans) -> None:
    made = [child(n) for n in range(150)]
    await enqueue_all(made)
    for one in made:
        await one
    processed = await spans.until("process otel.child", 150)
    sent = spans.one("send")
    assert sent.attributes is not None
    assert sent.attributes["messaging.batch.message_count"] == 150
    assert {span.links[0].context.span_id for span in processed} == {sent.context.span_id}


async def test_chains_and_batches_have_one_span_each(jobs: AsyncJobs, spans: Spans) -> None:
    assert await (await chain(child(1), child(2)).enqueue()) == 2
    batch = Batch("b", on_success=follower())
    batch.add(child(3))
    await batch.enqueue()
    await spans.until("process otel.child", 3)
    [followed] = await spans.until("process otel.follower")
    chained, batched = spans.one("send otel.child"), spans.one("send")
    assert chained.attributes is not None
    assert chained.attributes["messaging.batch.message_count"] == 2
    assert spans.path(followed) == ["process otel.follower", "send"]
    assert [span.parent and span.parent.span_id for span in spans.named("process otel.child")] == [
        chained.context.span_id, chained.context.span_id, batched.context.span_id
    ]  # fmt: skip


@pytest.mark.slow
async def test_code_in_a_thread_and_in_a_process_of_its_own_is_inside_the_workers_span(
    jobs: AsyncJobs, spans: Spans
) -> None:
    assert await (await in_thread().enqueue()) == format(
        (await spans.until("process otel.thread"))[0].context.span_id, "016x"
    )
    found, carried, tag = await (await in_process().set(tags=("t",)).enqueue())
    [processed] = await spans.until("process otel.process")
    assert found == format(processed.context.span_id, "016x")
    assert carried.split("-")[2] == found
    assert tag == "t"
    assert processed.attributes is not None
    assert processed.attributes["asyncjobs.outcome"] == "succeeded"
    with pytest.raises(JobFailed):
        await (await in_process(broken=True).enqueue())
    _, broken = await spans.until("process otel.process", 2)
    assert (broken.status.status_code, broken.status.description) == (StatusCode.ERROR, "broken apart")
    assert [event.attributes["exception.type"] for event in broken.events] == ["builtins.ValueError"]


async def test_baggage_goes_along_unless_it_is_too_long(jobs: AsyncJobs, spans: Spans) -> None:
    for tenant, arrives in (("seven", "seven"), ("x" * 600, None)):
        token = context.attach(baggage.set_baggage("tenant", tenant))
        made = await here().set(meta={"own": "1"}).enqueue()
        context.detach(token)
        _, found, meta = await made
        assert found == arrives
        assert meta["own"] == "1"
        assert "traceparent" in meta


async def test_a_job_of_another_trace_or_of_none_is_not_in_the_one_in_which_its_worker_was_started(
    make_jobs: Callable[..., AsyncJobs], spans: Spans, connection: asyncpg.Connection
) -> None:
    with spans.tracer.start_as_current_span("startup"):
        async with make_jobs().running() as jobs:
            made = await connection.fetchval("select asyncjobs.enqueue('otel.child', args => '{\"n\": 1}')")
            assert await jobs.result(made) == 1
            [processed] = await spans.until("process otel.child")
    assert processed.parent is None
    assert processed.links == ()


async def test_perform_now_is_inside_the_callers_span(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("caller"):
        await child(1).perform_now()
    processed = spans.one("process otel.child")
    assert spans.path(processed) == ["process otel.child", "caller"]
    assert processed.links == ()


async def test_from_threads(jobs: AsyncJobs, spans: Spans) -> None:
    def work() -> int:
        with spans.tracer.start_as_current_span("in a thread"):
            return child(5).enqueue_from_thread().result_from_thread(timeout=30)

    assert await asyncio.to_thread(work) == 5
    [processed] = await spans.until("process otel.child")
    assert spans.path(processed) == ["process otel.child", "send otel.child", "in a thread"]


class TestOff:
    async def test_without_the_instrumentor_nothing_is_made_and_nothing_stored(self, jobs: AsyncJobs) -> None:
        spans = Spans()
        with spans.tracer.start_as_current_span("request"):
            made = await here().enqueue()
            assert await made == ["0" * 16, None, {}]
        assert [span.name for span in spans.all()] == ["request"]

    async def test_without_a_provider_nothing_is_stored(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        AsyncJobsInstrumentor().instrument(tracer_provider=trace.NoOpTracerProvider())
        try:
            assert (await (await here().enqueue()))[2] == {}
            await enqueue_all([child(1), child(2)])
            await until(connection, "select count(*) = 3 from asyncjobs.finished")
        finally:
            AsyncJobsInstrumentor().uninstrument()
        assert await connection.fetchval("select count(labels) from asyncjobs.finished") == 0

    def test_asyncjobs_itself_imports_nothing_of_it(self) -> None:
        assert [name for name in imported_by("asyncjobs") if name.startswith("opentelemetry")] == []

    def test_the_instrumentor_is_where_opentelemetry_looks_for_it(self) -> None:
        said = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]
        module, _, name = said["opentelemetry_instrumentor"]["asyncjobs"].partition(":")
        assert getattr(sys.modules[module], name) is AsyncJobsInstrumentor
        assert tracing.active is None
