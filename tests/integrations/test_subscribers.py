"""The ready-made subscribers of the error reporter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

from asyncjobs import AsyncJobs, Job, JobFailed, errors, job
from asyncjobs.integrations.logging import log_report
from asyncjobs.integrations.sentry import report_to_sentry
from tests.support.imports import imported_by


@job(kind="integrations.tidy", queue="low")
async def tidy() -> None:
    with errors.handle(TimeoutError, context={"cloud_id": 7}):
        raise TimeoutError("the mirror is slow")


@pytest.fixture
def subscribed(request: pytest.FixtureRequest) -> Iterator[None]:
    errors.subscribe(request.param)
    yield
    errors.unsubscribe(request.param)


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """What Sentry would have been sent."""
    sent: list[dict[str, Any]] = []

    class InMemory(Transport):
        def capture_envelope(self, envelope: Envelope) -> None:
            sent.extend(event for item in envelope.items if (event := item.get_event()) is not None)

    sentry_sdk.init(
        dsn="http://key@127.0.0.1/1",
        transport=InMemory(),
        default_integrations=False,
        integrations=[LoggingIntegration()],
    )
    yield sent
    sentry_sdk.get_client().close()
    sentry_sdk.init()


@pytest.mark.parametrize("subscribed", [log_report], indirect=True)
async def test_logging_gets_the_level_the_traceback_and_the_context(
    subscribed: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await tidy().perform_now()
    [record] = [record for record in caplog.records if record.name == "asyncjobs.errors.reports"]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "application handled error: TimeoutError: the mirror is slow"
    assert record.exc_info and record.exc_info[1].args == ("the mirror is slow",)
    context = record.__dict__["context"]
    assert (context["kind"], context["queue"], context["attempt"], context["cloud_id"]) == (
        "integrations.tidy",
        "low",
        1,
        7,
    )


@pytest.mark.parametrize("subscribed", [report_to_sentry], indirect=True)
async def test_sentry_gets_an_event_with_the_jobs_tags_and_whether_it_was_handled(
    subscribed: None, events: list[dict[str, Any]]
) -> None:
    await tidy().perform_now()
    sentry_sdk.flush()
    [event] = events
    assert event["level"] == "warning"
    assert (event["tags"]["job.kind"], event["tags"]["job.queue"], event["tags"]["job.attempt"]) == (
        "integrations.tidy",
        "low",
        "1",
    )
    assert event["contexts"]["asyncjobs"]["cloud_id"] == 7
    [raised] = event["exception"]["values"]
    assert (raised["type"], raised["mechanism"]["handled"]) == ("TimeoutError", True)


@job(kind="integrations.spoilt")
async def spoilt() -> None:
    raise ValueError("on purpose")


@spoilt.after_discard
def spoil_more(lost: Job[Any], error: BaseException) -> None:
    raise LookupError("in a hook")


@pytest.mark.parametrize("subscribed", [report_to_sentry], indirect=True)
async def test_sentry_gets_an_error_once_though_it_is_logged_as_well(
    subscribed: None, events: list[dict[str, Any]], jobs: AsyncJobs
) -> None:
    errors.subscribe(log_report)
    try:
        with pytest.raises(JobFailed):
            await (await spoilt().enqueue()).result(timeout=20)
    finally:
        errors.unsubscribe(log_report)
    logging.getLogger("theirs").error("a line of somebody else's")
    sentry_sdk.flush()
    raised = [value["type"] for event in events for value in event.get("exception", {}).get("values", ())]
    assert sorted(raised) == ["LookupError", "ValueError"]
    assert [event["logger"] for event in events if "exception" not in event] == ["theirs"]


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("subscriber", [log_report, report_to_sentry])
def test_an_error_without_a_text_is_told_of_too(
    subscriber: Any, events: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    subscriber(Unreadable(), handled=True, severity="warning", context={"odd": object()}, source="application")
    sentry_sdk.flush()
    told = caplog.text if subscriber is log_report else str(events)
    assert "Unreadable" in told


@pytest.mark.parametrize("subscribed", [report_to_sentry], indirect=True)
async def test_without_sentry_set_up_nothing_is_sent_and_nothing_fails(subscribed: None) -> None:
    await tidy().perform_now()


@job(kind="integrations.alices")
async def alices(gate: str) -> None:
    sentry_sdk.set_user({"id": "alice"})
    sentry_sdk.set_tag("tenant", "alice")
    sentry_sdk.add_breadcrumb(message="alice was here")
    gates[gate].set()
    await gates["end"].wait()


@job(kind="integrations.in_thread")
def in_thread() -> None:
    sentry_sdk.set_tag("tenant", "a thread's")
    raise ValueError("in a thread")


gates: dict[str, asyncio.Event] = {}


@pytest.mark.parametrize("subscribed", [report_to_sentry], indirect=True)
async def test_what_a_job_tells_sentry_is_on_its_own_reports_only(
    subscribed: None, events: list[dict[str, Any]], jobs: AsyncJobs
) -> None:
    gates.update(begun=asyncio.Event(), end=asyncio.Event())
    sentry_sdk.add_breadcrumb(message="a statement of the worker's own")
    first = await alices("begun").enqueue()
    await gates["begun"].wait()
    for _ in ("beside it", "after it"):
        with pytest.raises(JobFailed):
            await (await spoilt().enqueue()).result(timeout=20)
        with pytest.raises(JobFailed):
            await (await in_thread().enqueue()).result(timeout=20)
        gates["end"].set()
        await first
    sentry_sdk.flush()
    told = [event for event in events if event["tags"]["job.kind"] in ("integrations.spoilt", "integrations.in_thread")]
    assert len(told) >= 4
    for event in told:
        own = "a thread's" if event["tags"]["job.kind"] == "integrations.in_thread" else None
        assert (event.get("user"), event["tags"].get("tenant")) == (None, own)
        crumbs = [each["message"] for each in event.get("breadcrumbs", {}).get("values", ())]
        assert not {"alice was here", "a statement of the worker's own"} & set(crumbs)


@pytest.mark.parametrize("subscribed", [report_to_sentry], indirect=True)
async def test_a_job_that_is_performed_here_has_its_callers_scope_and_leaves_nothing_in_it(
    subscribed: None, events: list[dict[str, Any]]
) -> None:
    with sentry_sdk.isolation_scope():
        sentry_sdk.set_tag("request", "7")
        sentry_sdk.add_breadcrumb(message="the request began")
        with pytest.raises(ValueError, match="in a thread"):
            await in_thread().perform_now()
        sentry_sdk.capture_message("the request ends")
    sentry_sdk.flush()
    [failed, ended] = events
    assert (failed["tags"]["request"], failed["tags"]["tenant"]) == ("7", "a thread's")
    assert "the request began" in [each["message"] for each in failed["breadcrumbs"]["values"]]
    assert "tenant" not in ended["tags"]


def test_sentry_is_flushed_where_a_process_ends_without_its_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[float] = []
    monkeypatch.setattr(sentry_sdk, "flush", lambda timeout: flushed.append(timeout))
    errors.flush()
    assert flushed == [2.0]


@pytest.mark.processes
def test_importing_asyncjobs_imports_none_of_them() -> None:
    without = (
        "integrations",
        "sentry",
        "prometheus",
        "opentelemetry",
        "structlog",
        "asyncjobs.metrics",
        "asyncjobs.probes",
    )
    assert [name for name in imported_by("asyncjobs") if any(word in name for word in without)] == []


def test_no_event_of_sentry_holds_variables_of_our_frames() -> None:
    def frame(module: str) -> dict[str, Any]:
        return {"module": module, "vars": {"url": "secret"}}

    frames = [frame(name) for name in ("asyncjobs.db.connecting", "asyncpg", "asyncjobs_shop.jobs", "app.jobs")]
    stacks = {"values": [{"stacktrace": {"frames": frames}}, {"stacktrace": None}]}
    with sentry_sdk.new_scope() as scope:
        event: Any = scope.apply_to_event({"exception": stacks, "threads": None}, {})
    assert [entry["module"] for entry in frames if "vars" in entry] == ["asyncjobs_shop.jobs", "app.jobs"]
    assert event is not None
