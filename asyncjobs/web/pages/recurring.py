"""Recurring jobs: their schedules in words, their last jobs and their next times."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request

from asyncjobs.db import recurring
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.recurring import RecurringStatus
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.queries import parameters

NEXT = 5
"""Next times that are shown."""


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page."""
    parameters(request)
    return {"recurring": await read_all(dashboard)}


async def read_all(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Return all schedules, by name."""
    rows, now = await dashboard.read(recurring.read)
    return [_values(row, now) for row in rows]


def _values(row: RecurringStatus, now: datetime) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in RecurringStatus.__dataclass_fields__}
    try:
        words, times = row.in_words, row.next_times(NEXT, now)
    except InvalidOption as error:  # another version's schedule, or an unknown time zone
        words, times = str(error), []
    late = None if row.next_at is None else (now - row.next_at).total_seconds()
    return {
        **values,
        "paused": row.paused,
        "in_words": words,
        "next_times": times,
        "overdue": late if late is not None and late > 0 else None,
    }
