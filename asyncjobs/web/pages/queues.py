"""The queues: how much waits in each, for how long, and what is paused."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from asyncjobs.checks.queue_patterns import serves, split
from asyncjobs.db import claims, pausing, reading
from asyncjobs.definitions import registry
from asyncjobs.jobs.pauses import Pause
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.pages.workers import read_waits, read_workers
from asyncjobs.web.queries import parameters

COUNTED_IN_ALL = 20_000
"""Ready jobs that are counted, at most, over all queues."""
MOST_QUEUES = 500


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page."""
    parameters(request)
    queues, waits = await read_queues(dashboard, await read_workers(dashboard)), await read_waits(dashboard)
    return {
        "queues": [{**queue, "waits": waits.get(queue["queue"])} for queue in queues],
        "pauses": await _pauses(dashboard),
    }


async def _pauses(dashboard: Dashboard) -> list[dict[str, Any]]:
    return [pause._asdict() for pause in await dashboard.read(pausing.read_pauses)]


async def read_queues(dashboard: Dashboard, workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the queues that have live jobs, or are paused, or that a worker, a setting or a definition here names."""
    names = await dashboard.read(lambda connection: claims.ready_queues(connection, after="", limit=MOST_QUEUES))
    most = max(COUNTED_IN_ALL // max(len(names), 4), 100)
    rows = {row.queue: row for row in await dashboard.read(lambda connection: reading.queues(connection, most))}
    pauses = {pause.queue: pause for pause in await dashboard.read(pausing.read_pauses) if pause.queue is not None}
    alive = [worker for worker in workers if not worker["late"]]
    pools = [pool["queues"] for worker in alive for pool in worker["pools"]]
    pools += [pool.queues for pool in dashboard.settings.pools]
    named = {entry for entries in pools for entry in split(entries)[0] if not entry.endswith("*")}
    named |= {queue for worker in alive for queue in worker["waits"]}
    named |= {name for each in registry.all_definitions() if isinstance(name := each.options.queue, str)}
    return [
        _values(rows.get(queue) or reading.QueueRow(queue, 0, 0, 0, 0, None, True), most, pauses.get(queue), alive)
        for queue in sorted({*rows, *pauses, *named} or {"default"})
    ]


def _values(row: reading.QueueRow, most: int, pause: Pause | None, workers: list[dict[str, Any]]) -> dict[str, Any]:
    def count(jobs: int) -> dict[str, Any]:
        return {"jobs": jobs, "more": not row.exact and jobs > 0}

    serving = [pool for worker in workers for pool in worker["pools"] if serves(pool["queues"], row.queue)]
    return {
        "queue": row.queue,
        "ready": {"jobs": min(row.ready, most), "more": row.ready >= most},
        "scheduled": count(row.scheduled),
        "running": count(row.running),
        "waiting": count(row.waiting),
        "oldest_ready": row.oldest,
        "slots": sum(pool["concurrency"] for pool in serving),
        "pause": None if pause is None else pause._asdict(),
    }
