"""Await a job from anywhere: its result in its type, or how else it ended; many waiters, one connection."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import pickle
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

import asyncpg
import pydantic
import pytest
from client_jobs import Gate, double, fail, live, wait_at

from asyncjobs import (
    AsyncJobs,
    Cancel,
    Discard,
    EnqueueOutcomeUnknown,
    InvalidOption,
    JobCancelled,
    JobDiscarded,
    JobFailed,
    JobNotFound,
    NotEnqueued,
    NotOpen,
    enqueue_all,
    job,
)
from asyncjobs.client import awaiting
from asyncjobs.client.awaiting import BEGINNING, Waiters
from asyncjobs.db.listening import Listener
from asyncjobs.db.role_access import Access
from asyncjobs.tasks.services import Services
from tests.support.asking import until
from tests.support.processes import PATIENCE
from tests.support.proxy import Proxy, named


class Colour(enum.Enum):
    red = "r"


@dataclasses.dataclass
class Place:
    city: str
    since: datetime


class Model(pydantic.BaseModel):
    places: list[Place]


class Pair(NamedTuple):
    left: int
    right: Decimal


SINCE = datetime(2020, 2, 29, 12, 30, tzinfo=UTC)
PLACE = Place("Ulm", SINCE)


@job(kind="awaiting.moment")
async def moment() -> datetime:
    return SINCE


@job(kind="awaiting.place")
async def place() -> Place:
    return PLACE


@job(kind="awaiting.model")
async def model() -> Model:
    return Model(places=[PLACE])


@job(kind="awaiting.pair")
def pair() -> Pair:
    return Pair(1, Decimal("0.10"))


@job(kind="awaiting.mixed")
async def mixed() -> dict[UUID, tuple[Colour, set[int], bytes, timedelta]]:
    return {UUID(int=7): (Colour.red, {1, 2}, b"\x00\xff", timedelta(seconds=1.5))}


@job(kind="awaiting.nothing")
async def nothing() -> None: ...


@job(kind="awaiting.discard")
async def discard() -> None:
    raise Discard("not worth it")


@job(kind="awaiting.cancel")
async def cancel() -> None:
    raise Cancel("by request")


def waiters(jobs: AsyncJobs) -> awaiting.Waiters:
    return jobs._client()._waiters


class TestResults:
    @pytest.mark.parametrize(
        ("definition", "expected"),
        [
            (moment, SINCE),
            (place, PLACE),
            (model, Model(places=[PLACE])),
            (pair, Pair(1, Decimal("0.10"))),
            (mixed, {UUID(int=7): (Colour.red, {1, 2}, b"\x00\xff", timedelta(seconds=1.5))}),
            (nothing, None),
        ],
    )
    async def test_a_result_comes_back_in_the_type_that_was_annotated(
        self, jobs: AsyncJobs, definition: Any, expected: Any
    ) -> None:
        result = await (await definition().enqueue()).result(timeout=PATIENCE)
        assert result == expected
        assert type(result) is type(expected)

    async def test_another_client_may_wait_and_one_that_did_not_enqueue(
        self, jobs: AsyncJobs, make_jobs: Callable[..., AsyncJobs]
    ) -> None:
        Gate("elsewhere")
        made = await wait_at("elsewhere").enqueue()
        async with make_jobs() as other:
            found = await other.get(made.id, wait_at)
            waiting = asyncio.ensure_future(found.result(timeout=PATIENCE))
            await Gate.all["elsewhere"].arrived.wait()
            Gate.all["elsewhere"].open.set()
            assert await waiting == "elsewhere"

    async def test_a_job_may_be_awaited_many_times_by_many_before_and_after_its_end(self, jobs: AsyncJobs) -> None:
        gate = Gate("many")
        made = await wait_at("many").enqueue()
        early = [asyncio.ensure_future(made.result()) for _ in range(20)]
        await gate.arrived.wait()
        gate.open.set()
        assert await asyncio.gather(*early) == ["many"] * 20
        assert [await made, await made] == ["many", "many"]
        assert (made.state, (await made.status()).state) == ("succeeded", "succeeded")

    async def test_five_hundred_waiters_share_one_connection(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        gate = Gate("crowd")
        made = [double(number) for number in range(500)]
        blocked = await wait_at("crowd").enqueue()
        await enqueue_all(each.set(wait=0.3) for each in made)
        waiting = [asyncio.ensure_future(each.result(timeout=30)) for each in [*made, blocked]]
        await gate.arrived.wait()
        listening = """select count(*) from pg_stat_activity where datname = current_database()
                       and application_name = 'asyncjobs listener'"""
        assert await connection.fetchval(listening) == 1
        everybody = "select count(*) from pg_stat_activity where datname = current_database()"
        assert await connection.fetchval(everybody) < 30
        gate.open.set()
        assert await asyncio.gather(*waiting) == [*(n * 2 for n in range(500)), "crowd"]


class TestOtherEnds:
    async def test_failed_has_type_message_and_traceback_of_the_remote_error(self, jobs: AsyncJobs) -> None:
        made = await fail("no luck").enqueue()
        with pytest.raises(JobFailed, match="no luck") as raised:
            await made
        error = raised.value
        assert (error.error_type, error.error_message) == ("builtins.ValueError", "no luck")
        assert (error.job_id, error.kind, made.state) == (made.id, "client.fail", "failed")
        assert "raise ValueError(message)" in error.traceback
        assert error.traceback in error.__notes__[0]

    async def test_discarded_and_cancelled_have_their_reason(self, jobs: AsyncJobs) -> None:
        with pytest.raises(JobDiscarded, match="not worth it") as discarded:
            await (await discard().enqueue())
        assert discarded.value.reason == "not worth it"
        with pytest.raises(JobCancelled, match="by request") as cancelled:
            await (await cancel().enqueue())
        assert cancelled.value.reason == "by request"

    async def test_every_waiter_gets_an_error_of_its_own(self, jobs: AsyncJobs) -> None:
        made = await fail("shared").set(wait=0.2).enqueue()
        errors = await asyncio.gather(*(made.result() for _ in range(5)), return_exceptions=True)
        assert len({id(error) for error in errors}) == 5

    async def test_never_enqueued_is_told_at_once_whatever_is_asked(self, client: AsyncJobs) -> None:
        made = double(1)
        for asking in (made, made.result(), made.result(timeout=PATIENCE), made.status()):
            with pytest.raises(NotEnqueued, match=r"client\.double.*enqueue\(\)"):
                await asking

    async def test_past_its_retention_it_is_not_found(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = await double(1).enqueue()
        assert await made == 2
        await connection.execute("truncate asyncjobs.finished")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(JobNotFound, match="retention") as raised:
                await made
        assert raised.value.job_id == made.id

    async def test_removed_by_hand_while_it_is_awaited_it_is_not_found_at_the_next_look(
        self, client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(awaiting, "SAFETY_POLL", 0.1)
        made = await double(1).enqueue()
        waiting = asyncio.ensure_future(made.result(timeout=PATIENCE))
        await until(connection, "select awaited from asyncjobs.job")
        await connection.execute("delete from asyncjobs.job")
        with pytest.raises(JobNotFound):
            await waiting


class TestTimeouts:
    async def test_running_out_leaves_the_job_alone(self, jobs: AsyncJobs) -> None:
        gate = Gate("slow")
        made = await wait_at("slow").enqueue()
        with pytest.raises(TimeoutError):
            await made.result(timeout=0.05)
        await gate.arrived.wait()
        assert (await made.status()).state == "running"
        gate.open.set()
        assert await made.result(timeout=timedelta(seconds=10)) == "slow"

    @pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "5", True, timedelta(seconds=-1), 10**400])
    async def test_it_must_be_a_time_span(self, client: AsyncJobs, timeout: Any) -> None:
        made = await double(1).enqueue()
        with pytest.raises(InvalidOption, match="timeout="):
            await made.result(timeout=timeout)

    async def test_waiters_that_gave_up_leave_no_trace(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        made = [await double(number).enqueue() for number in range(3)]
        for each in made:
            with pytest.raises(TimeoutError):
                await each.result(timeout=0.02)
        cancelled = [asyncio.ensure_future(each.result()) for each in made for _ in range(5)]
        await asyncio.sleep(0)
        for waiting in cancelled:
            waiting.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        found = waiters(client)
        assert (found._waiting, found._new, found._done) == ({}, set(), set())

    async def test_one_that_gives_up_takes_nothing_from_the_others(self, jobs: AsyncJobs) -> None:
        gate = Gate("others")
        made = await wait_at("others").enqueue()
        staying = asyncio.ensure_future(made.result(timeout=PATIENCE))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await made.result(timeout=0.02)
        gate.open.set()
        assert await staying == "others"


class TestNoticesThatDoNotCome:
    """NOTIFY is only a speed-up: without any, an await resolves at the next look."""

    @pytest.fixture(autouse=True)
    def quick_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(awaiting, "SAFETY_POLL", 0.2)

    @pytest.fixture
    async def far(self, make_jobs: Callable[..., AsyncJobs], proxied_url: str) -> AsyncIterator[AsyncJobs]:
        async with make_jobs(database_url=proxied_url, lease=60) as jobs:
            yield jobs

    async def test_when_they_are_lost_on_the_way(
        self, far: AsyncJobs, make_jobs: Callable[..., AsyncJobs], proxy: Proxy, connection: asyncpg.Connection
    ) -> None:
        gate = Gate("lost")
        made = await wait_at("lost").enqueue()
        waiting = asyncio.ensure_future(made.result(timeout=PATIENCE))
        await until(connection, "select awaited from asyncjobs.job")
        dropped = proxy.drop_messages("A")
        async with make_jobs().running():
            await gate.arrived.wait()
            gate.open.set()
            await dropped.fired.wait()
            assert await waiting == "lost"

    async def test_when_the_listener_can_never_listen(
        self, far: AsyncJobs, make_jobs: Callable[..., AsyncJobs], proxy: Proxy
    ) -> None:
        proxy.refuse(named("listener"))
        made = await double(4).enqueue()
        waiting = asyncio.ensure_future(far._client().result(made, timeout=10))
        async with make_jobs().running():
            assert await waiting == 8

    async def test_when_the_listeners_backend_is_ended_again_and_again(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        kill = """select pg_terminate_backend(pid) from pg_stat_activity
                  where datname = current_database() and application_name = 'asyncjobs listener'"""
        for number in range(3):
            gate = Gate(f"killed {number}")
            made = await wait_at(f"killed {number}").enqueue()
            waiting = asyncio.ensure_future(made.result(timeout=PATIENCE))
            await gate.arrived.wait()
            await until(connection, kill)
            gate.open.set()
            assert await waiting == f"killed {number}"

    async def test_when_the_database_is_away_for_a_while(
        self, far: AsyncJobs, make_jobs: Callable[..., AsyncJobs], proxy: Proxy, connection: asyncpg.Connection
    ) -> None:
        made = await double(4).enqueue()
        waiting = asyncio.ensure_future(far._client().result(made, timeout=20))
        await until(connection, "select awaited from asyncjobs.job")
        proxy.refuse()
        proxy.cut()
        async with make_jobs().running():
            await until(connection, "select count(*) = 0 from asyncjobs.job")
        assert not waiting.done()
        await proxy.heal()
        assert await waiting == 8

    @pytest.mark.parametrize("payload", ["", "junk", "x" * 7_999, '{"id": 1}', ",,,", str(UUID(int=0)), "é" * 3_000])
    async def test_junk_on_the_channel_is_ignored_and_the_listener_lives(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, payload: str
    ) -> None:
        gate = Gate("junk")
        made = await wait_at("junk").enqueue()
        waiting = asyncio.ensure_future(made.result(timeout=PATIENCE))
        await gate.arrived.wait()
        for channel in ("asyncjobs_done", "asyncjobs_ready", "asyncjobs_due"):
            await connection.execute("select pg_notify($1, $2)", channel, payload)
        gate.open.set()
        assert await waiting == "junk"
        assert not jobs._in_use().listener.deaf


class TestClosing:
    async def test_those_who_wait_are_told_when_the_client_is_closed(self, make_jobs: Callable[..., AsyncJobs]) -> None:
        async with make_jobs():
            made = await double(1).enqueue()
            waiting = [asyncio.ensure_future(made.result()) for _ in range(3)]
            with pytest.raises(TimeoutError):
                await made.result(timeout=0.1)
        async with asyncio.timeout(PATIENCE):
            ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [NotOpen] * 3
        with pytest.raises(NotOpen):
            await made
        async with make_jobs().running():
            assert await made.result(timeout=PATIENCE) == 2

    async def test_nothing_is_left_in_the_database_by_a_client_that_was_closed(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs():
            with pytest.raises(TimeoutError):
                await (await double(1).enqueue()).result(timeout=0.1)
        await until(connection, "select count(*) = 1 from pg_stat_activity where datname = current_database()")
        assert await live(connection) == 1


@pytest.mark.parametrize(
    "error",
    [
        JobFailed(job_id=uuid4(), kind="k", error_type="T", error_message="m", traceback="t"),
        JobDiscarded(job_id=uuid4(), kind="k", reason="r"),
        JobNotFound(uuid4()),
        EnqueueOutcomeUnknown(uuid4()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_between_processes(error: Any) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


async def test_of_one_notice_no_more_ids_are_read_than_one_of_ours_holds() -> None:
    waiters = Waiters(cast("Any", None), Access(), Listener(""), Services())
    mine = uuid4()
    waiters._by_beginning[mine.int >> 64] = {mine}
    others = [str(uuid4())[:BEGINNING] for _ in range(199)]
    waiters._notified(",".join([*others, "no id", str(mine)[:BEGINNING]]))
    assert not waiters._done
    waiters._notified(",".join([*others, str(mine)[:BEGINNING]]))
    assert waiters._done == {mine}
