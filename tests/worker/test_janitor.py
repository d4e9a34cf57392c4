"""The janitor: what it says of dead workers, and its housekeeping of events."""

from __future__ import annotations

import logging
from uuid import uuid4

import asyncpg
import pytest

from asyncjobs.db import workers
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


async def test_of_a_dead_worker_is_said_how_many_jobs_it_leaves_or_that_it_had_none(
    database_url: str, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    judge, busy, idle = uuid4(), uuid4(), uuid4()
    for worker in (judge, busy, idle):
        await workers.register(connection, worker, lease=30.0, about="{}")
    await connection.execute(
        "update asyncjobs.worker set linked_at = linked_at - interval '1 h',"
        " beat_at = case when id = $1 then beat_at else beat_at - interval '1 h' end",
        judge,
    )
    await connection.execute(
        "insert into asyncjobs.job (id, kind, state, worker) select gen_random_uuid(), 'k', 2, $1 from generate_series(1, 3)",
        busy,
    )
    sessions = Sessions(database_url, size=1, name="janitor", settings=PINNED_PLANS)
    lease = Lease(30)
    lease.worker = judge
    with caplog.at_level(logging.WARNING, "asyncjobs.worker"):
        await Janitor(sessions, lease, lambda: 1, retention=60.0, on_rescue=lambda: None).rescue()
    sessions.close()
    assert f"worker {busy} is dead: its 3 jobs run elsewhere" in caplog.messages
    assert f"worker {idle} is dead: it had no jobs" in caplog.messages
