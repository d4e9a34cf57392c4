"""The workers: what they are, what they do, and what holds them up."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from asyncjobs.checks.queue_patterns import serves
from asyncjobs.db import reading
from asyncjobs.db.why import Serving, read_serving
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.queries import parameters
from asyncjobs.worker.lease import worker_report
from asyncjobs.worker.watching.waits import percentiles, together


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page."""
    parameters(request)
    return {"workers": await read_workers(dashboard)}


async def read_workers(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Return the workers that are not declared dead."""
    rows = await dashboard.read(reading.workers)
    serving = {worker.id: worker for worker in await dashboard.read(read_serving)}
    return [_values(row, serving.get(row.id)) for row in rows]


def _values(row: reading.WorkerRow, serving: Serving | None) -> dict[str, Any]:
    report = worker_report.read(row.report)
    pools = [] if serving is None else serving.pools
    slots = sum(concurrency for _, concurrency in pools)
    return {
        "id": row.id,
        "host": "" if serving is None else serving.host,
        "pid": None if serving is None else serving.pid,
        "version": _text(row.about.get("version")),
        "pools": [
            {"queues": queues, "concurrency": concurrency, "running": _running(queues, serving)}
            for queues, concurrency in pools
        ],
        "kinds": [] if serving is None else sorted(serving.kinds),
        "slots": slots,
        "running": row.running,
        "running_by_queue": {} if serving is None else serving.held,
        "up": row.age,
        "beat": row.beat,
        "late": row.late,
        "quiet": row.quiet,
        **worker_report.as_values(report),
    }


async def read_waits(dashboard: Dashboard) -> dict[str, dict[str, Any]]:
    """Return the percentiles of waits by queue, of what workers that are alive have started lately."""
    rows = await dashboard.read(reading.workers)
    counts = together(worker_report.read(row.report).waits for row in rows if not row.late)
    return {queue: percentiles(found)._asdict() for queue, found in counts.items()}


def _running(queues: list[str], serving: Serving | None) -> int:
    """Return how many jobs run in a pool; pools that share a queue count its jobs each."""
    held = {} if serving is None else serving.held
    return sum(count for queue, count in held.items() if serves(queues, queue))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def blocks(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the kinds that block event loops, the longest first."""
    found: dict[str, dict[str, Any]] = {}
    for worker in workers:
        for kind, block in worker["blocked"].items():
            one = found.setdefault(kind, {"kind": kind, **block, "count": 0})
            one["count"] += block["count"]
            if block["longest"] > one["longest"]:
                one |= {"longest": block["longest"], "place": block["place"]}
    return sorted(found.values(), key=lambda one: -float(one["longest"]))
