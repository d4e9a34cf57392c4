"""Enqueue one job: what is stored, when it returns, and what enqueueing again does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import asyncpg
import pytest
from client_jobs import Note, double, enqueued_and_rolled_back, live, row, rows

from asyncjobs import (
    AlreadyEnqueued,
    AlreadyOpen,
    AsyncJobs,
    Batch,
    InvalidArguments,
    InvalidOption,
    Job,
    JobCancelled,
    NotOpen,
    chain,
    current_job,
    enqueue_all,
    job,
)
from tests.support.processes import PATIENCE


class TestWhatIsStored:
    async def test_the_row_is_there_for_everybody_once_enqueue_returns(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = double(21).set(priority=-7)
        before = made.id
        assert await made.enqueue() is made
        assert made.id == before
        found = await row(connection, made)
        assert found is not None
        assert (found["kind"], found["queue"], found["priority"]) == ("client.double", "numbers", -7)
        assert (found["args"], found["state"], found["attempt"], found["fence"]) == ('{"number":21}', 1, 0, 0)

    async def test_the_job_knows_what_became_of_it(self, client: AsyncJobs) -> None:
        made = await double(21).enqueue()
        assert (made.state, made.disposition) == ("ready", "enqueued")

    async def test_what_was_assigned_since_it_was_made_is_what_is_stored(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = Note(text="before")
        made.text = "after"
        await made.enqueue()
        assert (await row(connection, made))["args"] == '{"text":"after"}'

    async def test_an_assignment_that_does_not_fit_is_refused_and_the_job_is_as_new(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = Note()
        made.text = 5
        with pytest.raises(InvalidArguments, match="text"):
            await made.enqueue()
        assert await live(connection) == 0
        made.text = "well"
        await made.set(queue="low").enqueue()
        assert (await row(connection, made))["queue"] == "low"

    async def test_a_callable_queue_is_asked_when_the_job_is_enqueued(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        class Sharded(Job, kind="enqueue.Sharded", queue=lambda job: f"shard_{job.n}"):
            n: int

            async def perform(self) -> None: ...

        made = Sharded(n=1)
        assert made.queue == "shard_1"
        made.n = 2
        await made.enqueue()
        made.n = 3
        assert made.queue == (await row(connection, made))["queue"] == "shard_2"

    async def test_a_callable_queue_that_raises_stores_nothing(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        @job(kind="enqueue.broken_queue", queue=lambda job: {}["missing"])
        async def broken_queue() -> None: ...

        made = broken_queue()
        with pytest.raises(KeyError, match="missing"):
            await made.enqueue()
        assert await live(connection) == 0
        await made.set(queue="fine").enqueue()

    @pytest.mark.parametrize("wrong", [double, Note, None, 5, "client.double"])
    async def test_what_is_no_job_is_refused(self, client: AsyncJobs, wrong: Any) -> None:
        with pytest.raises(InvalidOption, match="enqueue: .*(is a definition|is no job)"):
            await client.enqueue(wrong)

    @pytest.mark.parametrize("made", [Batch, lambda: chain(double(1))])
    async def test_what_is_made_of_jobs_enqueues_itself(self, client: AsyncJobs, made: Callable[[], Any]) -> None:
        with pytest.raises(InvalidOption, match=r"enqueue: (Batch|Chain) is no job: call its own enqueue\(\)"):
            await client.enqueue(made())


class TestAgain:
    async def test_the_same_object_makes_one_row(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = await double(1).enqueue()
        await made.enqueue()
        assert await live(connection) == 1
        assert made.disposition == "enqueued"

    async def test_the_same_object_makes_no_second_row_after_it_has_finished(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = await double(1).enqueue()
        assert await made == 2
        await made.enqueue()
        assert (await live(connection), await rows(connection)) == (0, 1)
        assert (made.state, await made) == ("succeeded", 2)

    async def test_the_same_object_from_many_callers_at_once_makes_one_row_and_harms_no_neighbour(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        for number in range(1, 11):
            made = double(number)
            others = [double(number) for _ in range(10)]
            await asyncio.gather(*(each.enqueue() for each in [*others[:5], made, made, made, *others[5:]]))
            assert await live(connection) == 11 * number
            assert made.disposition == "enqueued"

    async def test_it_is_made_if_the_transaction_that_carried_it_was_rolled_back(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = double(1)
        await enqueued_and_rolled_back(connection, made)
        assert await live(connection) == 0
        await made.enqueue()
        assert await live(connection) == 1

    async def test_set_afterwards_says_that_it_is_too_late(self, client: AsyncJobs) -> None:
        made = await double(1).enqueue()
        with pytest.raises(AlreadyEnqueued, match=str(made.id)):
            made.set(priority=1)


class TestLater:
    async def test_wait_counts_from_the_enqueue_by_the_databases_clock(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        before = await connection.fetchval("select clock_timestamp()")
        made = await double(1).set(wait=timedelta(minutes=5)).enqueue()
        after = await connection.fetchval("select clock_timestamp()")
        assert made.state == "scheduled"
        found = await row(connection, made)
        assert found["state"] == 0
        assert before <= found["run_at"] - timedelta(minutes=5) <= after

    async def test_at_is_stored_as_that_instant_whatever_its_zone(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        at = datetime.now(UTC).replace(microsecond=123_456) + timedelta(days=1)
        made = await double(1).set(at=at.astimezone(tz=None)).enqueue()
        found = await row(connection, made)
        assert (found["run_at"], found["state"]) == (at, 0)

    @pytest.mark.parametrize("past", [{"at": datetime(2020, 1, 1, tzinfo=UTC)}, {"wait": 0}])
    async def test_what_is_past_is_ready_now(
        self, client: AsyncJobs, connection: asyncpg.Connection, past: dict[str, Any]
    ) -> None:
        made = await double(1).set(**past).enqueue()
        assert (await row(connection, made))["state"] == 1

    async def test_a_delayed_job_runs_when_it_is_due_and_not_before(self, jobs: AsyncJobs) -> None:
        made = await double(4).set(wait=0.3).enqueue()
        assert await made.result(timeout=PATIENCE) == 8
        status = await made.status()
        assert status.started_at - status.enqueued_at >= timedelta(seconds=0.29)


@pytest.fixture
async def second_url(server: Any) -> AsyncIterator[str]:
    """The URL of another database."""
    other = await asyncpg.connect(server.url("postgres"))
    await other.execute("create database second_of_two template template_of_tests")
    yield server.url("second_of_two")
    await other.execute("drop database second_of_two with (force)")
    await other.close()


class TestWhichClient:
    async def test_none_open_says_what_to_open(self, make_jobs: Callable[..., AsyncJobs]) -> None:
        made = double(1)
        with pytest.raises(NotOpen, match="async with AsyncJobs"):
            await made.enqueue()
        async with make_jobs():
            await made.enqueue()
        assert made.disposition == "enqueued"

    async def test_a_closed_one_says_so(self, make_jobs: Callable[..., AsyncJobs]) -> None:
        jobs = make_jobs()
        with pytest.raises(NotOpen, match="not open"):
            await jobs.enqueue(double(1))
        async with jobs:
            await jobs.enqueue(double(1))
        with pytest.raises(NotOpen, match="not open"):
            await jobs.enqueue(double(1))
        with pytest.raises(NotOpen, match="async with AsyncJobs"):
            await double(1).enqueue()

    async def test_opening_twice_is_refused_and_the_open_one_goes_on(self, client: AsyncJobs) -> None:
        with pytest.raises(AlreadyOpen, match="open already"):
            await client.open()
        await double(1).enqueue()

    async def test_one_may_be_opened_again_after_it_was_closed(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        jobs = make_jobs()
        for _ in range(2):
            async with jobs:
                await double(1).enqueue()
        assert await live(connection) == 2

    async def test_the_one_opened_last_is_used_and_after_it_the_one_before(
        self, make_jobs: Callable[..., AsyncJobs], second_url: str, connection: asyncpg.Connection
    ) -> None:
        async with make_jobs() as first:
            async with make_jobs(database_url=second_url) as second:
                await double(1).enqueue()
                assert await live(connection) == 0
                await first.enqueue(double(2))
                assert await live(connection) == 1
                assert (await second.status((await double(3).enqueue()).id)).arguments == {"number": 3}
            await double(4).enqueue()
            assert await live(connection) == 2

    async def test_what_is_asked_of_one_of_several_is_done_by_that(
        self, make_jobs: Callable[..., AsyncJobs], second_url: str, connection: asyncpg.Connection
    ) -> None:
        async with make_jobs() as first, make_jobs(database_url=second_url):
            made = await first.enqueue(double(1))
            assert await first.cancel(made)
            for named in (made, made.id):
                with pytest.raises(JobCancelled):
                    await first.result(named)
            assert await first.emit("approved", key=7) == 0
            assert await connection.fetchval("select key from asyncjobs.event") == "7"

    async def test_from_a_thread_of_the_loop(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        def endpoint() -> None:
            assert threading.current_thread() is not threading.main_thread()
            anyio.from_thread.run(double(1).enqueue)

        await anyio.to_thread.run_sync(endpoint)
        assert await live(connection) == 1

    async def test_from_inside_a_def_job(self, jobs: AsyncJobs) -> None:
        @job(kind="enqueue.parent_in_thread")
        def parent(number: int) -> str:
            child = anyio.from_thread.run(double(number).enqueue)
            return str(child.id)

        child_id = await (await parent(5).enqueue()).result(timeout=PATIENCE)
        assert await (await jobs.get(child_id, double)).result(timeout=PATIENCE) == 10


@job(kind="enqueue.again")
async def again(how: str) -> str:
    me = current_job()
    try:
        if how == "enqueue":
            await me.enqueue()
        elif how == "by the client":
            await client_of_test[0].enqueue(me)
        else:
            await enqueue_all([again("never"), me])
    except AlreadyEnqueued as error:
        return str(error)
    return "nothing was said"


client_of_test: list[AsyncJobs] = []


@pytest.mark.parametrize("how", ["enqueue", "by the client", "enqueue_all"])
@pytest.mark.parametrize("here", [True, False], ids=["performed here", "in a worker"])
async def test_a_job_that_enqueues_itself_is_told_how_to_run_again(make_jobs: Any, how: str, here: bool) -> None:
    async with make_jobs().running() as jobs:
        client_of_test[:] = [jobs]
        made = again(how)
        said = await made.perform_now() if here else await (await made.enqueue()).result(timeout=20)
    assert str(made.id) in said and "raise Snooze(…) or Retry(…)" in said and "make a new object" in said
