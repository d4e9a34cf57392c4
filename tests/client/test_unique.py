"""Jobs that are unique: of those with the same key, one is stored at a time."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from client_jobs import rows
from stopping import at_gate, gates

from asyncjobs import (
    AsyncJobs,
    InvalidDefinition,
    InvalidOption,
    Job,
    Limit,
    NotUnique,
    Unique,
    chain,
    enqueue_all,
    job,
)
from asyncjobs.db import limiting
from asyncjobs.db.connecting import connect
from tests.support.processes import PATIENCE

pytestmark = pytest.mark.usefixtures("gate")

seen: list[tuple[int, str]] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


@job(kind="unique.once", unique=Unique(by=("account_id",)))
async def once(account_id: int, note: str = "") -> str:
    seen.append((account_id, note))
    return note


@job(kind="unique.held", unique=Unique(by=("account_id",)))
async def held(account_id: int) -> int:
    await at_gate()
    return account_id


@job(kind="unique.raising", unique=Unique(by=("account_id",), on_conflict="raise"))
async def raising(account_id: int) -> None: ...


@job(kind="unique.waiting", unique=Unique(by=("account_id",), states=("scheduled", "ready")))
async def until_it_starts(account_id: int) -> None:
    await at_gate()


@job(kind="unique.newest", unique=Unique(by=("account_id",), on_conflict="replace"))
async def newest(account_id: int, note: str) -> str:
    seen.append((account_id, note))
    if note.startswith("held"):
        await at_gate()
    if note == "held in vain":
        raise ValueError
    return note


@job(kind="unique.perishable", unique=Unique(by=("account_id",), on_conflict="replace"), expires_in=60)
async def perishable(account_id: int) -> None: ...


@job(
    kind="unique.moved",
    unique=Unique(by=("account_id",), on_conflict="replace"),
    concurrency=Limit(1, by=("place",), key="place"),
)
async def moved(account_id: int, place: str, held: bool = False) -> str:
    if held:
        await at_gate()
    return place


@job(kind="unique.failing", unique=Unique())
async def failing() -> None:
    raise ValueError


class TestSkipping:
    async def test_the_second_one_stands_for_the_first_and_is_awaited_as_that(self, jobs: AsyncJobs) -> None:
        first = await held(1).enqueue()
        await gates["arrived"].wait()
        second, other = await held(1).enqueue(), await held(2).enqueue()
        assert [first.disposition, second.disposition, other.disposition] == ["enqueued", "duplicate", "enqueued"]
        assert second.id == first.id != other.id
        gates["open"].set()
        assert await second == 1

    async def test_a_key_is_free_again_whatever_ends_its_job(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs():
            cancelled = await once(1).enqueue()
            await cancelled.cancel()
            assert (await once(1).enqueue()).disposition == "enqueued"
        async with make_jobs().running():
            failed = await failing().enqueue()
            with pytest.raises(Exception, match="ValueError"):
                await failed
            again = await failing().enqueue()
            assert (again.disposition, again.id != failed.id) == ("enqueued", True)

    async def test_two_hundred_at_once_make_one(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        many = [once(7, note=str(n)) for n in range(200)]
        await asyncio.gather(*(each.enqueue() for each in many))
        assert await rows(connection) == 1
        assert sorted(each.disposition for each in many) == ["duplicate"] * 199 + ["enqueued"]
        assert len({each.id for each in many}) == 1

    async def test_many_are_counted_as_they_are_made(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        await once(3).enqueue()
        assert await enqueue_all(once(n % 10) for n in range(2_500)) == 9
        assert await rows(connection) == 10

    async def test_two_that_enqueue_the_same_keys_in_other_orders_do_not_lock_each_other_out(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs() as one, make_jobs() as other:
            for start in range(0, 400, 100):
                keys = range(start, start + 100)
                made = await asyncio.gather(
                    one.enqueue_all(once(n) for n in keys), other.enqueue_all(once(n) for n in reversed(keys))
                )
                assert sum(made) == 100

    async def test_the_same_object_enqueued_again_is_no_duplicate_of_itself(self, client: AsyncJobs) -> None:
        one = await once(1).enqueue()
        await one.enqueue()
        assert one.disposition == "enqueued"


class TestInTransactions:
    async def test_a_duplicate_does_not_break_the_callers_transaction(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        first = await raising(1).enqueue()
        async with connection.transaction():
            await connection.execute("create table of_callers (n integer)")
            with pytest.raises(NotUnique) as raised:
                await raising(1).enqueue(connection=connection)
            assert raised.value.job_id == first.id
            await connection.execute("insert into of_callers values (1)")
        assert await connection.fetchval("select n from of_callers") == 1

    async def test_an_open_transaction_with_the_key_is_waited_for_and_its_rollback_frees_it(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        other = await connect(url, is_lent=True)
        transaction = connection.transaction()
        await transaction.start()
        await once(5, "first").enqueue(connection=connection)
        waiting = asyncio.ensure_future(once(5, "second").enqueue(connection=other))

        async def waits() -> bool:
            return bool(
                await connection.fetchval(
                    "select count(*) from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'",
                    other.get_server_pid(),
                )
            )

        async with asyncio.timeout(PATIENCE):
            while not await waits():
                await asyncio.sleep(0)
        await transaction.rollback()
        second = await waiting
        assert second.disposition == "enqueued"
        other.terminate()


class TestReplacing:
    async def test_the_job_that_waits_takes_what_is_new_and_keeps_its_id(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs():
            first = await newest(1, "old").set(wait=3600).enqueue()
            second = await newest(1, "new").set(priority=5, queue="urgent").enqueue()
            assert (second.disposition, second.id) == ("replaced", first.id)
            status = await second.status()
            assert (status.state, status.priority, status.queue) == ("ready", 5, "urgent")
        async with make_jobs().running():
            assert await second.result(timeout=PATIENCE) == "new"
        assert seen == [(1, "new")]

    async def test_a_thousand_updates_of_a_key_are_one_run(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs():
            for n in range(0, 1_000, 100):
                await enqueue_all(newest(1, str(n + m)) for m in range(100))
            last = await newest(1, "the last").enqueue()
            assert await rows(connection) == 1
        async with make_jobs().running():
            assert await last.result(timeout=PATIENCE) == "the last"
        assert len(seen) == 1

    async def test_while_one_runs_the_newest_is_stored_and_starts_after_it(self, jobs: AsyncJobs) -> None:
        running = await newest(1, "held").enqueue()
        await gates["arrived"].wait()
        after = await newest(1, "second").enqueue()
        newer = await newest(1, "third").enqueue()
        assert [after.disposition, newer.disposition] == ["enqueued", "replaced"]
        assert newer.id == after.id != running.id
        assert ((await newer.status()).state, seen) == ("scheduled", [(1, "held")])
        gates["open"].set()
        assert await newer.result(timeout=PATIENCE) == "third"
        assert seen == [(1, "held"), (1, "third")]

    async def test_what_waits_for_one_that_runs_starts_however_that_ends(self, jobs: AsyncJobs) -> None:
        running = await newest(5, "held in vain").enqueue()
        await gates["arrived"].wait()
        after = await newest(5, "after").enqueue()
        gates["open"].set()
        assert await after.result(timeout=PATIENCE) == "after"
        assert (await running.status()).state == "failed"

    async def test_it_is_under_the_limits_of_what_is_new(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        holder = await moved(1, "a", held=True).enqueue()
        await gates["arrived"].wait()
        waits = await moved(2, "a").enqueue()
        free = await moved(2, "b").enqueue()
        assert (free.disposition, free.id) == ("replaced", waits.id)
        assert await free.result(timeout=PATIENCE) == "b"
        gates["open"].set()
        await holder

    async def test_the_place_that_it_has_held_is_free(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        await moved(2, "a").enqueue()
        await limiting.admit(connection)
        waits = await moved(3, "a").enqueue()
        await limiting.admit(connection)
        await moved(2, "b").enqueue()
        await limiting.admit(connection)
        found = await connection.fetch("select id from asyncjobs.job where limit_key like '%a%' and admitted = seq")
        assert waits.id in [row["id"] for row in found]

    async def test_what_waits_for_one_that_runs_takes_the_time_that_is_new(self, jobs: AsyncJobs) -> None:
        running = await newest(2, "held").enqueue()
        await gates["arrived"].wait()
        after = await newest(2, "soon").enqueue()
        await newest(2, "late").set(wait=3600).enqueue()
        gates["open"].set()
        await running
        status = await after.status()
        assert status.state == "scheduled"
        assert status.run_at is not None

    async def test_one_that_is_due_now_comes_after_those_that_wait_already(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await perishable(3).set(wait=3600).enqueue()
        other = await perishable(4).enqueue()
        now = await perishable(3).enqueue()
        found = await connection.fetch("select id, expires_at - run_at as within from asyncjobs.job order by seq")
        assert [(row["id"], row["within"]) for row in found] == [
            (other.id, timedelta(minutes=1)),
            (now.id, timedelta(minutes=1)),
        ]


class TestStates:
    async def test_a_key_held_until_the_start_is_free_from_then_on(self, jobs: AsyncJobs) -> None:
        first = await until_it_starts(1).enqueue()
        await gates["arrived"].wait()
        second, third = await until_it_starts(1).set(wait=60).enqueue(), await until_it_starts(1).enqueue()
        assert [second.disposition, third.disposition] == ["enqueued", "duplicate"]
        gates["open"].set()
        await first

    async def test_within_its_window_one_that_has_finished_is_in_conflict_too(self, jobs: AsyncJobs) -> None:
        lately = Unique(by=("account_id",), window=3600)
        first = await once(9).set(unique=lately).enqueue()
        await first
        second = await once(9).set(unique=lately).enqueue()
        assert (second.disposition, second.id) == ("duplicate", first.id)
        assert await second == ""

    async def test_after_its_window_it_is_not(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        lately = Unique(by=("account_id",), window=3600)
        first = await once(9).set(unique=lately).enqueue()
        await first.cancel()
        await connection.execute("update asyncjobs.unique_window set until = clock_timestamp() - interval '1 second'")
        assert (await once(9).set(unique=lately).enqueue()).disposition == "enqueued"


class TestRetriesByHand:
    async def test_one_whose_key_another_has_is_refused_by_name(self, jobs: AsyncJobs) -> None:
        failed = await failing().enqueue()
        with pytest.raises(Exception, match="ValueError"):
            await failed
        other = await failing().set(wait=3600).enqueue()
        with pytest.raises(NotUnique, match=str(other.id)):
            await jobs.retry(failed)
        assert (await failed.status()).state == "failed"
        await other.cancel()
        assert await jobs.retry(failed)

    async def test_of_two_with_one_key_the_first_is_retried(self, client: AsyncJobs) -> None:
        first = await once(1).enqueue()
        await first.cancel()
        second = await once(1).enqueue()
        await second.cancel()
        assert await client.retry_all(state="cancelled") == 1
        assert [(await each.status()).state for each in (first, second)] == ["ready", "cancelled"]


class TestFromSql:
    async def test_the_id_of_the_job_that_has_the_key_is_returned(self, connection: asyncpg.Connection) -> None:
        enqueue = "select asyncjobs.enqueue('unique.once', '{\"account_id\": 1}', unique_key => $1)"
        first, second = await connection.fetchval(enqueue, "a"), await connection.fetchval(enqueue, "a")
        assert first == second != await connection.fetchval(enqueue, "b")

    async def test_the_key_of_python_is_the_kind_the_arguments_and_their_values(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        here = await once(1).enqueue()
        enqueue = "select asyncjobs.enqueue('unique.once', '{\"account_id\": 1}', unique_key => $1)"
        assert await connection.fetchval(enqueue, "unique.once(account_id) 1") == here.id

    @pytest.mark.parametrize("key", ["", "x" * 257], ids=["empty", "too long"])
    async def test_a_key_outside_its_limits_is_refused(self, connection: asyncpg.Connection, key: str) -> None:
        with pytest.raises(asyncpg.PostgresError, match="unique_key must have 1 to 256 characters"):
            await connection.fetchval("select asyncjobs.enqueue('k', '{}', unique_key => $1)", key)


class TestKeys:
    async def test_a_callable_makes_the_key_of_the_job(self, client: AsyncJobs) -> None:
        @job(kind=f"unique.{uuid4()}", unique=Unique(by=lambda one: one.arguments["url"].lower()))
        async def crawl(url: str) -> None: ...

        assert (await crawl("A").enqueue()).disposition == "enqueued"
        assert (await crawl("a").enqueue()).disposition == "duplicate"

    async def test_a_key_of_many_characters_is_as_good(self, client: AsyncJobs) -> None:
        @job(kind=f"unique.{uuid4()}", unique=Unique(by=("text",)))
        async def index(text: str) -> None: ...

        start = "x" * 5_000
        made = [(await index(start + end).enqueue()).disposition for end in ("a", "b", "a")]
        assert made == ["enqueued", "enqueued", "duplicate"]

    async def test_what_a_callable_returns_that_json_cannot_say_is_refused(self, client: AsyncJobs) -> None:
        @job(kind=f"unique.{uuid4()}", unique=Unique(by=lambda _: object()))
        async def odd() -> None: ...

        with pytest.raises(InvalidOption, match="by= returned"):
            await odd().enqueue()

    def test_what_names_no_argument_is_refused_at_the_definition(self) -> None:
        with pytest.raises(InvalidDefinition, match="unique: by has 'user_id', which is no argument"):

            @job(kind="unique.wrong", unique=Unique(by=("user_id",)))
            async def wrong(account_id: int) -> None: ...

        with pytest.raises(InvalidDefinition, match="which is no argument"):

            class Wrong(Job, kind="unique.wrong class", unique=Unique(by=("user_id",))):
                account_id: int

                async def perform(self) -> None: ...


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"by": "user_id"}, "is a string: give a tuple"),
        ({"by": (1,)}, "neither a tuple of arguments' names"),
        ({"by": 3}, "neither a tuple of arguments' names"),
        ({"states": ("finished",)}, "states has 'finished'"),
        ({"states": ("succeeded",)}, "for jobs that have ended give window="),
        ({"states": ("ready",)}, "is not allowed: give"),
        ({"states": ()}, "is not allowed: give"),
        ({"states": ("scheduled", "ready", "waiting")}, "is not allowed: give"),
        ({"window": 0}, "window=0"),
        ({"window": -1}, "window=-1"),
        ({"window": "1h"}, "window='1h'"),
        ({"window": float("nan")}, "window=nan"),
        ({"on_conflict": "ignore"}, "use 'skip', 'replace' or 'raise'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_remedy(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        Unique(**given)


@pytest.mark.parametrize("value", [True, "user_id", ("user_id",), Unique])
def test_what_is_no_unique_is_refused(value: Any) -> None:
    with pytest.raises(InvalidDefinition, match="give unique=Unique"):

        @job(kind="unique.none", unique=value)
        async def none(user_id: int) -> None: ...


async def test_one_that_was_sent_before_is_made_once(client: AsyncJobs, connection: asyncpg.Connection) -> None:
    one = await once(4).enqueue()
    one._sent = False  # as after an answer that was lost
    await one.enqueue()
    assert (one.disposition, await rows(connection)) == ("enqueued", 1)


async def test_one_that_was_sent_before_and_is_over_is_not_made_again(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    one = await once(4, "once").enqueue()
    assert await one == "once"
    one._sent = False  # as after an answer that was lost
    await one.enqueue()
    assert (one.disposition, await one.result()) == ("enqueued", "once")
    assert (await connection.fetchval("select count(*) from asyncjobs.job"), len(seen)) == (0, 1)


class TestWindow:
    lately = Unique(by=("account_id",), window=3600)

    async def test_one_that_was_sent_before_is_no_duplicate_of_itself(self, client: AsyncJobs) -> None:
        one = await once(20).set(unique=self.lately).enqueue()
        one._sent = False  # as after an answer that was lost
        await one.enqueue()
        assert one.disposition == "enqueued"

    async def test_one_that_is_not_kept_any_more_is_in_nobodys_way(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        first = await once(21).set(unique=self.lately).enqueue()
        await connection.execute("delete from asyncjobs.job where id = $1", first.id)
        assert (await once(21).set(unique=self.lately).enqueue()).disposition == "enqueued"

    async def test_one_that_is_over_is_named_where_that_is_to_be_raised(self, client: AsyncJobs) -> None:
        first = await raising(22).set(unique=Unique(by=("account_id",), window=3600, on_conflict="raise")).enqueue()
        await first.cancel()
        with pytest.raises(NotUnique, match=str(first.id)):
            await raising(22).set(unique=Unique(by=("account_id",), window=3600, on_conflict="raise")).enqueue()

    async def test_while_one_runs_the_newest_is_stored_and_replaced_even_when_that_is_over(
        self, jobs: AsyncJobs
    ) -> None:
        replacing = Unique(by=("account_id",), window=3600, on_conflict="replace")
        running = await newest(23, "held").set(unique=replacing).enqueue()
        await gates["arrived"].wait()
        after = await newest(23, "second").set(unique=replacing, wait=60).enqueue()
        assert after.disposition == "enqueued"
        gates["open"].set()
        await running
        newer = await newest(23, "third").set(unique=replacing).enqueue()
        assert (newer.disposition, newer.id) == ("replaced", after.id)
        assert await newer.result(timeout=PATIENCE) == "third"

    async def test_what_is_over_is_not_replaced(self, client: AsyncJobs) -> None:
        replacing = Unique(by=("account_id",), window=3600, on_conflict="replace")
        first = await newest(24, "first").set(unique=replacing).enqueue()
        await first.cancel()
        second = await newest(24, "second").set(unique=replacing).enqueue()
        assert (second.disposition, second.id) == ("duplicate", first.id)


@job(kind="unique.valued", unique=Unique(by=("value",)))
async def valued(value: Any) -> None: ...


@job(kind="unique.dated", unique=Unique(by=("at", "amount", "names")))
async def dated(at: datetime, amount: Decimal, names: set[str]) -> None: ...


@job(kind="unique.called", unique=Unique(by=lambda made: made.arguments["value"]))
async def called(value: float) -> None: ...


async def test_equal_values_have_one_key(client: AsyncJobs) -> None:
    pairs = [
        (valued({"a": 1, "b": {"c": 1, "d": 2}}), valued({"b": {"d": 2, "c": 1}, "a": 1})),
        (valued(0.0), valued(-0.0)),
        (
            dated(datetime(2026, 1, 1, 12, tzinfo=UTC), Decimal("1.0"), {"a", "b"}),
            dated(datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))), Decimal("1.00"), {"b", "a"}),
        ),
    ]
    for one, other in pairs:
        await one.enqueue()
        assert (await other.enqueue()).disposition == "duplicate"
    for other in (valued([1, 2]), valued([2, 1]), valued("1"), valued(1)):
        assert (await other.enqueue()).disposition == "enqueued"


def test_the_key_of_a_set_is_the_same_in_every_process() -> None:
    code = (
        "from asyncjobs import Unique, job\nfrom asyncjobs.jobs.ordering import unique_key_of\n"
        "@job(kind='k', unique=Unique(by=('names',)))\nasync def k(names: set[str]): ...\n"
        "print(unique_key_of(k(set('abcdefgh')))['key'])"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert keys == {b'k(names) ["a","b","c","d","e","f","g","h"]\n'}


@pytest.mark.parametrize("value", [math.nan, math.inf])
async def test_a_number_that_is_not_finite_is_no_key(client: AsyncJobs, value: float) -> None:
    made = called(1.0)
    made._values["value"] = value
    with pytest.raises(InvalidOption, match=r"by= returned (nan|inf): return text, finite numbers"):
        await made.enqueue()


async def test_a_chain_with_one_key_twice_says_so(client: AsyncJobs) -> None:
    with pytest.raises(NotUnique, match="it is of this chain, too: leave one out; a chain is stored as a whole"):
        await chain(once(1), once(1)).enqueue()


async def test_a_chain_whose_key_another_job_has_waits_for_that(client: AsyncJobs) -> None:
    await once(1).enqueue()
    with pytest.raises(NotUnique, match="enqueue the chain when that one has ended; a chain is stored as a whole"):
        await chain(once(1)).enqueue()
