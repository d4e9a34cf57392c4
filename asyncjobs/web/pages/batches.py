"""Batches: how far each is, and its parts."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from asyncjobs.db import looking
from asyncjobs.db.batches import BatchRow
from asyncjobs.db.rows import state_name
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.queries import of_path, parameters
from asyncjobs.web.refusals import missing

PAGE = 50
COUNTED_IN_LIST, COUNTED = 500, 10_000
"""Jobs of each batch that are counted, at most, in a list and on the batch's own page."""
FINAL = ("succeeded", "failed", "discarded", "cancelled")


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the list."""
    before = parameters(request, "before").uuid("before")
    found = await dashboard.read(
        lambda connection: looking.list_batches(connection, before=before, limit=PAGE + 1, counted=COUNTED_IN_LIST)
    )
    return {
        "batches": [_values(each, COUNTED_IN_LIST) for each in found[:PAGE]],
        "next": found[PAGE - 1].id if len(found) > PAGE else None,
    }


async def read_one(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page of one batch."""
    parameters(request)
    batch = of_path(request)
    [*found] = await dashboard.read(lambda connection: looking.list_batches(connection, only=batch, counted=COUNTED))
    if not found:
        raise missing("No batch with this id can be seen: never made, rolled back, or over for long.")
    parts = await dashboard.read(
        lambda connection: looking.list_batches(connection, parts_of=batch, limit=PAGE, counted=COUNTED_IN_LIST)
    )
    jobs = await dashboard.read(lambda connection: looking.list_batch_jobs(connection, batch, PAGE))
    return {
        "batch": _values(found[0], COUNTED),
        "jobs": [{**job._asdict(), "state": state_name(job.state)} for job in jobs],
        "parts": [_values(each, COUNTED_IN_LIST) for each in parts],
    }


def _values(batch: BatchRow, counted: int) -> dict[str, Any]:
    """Return what is shown of a batch; if it is `cut`, its numbers are those of some of its jobs, and no share is shown."""
    total = sum(batch.by_state.values())
    return {
        **batch._asdict(),
        "counted": counted,
        "total": total,
        "done": sum(batch.by_state.get(state, 0) for state in FINAL),
    }
