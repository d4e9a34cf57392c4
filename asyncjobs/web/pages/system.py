"""The system: the database, its tables, the days of the history, the settings, and what was done here."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from asyncjobs.db import audit, looking, reading
from asyncjobs.db.audit import Entry
from asyncjobs.settings import Settings
from asyncjobs.version import VERSION
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.queries import parameters

AUDITED = 50


async def read(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page."""
    before = parameters(request, "before").whole("before", least=1, most=2**63 - 1)
    server = await dashboard.read(reading.server)
    entries = await dashboard.read(lambda connection: audit.read(connection, before=before, limit=AUDITED + 1))
    return {
        "version": VERSION,
        "server": server._asdict(),
        "schema": [each._asdict() for each in await dashboard.read(looking.read_applied)],
        "tables": [each._asdict() for each in await dashboard.read(looking.read_tables)],
        "days": [each._asdict() for each in await dashboard.read(looking.read_days)],
        "settings": settings_values(dashboard.settings),
        "audit": [entry_values(entry) for entry in entries[:AUDITED]],
        "next": entries[AUDITED - 1].id if len(entries) > AUDITED else None,
    }


def settings_values(settings: Settings) -> dict[str, Any]:
    """Return the settings in force, without passwords."""
    found = settings.model_dump(mode="json")
    for recurring in found["recurring"].values():
        recurring["args"] = "(left out)"
    return {**found, "database_url": settings.safe_database_url}


def entry_values(entry: Entry) -> dict[str, Any]:
    """Return an entry of the audit as values of JSON."""
    return entry._asdict()
