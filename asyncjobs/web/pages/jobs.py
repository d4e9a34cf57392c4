"""The jobs: listed by state, kind, queue and error, or by the beginning of their ids."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any
from uuid import UUID

from starlette.requests import Request

from asyncjobs.db import looking, reading
from asyncjobs.db.looking import Wanted
from asyncjobs.definitions import registry
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.pages.listed import counts, page_of_jobs, values_of
from asyncjobs.web.pages.workers import read_workers
from asyncjobs.web.queries import FILTER, filter_parameters, parameters

PAGE, MOST = 50, 200
NEAR = 8
"""Kinds that are proposed where a filter's has no jobs."""


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page; with an id, of the jobs and the batches alone whose ids begin so."""
    given = parameters(request, *FILTER, "id", "before", "limit")
    wanted, before = given.wanted(hides_arguments=dashboard.hides_arguments), given.uuid("before")
    limit = given.whole("limit", least=1, most=MOST) or PAGE
    batches, near = [], []
    if (ids := given.beginning("id")) is not None:
        wanted = Wanted()
        left = ids if before is None else ids._replace(greatest=min(ids.greatest, UUID(int=before.int - 1)))
        found = await dashboard.read(lambda connection: reading.list_beginning(connection, left, limit + 1))
        found, following = found[:limit], found[limit - 1].id if len(found) > limit else None
        if before is None:
            batches = await dashboard.read(lambda connection: looking.list_batches_beginning(connection, ids, limit))
    else:
        found, following = await dashboard.read(
            lambda connection: page_of_jobs(connection, wanted, before=before, limit=limit)
        )
        near = await _near(dashboard, wanted.kind) if wanted.kind and not found else []
    return {
        "filter": filter_parameters(wanted) if ids is None else {"id": given.text("id")},
        "counts": await dashboard.read(lambda connection: counts(connection, wanted)),
        "jobs": [values_of(job) for job in found],
        "batches": batches,
        "near": near,
        "next": following,
        "is_first_page": before is None,
    }


def only_one(values: dict[str, Any]) -> str | None:
    """Return the page of the only job, or batch, that an id leads to; None: there are none, or several."""
    pages = [f"/jobs/{job['id']}" for job in values["jobs"]] + [f"/batches/{batch}" for batch in values["batches"]]
    is_all = values["is_first_page"] and values["next"] is None
    return pages[0] if "id" in values["filter"] and is_all and len(pages) == 1 else None


async def _near(dashboard: Dashboard, kind: str) -> list[str]:
    """Return known kinds that have a text in them, or a like one; none if it is a known kind itself."""
    known = {*registry.all_names(), *(name for worker in await read_workers(dashboard) for name in worker["kinds"])}
    known |= {name for _, name, _ in await dashboard.read(reading.ready_kinds)}
    if registry.stored_name(kind) in known:
        return []
    within = sorted(name for name in known if kind.casefold() in name.casefold())
    by_end = {name.rpartition(".")[2]: name for name in known}
    alike = [*get_close_matches(kind, known), *map(by_end.__getitem__, get_close_matches(kind, by_end))]
    return list(dict.fromkeys([*within, *alike]))[:NEAR]
