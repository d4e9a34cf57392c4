"""max_depth where several jobs are stored as one, and of unique jobs, which may add nothing."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
import pytest_asyncio
from callers import WAYS
from order_jobs import note as note_text

from asyncjobs import (
    AsyncJobs,
    Batch,
    Limit,
    NotUnique,
    QueueFull,
    Unique,
    chain,
    current_attempt,
    current_job,
    enqueue_all,
    job,
)
from tests.support.asking import until
from tests.support.roles import apply_roles

READY = "select count(*) from asyncjobs.job where queue = 'narrow' and state = 1"
ALL = "select (select count(*) from asyncjobs.job) + (select count(*) from asyncjobs.batch)"
FULL = {"queues": {"narrow": {"max_depth": 5}}}


@job(kind="many.plain", queue="narrow")
async def plain(n: int) -> int:
    return n


@job(kind="many.limited", queue="narrow", concurrency=Limit(1))
async def limited(n: int) -> None: ...


@job(kind="many.once", queue="narrow", unique=Unique(by=("n",)))
async def once(n: int) -> None: ...


@job(kind="many.newest", queue="narrow", unique=Unique(by=("n",), on_conflict="replace"))
async def newest(n: int, text: str = "") -> None: ...


@job(kind="many.raising", queue="narrow", unique=Unique(by=("n",), on_conflict="raise"))
async def raising(n: int) -> None: ...


@job(kind="many.lately", queue="narrow", unique=Unique(by=("n",), window=3600))
async def lately(n: int) -> None: ...


@job(kind="many.adds")
async def adds_to_its_batch(count: int) -> str:
    batch = current_attempt().batch
    assert batch is not None
    try:
        await batch.enqueue_all(plain(n) for n in range(count))
    except QueueFull as full:
        return f"{full.depth} of {full.limit} for {full.wanted}"
    return "added"


@job(kind="many.then")
async def then() -> None:
    current_job().then(plain(9))


@pytest_asyncio.fixture(loop_scope="session")
async def bounded(make_jobs: Callable[..., AsyncJobs]) -> AsyncIterator[AsyncJobs]:
    async with make_jobs(**FULL) as jobs:
        yield jobs


async def fill(jobs: AsyncJobs, count: int) -> None:
    await jobs.enqueue_all(plain(n) for n in range(count))


class TestBatches:
    async def test_one_that_fits_is_stored_and_one_that_does_not_leaves_nothing(
        self, bounded: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await fill(bounded, 2)
        too_many = Batch("too many").add(
            plain(1), plain(2), note_text("free"), plain(3), limited(4), plain(5).set(wait=60)
        )
        with pytest.raises(
            QueueFull, match="holds 2 ready jobs, and its max_depth is 5: there is room for 3, and not for 4:"
        ) as raised:
            await too_many.enqueue()
        full = raised.value
        assert (full.queue, full.depth, full.limit, full.wanted) == ("narrow", 2, 5, 4)
        assert await connection.fetchval(ALL) == 2
        await Batch("fits").add(plain(1), limited(2), plain(3), note_text("free")).enqueue()
        assert await connection.fetchval(READY) == 5
        await connection.execute("delete from asyncjobs.job where queue = 'narrow'")
        await too_many.enqueue()
        assert await connection.fetchval(READY) == 4

    @pytest.mark.parametrize("way", ["asyncpg", "session on psycopg"])
    async def test_in_a_callers_transaction_nothing_of_it_is_stored_either(
        self, bounded: AsyncJobs, connection: asyncpg.Connection, url: str, way: str
    ) -> None:
        async with WAYS[way](url) as caller:
            await bounded.enqueue(plain(1), connection=caller.connection)
            with pytest.raises(QueueFull, match="there is room for 4, and not for 5"):
                await Batch("x").add_all([plain(n) for n in range(5)]).enqueue(connection=caller.connection)
            await caller.rollback()
        assert await connection.fetchval(ALL) == 0

    @pytest.mark.parametrize("count", [4_100, 6_000])
    async def test_what_was_stored_of_it_before_counts_and_its_own_is_no_depth_of_the_queue(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, count: int
    ) -> None:
        async with make_jobs(queues={"narrow": {"max_depth": 4_100}}) as jobs:
            await jobs.enqueue(plain(0))
            with pytest.raises(QueueFull) as raised:
                await Batch("of a generator").add_all(plain(n) for n in range(count)).enqueue()
            assert (raised.value.depth, raised.value.wanted) == (1, min(count, 6_000))
            assert await connection.fetchval(ALL) == 1
            await Batch("fits").add_all(plain(n) for n in range(4_099)).enqueue()
            assert await connection.fetchval(READY) == 4_100

    async def test_with_a_single_connection_it_asks_on_that(self, make_jobs: Callable[..., AsyncJobs]) -> None:
        async with make_jobs(database_connections=1, **FULL):
            async with asyncio.timeout(10):
                await Batch("x").add_all([plain(n) for n in range(5)]).enqueue()
                with pytest.raises(QueueFull):
                    await Batch("x").add(plain(1)).enqueue()

    async def test_its_parts_count_together(self, bounded: AsyncJobs, connection: asyncpg.Connection) -> None:
        inner = Batch("inner").add(plain(1), plain(2), plain(3))
        with pytest.raises(QueueFull, match="room for 5, and not for 6"):
            await Batch("outer").add(plain(4), plain(5), plain(6), inner).enqueue()
        assert await connection.fetchval(ALL) == 0

    async def test_what_a_job_adds_to_its_batch_is_refused_too(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs(pools=[{"queues": ["default"], "concurrency": 2}], **FULL).running() as jobs:
            await fill(jobs, 3)
            adding = adds_to_its_batch(3)
            batch = await Batch("x").add(adding).enqueue()
            assert await adding == "3 of 5 for 3"
            await settled_without(connection, batch)
            fitting = adds_to_its_batch(2)
            await Batch("y").add(fitting).enqueue()
            assert await fitting == "added"
            assert await connection.fetchval(READY) == 5


async def settled_without(connection: asyncpg.Connection, batch: Batch) -> None:
    await until(connection, "select settled from asyncjobs.batch where id = $1", batch.id)


class TestChains:
    async def test_the_first_of_one_takes_a_place_and_the_others_none(
        self, bounded: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        await fill(bounded, 4)
        await chain(plain(1), plain(2), plain(3)).enqueue()
        refused = chain(plain(4), plain(5))
        with pytest.raises(QueueFull, match="holds 5 ready jobs, and its max_depth is 5: enqueue again later"):
            await refused.enqueue()
        async with WAYS["asyncpg"](url) as caller:
            with pytest.raises(QueueFull):
                await refused.enqueue(connection=caller.connection)
        assert await connection.fetchval(READY) == 5
        await connection.execute("delete from asyncjobs.job")
        await refused.enqueue()


async def test_what_workers_enqueue_is_not_refused(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs(pools=[{"queues": ["default"], "concurrency": 2}], **FULL).running() as jobs:
        await fill(jobs, 5)
        await (await jobs.enqueue(then()))
        await Batch("x", on_success=plain(8)).add(note_text("x")).enqueue()
        await chain(note_text("y"), plain(7)).enqueue()
        await until(connection, f"{READY.replace('count(*)', 'count(*) = 8')}")


class TestUnique:
    async def test_a_duplicate_is_none_in_a_full_queue_too(
        self, bounded: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        first = await bounded.enqueue(once(1))
        await fill(bounded, 4)
        second = await bounded.enqueue(once(1))
        assert (second.disposition, second.id) == ("duplicate", first.id)
        async with connection.transaction():
            third = await bounded.enqueue(once(1), connection=connection)
            assert third.disposition == "duplicate"
            with pytest.raises(QueueFull):
                await bounded.enqueue(once(2), connection=connection)
        with pytest.raises(QueueFull):
            await bounded.enqueue(once(2))
        assert await connection.fetchval(READY) == 5

    async def test_one_that_is_to_be_refused_for_its_key_is_refused_for_that(self, bounded: AsyncJobs) -> None:
        await bounded.enqueue(raising(1))
        await fill(bounded, 4)
        with pytest.raises(NotUnique):
            await bounded.enqueue(raising(1))

    async def test_one_that_was_enqueued_within_the_window_is_a_duplicate(
        self, bounded: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        first = await bounded.enqueue(lately(1))
        await first.cancel()
        await fill(bounded, 5)
        assert (await bounded.enqueue(lately(1))).disposition == "duplicate"
        await connection.execute("update asyncjobs.unique_window set until = clock_timestamp() - interval '1 second'")
        with pytest.raises(QueueFull):
            await bounded.enqueue(lately(1))

    async def test_one_that_replaces_what_is_ready_there_adds_none_and_one_that_makes_it_ready_adds_one(
        self, bounded: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await bounded.enqueue(newest(1))
        await bounded.enqueue(newest(2).set(wait=3600))
        await bounded.enqueue(newest(3).set(queue="elsewhere"))
        await fill(bounded, 4)
        assert (await bounded.enqueue(newest(1, "again"))).disposition == "replaced"
        for n in (2, 3):
            with pytest.raises(QueueFull):
                await bounded.enqueue(newest(n, "now"))
        await connection.execute("update asyncjobs.job set state = 2 where kind = 'many.newest' and args like '%3%'")
        assert (await bounded.enqueue(newest(3, "after it"))).disposition == "enqueued"
        assert await connection.fetchval(READY) == 5

    async def test_of_many_those_that_add_nothing_take_no_places(
        self, bounded: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await enqueue_all(once(n) for n in range(3))
        made = [
            *(once(n) for n in range(3)),
            once(7),
            once(7),
            once(8),
            once(9),
            once(0),
            once(9),
            plain(1).set(wait=60),
        ]
        with pytest.raises(QueueFull) as raised:
            await enqueue_all(made)
        assert raised.value.__notes__ == ["enqueue_all: 3 jobs were enqueued all the same"]
        dispositions = [each.disposition for each in made]
        assert dispositions == [
            *["duplicate"] * 3, "enqueued", "duplicate", "enqueued", None, "duplicate", None, "enqueued"
        ]  # fmt: skip
        assert await connection.fetchval(READY) == 5
        assert await enqueue_all([once(n) for n in (0, 1, 2, 7, 8)] * 3) == 0

    async def test_nor_do_those_of_a_batch(self, bounded: AsyncJobs, connection: asyncpg.Connection) -> None:
        await enqueue_all(once(n) for n in range(4))
        await Batch("x").add_all([once(0), once(1), once(2), once(3), once(4), once(4)]).enqueue()
        assert await connection.fetchval(READY) == 5
        await Batch("y").add_all([once(n) for n in range(5)]).enqueue()
        with pytest.raises(QueueFull, match="its max_depth is 5: enqueue again"):
            await Batch("z").add_all([once(n) for n in range(6)]).enqueue()

    async def test_whoever_only_enqueues_is_told_the_same(
        self, make_jobs: Callable[..., AsyncJobs], database_url: str
    ) -> None:
        urls = await apply_roles(database_url)
        async with make_jobs(database_url=urls["web"], **FULL) as web:
            await web.enqueue(once(1))
            await web.enqueue_all(plain(n) for n in range(4))
            assert (await web.enqueue(once(1))).disposition == "duplicate"
            with pytest.raises(QueueFull):
                await Batch("x").add(plain(1)).enqueue()


def test_it_can_be_pickled_with_how_many_there_was_to_be_room_for() -> None:
    again = pickle.loads(pickle.dumps(QueueFull("q", 3, 5, 4)))
    assert (again.depth, again.wanted, str(again)) == (3, 4, str(QueueFull("q", 3, 5, 4)))
