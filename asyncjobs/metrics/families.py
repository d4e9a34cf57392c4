"""The families of metrics, declared once: whatever shows metrics, and the documents, take them from here."""

from __future__ import annotations

from typing import Literal, NamedTuple

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of buckets, in seconds, of what takes milliseconds."""
LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""The same of what may take hours."""
OUTCOMES = ("succeeded", "failed", "discarded", "cancelled", "retried", "released", "crashed", "lost")
"""Outcomes of attempts; the first four are a job's end."""


class Family(NamedTuple):
    """One family.

    Attributes:
        name: The same everywhere.
        type: Of its values.
        unit: Of its values.
        labels: In order.
        help: A sentence without a full stop.
        of_cluster: Whether every process tells the same of all; else each tells its own.
        bounds: Of a histogram's buckets.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    unit: str
    labels: tuple[str, ...]
    help: str
    of_cluster: bool = False
    bounds: tuple[float, ...] = ()


ENQUEUED = Family(
    "asyncjobs_jobs_enqueued_total",
    "counter",
    "jobs",
    ("kind", "queue"),
    "Jobs that clients of this process have enqueued; in a transaction of yours, whether or not that commits",
)
STARTED = Family("asyncjobs_jobs_started_total", "counter", "attempts", ("kind", "queue"), "Attempts started here")
ENDED = Family(
    "asyncjobs_jobs_ended_total",
    "counter",
    "attempts",
    ("kind", "queue", "outcome"),
    "Attempts ended here. The job is final as succeeded, failed, discarded or cancelled; it runs again after retried (an "
    "error), released (a snooze, a sleep, a wait, a worker that stops), crashed (its process died) and lost (its lease)",
)
WAIT = Family(
    "asyncjobs_job_wait_seconds",
    "histogram",
    "seconds",
    ("kind", "queue"),
    "From the time at which a job was due to its claim",
    bounds=LONG,
)
DURATION = Family(
    "asyncjobs_job_duration_seconds",
    "histogram",
    "seconds",
    ("kind", "queue"),
    "From the start of an attempt to its end",
    bounds=LONG,
)
RESCUED = Family(
    "asyncjobs_jobs_rescued_total", "counter", "jobs", (), "Jobs of dead workers that this worker has made ready again"
)
QUEUE_JOBS = Family(
    "asyncjobs_queue_jobs",
    "gauge",
    "jobs",
    ("queue", "state"),
    "Jobs in a queue: ready, scheduled, running, waiting; counted up to 100,000, every 15 s, once for all processes",
    of_cluster=True,
)
OLDEST_READY = Family(
    "asyncjobs_queue_oldest_ready_seconds",
    "gauge",
    "seconds",
    ("queue",),
    "For how long the oldest ready job of a queue has been due; 0 when none is ready",
    of_cluster=True,
)
RUNNING = Family("asyncjobs_worker_running_jobs", "gauge", "jobs", ("pool",), "Slots of a pool in which a job runs")
SLOTS = Family("asyncjobs_worker_slots", "gauge", "slots", ("pool",), "Slots of a pool")
READY = Family(
    "asyncjobs_worker_ready", "gauge", "", (), "1 when /readyz would say so: the worker holds its lease and claims jobs"
)
LISTENING = Family(
    "asyncjobs_worker_listening", "gauge", "", (), "1 when notices are heard; 0: the worker polls, and jobs start later"
)
UNWRITTEN = Family("asyncjobs_worker_unwritten_ends", "gauge", "jobs", (), "Ends of jobs that are not written yet")
LOOP_BLOCKED = Family(
    "asyncjobs_worker_loop_blocked_seconds",
    "gauge",
    "seconds",
    (),
    "For how long the event loop has not turned, at this moment",
)
LOOP_LAG = Family(
    "asyncjobs_worker_loop_lag_seconds",
    "histogram",
    "seconds",
    (),
    "By how much timers of the event loop are late, some twenty times a second",
    bounds=FAST,
)
DATABASE = Family(
    "asyncjobs_database_seconds",
    "histogram",
    "seconds",
    ("connections",),
    "Time of operations on the database, with the wait for a connection: those of the client, and of the worker's services",
    bounds=FAST,
)

FAMILIES = (
    ENQUEUED,
    STARTED,
    ENDED,
    WAIT,
    DURATION,
    RESCUED,
    QUEUE_JOBS,
    OLDEST_READY,
    RUNNING,
    SLOTS,
    READY,
    LISTENING,
    UNWRITTEN,
    LOOP_BLOCKED,
    LOOP_LAG,
    DATABASE,
)
BY_NAME = {family.name: family for family in FAMILIES}
