"""Batches: stored whole, over when all of their jobs are, and what follows that is enqueued once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from client_jobs import Gate, rows, wait_at
from order_jobs import BROKEN, RAN, adds, begin, called, note, settled, with_callbacks

from asyncjobs import (
    AlreadyEnqueued,
    AsyncJobs,
    AwaitCycle,
    Batch,
    BatchNotFound,
    BatchOver,
    InvalidOption,
    Job,
    LeaseLost,
    NotEnqueued,
    Unique,
    chain,
    current_attempt,
    job,
)
from asyncjobs.client.bulk import CHUNK
from asyncjobs.db.connecting import connect
from tests.support.asking import until, until_blocked
from tests.support.processes import PATIENCE, until_so

EVERYTHING = "select (select count(*) from asyncjobs.batch), (select count(*) from asyncjobs.job)"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    begin()


def notes(count: int) -> Iterator[Job[str]]:
    return (note(f"n{n}") for n in range(count))


class TestItsEnd:
    async def test_when_all_have_succeeded_it_says_so_and_enqueues_what_follows(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        batch = with_callbacks("import 7").add(note("a"), note("b"))
        await batch.add_all(notes(3)).enqueue()
        status = await batch
        assert (status.total, status.done, status.by_state) == (5, 5, {"succeeded": 5})
        assert (status.description, status.over, status.succeeded, status.discarded_at) == (
            "import 7",
            True,
            True,
            None,
        )
        await settled(connection, batch)
        assert called() == {"success": 1, "finish": 1}

    async def test_one_that_fails_is_told_at_once_and_the_rest_goes_on(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        BROKEN.add("bad")
        gate = Gate("fails")
        batch = await with_callbacks().add(note("bad"), wait_at(gate.name)).enqueue()
        await until(connection, "select discarded_at is not null from asyncjobs.batch")
        await until_so(called)
        assert called() == {"discard": 1}
        assert (await batch.status()).by_state == {"failed": 1, "running": 1}
        gate.open.set()
        status = await batch
        assert status.by_state == {"failed": 1, "succeeded": 1} and not status.succeeded
        await settled(connection, batch)
        assert called() == {"discard": 1, "finish": 1}

    async def test_a_retry_by_hand_that_succeeds_makes_it_a_success_and_repeats_nothing(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        BROKEN.add("bad")
        bad = note("bad")
        batch = await with_callbacks().add(bad, note("good")).enqueue()
        assert not (await batch).succeeded
        BROKEN.clear()
        assert await jobs.retry(bad)
        assert (await batch).succeeded
        await settled(connection, batch)
        assert called() == {"discard": 1, "finish": 1, "success": 1}

    async def test_one_that_fails_again_after_its_retry_leaves_it_over_and_enqueues_nothing_more(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        BROKEN.add("bad")
        bad = note("bad")
        batch = await with_callbacks().add(bad).enqueue()
        await batch
        await jobs.retry(bad)
        assert (await batch).by_state == {"failed": 1}
        await settled(connection, batch)
        assert called() == {"discard": 1, "finish": 1}
        assert RAN.count("bad") == 2

    @pytest.mark.parametrize("how", ["cancel", "discard"])
    async def test_jobs_that_are_ended_by_hand_are_noticed(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, how: str
    ) -> None:
        late = note("late").set(wait=3600)
        batch = await with_callbacks().add(late, note("good")).enqueue()
        await until(connection, "select count(*) = 1 from asyncjobs.finished")
        assert await getattr(jobs, how)(late)
        status = await batch.result(timeout=10)
        assert status.by_state == {"succeeded": 1, {"cancel": "cancelled", "discard": "discarded"}[how]: 1}
        await settled(connection, batch)
        assert called() == {"discard": 1, "finish": 1}

    async def test_without_jobs_it_is_over_at_once(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        batch = await with_callbacks().enqueue()
        assert (await batch).total == 0
        await settled(connection, batch)
        assert called() == {"success": 1, "finish": 1}

    @pytest.mark.parametrize(("conflict", "how"), [("skip", "duplicate"), ("replace", "replaced")])
    async def test_of_jobs_that_made_no_rows_it_is_over_at_once(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, conflict: Any, how: str
    ) -> None:
        unique = Unique(on_conflict=conflict)
        waiting = await note("a").set(unique=unique, wait=60).enqueue()
        made = note("b").set(unique=unique, wait=60)
        batch = await with_callbacks().add(made).enqueue()
        assert (made.disposition, made.id) == (how, waiting.id)
        assert (await batch.status()).over
        await settled(connection, batch)
        assert called() == {"success": 1, "finish": 1}

    async def test_without_a_worker_an_empty_one_is_over_and_others_are_not(self, client: AsyncJobs) -> None:
        assert (await Batch().enqueue()).id and (await (await Batch().enqueue()).status()).over
        batch = await Batch().add(note("a")).enqueue()
        with pytest.raises(TimeoutError, match=f"batch {batch.id} is not over after 0.05 s, and goes on"):
            await batch.result(timeout=0.05)

    async def test_what_no_worker_has_noticed_the_next_that_begins_does(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs():
            batch = await with_callbacks().add(note("a")).enqueue()
        await connection.execute(
            "with gone as (delete from asyncjobs.job returning *) insert into asyncjobs.finished (id, fence, enqueued_at, "
            "expires_on, attempt, priority, state, crashes, kind, queue, args, batch) select id, 1, enqueued_at, "
            "now()::date + 2, 1, 0, 4, 0, kind, queue, args, batch from gone"
        )
        async with make_jobs().running():
            await settled(connection, batch)
        assert called() == {"success": 1, "finish": 1}


class TestItsJobs:
    async def test_those_that_its_jobs_add_are_waited_for(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        batch = await with_callbacks().add(adds(count=3)).enqueue()
        assert (await batch).by_state == {"succeeded": 4}
        await settled(connection, batch)
        assert called() == {"success": 1, "finish": 1}

    async def test_many_are_added_a_chunk_a_statement(self, jobs: AsyncJobs) -> None:
        made: list[int] = []

        @job(kind="batches.fan_out")
        async def fan_out() -> None:
            batch = current_attempt().batch
            assert batch is not None
            made.append(await batch.enqueue_all(notes(1_200)))

        assert (await (await Batch().add(fan_out()).enqueue())).total == 1_201
        assert made == [1_200]

    async def test_whose_lease_is_lost_adds_nothing(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        raised: list[Exception] = []
        gate = Gate("lost")

        @job(kind="batches.loses")
        async def loses() -> None:
            batch = current_attempt().batch
            assert batch is not None
            gate.arrived.set()
            await gate.open.wait()
            try:
                await batch.enqueue(note("too late"))
            except LeaseLost as error:
                raised.append(error)

        await Batch().add(loses()).enqueue()
        await gate.arrived.wait()
        await connection.execute("update asyncjobs.job set fence = fence + 1000")
        gate.open.set()
        await until_so(lambda: raised)
        assert "does not run here any more, and adds nothing to its batch" in str(raised[0])
        assert await rows(connection) == 1

    async def test_the_end_of_a_job_waits_for_the_transaction_in_which_it_adds_one(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        mine = await connect(url, is_lent=True)
        transaction = mine.transaction()
        await transaction.start()

        @job(kind="batches.in_transaction")
        async def in_transaction() -> None:
            batch = current_attempt().batch
            assert batch is not None
            await batch.enqueue(note("late"), connection=mine)

        one = in_transaction()
        batch = await with_callbacks().add(one).enqueue()
        await until_blocked(connection)
        assert await connection.fetchval("select count(*) from asyncjobs.finished") == 0
        await transaction.commit()
        assert (await batch).by_state == {"succeeded": 2}
        await settled(connection, batch)
        assert called() == {"success": 1, "finish": 1}
        mine.terminate()

    async def test_one_of_a_success_that_is_run_once_more_adds_nothing(self, jobs: AsyncJobs) -> None:
        added = adds(count=1)
        batch = await Batch().add(added).enqueue()
        assert (await batch).succeeded
        assert await jobs.retry(added, force=True)
        with pytest.raises(Exception, match=f"BatchOver: batch {batch.id} is over: all of its jobs had succeeded"):
            await added
        assert (await batch).total == 2
        assert issubclass(BatchOver, Exception)

    async def test_outside_a_batch_there_is_none(self, jobs: AsyncJobs) -> None:
        @job(kind="batches.none")
        async def none() -> bool:
            return current_attempt().batch is None

        assert await (await none().enqueue())
        assert await none().perform_now()

    async def test_a_duplicate_is_another_s_and_not_counted(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        gate = Gate("duplicate")
        unique = Unique(by=("gate",))
        other = await wait_at(gate.name).set(unique=unique).enqueue()
        batch = await Batch().add(wait_at(gate.name).set(unique=unique), note("a")).enqueue()
        assert (await batch.result(timeout=10)).total == 1
        gate.open.set()
        await other

    async def test_one_object_is_one_job_however_often_it_is_given(self, client: AsyncJobs) -> None:
        one = note("a")
        batch = await Batch().add(one, one).add_all([one, one]).enqueue()
        assert (await batch.status()).total == 1

    async def test_each_is_enqueued_inside_its_hooks(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        seen: list[str] = []

        @job(kind="batches.hooked")
        async def hooked(n: int) -> None: ...

        @hooked.before_enqueue
        async def before(each: Any) -> None:
            seen.append(f"before {each.arguments['n']}")

        @hooked.after_enqueue
        async def after(each: Any) -> None:
            seen.append(f"after {each.arguments['n']}")

        await Batch(on_finish=hooked(0)).add(hooked(1), note("a"), hooked(2)).enqueue()
        assert sorted(seen) == ["after 0", "after 1", "after 2", "before 0", "before 1", "before 2"]
        assert max(map(seen.index, ("before 1", "before 2"))) < min(map(seen.index, ("after 1", "after 2")))
        assert await rows(connection) == 3

    async def test_options_of_each_hold(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        await Batch().add(note("a").set(queue="low", priority=7, wait=60), note("b")).enqueue()
        found = await connection.fetch("select queue, priority, state from asyncjobs.job order by queue")
        assert [tuple(row) for row in found] == [("default", 0, 1), ("low", 7, 0)]


class TestStoring:
    @pytest.mark.parametrize("count", [1, 99, CHUNK, 2 * CHUNK + 1])
    @pytest.mark.parametrize("kind", ["list", "iterator", "async iterator"])
    async def test_all_are_there_with_it(
        self, client: AsyncJobs, connection: asyncpg.Connection, count: int, kind: str
    ) -> None:
        async def each() -> AsyncIterator[Job[str]]:
            for n, made in enumerate(notes(count)):
                if n % 50 == 0:
                    assert await connection.fetchval("select count(*) from asyncjobs.batch") == 0
                yield made

        given: Any = {"list": lambda: [*notes(count)], "iterator": lambda: notes(count), "async iterator": each}[kind]()
        batch = await Batch().add_all(given).enqueue()
        assert await connection.fetchval("select count(*) from asyncjobs.job where batch = $1", batch.id) == count
        assert (await batch.status()).by_state == {"ready": count}

    @pytest.mark.parametrize("wrong", ["raises", "no job", "enqueued"])
    async def test_what_an_iterable_does_wrong_stores_nothing(
        self, client: AsyncJobs, connection: asyncpg.Connection, wrong: str
    ) -> None:
        there = await note("there").enqueue()

        def each() -> Iterator[Any]:
            yield from notes(CHUNK + 5)
            if wrong == "raises":
                raise OSError("no file")
            yield {"no job": 7, "enqueued": there}[wrong]

        expected: dict[str, Any] = {"raises": OSError, "no job": InvalidOption, "enqueued": AlreadyEnqueued}
        batch = Batch().add_all(each())
        with pytest.raises(expected[wrong]):
            await batch.enqueue()
        assert tuple(await connection.fetchrow(EVERYTHING)) == (0, 1)
        with pytest.raises(InvalidOption, match="an iterable of it was gone through by an enqueue"):
            await batch.enqueue()

    async def test_a_list_that_was_refused_can_be_stored_once_it_is_right(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made: list[Any] = [note("a"), 7]
        batch = Batch().add_all(made)
        with pytest.raises(InvalidOption, match="item 1 of batch"):
            await batch.enqueue()
        made[1] = note("b")
        await batch.enqueue()
        assert tuple(await connection.fetchrow(EVERYTHING)) == (1, 2)

    async def test_enqueueing_it_again_stores_nothing(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        batch = await Batch().add(note("a")).enqueue()
        await batch.enqueue()
        assert tuple(await connection.fetchrow(EVERYTHING)) == (1, 1)

    async def test_a_block_that_raises_stores_nothing(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        with pytest.raises(LookupError):
            async with with_callbacks() as batch:
                batch.add(note("a"))
                raise LookupError
        assert tuple(await connection.fetchrow(EVERYTHING)) == (0, 0)

    @pytest.mark.parametrize("ends", ["commit", "rollback"])
    @pytest.mark.parametrize("empty", [False, True])
    async def test_on_a_caller_s_connection_it_is_there_if_that_commits(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str, ends: str, empty: bool
    ) -> None:
        mine = await connect(url, is_lent=True)
        batch = with_callbacks()
        if not empty:
            batch.add(note("a"), Batch().add(note("b")))
        transaction = mine.transaction()
        await transaction.start()
        await batch.enqueue(connection=mine)
        assert tuple(await connection.fetchrow(EVERYTHING)) == (0, 0)
        await getattr(transaction, ends)()
        expected = ((1, 2) if empty else (2, 2)) if ends == "commit" else (0, 0)
        assert tuple(await connection.fetchrow(EVERYTHING)) == expected
        if ends == "rollback" and not empty:  # and once more, as a job is
            await batch.enqueue()
            assert tuple(await connection.fetchrow(EVERYTHING)) == (2, 2)
        mine.terminate()

    async def test_its_jobs_may_be_made_of_rows_that_the_caller_s_connection_reads(
        self, client: AsyncJobs, connection: asyncpg.Connection, url: str
    ) -> None:
        mine = await connect(url, is_lent=True)

        async def read() -> AsyncIterator[Job[str]]:
            async for row in mine.cursor("select generate_series(1, $1::integer)", 2 * CHUNK + 1, prefetch=500):
                yield note(str(row[0]))

        async with mine.transaction():
            batch = await Batch().add_all(read()).enqueue(connection=mine)
        await mine.close()
        assert (await batch.status()).total == 2 * CHUNK + 1

    async def test_the_worker_that_serves_its_queue_is_told(self, jobs: AsyncJobs) -> None:
        assert (await (await Batch().add_all([*notes(500)]).enqueue()).result(timeout=10)).done == 500


class TestNested:
    async def test_the_outer_is_over_when_the_inner_are(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        gate = Gate("nested")
        innermost = with_callbacks(prefix="c ").add(wait_at(gate.name))
        inner = with_callbacks(prefix="b ").add(innermost)
        outer = await with_callbacks().add(inner, Batch(), note("a")).enqueue()
        await until(connection, "select count(*) = 1 from asyncjobs.finished")
        assert not (await outer.status()).over
        gate.open.set()
        assert (await outer).by_state == {"succeeded": 2}
        await settled(connection, outer)
        assert called() == called("b ") == called("c ") == {"success": 1, "finish": 1}

    async def test_what_goes_wrong_inside_is_told_outside_and_can_be_made_good(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        BROKEN.add("bad")
        bad = note("bad")
        inner = with_callbacks(prefix="b ").add(Batch().add(bad))
        outer = await with_callbacks().add(inner, note("a")).enqueue()
        assert not (await outer).succeeded
        await settled(connection, outer)
        assert called() == called("b ") == {"discard": 1, "finish": 1}
        BROKEN.clear()
        await jobs.retry(bad)
        assert (await outer).succeeded
        await settled(connection, outer)
        assert called() == called("b ") == {"discard": 1, "finish": 1, "success": 1}


class TestAwaiting:
    async def test_any_process_can_by_its_id(self, jobs: AsyncJobs, make_jobs: Callable[..., AsyncJobs]) -> None:
        gate = Gate("elsewhere")
        batch = await Batch("far").add(wait_at(gate.name)).enqueue()
        async with make_jobs() as other:
            there = await other.get_batch(str(batch.id))
            assert (there.id, there.description) == (batch.id, "far")
            waiting = asyncio.ensure_future(there.result())
            await gate.arrived.wait()
            gate.open.set()
            assert (await asyncio.wait_for(waiting, 10)).succeeded

    async def test_inside_a_job_the_slot_is_given_back(self, make_jobs: Callable[..., AsyncJobs]) -> None:
        @job(kind="batches.parent")
        async def parent() -> int:
            return (await (await Batch().add(note("a"), note("b")).enqueue())).done

        async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}]).running():
            assert await asyncio.wait_for(await parent().enqueue(), 10) == 2

    @pytest.mark.parametrize("nested", [False, True])
    async def test_a_job_cannot_await_its_own(self, jobs: AsyncJobs, nested: bool) -> None:
        raised: list[AwaitCycle] = []

        @job(kind=f"batches.own.{nested}")
        async def own(batch: str) -> None:
            try:
                await (await jobs.get_batch(batch))
            except AwaitCycle as error:
                raised.append(error)

        outer = Batch()
        inner = Batch() if nested else outer
        inner.add(own(str(outer.id)))
        if nested:
            outer.add(inner)
        await (await outer.enqueue())
        assert f"awaits batch {outer.id}, of which it is one, and would wait for ever" in str(raised[0])

    async def test_there_must_be_one(self, client: AsyncJobs) -> None:
        with pytest.raises(NotEnqueued, match="has not been enqueued, and nothing but `await batch.enqueue"):
            await Batch()
        with pytest.raises(BatchNotFound, match="can be seen"):
            await client.get_batch(uuid4())
        with pytest.raises(InvalidOption, match="'abc' names no batch: give its id"):
            await client.get_batch("abc")


class TestRetention:
    async def test_a_failure_that_was_dropped_from_the_history_is_remembered(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        batch = await with_callbacks().add(note("a"), note("b"), note("c")).enqueue()
        await connection.execute("select asyncjobs.make_partitions(now()::date - 2)")
        await connection.execute(
            "create table asyncjobs.finished_20200101 partition of asyncjobs.finished "
            "for values from ('2020-01-01') to ('2020-01-02')"
        )
        await connection.execute(
            "with gone as (delete from asyncjobs.job where args ~ '[ab]\"' returning *) insert into asyncjobs.finished (id, "
            "fence, enqueued_at, expires_on, attempt, priority, state, crashes, kind, queue, args, batch) select id, 1, "
            "enqueued_at, '2020-01-01', 1, 0, case when args ~ 'a\"' then 5 else 4 end, 0, kind, queue, args, batch from gone"
        )
        assert await connection.fetchval("select asyncjobs.drop_expired()") == 1
        assert (await batch.status()).by_state == {"failed": 1, "succeeded": 1, "ready": 1}
        await connection.execute(
            "with gone as (delete from asyncjobs.job returning *) insert into asyncjobs.finished (id, fence, enqueued_at, "
            "expires_on, attempt, priority, state, crashes, kind, queue, args, batch) select id, 1, enqueued_at, "
            "now()::date + 1, 1, 0, 4, 0, kind, queue, args, batch from gone"
        )
        await connection.fetch("select asyncjobs.settle_batches(array[$1::uuid])", batch.id)
        status = await batch.status()
        assert status.over and not status.succeeded and status.discarded_at is not None
        assert status.by_state == {"failed": 1, "succeeded": 2}

    async def test_it_is_forgotten_when_its_jobs_are_and_its_parts_after_it(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        from asyncjobs.db import batches

        inner = Batch()
        outer = await Batch().add(inner).enqueue()
        kept = await Batch().add(note("a")).enqueue()
        assert await batches.forget(connection, 3600, 10) == 0
        await connection.execute("update asyncjobs.batch set finished_at = finished_at - interval '2 hours'")
        assert await batches.forget(connection, 3600, 10) == 1
        with pytest.raises(BatchNotFound):
            await outer.status()
        assert (await inner.status()).over
        assert await batches.forget(connection, 3600, 10) == 1
        assert await batches.forget(connection, 3600, 10) == 0
        assert (await kept.status()).total == 1


async def test_two_that_look_at_once_enqueue_what_follows_once(
    client: AsyncJobs, connection: asyncpg.Connection, url: str
) -> None:
    made = [await with_callbacks().enqueue() for _ in range(5)]
    await connection.execute(
        "delete from asyncjobs.job; update asyncjobs.batch set settled = false, finished_at = null, succeeded_at = null"
    )
    others = [await connect(url) for _ in range(4)]
    ids = [batch.id for batch in made]
    await asyncio.gather(*(each.fetch("select asyncjobs.settle_batches($1::uuid[])", ids) for each in others))
    assert await connection.fetchval("select count(*) from asyncjobs.job") == 10
    for each in others:
        each.terminate()


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Batch("x" * 1001), InvalidOption, "description must be text of at most 1,000 characters"),
        (lambda: Batch(7), InvalidOption, "description must be text"),
        (lambda: Batch("a\0"), InvalidOption, "description must be text"),
        (lambda: Batch(on_success=note), InvalidOption, r"on_success= got .*, which is no job: call a @job function"),
        (lambda: Batch(on_finish=chain(note("a"))), InvalidOption, "enqueue a chain by itself"),
        (lambda: Batch(on_end=note("a")), TypeError, "on_end"),
        (lambda: Batch("a", note("b")), TypeError, "the callbacks go by name"),
        (lambda: Batch().add(7), InvalidOption, r"Batch.add\(\) got 7, which is no job"),
        (lambda: Batch().add([note("a")]), InvalidOption, "which is no job"),
        (lambda: Batch().add_all(7), InvalidOption, "takes an iterable or async iterable of jobs, not int"),
        (lambda: Batch().add_all(note("a")), InvalidOption, r"give one job to add\(\)"),
        (lambda: (one := Batch()).add(one), InvalidOption, "contains this one"),
        (
            lambda: (one := Batch()).add((two := Batch()).add(Batch())) and two.add(one),
            InvalidOption,
            "contains this one",
        ),
        (lambda: Batch().add(one := Batch()) and Batch().add(one), InvalidOption, "a batch has one place"),
        (lambda: Batch(on_finish=(one := note("a")), on_success=one), InvalidOption, "make one for each"),
    ],
)
@pytest.mark.filterwarnings("ignore::asyncjobs.JobNeverEnqueued")
def test_what_is_wrong_is_refused_where_it_is_given(make: Callable[[], Any], error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        make()


@pytest.mark.filterwarnings("ignore::asyncjobs.JobNeverEnqueued")
async def test_what_is_wrong_with_the_whole_is_refused_when_it_is_enqueued(client: AsyncJobs) -> None:
    one = note("a")
    with pytest.raises(InvalidOption, match="a callback is one of its jobs"):
        await Batch(on_finish=one).add(one).enqueue()
    inner = Batch()
    Batch().add(inner)
    with pytest.raises(InvalidOption, match="is a part of batch"):
        await inner.enqueue()
    batch = await Batch().enqueue()
    with pytest.raises(AlreadyEnqueued, match="is enqueued already"):
        batch.on_discard = note("late")
    for wrong in (lambda: batch.add(note("b")), lambda: batch.add_all([]), lambda: Batch().add(batch)):
        with pytest.raises(AlreadyEnqueued, match="is enqueued already"):
            wrong()
    there = await note("there").enqueue()
    with pytest.raises(AlreadyEnqueued, match="make a new one"):
        Batch().add(there)


async def test_a_callback_that_is_given_later_may_know_its_batch(jobs: AsyncJobs) -> None:
    batch = Batch("named", on_finish=note("never"))
    batch.on_finish = told = note(str(batch.id))
    assert (batch.on_finish, batch.on_success) == (told, None)
    batch.on_discard = note("alarm")
    batch.on_discard = None
    with pytest.raises(InvalidOption, match="on_success= is the job of another callback"):
        batch.on_success = told
    await batch.add(note("a")).enqueue()
    async with asyncio.timeout(PATIENCE):
        await batch
        await told
    assert told.disposition == "enqueued"
