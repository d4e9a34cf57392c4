"""Enqueue over a link that breaks: an outcome that is not known is said so, and sending again is safe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from client_jobs import Note, double, live, row, rows

from asyncjobs import AsyncJobs, DatabaseUnavailable, EnqueueOutcomeUnknown, NotEnqueued, enqueue_all
from asyncjobs.client import bulk
from tests.support.processes import PATIENCE
from tests.support.proxy import Proxy, named

INSERT = "insert into asyncjobs.job"
ONCE = "asyncjobs.enqueue_again"
CLIENT = named("asyncjobs client")


@pytest.fixture
async def far(make_jobs: Callable[..., AsyncJobs], proxied_url: str) -> AsyncIterator[AsyncJobs]:
    """A client on the other side of the proxy."""
    async with make_jobs(database_url=proxied_url) as jobs:
        await double(0).enqueue()  # its connection is open, its statement prepared
        yield jobs


def lose(proxy: Proxy, statement: str = INSERT, times: int = 1) -> None:
    """Lose the answer to a statement, and that to sending its rows once more."""
    proxy.hold_replies_after(statement, where=CLIENT)
    proxy.hold_replies_after(ONCE, where=CLIENT, times=times)


class TestTheAnswerIsLostOnce:
    @pytest.mark.parametrize("count", [1, 10])
    async def test_the_row_is_sent_again_and_made_once(
        self, far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection, count: int
    ) -> None:
        lost = proxy.hold_replies_after(INSERT if count == 1 else "unnest", where=CLIENT)
        made = [double(number) for number in range(count)]
        await asyncio.gather(*(each.enqueue() for each in made))
        assert lost.fired.is_set()
        assert await live(connection) == count + 1
        assert {each.disposition for each in made} == {"enqueued"}

    async def test_one_that_never_arrived_is_made(
        self, far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
    ) -> None:
        proxy.cut_after(1, "to_server", where=CLIENT)
        await double(1).enqueue()
        assert await live(connection) == 2


class TestTheAnswerIsLost:
    async def test_the_outcome_is_unknown_and_enqueueing_again_makes_one_row(
        self, far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
    ) -> None:
        lose(proxy)
        made = double(1)
        with pytest.raises(EnqueueOutcomeUnknown, match="call enqueue") as raised:
            await made.enqueue()
        assert raised.value.job_id == made.id
        assert await row(connection, made) is not None
        await made.enqueue()
        assert (await live(connection), made.disposition) == (2, "duplicate")

    async def test_lost_once_more_the_third_time_settles_it(
        self, far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
    ) -> None:
        lose(proxy, times=2)
        made = double(1)
        for _ in range(2):
            with pytest.raises(EnqueueOutcomeUnknown):
                await made.enqueue()
        await made.enqueue()
        assert await live(connection) == 2

    async def test_the_job_may_have_run_meanwhile(
        self, far: AsyncJobs, make_jobs: Callable[..., AsyncJobs], proxy: Proxy, connection: asyncpg.Connection
    ) -> None:
        lose(proxy)
        made = double(5)
        with pytest.raises(EnqueueOutcomeUnknown):
            await made.enqueue()
        async with make_jobs().running() as near:
            assert await (await near.get(made.id, double)).result(timeout=PATIENCE) == 10
        await far.enqueue(made)
        assert (await live(connection), await rows(connection)) == (0, 2)
        assert await made.result(timeout=PATIENCE) == 10

    async def test_each_of_those_who_shared_the_statement_learns_of_its_own_job(
        self, far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
    ) -> None:
        lose(proxy, "unnest")
        made = [double(number) for number in range(10)]
        ends = await asyncio.gather(*(each.enqueue() for each in made), return_exceptions=True)
        unknown = [end for end in ends if isinstance(end, EnqueueOutcomeUnknown)]
        assert len(unknown) == 9  # the first had a statement of its own
        assert [end.job_id for end in unknown] == [each.id for each in made[1:]]
        await asyncio.gather(*(each.enqueue() for each in made))
        assert await live(connection) == 11

    async def test_a_delayed_job_as_well(self, far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection) -> None:
        lose(proxy, "unnest")
        made = double(1).set(wait=60)
        with pytest.raises(EnqueueOutcomeUnknown):
            await made.enqueue()
        due = (await row(connection, made))["run_at"]
        await made.enqueue()
        assert (await row(connection, made))["run_at"] == due

    @pytest.mark.parametrize(("statement", "count"), [("unnest", bulk.MANY - 1), ("commit", bulk.MANY)])
    async def test_a_chunk_of_enqueue_all_can_be_sent_again(
        self, far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection, statement: str, count: int
    ) -> None:
        proxy.hold_replies_after(statement, where=CLIENT)
        made = [double(number) for number in range(count)]
        with pytest.raises(EnqueueOutcomeUnknown):
            await enqueue_all(made)
        assert await live(connection) == count + 1
        assert await enqueue_all(made) == 0
        assert await live(connection) == count + 1


class TestTheStatementIsLost:
    async def test_enqueueing_again_makes_the_row(
        self, far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection
    ) -> None:
        proxy.drop_messages("ES", "to_server", where=CLIENT)  # of what is sent once more, too
        made = double(1)
        caller = asyncio.ensure_future(made.enqueue())
        await proxy.wait_until(lambda: proxy.counts["dropped"] > 0)
        proxy.cut(CLIENT)
        with pytest.raises(EnqueueOutcomeUnknown):
            await caller
        assert await row(connection, made) is None
        await proxy.heal()
        await made.enqueue()
        assert (await row(connection, made) is not None, made.disposition) == (True, "enqueued")


class TestTheDatabaseCannotBeReached:
    @pytest.mark.parametrize("error", [None, ("53300", "sorry, too many clients already"), ("57P03", "starting up")])
    async def test_nothing_is_stored_and_the_job_is_as_new(
        self, far: AsyncJobs, proxy: Proxy, connection: asyncpg.Connection, error: tuple[str, str] | None
    ) -> None:
        proxy.refuse(error=error)
        proxy.cut()
        made = [double(1), Note(text="x")]
        async with asyncio.timeout(PATIENCE):
            with pytest.raises((EnqueueOutcomeUnknown, DatabaseUnavailable)):
                await double(9).enqueue()  # the broken connection may be used once before it is known to be
            for each in made:
                with pytest.raises(DatabaseUnavailable) as raised:
                    await each.enqueue()
                assert raised.value.__cause__ is not None
                with pytest.raises(NotEnqueued):
                    await each
            with pytest.raises(DatabaseUnavailable):
                await enqueue_all(made)
            with pytest.raises(NotEnqueued):
                await made[0].status()
        await proxy.heal()
        await made[0].set(queue="later").enqueue()
        assert await enqueue_all(made[1:]) == 1
        assert await live(connection) == 3

    async def test_opening_a_client_says_so_too(self, make_jobs: Callable[..., AsyncJobs], proxy: Proxy) -> None:
        proxy.refuse()
        jobs = make_jobs(database_url=proxy.url())
        with pytest.raises(DatabaseUnavailable):
            await jobs.open()
        with pytest.raises(DatabaseUnavailable):
            await jobs.open()  # and it may be tried again
