"""Queues and workers as `status`, `queues list` and `top` show them."""

from __future__ import annotations

from typing import Any

from asyncjobs.db import reading
from asyncjobs.jobs.pauses import Pause
from asyncjobs.terminal import printing
from asyncjobs.worker.lease import worker_report


def with_paused(rows: list[reading.QueueRow], paused: list[Pause]) -> list[reading.QueueRow]:
    """Return each queue that holds jobs or is paused, by name."""
    named = {row.queue for row in rows}
    queues = dict.fromkeys(pause.queue for pause in paused if pause.queue is not None)
    empty = [reading.QueueRow(queue, 0, 0, 0, 0, None, True) for queue in queues if queue not in named]
    return sorted([*rows, *empty], key=lambda row: row.queue)


def queue_values(rows: list[reading.QueueRow], paused: list[Pause]) -> list[dict[str, Any]]:
    """Return each queue that holds jobs or is paused, with its pause, as values of JSON."""
    by_queue = {pause.queue: pause._asdict() for pause in paused if pause.queue is not None}
    return [{**row._asdict(), "pause": by_queue.get(row.queue)} for row in with_paused(rows, paused)]


def print_queues(rows: list[reading.QueueRow]) -> None:
    """Print the jobs of each queue by state; an incomplete count is shown with a plus."""
    printing.table(
        ["queue", "ready", "scheduled", "running", "waiting", "oldest ready"],
        [
            (
                row.queue,
                *(_counted(n, row) for n in (row.ready, row.scheduled, row.running, row.waiting)),
                printing.age(row.oldest),
            )
            for row in rows
        ],
        empty="no live jobs",
    )


def _counted(count: int, row: reading.QueueRow) -> int | str:
    return f"{count}+" if count and not row.exact else count


def print_workers(rows: list[reading.WorkerRow]) -> None:
    """Print the workers, with what they serve and how they are."""
    printing.table(
        ["worker", "host", "pid", "pools", "last beat", "running", "up"],
        [
            (
                row.id,
                row.about.get("host"),
                row.about.get("pid"),
                ", ".join(pools_of(row.about)),
                f"{printing.age(row.beat)} ago" + (f" ({remark})" if (remark := remark_on(row)) else ""),
                row.running,
                printing.age(row.age),
            )
            for row in rows
        ],
        empty="no workers",
    )


def remark_on(row: reading.WorkerRow) -> str:
    """Return what is unusual about a worker; empty: nothing is."""
    if row.late:
        return "lease over"
    report = worker_report.read(row.report)
    return "draining" if report.draining else "claims nothing" if report.claims_nothing else ""


def pools_of(about: dict[str, Any]) -> list[str]:
    """Return the pools of a worker in words."""
    return [f"{'+'.join(map(str, _list(pool.get('queues'))))} x {pool.get('concurrency')}" for pool in _pools(about)]


def slots_of(about: dict[str, Any]) -> int:
    """Return the number of jobs that a worker can run at once."""
    sizes = [pool.get("concurrency") for pool in _pools(about)]
    return sum(size for size in sizes if isinstance(size, int))


def _pools(about: dict[str, Any]) -> list[dict[str, Any]]:
    return [pool for pool in _list(about.get("pools")) if isinstance(pool, dict)]


def _list(value: Any) -> list[Any]:
    """Return a value of a worker's facts as a list; another version may say something else."""
    return value if isinstance(value, list) else []


def worker_values(row: reading.WorkerRow) -> dict[str, Any]:
    """Return a worker as values of JSON."""
    return {
        "id": row.id,
        **row.about,
        "up": row.age,
        "beat": row.beat,
        "late": row.late,
        "running": row.running,
        **worker_report.as_values(worker_report.read(row.report)),
    }
