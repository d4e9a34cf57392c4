"""Queues that may hold so many ready jobs: what is refused, exactly, and by whichever way it comes."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from asyncjobs import AsyncJobs, InvalidSettings, Limit, QueueFull, job
from asyncjobs.client import queue_depths
from asyncjobs.integrations.fastapi import queue_full_handler
from asyncjobs.settings import load
from tests.support.processes import until_so

FULL = {"queues": {"mailers": {"max_depth": 5}}}
READY = "select count(*) from asyncjobs.job where queue = 'mailers' and state = 1"


@job(kind="depths.mail", queue="mailers")
async def mail(number: int) -> None: ...


@job(kind="depths.limited", queue="mailers", concurrency=Limit(1))
async def limited(number: int) -> None: ...


@job(kind="depths.free")
async def free(number: int) -> None: ...


@pytest.fixture
def bounded(make_jobs: Callable[..., AsyncJobs], complete: Callable[[Any], Any]) -> Iterator[AsyncJobs]:
    jobs = make_jobs(**FULL)
    complete(jobs.open())
    yield jobs
    complete(jobs.close())


async def test_one_more_than_max_depth_is_refused_until_there_is_room(
    bounded: AsyncJobs, connection: asyncpg.Connection
) -> None:
    for number in range(5):
        await bounded.enqueue(mail(number))
    late = mail(5)
    with pytest.raises(QueueFull, match="queue mailers holds 5 ready jobs, and its max_depth is 5") as raised:
        await bounded.enqueue(late)
    assert (raised.value.queue, raised.value.depth, raised.value.limit) == ("mailers", 5, 5)
    assert late.disposition is None
    await bounded.enqueue(free(1))  # another queue is not bounded
    await connection.execute(
        "update asyncjobs.job set state = 2 where id = (select id from asyncjobs.job where queue = 'mailers' limit 1)"
    )
    await bounded.enqueue(late)
    assert late.disposition == "enqueued"


async def test_what_is_scheduled_neither_counts_nor_is_refused(bounded: AsyncJobs) -> None:
    for number in range(7):
        await bounded.enqueue(mail(number).set(wait=3600))
    for number in range(5):
        await bounded.enqueue(mail(number))
    await bounded.enqueue(mail(9).set(wait=60))
    with pytest.raises(QueueFull):
        await bounded.enqueue(mail(9))


async def test_what_waits_at_a_limit_counts(bounded: AsyncJobs) -> None:
    for number in range(5):
        await bounded.enqueue(limited(number))
    for refused in (limited(9), mail(9)):
        with pytest.raises(QueueFull):
            await bounded.enqueue(refused)


async def test_of_many_at_once_exactly_as_many_as_there_is_room_for_are_enqueued(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs(queues={"mailers": {"max_depth": 50}}) as jobs:
        ended = await asyncio.gather(*(jobs.enqueue(mail(n)) for n in range(80)), return_exceptions=True)
    assert sum(isinstance(each, QueueFull) for each in ended) == 30
    assert await connection.fetchval(READY) == 50


async def test_a_job_that_is_stored_while_another_counts_is_counted_once(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    count = queue_depths.inserts.read_depth

    async def before_the_first_is_stored(*given: Any, **more: Any) -> int:
        depth = await count(*given, **more)
        counted.append(depth)
        if len(counted) == 2:
            await transaction.rollback()
            await first
        return depth

    monkeypatch.setattr(queue_depths.inserts, "read_depth", before_the_first_is_stored)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("lock table asyncjobs.job in share mode")
    async with make_jobs(queues={"mailers": {"max_depth": 1}}) as jobs:
        first = asyncio.ensure_future(jobs.enqueue(mail(1)))
        await until_so(lambda: counted)
        with pytest.raises(QueueFull):
            await jobs.enqueue(mail(2))
    assert counted == [0, 0, 1]
    assert await connection.fetchval(READY) == 1


async def test_callers_of_many_clients_go_over_by_no_more_than_a_statement_each(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    clients = [make_jobs(queues={"mailers": {"max_depth": 50}}) for _ in range(4)]

    async def caller(client: AsyncJobs) -> None:
        for number in range(40):
            try:
                await client.enqueue(mail(number))
            except QueueFull:
                return

    for client in clients:
        await client.open()
    await asyncio.gather(*map(caller, clients))
    for client in clients:
        await client.close()
    assert 50 <= await connection.fetchval(READY) < 50 + 4


@pytest.mark.parametrize("count", [3, 300])
async def test_enqueue_all_fills_the_queue_and_says_how_many_were_enqueued(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, count: int
) -> None:
    async with make_jobs(queues={"mailers": {"max_depth": count}}) as jobs:
        made = [*(mail(n) for n in range(count + 4)), free(1)]
        with pytest.raises(QueueFull) as raised:
            await jobs.enqueue_all(made)
        assert f"enqueue_all: {count + 1} jobs were enqueued all the same" in raised.value.__notes__
        assert [each.disposition for each in made].count("enqueued") == count + 1
        assert await connection.fetchval(READY) == count
        await connection.execute("delete from asyncjobs.job")
        assert await jobs.enqueue_all([each for each in made if each.disposition is None]) == 4 if count > 3 else True


async def test_in_a_callers_transaction_what_it_has_enqueued_itself_counts(
    bounded: AsyncJobs, connection: asyncpg.Connection
) -> None:
    async with connection.transaction():
        for number in range(5):
            await bounded.enqueue(mail(number), connection=connection)
        with pytest.raises(QueueFull):
            await bounded.enqueue(mail(5), connection=connection)
    assert await connection.fetchval(READY) == 5  # the transaction has not failed


async def test_from_a_thread_and_in_a_blocking_program_it_is_raised_too(
    bounded: AsyncJobs, make_jobs: Callable[..., AsyncJobs]
) -> None:
    await bounded.enqueue_all(mail(n) for n in range(5))
    with pytest.raises(QueueFull):
        await asyncio.to_thread(mail(6).enqueue_from_thread)

    def program() -> None:
        with make_jobs(**FULL).blocking() as jobs:
            jobs.enqueue(mail(7))

    with pytest.raises(QueueFull):
        await asyncio.to_thread(program)


async def test_while_there_is_much_room_it_is_not_counted_at_each_call(
    make_jobs: Callable[..., AsyncJobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look = queue_depths.Depths._look

    async def counted(self: Any, *args: Any) -> int:
        nonlocal looks
        looks += 1
        return await look(self, *args)

    monkeypatch.setattr(queue_depths.Depths, "_look", counted)
    monkeypatch.setattr(queue_depths, "MOST_A_SECOND", 1)
    async with make_jobs(queues={"mailers": {"max_depth": 1_000}}) as jobs:
        for number in range(20):
            await jobs.enqueue(mail(number))
    assert looks == 1


async def test_a_job_that_was_sent_before_is_not_refused_again(bounded: AsyncJobs) -> None:
    made = [mail(n) for n in range(5)]
    await bounded.enqueue_all(made)
    await bounded.enqueue(made[0])


async def test_fastapi_answers_503_with_retry_after(bounded: AsyncJobs) -> None:
    app = FastAPI()
    app.add_exception_handler(QueueFull, queue_full_handler)

    @app.post("/mail")
    async def post() -> None:
        await bounded.enqueue(mail(1))

    await bounded.enqueue_all(mail(n) for n in range(5))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://here") as caller:
        answer = await caller.post("/mail")
    assert answer.status_code == 503
    assert 5 <= int(answer.headers["retry-after"]) <= 15


def test_it_can_be_pickled() -> None:
    again = pickle.loads(pickle.dumps(QueueFull("q", 7, 5)))
    assert (again.queue, again.depth, again.limit, str(again)) == ("q", 7, 5, str(QueueFull("q", 7, 5)))


@pytest.mark.parametrize(
    ("queues", "says"),
    [
        ({"mailers": {"max_depth": 0}}, "queues.mailers.max_depth: 0 is not allowed; give a whole number from 1 to 100000000"),
        ({"mailers": {"max_depth": "many"}}, '"many" is not allowed'),
        ({"mailers": {"max_depht": 5}}, "unknown key; did you mean max_depth?"),
        ({"mailers": {}}, "max_depth: missing; add max_depth = 10000"),
        ({"mail*": {"max_depth": 5}}, 'mail*" is no queue; give the name of one queue'),
        ({"mailers": 5}, "is not a table"),
        ([], "is not a table"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_remedy(queues: Any, says: str) -> None:
    with pytest.raises(InvalidSettings) as raised:
        load(queues=queues)
    assert says in str(raised.value)


def test_it_is_read_from_the_file_and_from_the_environment(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[default.queues.mailers]\nmax_depth = 7\n")
    assert load(config).queues["mailers"].max_depth == 7
    monkeypatch.setenv("ASYNCJOBS_QUEUES", '{"mailers": {"max_depth": 9}}')
    assert load(config).queues["mailers"].max_depth == 9
