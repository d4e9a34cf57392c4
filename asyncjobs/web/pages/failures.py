"""Failed jobs, in groups of one kind, one error and one line."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from asyncjobs.db import job_actions
from asyncjobs.failing.failures import FailureGroup
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.queries import parameters

GROUPED = 500
"""Failed jobs, the newest, that are read to group them."""


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page."""
    parameters(request)
    found = await dashboard.read(lambda connection: job_actions.read_failures(connection, GROUPED))
    return {
        "groups": [values_of(group) for group in found.groups],
        "looked_at": found.looked_at,
        "complete": found.is_complete,
    }


def values_of(group: FailureGroup) -> dict[str, Any]:
    """Return a group as values of JSON."""
    return group._asdict()
