"""Callers that enqueue at the same time share inserts, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import asyncpg
import pytest
from client_jobs import Note, double, live, row

from asyncjobs import AsyncJobs, EnqueueOutcomeUnknown, NotOpen
from asyncjobs.client import enqueueing
from asyncjobs.db import inserts
from tests.support.asking import until_blocked
from tests.support.processes import PATIENCE

ENQUEUES = ("enqueue_one", "enqueue_one_quietly", "enqueue_many", "enqueue_again")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that enqueue, as they are sent."""
    names: list[str] = []
    for name in ENQUEUES:
        monkeypatch.setattr(inserts, name, _noting(names, name, getattr(inserts, name)))
    return names


def _noting(names: list[str], name: str, function: Any) -> Any:
    async def noted(*args: Any, **kwargs: Any) -> Any:
        names.append(name)
        return await function(*args, **kwargs)

    return noted


class Held:
    """A statement stops before it is sent, until the test lets it go; by default the shared one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = "enqueue_many") -> None:
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        real = getattr(inserts, name)

        async def held(*args: Any, **kwargs: Any) -> Any:
            self.reached.set()
            await self.go.wait()
            return await real(*args, **kwargs)

        monkeypatch.setattr(inserts, name, held)


class Locked:
    """Nobody may write jobs inside the `async with`."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Self:
        self._connection = await asyncpg.connect(self._url)
        self._transaction = self._connection.transaction()
        await self._transaction.start()
        await self._connection.execute("lock table asyncjobs.job in exclusive mode")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transaction.rollback()
        await self._connection.close()

    async def blocks(self) -> None:
        """Wait until somebody waits for it."""
        await until_blocked(self._connection)


async def test_fifty_callers_at_once_need_a_statement_or_two(
    client: AsyncJobs, connection: asyncpg.Connection, sent: list[str]
) -> None:
    made = await asyncio.gather(*(double(number).enqueue() for number in range(50)))
    assert len(sent) <= 3, sent
    assert await live(connection) == 50
    assert {each.disposition for each in made} == {"enqueued"}


async def test_a_lone_caller_has_a_statement_of_its_own(client: AsyncJobs, sent: list[str]) -> None:
    for number in range(3):
        await double(number).enqueue()
    assert len(sent) == 3
    assert "enqueue_many" not in sent


async def test_each_caller_returns_when_its_own_row_is_committed(
    client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    looking = asyncio.Lock()

    async def enqueue(number: int) -> None:
        made = await double(number).enqueue()
        async with looking:
            assert await row(connection, made) is not None

    await asyncio.gather(*(enqueue(number) for number in range(200)))


async def test_a_shared_statement_is_bounded_in_rows_and_bytes(
    client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    real = inserts.enqueue_many

    async def noted(connection: Any, jobs: Any) -> Any:
        sizes.append((len(jobs), sum(len(each.args) for each in jobs)))
        return await real(connection, jobs)

    monkeypatch.setattr(inserts, "enqueue_many", noted)
    await asyncio.gather(*(Note(text="x" * 200_000).enqueue() for _ in range(20)))
    await asyncio.gather(*(double(number).enqueue() for number in range(1_200)))
    assert await live(connection) == 1_220
    assert max(rows for rows, _ in sizes) <= enqueueing.MOST_ROWS
    assert max(size for _, size in sizes) <= enqueueing.MOST_BYTES


async def test_a_caller_that_is_cancelled_while_its_row_waits_takes_it_back(
    client: AsyncJobs, connection: asyncpg.Connection, url: str
) -> None:
    async with Locked(url) as lock:
        first = asyncio.ensure_future(double(1).enqueue())
        await lock.blocks()
        withdrawn = double(2)
        waiting = [asyncio.ensure_future(each.enqueue()) for each in (withdrawn, double(3), double(4))]
        await asyncio.sleep(0)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
    await asyncio.gather(first, *waiting[1:])
    assert await live(connection) == 3
    assert await row(connection, withdrawn) is None
    await withdrawn.enqueue()
    assert await row(connection, withdrawn) is not None


async def test_a_caller_that_is_cancelled_in_flight_withdraws_nothing_and_harms_nobody(
    client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    made = [double(number) for number in range(5)]
    callers = [asyncio.ensure_future(each.enqueue()) for each in made]
    await held.reached.wait()
    callers[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await callers[2]
    held.go.set()
    await asyncio.gather(*(caller for caller in callers if caller is not callers[2]))
    assert await live(connection) == 5
    await made[2].enqueue()
    assert (await live(connection), made[2].disposition) == (5, "duplicate")


async def test_enqueueing_again_what_is_still_in_flight_makes_one_row_and_harms_no_neighbour(
    client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    made = [double(number) for number in range(5)]
    callers = [asyncio.ensure_future(each.enqueue()) for each in made]
    await held.reached.wait()
    callers[3].cancel()
    await asyncio.wait([callers[3]])
    await made[3].enqueue()  # overtakes the shared statement, which then finds its id taken
    held.go.set()
    await asyncio.gather(*callers[:3], callers[4])
    assert await live(connection) == 5
    assert {each.disposition for each in made} == {"enqueued"}


async def test_a_lone_row_that_is_enqueued_again_meanwhile_is_made_once(
    client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, "enqueue_one")
    made = double(1)
    first = asyncio.ensure_future(made.enqueue())
    await held.reached.wait()
    second = asyncio.ensure_future(made.enqueue())
    await asyncio.sleep(0)
    held.go.set()
    await asyncio.gather(first, second)
    assert (await live(connection), made.disposition) == (1, "enqueued")


class TestTheClientIsClosedMeanwhile:
    async def test_those_who_wait_are_told_and_their_jobs_are_as_new(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = Held(monkeypatch)
        monkeypatch.setattr(enqueueing, "MOST_ROWS", 3)
        made = [double(number) for number in range(10)]
        async with make_jobs():
            callers = [asyncio.ensure_future(each.enqueue()) for each in made]
            await held.reached.wait()  # one row alone is in, three are in flight, six wait
        async with asyncio.timeout(PATIENCE):
            ends = await asyncio.gather(*callers, return_exceptions=True)
        assert [type(end) for end in ends[1:4]] == [EnqueueOutcomeUnknown] * 3
        assert [end.job_id for end in ends[1:4]] == [each.id for each in made[1:4]]
        assert [type(end) for end in ends[4:]] == [NotOpen] * 6
        held.go.set()
        async with make_jobs():
            for each in made:
                await each.enqueue()
        assert await live(connection) == 10

    async def test_a_lone_caller_in_flight_is_told_that_its_outcome_is_unknown(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, database_url: str
    ) -> None:
        made = double(1)
        async with Locked(database_url) as lock:
            async with make_jobs():
                caller = asyncio.ensure_future(made.enqueue())
                await lock.blocks()
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(EnqueueOutcomeUnknown):
                    await caller
        async with make_jobs():
            await made.enqueue()
        assert await live(connection) == 1
