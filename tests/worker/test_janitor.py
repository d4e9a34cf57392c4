"""The janitor's housekeeping of events."""

from __future__ import annotations

import asyncpg
import pytest

from asyncjobs.db.connecting import PINNED_PLANS
from asyncjobs.db.sessions import Sessions
from asyncjobs.worker import janitor
from asyncjobs.worker.janitor import Janitor
from asyncjobs.worker.keeper import Lease


@pytest.mark.parametrize("count", [3, 5, 10, 11])
async def test_events_that_nobody_has_waited_for_are_removed_after_the_retention_a_batch_at_a_time(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(janitor, "BATCH", 5)
    await connection.execute(
        "insert into asyncjobs.event (name, key, emitted_at)"
        " select 'old', n::text, clock_timestamp() - interval '61 s' from generate_series(1, $1::integer) as n"
        " union all select 'new', n::text, clock_timestamp() - interval '50 s' from generate_series(1, 7) as n",
        count,
    )
    sessions = Sessions(database_url, size=1, name="janitor", settings=PINNED_PLANS)
    await Janitor(sessions, Lease(3), lambda: 1, retention=60.0, on_rescue=lambda: None).keep_house()
    sessions.close()
    assert [row["name"] for row in await connection.fetch("select name from asyncjobs.event")] == ["new"] * 7
