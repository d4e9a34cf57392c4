"""Suspects beside ordinary jobs, on one worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, enqueue_all, job
from asyncjobs.worker.claiming import suspects
from tests.support.asking import until
from tests.support.processes import PATIENCE

ran: list[tuple[str, int]] = []
"""Which, and how many went on beside it."""
going: set[str] = set()


@pytest.fixture(autouse=True)
def nothing_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    ran.clear()
    going.clear()


@job(kind="suspects.nap")
async def nap(name: str, seconds: float) -> None:
    ran.append((name, len(going)))
    going.add(name)
    await asyncio.sleep(seconds)
    going.discard(name)


SUSPECTED = "update asyncjobs.job set crashes = 2, attempt = 2 where id = any($1)"


async def backlog(connection: asyncpg.Connection, count: int, seconds: float, names: list[str]) -> list[Any]:
    """Jobs that keep every slot busy, and suspects behind the first few of them."""
    first = [nap(f"ahead {n}", seconds) for n in range(5)]
    suspected = [nap(name, seconds) for name in names]
    rest = [nap(f"behind {n}", seconds) for n in range(count)]
    await enqueue_all([*first, *suspected, *rest])
    await connection.execute(SUSPECTED, [each.id for each in suspected])
    return [*first, *suspected, *rest]


@pytest.mark.parametrize(("seconds", "count"), [(0.4, 15), (0.0, 20_000)], ids=["slow", "quick"])
async def test_a_suspect_gets_its_turn_while_the_slots_are_never_free(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, seconds: float, count: int
) -> None:
    one_slot = {
        "pools": [{"queues": ["*"], "concurrency": 1}],
        "dispatcher": {"polling_interval": 0.2},
        "isolate_suspects": False,
    }
    async with make_jobs(**one_slot):
        await backlog(connection, count, seconds, [])
        suspected = await nap("suspect", seconds).set(wait=3600).enqueue()
        async with make_jobs(**one_slot).running():
            await until(connection, "select count(*) from asyncjobs.finished")
            await connection.execute(f"{SUSPECTED.replace('set', 'set state = 1, ')}", [suspected.id])
            await suspected.result(timeout=PATIENCE)
            assert await connection.fetchval("select count(*) from asyncjobs.job where state = 1")  # they go on
    assert ("suspect", 0) in ran


async def test_suspects_and_what_was_claimed_meanwhile_share_the_slots_there_are(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = suspects.claims.claim_suspects

    async def slowly(*given: Any, **more: Any) -> Any:
        found = await claim(*given, **more)
        await asyncio.sleep(0.05)
        return found

    monkeypatch.setattr(suspects.claims, "claim_suspects", slowly)
    async with make_jobs():
        made = await backlog(connection, 20, 0.02, ["one", "two"])
        async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}], isolate_suspects=False).running():
            await asyncio.gather(*(each.result(timeout=30) for each in made))
    assert {beside for _, beside in ran} == {0}


async def test_a_suspect_that_is_on_its_way_here_is_no_stray(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = suspects.claims.claim_suspects
    worker: Any = None

    async def slowly(*given: Any, **more: Any) -> Any:
        found = await claim(*given, **more)
        if found:  # claimed by the database's word, and not here yet
            dispatcher = worker._worker.parts.dispatcher
            dispatcher._may_hold_lost = True
            dispatcher._wakeups.wake()
            await asyncio.sleep(0.2)
        return found

    monkeypatch.setattr(suspects.claims, "claim_suspects", slowly)
    async with make_jobs():
        made = await backlog(connection, 0, 0.2, ["suspect"])
        async with make_jobs(isolate_suspects=False).running() as worker:
            await asyncio.gather(*(each.result(timeout=30) for each in made))
    assert sorted(name for name, _ in ran) == sorted({name for name, _ in ran})


async def test_a_job_whose_last_run_goes_on_here_under_a_lost_lease_does_not_run_beside_it(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs().running() as worker:
        made = await stubborn().enqueue()
        await until(connection, "select count(*) from asyncjobs.job where state = 2")
        await connection.execute("update asyncjobs.job set state = 1, fence = 0, worker = null, seq = seq + 1")
        executor = worker._worker.parts.executor
        executor.cancel_all("lease_lost")
        await until(connection, "select count(*) from asyncjobs.job where state = 0")  # claimed, and put off
        assert list(executor._attempts) == [made.id] and ran == [("stubborn", 0)]
        let_go.set()
        await made.result(timeout=20)
    assert ran == [("stubborn", 0)] * 2
    assert not executor.running


let_go = asyncio.Event()


@job(kind="suspects.stubborn")
async def stubborn() -> None:
    """Takes no notice of being cancelled."""
    ran.append(("stubborn", len(going)))
    going.add("stubborn")
    while not let_go.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await let_go.wait()
    going.discard("stubborn")
