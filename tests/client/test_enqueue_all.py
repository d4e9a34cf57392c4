"""Enqueue many jobs: any iterable, a chunk a statement, and errors that say how far it came."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from client_jobs import Note, double, enqueued_and_rolled_back, live, row

from asyncjobs import AsyncJobs, InvalidArguments, InvalidOption, Job, NotEnqueued, NotOpen, enqueue_all
from asyncjobs.client import bulk
from tests.support.asking import until


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real_chunks" not in request.fixturenames:
        monkeypatch.setattr(bulk, "CHUNK", 100)


@pytest.fixture
def real_chunks() -> int:
    return bulk.CHUNK


class TestWhatItTakes:
    async def test_a_list(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = [double(number) for number in range(250)]
        assert await enqueue_all(made) == await live(connection) == 250
        assert {(each.state, each.disposition) for each in made} == {("ready", "enqueued")}

    async def test_a_generator(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        assert await enqueue_all(double(number) for number in range(250)) == await live(connection) == 250

    async def test_an_async_generator(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        async def made() -> AsyncIterator[Job[int]]:
            for number in range(250):
                await asyncio.sleep(0)
                yield double(number)

        assert await enqueue_all(made()) == await live(connection) == 250

    @pytest.mark.parametrize("nothing", [[], (), iter([]), {}])
    async def test_nothing_at_all(self, client: AsyncJobs, connection: asyncpg.Connection, nothing: Any) -> None:
        assert await enqueue_all(nothing) == await live(connection) == 0

    @pytest.mark.parametrize("wrong", [None, 5, double, double(1)])
    async def test_what_is_no_iterable_of_jobs_is_refused(self, client: AsyncJobs, wrong: Any) -> None:
        with pytest.raises(InvalidOption, match="enqueue_all takes an iterable"):
            await enqueue_all(wrong)

    async def test_several_kinds_and_queues_at_once(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        assert await enqueue_all([double(1), Note(text="x"), double(2).set(queue="low", priority=5)]) == 3
        found = await connection.fetch("select kind, queue, priority, args from asyncjobs.job order by seq")
        assert [tuple(each) for each in found] == [
            ("client.double", "numbers", 0, '{"number":1}'),
            ("client.Note", "default", 0, '{"text":"x"}'),
            ("client.double", "low", 5, '{"number":2}'),
        ]

    async def test_delayed_and_immediate_ones_at_once(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        past, later = datetime(2020, 1, 1, tzinfo=UTC), double(1).set(wait=3600)
        made = [double(0), later, double(2).set(at=past), *(double(3) for _ in range(200))]
        assert await enqueue_all(made) == 203
        assert (await row(connection, later))["state"] == 0
        assert await connection.fetchval("select count(*) from asyncjobs.job where state = 1") == 202
        assert later.state == "scheduled"

    async def test_they_run_and_can_be_awaited(self, jobs: AsyncJobs) -> None:
        made = [double(number) for number in range(250)]
        await enqueue_all(made)
        assert await asyncio.gather(*(each.result(timeout=20) for each in made)) == [n * 2 for n in range(250)]

    async def test_none_open_says_what_to_open(self) -> None:
        with pytest.raises(NotOpen, match="async with AsyncJobs"):
            await enqueue_all([double(1)])

    async def test_through_a_certain_client(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        assert await client.enqueue_all([double(1)]) == await live(connection) == 1


class TestTheSameJobAgain:
    async def test_an_object_that_is_there_twice_counts_once(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = double(1)
        assert await enqueue_all([made, double(2), made]) == await live(connection) == 2

    async def test_in_different_chunks_too(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = double(1)
        between = [double(2) for _ in range(150)]
        assert await enqueue_all([made, *between, made]) == await live(connection) == 151

    async def test_one_that_is_enqueued_already_makes_no_row(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await double(1).enqueue()
        assert await enqueue_all([made, double(2)]) == 1
        assert await live(connection) == 2

    async def test_one_whose_transaction_was_rolled_back_is_made(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = double(1)
        await enqueued_and_rolled_back(connection, made)
        assert await enqueue_all([made, double(2)]) == await live(connection) == 2

    async def test_one_that_another_call_is_sending_harms_nobody(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        for number in range(1, 11):
            made = [double(n) for n in range(20)]
            await asyncio.gather(enqueue_all(made), *(each.enqueue() for each in made[5:8]))
            assert await live(connection) == 20 * number


class TestErrors:
    @pytest.mark.parametrize("wrong", [None, "x", double, Note])
    async def test_an_item_that_is_no_job_is_named_by_its_index(
        self, client: AsyncJobs, connection: asyncpg.Connection, wrong: Any
    ) -> None:
        made: list[Any] = [double(number) for number in range(250)]
        made[203] = wrong
        with pytest.raises(InvalidOption, match="item 203 of enqueue_all") as raised:
            await enqueue_all(made)
        assert raised.value.__notes__ == ["enqueue_all: 200 jobs were enqueued all the same"]
        assert await live(connection) == 200

    async def test_an_item_that_cannot_be_stored_is_named_and_its_chunk_is_as_new(
        self, client: AsyncJobs, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = [Note(text="fine") for _ in range(50)]
        made[7].text = 5
        with pytest.raises(InvalidArguments, match="text") as raised:
            await enqueue_all(made)
        assert raised.value.__notes__ == ["item 7 of enqueue_all"]
        assert await live(connection) == 0
        with pytest.raises(NotEnqueued):
            await made[0]
        made[7].text = "better"
        assert await enqueue_all(each.set(queue="low") for each in made) == 50
        assert caplog.records == []  # the caller was told; nobody else need be

    async def test_an_iterable_that_raises_leaves_the_chunks_before_and_says_how_many(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        def made() -> Iterator[Job[int]]:
            for number in range(150):
                yield double(number)
            raise LookupError("no more")

        with pytest.raises(LookupError, match="no more") as raised:
            await enqueue_all(made())
        assert raised.value.__notes__ == ["enqueue_all: 100 jobs were enqueued all the same"]
        assert await live(connection) == 100

    async def test_a_cancelled_caller_withdraws_nothing_that_was_sent_and_sends_no_more(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        reached, never = asyncio.Event(), asyncio.Event()

        async def made() -> AsyncIterator[Job[int]]:
            for number in range(250):
                yield double(number)
            reached.set()
            await never.wait()

        caller = asyncio.ensure_future(enqueue_all(made()))
        await reached.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await client.enqueue(double(1))
        await until(connection, "select count(*) = 201 from asyncjobs.job")


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_many_thousand_are_never_all_in_memory(
    client: AsyncJobs, connection: asyncpg.Connection, real_chunks: int, count: int
) -> None:
    alive = 0
    most = 0

    def ended(_: object) -> None:
        nonlocal alive
        alive -= 1

    def made() -> Iterator[Job[int]]:
        nonlocal alive, most
        for number in range(count):
            each = double(number)
            weakref.finalize(each, ended, None).atexit = False
            alive += 1
            most = max(most, alive)
            yield each

    assert await enqueue_all(made()) == count
    assert most <= 3 * real_chunks + 10 < count
    assert await live(connection) == count


class TestItsNotice:
    @pytest.mark.parametrize("count", [20, 150])
    async def test_names_the_first_of_the_new_jobs_so_that_workers_pass_what_is_dead_before_them(
        self, client: AsyncJobs, connection: asyncpg.Connection, count: int
    ) -> None:
        await enqueue_all(double(number) for number in range(300))
        last = await connection.fetchval("select max(seq) from asyncjobs.job")
        heard: asyncio.Queue[str] = asyncio.Queue()
        await connection.add_listener("asyncjobs_ready", lambda *notice: heard.put_nowait(notice[3]))
        await enqueue_all(double(number) for number in range(count))
        seq, queue = (await heard.get()).split(" ")
        first = await connection.fetchval("select min(seq) from asyncjobs.job where seq > $1", last)
        assert (last < int(seq) <= first, queue) == (True, "numbers")
