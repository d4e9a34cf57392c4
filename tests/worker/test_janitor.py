"""The janitor: what it says of dead workers, and its housekeeping of events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from asyncjobs.db import workers
from asyncjobs.db.connecting import PINNED_PLANS
from asyncjobs.db.sessions import Sessions
from asyncjobs.worker.duties import janitor
from asyncjobs.worker.duties.janitor import Janitor
from asyncjobs.worker.lease.keeper import Lease


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


class Rounds:
    """Sessions of a janitor whose statements are noted and not run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.judged: list[float] = []
        """The loop's times."""
        self.count = 0
        self._wanted = (0, asyncio.Event())
        monkeypatch.setattr(janitor.workers, "bury", self._bury)
        monkeypatch.setattr(janitor.jobs, "rescue", self._rescue)

    async def _bury(self, *_: object) -> dict[UUID, int]:
        self.judged.append(asyncio.get_running_loop().time())
        return {}

    async def _rescue(self, *_: object) -> int:
        self.count += 1
        wanted, come = self._wanted
        if self.count == wanted:
            come.set()
        return 0

    async def run(self, operation: Any, **_: object) -> Any:
        return await operation(None)

    async def until(self, count: int) -> None:
        self._wanted = count, asyncio.Event()
        async with asyncio.timeout(60):
            await self._wanted[1].wait()


class WithoutHouse(Janitor):
    """One that has no house to keep: what that asks is run, and there is no database."""

    async def keep_house(self) -> None: ...


@pytest.fixture
async def rounds(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Rounds, list[int]]]:
    """What a janitor with a lease of 0.3 s does, and how many workers it takes to be alive."""
    made, alive, lease = Rounds(monkeypatch), [1], Lease(0.3)
    lease.worker = uuid4()
    running = asyncio.ensure_future(
        WithoutHouse(made, lease, lambda: alive[0], retention=60.0, on_rescue=lambda: None).run()
    )
    yield made, alive
    running.cancel()


async def test_one_that_is_alone_judges_nobody(rounds: tuple[Rounds, list[int]]) -> None:
    made, alive = rounds
    await made.until(20)
    assert not made.judged
    alive[0] = 2
    await made.until(made.count + 5)
    assert made.judged


async def test_others_are_judged_twenty_times_a_lease_at_most(rounds: tuple[Rounds, list[int]]) -> None:
    made, alive = rounds
    begun = asyncio.get_running_loop().time()
    alive[0] = 2
    await made.until(60)
    assert 1 < len(made.judged) < made.count
    assert (len(made.judged) - 1) * 0.3 / janitor.JUDGING_A_LEASE <= made.judged[-1] - begun
