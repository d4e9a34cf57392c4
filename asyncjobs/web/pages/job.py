"""One job: where it stands and why, its attempts, steps, children, chain and batch, its arguments and its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from asyncjobs.client.status_values import values_of
from asyncjobs.client.stored_outcomes import read_status, unended
from asyncjobs.client.why import ask
from asyncjobs.db import audit, jobs, live, looking
from asyncjobs.db.batches import read_chain
from asyncjobs.db.connecting import Connection
from asyncjobs.db.errors import translating
from asyncjobs.db.rows import StatusRow, state_name
from asyncjobs.db.why import read_serving
from asyncjobs.exceptions import DatabaseError, JobNotFound, PermissionDenied
from asyncjobs.terminal.printing import age
from asyncjobs.values.plain_json import shown as shown_value
from asyncjobs.web.dashboard import HIDDEN, Dashboard
from asyncjobs.web.pages.system import entry_values
from asyncjobs.web.queries import of_path, parameters
from asyncjobs.web.refusals import missing
from asyncjobs.web.rendering import as_json

LINKED = 10
"""Jobs of its chain that are shown before it, and after it."""
MOST_STEPS = 500
MOST_CHILDREN = 100
MOST_ERRORS = 20
AUDITED = 20
ITEMS = 20
"""Items of its stream that are shown: the last ones."""
GONE = "No job with this id can be seen: never made, rolled back, or past its retention."
VALUES = ("arguments", "result", "attributes", "steps", "errors")


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page."""
    parameters(request)
    job_id = of_path(request)
    found = await dashboard.read(lambda connection: looking.read_shown(connection, job_id))
    if found is None:
        raise missing(GONE)
    children = unended(found.row.steps)
    states = await dashboard.read(lambda connection: jobs.read_states(connection, children)) if children else {}
    shown = await dashboard.read(lambda connection: live.read_progress(connection, [job_id]))
    values = values_of(read_status(found.row, states, shown[0] if shown else None))
    errors, values["errors"] = values["errors"], values["errors"][-MOST_ERRORS:]
    belonging = await dashboard.read(lambda connection: looking.read_belonging(connection, job_id))
    steps = values["steps"]
    values["arguments"] = dashboard.redacted(found.row.kind, values["arguments"]) if found.row.args else None
    values["attributes"] = dashboard.redacted(found.row.kind, values["attributes"])
    values["steps"] = [_step(step) for step in steps[-MOST_STEPS:]]
    count = values["items"]
    items = await dashboard.read(lambda connection: _last_items(connection, job_id, count)) if count else []
    place = await _place(dashboard, found.row.worker)
    return {
        "job": {
            **values,
            "why": await _why(dashboard, job_id),
            "batch": belonging and belonging.batch,
            "scheduled_for": belonging and belonging.tick,
            "unique_key": belonging and belonging.unique_key and dashboard.redacted_key(belonging.unique_key),
            "limits": [dashboard.redacted_key(key) for key in (belonging and belonging.limit_keys) or []],
            "chain": await dashboard.read(lambda connection: _chain(connection, job_id)),
            "steps_left_out": max(len(steps) - MOST_STEPS, 0),
            "errors_left_out": len(errors) - len(values["errors"]),
            "may_read_arguments": found.may_read_arguments,
            "long": [name for name in ("arguments", "result", "attributes", "steps") if found.is_long(name)],
            "running_on": place,
            "stream": items,
        },
        "timeline": list(_timeline(values, place)),
        "audit": [
            entry_values(entry)
            for entry in await dashboard.read(
                lambda connection: audit.read(connection, scope="job", subject=str(job_id), limit=AUDITED)
            )
        ],
    }


async def read_value(dashboard: Dashboard, request: Request) -> Response:
    """Return one value of a job, all of it, as JSON."""
    parameters(request)
    job_id, what = of_path(request), request.path_params["what"]
    if what not in VALUES:
        raise missing(f"A job has {', '.join(VALUES)}.")
    found = await dashboard.read(lambda connection: _whole(connection, job_id))
    if found is None:
        raise missing(GONE)
    value = values_of(read_status(found))[what]
    if what in ("arguments", "attributes"):
        value = dashboard.redacted(found.kind, value) if found.args is not None or what == "attributes" else HIDDEN
    return Response(as_json(value), media_type="application/json")


async def _last_items(connection: Connection, job_id: UUID, count: int) -> list[dict[str, Any]]:
    rows = await live.read_stream(connection, job_id, max(count - ITEMS, 0), ITEMS)
    return [{"n": row.n, "value": shown_value(row.value), "attempt": row.attempt, "at": row.sent_at} for row in rows]


async def _whole(connection: Connection, job_id: UUID) -> StatusRow | None:
    """Return all of a job that this role may read."""
    for way in jobs.STATUS_WAYS[:-1]:
        with suppress(PermissionDenied), translating():
            return await jobs.read_status(connection, job_id, way)
    return await jobs.read_status(connection, job_id, jobs.STATUS_WAYS[-1])


async def _why(dashboard: Dashboard, job_id: UUID) -> str:
    try:
        return (
            await dashboard.read(lambda connection: ask(connection, job_id, show_key=dashboard.redacted_key))
        ).sentence
    except JobNotFound:
        return "is gone"
    except PermissionDenied:
        return ""


async def _place(dashboard: Dashboard, worker: UUID | None) -> str | None:
    if worker is None:
        return None
    found = await dashboard.read(read_serving)
    return next((f"{each.host}, pid {each.pid}" for each in found if each.id == worker), None)


async def _chain(connection: Connection, job_id: UUID) -> list[dict[str, Any]]:
    try:
        found = await read_chain(connection, job_id, LINKED)
    except DatabaseError:
        return []
    return [
        {
            "id": one.id,
            "kind": one.kind,
            "state": None if one.state is None else state_name(one.state),
            "place": one.place,
        }
        for one in found
    ]


def _step(step: dict[str, Any]) -> dict[str, Any]:
    children = step["children"]
    if children is None:
        return step
    counts = Counter(child["state"] or "gone" for child in children)
    others = [child for child in children if child["state"] != "succeeded"]
    succeeded = [child for child in children if child["state"] == "succeeded"]
    return {**step, "children": (others + succeeded)[:MOST_CHILDREN], "children_by_state": dict(counts)}


def _timeline(job: dict[str, Any], place: str | None) -> Iterator[dict[str, Any]]:
    """Yield what has happened to a job, in its order: when, what, of which attempt and where; `place`: where it runs."""
    yield _event(job["enqueued_at"], "enqueued")
    started, last = job["started_at"], job["errors"][-1] if job["errors"] else None
    # The row has the start of the attempt under way, or of the last one.
    is_of_last = last is not None and last["attempt"] == job["attempt"] and job["state"] != "running"
    for error in job["errors"]:
        if error["attempt"]:
            begun = error["started_at"] or (started if is_of_last and error is last else None)
            if begun is not None:
                yield _event(begun, f"attempt {error['attempt']} started", _on(error["worker"]), "running")
            kind = error["type"].removeprefix("builtins.")
            said = _both(_after(begun, error["at"]), f"{kind}: {error['message']}")
            yield _event(error["at"], f"attempt {error['attempt']} failed", said, "failed")
    if started is not None and not is_of_last:
        yield _event(started, f"attempt {max(job['attempt'], 1)} started", _on(place), "running")
    if job["finished_at"] is not None:
        took = "" if is_of_last else _after(started, job["finished_at"])
        yield _event(job["finished_at"], job["state"], _both(took, job["reason"]), job["state"])
    elif job["run_at"] is not None and job["state"] in ("scheduled", "waiting"):
        yield _event(job["run_at"], "due", "", job["state"])
    if job["expires_at"] is not None:
        yield _event(job["expires_at"], "expires if not started", "", "")


def _on(place: str | None) -> str:
    return f"on {place}" if place else ""


def _after(begun: datetime | None, at: datetime) -> str:
    return "" if begun is None else f"after {age((at - begun).total_seconds())}"


def _both(one: str, other: str | None) -> str:
    return ", ".join(filter(None, (one, other)))


def _event(at: datetime, what: str, detail: str = "", state: str = "") -> dict[str, Any]:
    return {"at": at, "what": what, "detail": detail, "state": state}
