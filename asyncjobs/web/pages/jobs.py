"""The jobs: listed by state, kind, queue and error."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.pages.listed import counts, page_of_jobs, values_of
from asyncjobs.web.queries import FILTER, filter_parameters, parameters

PAGE, MOST = 50, 200


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page."""
    given = parameters(request, *FILTER, "before", "limit")
    wanted, before = given.wanted(), given.uuid("before")
    limit = given.whole("limit", least=1, most=MOST) or PAGE
    found, following = await dashboard.read(
        lambda connection: page_of_jobs(connection, wanted, before=before, limit=limit)
    )
    return {
        "filter": filter_parameters(wanted),
        "counts": await dashboard.read(lambda connection: counts(connection, wanted)),
        "jobs": [values_of(job) for job in found],
        "next": following,
    }
