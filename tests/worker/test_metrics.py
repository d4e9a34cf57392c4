"""What is counted, what bounds it, and that Prometheus and OpenTelemetry are told the same."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from asyncjobs import AsyncJobs, Retry, Snooze, enqueue_all, job, opening
from asyncjobs.client import job_rows
from asyncjobs.db import queue_figures
from asyncjobs.db.connecting import connect
from asyncjobs.db.rows import Finish, Reschedule, State
from asyncjobs.exceptions import InvalidOption
from asyncjobs.metrics import families, opentelemetry, prometheus
from asyncjobs.metrics.counting import MOST_ROWS, OTHER, Metrics, QueueFigures, WorkerFigures
from asyncjobs.metrics.families import FAMILIES, Family
from asyncjobs.metrics.prometheus import JobsCollector, exposition, merged
from asyncjobs.records.claimed import Claimed
from asyncjobs.worker.running.executor import outcome_of
from tests.support.processes import until_so


@job(kind="metrics.double", queue="numbers")
async def double(number: int) -> int:
    return number * 2


@job(kind="metrics.in_thread")
def in_thread() -> None: ...


@job(kind="metrics.ends")
async def ends(how: str, attempts: int = 1) -> None:
    from asyncjobs import Cancel, Discard, current_attempt

    match how:
        case "fail":
            raise ValueError(how)
        case "discard":
            raise Discard(how)
        case "cancel":
            raise Cancel(how)
        case "retry" if current_attempt().number <= attempts:
            raise Retry(wait=0)
        case "snooze" if not Snoozed.snoozed:
            Snoozed.snoozed = True
            raise Snooze(0)


class Snoozed:
    snoozed = False


def counted(metrics: Metrics, family: Family) -> dict[tuple[str, ...], float]:
    return dict(metrics.samples().get(family, []))


@pytest.fixture
def jobs(database_url: str) -> AsyncJobs:
    return AsyncJobs(database_url=database_url, pools=[{"queues": ["*"], "concurrency": 10}])


async def test_every_start_and_every_end_is_counted_once_with_its_outcome(jobs: AsyncJobs) -> None:
    Snoozed.snoozed = False
    metrics = jobs.metrics.metrics
    async with jobs.running():
        asked = [ends(how) for how in ("fail", "discard", "cancel", "snooze")]
        asked.append(ends("retry", 2))
        for each in asked:
            await each.enqueue()
        await enqueue_all([double(1), double(2), in_thread()])
        # Eight of `ends`, of which two were retried and one was snoozed.
        await until_so(lambda: sum(counted(metrics, families.ENDED).values()) == 8 + 3)
        await until_so(lambda: metrics.worker is not None and metrics.worker().unwritten == 0)
        assert counted(metrics, families.ENQUEUED) == {
            ("metrics.double", "numbers"): 2,
            ("metrics.in_thread", "default"): 1,
            ("metrics.ends", "default"): 5,
        }
        of_ends = ("metrics.ends", "default")
        assert counted(metrics, families.ENDED) == {
            ("metrics.double", "numbers", "succeeded"): 2,
            ("metrics.in_thread", "default", "succeeded"): 1,
            (*of_ends, "failed"): 1,
            (*of_ends, "discarded"): 1,
            (*of_ends, "cancelled"): 1,
            (*of_ends, "retried"): 2,
            (*of_ends, "released"): 1,
            (*of_ends, "succeeded"): 2,
        }
        started = counted(metrics, families.STARTED)
        assert started == {
            ("metrics.double", "numbers"): 2,
            ("metrics.in_thread", "default"): 1,
            of_ends: 8,
        }
        histograms = dict(metrics.histograms())
        for family in (families.WAIT, families.DURATION):
            assert {labels: sum(each.counts) for labels, each in histograms[family]} == started
        assert 0 <= sum(each.total for _, each in histograms[families.WAIT]) < 60
        [slots] = counted(metrics, families.SLOTS).values()
        assert (slots, counted(metrics, families.READY)) == (10, {(): 1})
        assert sum(metrics.loop_lag.counts) > 0
        assert sum(metrics.of_worker.counts) > 0 and sum(metrics.of_client.counts) > 0
        shown = generate_latest(jobs.metrics).decode()
    assert metrics.worker is None
    # What Prometheus reads is what was counted.
    read = {family.name: family for family in text_string_to_metric_families(shown)}
    assert {sample.value for sample in read["asyncjobs_jobs_ended"].samples} == {1.0, 2.0}
    told = {family.name.removesuffix("_total") for family in FAMILIES}
    assert told - set(read) == {"asyncjobs_queue_jobs", "asyncjobs_queue_oldest_ready_seconds"} - set(read)


async def test_a_running_job_and_a_blocked_loop_are_seen(jobs: AsyncJobs) -> None:
    metrics = jobs.metrics.metrics
    async with jobs.running():
        await until_so(lambda: metrics.worker is not None and metrics.worker().ready)
        found = await asyncio.to_thread(seen_while_blocked, asyncio.get_running_loop(), metrics)
        assert found > 0.2
        assert max(n for n, count in enumerate(metrics.loop_lag.counts) if count) >= 7  # 0.1 s and more


def seen_while_blocked(loop: asyncio.AbstractEventLoop, metrics: Metrics) -> float:
    """For how long the loop has been blocked, as a thread reads it meanwhile."""
    loop.call_soon_threadsafe(time.sleep, 0.5)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        [blocked] = counted(metrics, families.LOOP_BLOCKED).values()
        if blocked > 0.2:
            return blocked
    return 0.0


async def test_nothing_is_counted_where_nobody_asks_and_at_once_where_somebody_does(jobs: AsyncJobs) -> None:
    async with jobs.running():
        opened = jobs._in_use()
        await (await double(1).enqueue())
        worker = jobs._worker
        assert worker is not None
        assert (opened.metrics, worker.parts.executor.metrics, opened.sessions.times, job_rows.on_enqueued) == (
            None,
        ) * 4
        metrics = jobs.metrics.metrics
        await until_so(lambda: worker.parts.executor.metrics is metrics)
        await (await double(2).enqueue())
        await until_so(lambda: counted(metrics, families.ENDED))
        assert counted(metrics, families.ENQUEUED) == {("metrics.double", "numbers"): 1}
    assert job_rows.on_enqueued is None


def test_a_collector_is_registered_once_and_before_anything_is_open() -> None:
    jobs, registry = AsyncJobs(), CollectorRegistry()
    registry.register(jobs.metrics)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(AsyncJobs().metrics)
    assert jobs.metrics is jobs.metrics


def test_without_prometheus_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "asyncjobs.metrics.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(InvalidOption, match=r"pip install 'asyncjobs-pg\[prometheus\]'"):
        _ = AsyncJobs().metrics


async def test_a_worker_that_is_probed_without_prometheus_client_says_so_and_counts_nothing(
    jobs: AsyncJobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda _name: None)
    jobs._arguments["http"] = "127.0.0.1:0"
    async with jobs.running():
        await until_so(lambda: jobs.healthy)
        worker = jobs._worker
        assert worker is not None and worker.parts.executor.metrics is None
        answer = await worker.probes.metrics()
    assert answer.status == 501
    assert b"pip install 'asyncjobs-pg[prometheus]'" in answer.body
    assert "/metrics has nothing to show without prometheus_client" in caplog.text


def test_kinds_and_queues_beyond_a_number_are_counted_as_others() -> None:
    metrics = Metrics()
    for number in range(3 * MOST_ROWS):
        metrics.enqueued(f"kind{number}", "q")
    enqueued = counted(metrics, families.ENQUEUED)
    assert len(enqueued) == MOST_ROWS + 1
    assert enqueued[OTHER, OTHER] == 2 * MOST_ROWS
    metrics.set_queues((QueueFigures(f"q{n}", n, 1, 0, 0, float(n)) for n in range(3 * MOST_ROWS)), 0.0)
    oldest = counted(metrics, families.OLDEST_READY)
    assert len(oldest) == MOST_ROWS
    assert counted(metrics, families.QUEUE_JOBS)[OTHER, "scheduled"] == 2 * MOST_ROWS + 1
    assert sum(v for (_, state), v in counted(metrics, families.QUEUE_JOBS).items() if state == "ready") == sum(
        range(3 * MOST_ROWS)
    )


def claimed(**fields: Any) -> Claimed:
    from uuid import uuid4

    return Claimed(1, 1, 0, 1, uuid4(), 1, 1, "k", "q", "{}")._replace(**fields)


@pytest.mark.parametrize("waited", [float("inf"), float("-inf"), -1.0])
def test_a_time_that_was_written_by_hand_spoils_no_sum(waited: float) -> None:
    metrics = Metrics()
    metrics.row("k", "q").start(waited)
    [(_, wait)] = dict(metrics.histograms())[families.WAIT]
    assert wait.total == 0.0


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        *((Finish(claimed().id, 1, state, None, None, None, 1), state.name) for state in State if state.final),
        (None, "lost"),
        (Reschedule(claimed().id, 1), "released"),
        (Reschedule(claimed().id, 1, 3.0, "{}", spent=True), "retried"),
        (Reschedule(claimed().id, 1, error="{}", spent=True, crashed=True), "crashed"),
        (Reschedule(claimed().id, 1, error="{}", spent=True, together=2), "crashed"),
    ],
)
def test_the_outcome_of_an_end(end: Any, outcome: str) -> None:
    assert outcome_of(end) == outcome
    assert outcome in families.OUTCOMES


async def test_figures_of_queues_are_taken_once_for_all_and_anew_when_they_are_old(
    jobs: AsyncJobs, database_url: str
) -> None:
    taken = "select taken_at from asyncjobs.queue_figures"
    first, second = await connect(database_url), await connect(database_url)
    try:
        async with jobs:
            await double(1).set(wait=3600).enqueue()
            await double(2).enqueue()
        found, age = await queue_figures.read(first)
        assert [each[:5] for each in found] == [("numbers", 1, 1, 0, 0)] and age == 0.0
        at = await second.fetchval(taken)
        again, age = await queue_figures.read(second)
        assert again == found and 0 < age < queue_figures.EVERY
        assert await second.fetchval(taken) == at
        await second.execute("update asyncjobs.queue_figures set taken_at = now() - interval '20 s'")
        async with first.transaction():
            await first.fetch("select from asyncjobs.queue_figures for update")  # somebody else takes them now
            old, age = await queue_figures.read(second)
            assert old == found and age >= 20
        await queue_figures.read(second)
        assert await second.fetchval(taken) > at
    finally:
        first.terminate()
        second.terminate()


async def test_figures_of_another_version_and_old_ones_are_not_shown(connection: asyncpg.Connection) -> None:
    await queue_figures.read(connection)
    await connection.execute("update asyncjobs.queue_figures set queues = '[[\"q\", 1]]', taken_at = clock_timestamp()")
    assert (await queue_figures.read(connection))[0] == []
    metrics = Metrics()
    metrics.set_queues([QueueFigures("q", 1, 0, 0, 0, 3.0)], 10.0)
    assert counted(metrics, families.OLDEST_READY)["q",] == pytest.approx(13.0, abs=1)
    metrics.set_queues([QueueFigures("q", 1, 0, 0, 0, 3.0)], 61.0)
    assert families.QUEUE_JOBS not in metrics.samples()


def test_a_queue_that_was_emptied_is_shown_as_empty() -> None:
    metrics = Metrics()
    metrics.set_queues([QueueFigures("a", 3, 0, 0, 0, 1.5), QueueFigures("b", 1, 0, 0, 0, 1.5)], 0.0)
    for _ in range(2):
        metrics.set_queues([QueueFigures("b", 1, 0, 0, 0, 1.5)], 0.0)
        ready = {queue: n for (queue, state), n in counted(metrics, families.QUEUE_JOBS).items() if state == "ready"}
        assert ready == {"a": 0, "b": 1}
        assert counted(metrics, families.OLDEST_READY)["a",] == 0
    metrics.set_queues((QueueFigures(f"q{n}", 1, 0, 0, 0, 1.0) for n in range(MOST_ROWS)), 0.0)
    assert ("a",) not in counted(metrics, families.OLDEST_READY)


async def test_a_worker_shows_the_queues(jobs: AsyncJobs, database_url: str) -> None:
    metrics = jobs.metrics.metrics
    async with AsyncJobs(database_url=database_url) as other:
        await other.enqueue(double(1).set(wait=3600))
    async with jobs.running():
        await until_so(lambda: counted(metrics, families.QUEUE_JOBS))
    assert counted(metrics, families.QUEUE_JOBS)["numbers", "scheduled"] == 1


def full() -> Metrics:
    """Metrics with a value in every family."""
    metrics = Metrics()
    metrics.enqueued("k", "q")
    row = metrics.row("k", "q")
    row.end(row.start(0.3), "succeeded")
    metrics.set_queues([QueueFigures("q", 3, 1, 0, 0, 1.5)], 0.0)
    metrics.worker = lambda: WorkerFigures([(1, 10, 2)], True, True, 4, 0.01, 7)
    for histogram in (metrics.loop_lag, metrics.of_client, metrics.of_worker):
        histogram.observe(0.02)
    return metrics


def test_the_processes_of_a_supervisor_are_told_apart_and_what_is_of_all_is_told_once() -> None:
    texts = {number: generate_latest(JobsCollector(full())).decode() for number in ("1", "2")}
    found = {family.name: family.samples for family in text_string_to_metric_families(merged(texts).decode())}
    assert [sample.labels for sample in found["asyncjobs_jobs_enqueued"]] == [
        {"process": number, "kind": "k", "queue": "q"} for number in ("1", "2")
    ]
    assert [sample.labels for sample in found["asyncjobs_queue_oldest_ready_seconds"]] == [{"queue": "q"}]


def test_a_worker_shows_its_own_though_another_asyncjobs_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    monkeypatch.setattr(prometheus, "REGISTRY", registry)
    registry.register(JobsCollector(Metrics()))  # of a module that is imported, and whose AsyncJobs is never opened
    Counter("mine", "My own.", registry=registry).inc()
    found = {
        family.name: family for family in text_string_to_metric_families(exposition(JobsCollector(full())).decode())
    }
    assert [sample.value for sample in found["asyncjobs_jobs_enqueued"].samples] == [1]
    counts = [sample for sample in found["asyncjobs_job_wait_seconds"].samples if sample.name.endswith("_count")]
    assert [sample.value for sample in counts] == [1]
    assert found["mine"].samples[0].value == 1


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """A meter provider of the program, whose metrics are read here."""
    assert not opentelemetry.is_configured()
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(api, "get_meter_provider", lambda: provider)
    yield reader
    provider.shutdown()


def test_opentelemetry_is_told_the_same_by_the_same_names(reader: InMemoryMetricReader) -> None:
    assert opentelemetry.is_configured()
    metrics = Metrics()
    opentelemetry.show(metrics)
    opentelemetry.show(metrics)  # as after opening again
    metrics.enqueued("k", "q")
    row = metrics.row("k", "q")
    row.end(row.start(0.3), "succeeded")
    metrics.set_queues([QueueFigures("q", 3, 1, 0, 0, 1.5)], 0.0)
    metrics.worker = lambda: WorkerFigures([(1, 10, 2)], True, True, 4, 0.01, 7)
    for histogram in (metrics.loop_lag, metrics.of_client, metrics.of_worker):
        histogram.observe(0.02)
    data: Any = reader.get_metrics_data()
    [scope] = data.resource_metrics[0].scope_metrics
    found = {each.name: each for each in scope.metrics}
    assert set(found) == {family.name for family in FAMILIES}
    shown = {family.name: family for family in JobsCollector(metrics).collect()}
    for family in FAMILIES:
        points = found[family.name].data.data_points
        samples = shown[family.name.removesuffix("_total")].samples
        if family.type == "histogram":
            samples = [sample for sample in samples if sample.name.endswith("_count")]
            assert {point.explicit_bounds for point in points} == {family.bounds}
        values = {
            tuple(sorted(point.attributes.items())): getattr(point, "count", None) or point.value for point in points
        }
        expected = {tuple(sorted(sample.labels.items())): sample.value for sample in samples}
        assert values == pytest.approx(expected, abs=0.1), family.name


async def test_a_program_with_a_meter_provider_is_counted_by_itself(
    reader: InMemoryMetricReader, jobs: AsyncJobs
) -> None:
    async with jobs.running():
        await (await double(1).enqueue())
        await until_so(lambda: jobs._in_use().metrics.samples()[families.ENDED])
        data: Any = reader.get_metrics_data()
    [scope] = data.resource_metrics[0].scope_metrics
    [ended] = [each for each in scope.metrics if each.name == families.ENDED.name]
    assert [(dict(point.attributes), point.value) for point in ended.data.data_points] == [
        ({"kind": "metrics.double", "queue": "numbers", "outcome": "succeeded"}, 1)
    ]
