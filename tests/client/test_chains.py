"""Chains: each job begins with the success of the one before, in the transaction that stores that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from client_jobs import Gate, rows, wait_at
from order_jobs import BROKEN, RAN, Named, begin, final, glue, large, note, number, state

from asyncjobs import (
    AlreadyEnqueued,
    AsyncJobs,
    AwaitCycle,
    Discard,
    InvalidArguments,
    InvalidOption,
    JobCancelled,
    JobDiscarded,
    JobFailed,
    Limit,
    NotEnqueued,
    NotUnique,
    Unique,
    chain,
    job,
)
from asyncjobs.db.connecting import connect
from asyncjobs.db.migration_files import functions
from asyncjobs.worker.duties.janitor import BATCH


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    begin()


@job(kind="chains.discards")
async def discards() -> None:
    raise Discard("not wanted")


class TestItsWay:
    async def test_each_gets_the_result_of_the_one_before(self, jobs: AsyncJobs) -> None:
        chained = chain(
            note("a"), glue(chain.previous, "b"), Named(name=chain.previous, size=2), glue("", chain.previous)
        )
        ids = chained.ids
        assert await (await chained.enqueue()) == "abab"
        assert RAN == ["a", "ab", "abab", "abab"]
        assert chained.ids == ids == [each.id for each in chained.jobs]

    async def test_all_are_stored_at_once_and_later_ones_wait(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        chained = await chain(note("a"), note("b"), note("c")).enqueue()
        found = await connection.fetch("select state, run_at from asyncjobs.job order by id")
        assert [row["state"] for row in found] == [1, 0, 0]
        assert [each.state for each in chained.jobs] == ["ready", "scheduled", "scheduled"]
        await chained.enqueue()
        assert await rows(connection) == 3

    async def test_a_value_that_does_not_fit_is_met_when_the_job_runs(self, jobs: AsyncJobs) -> None:
        with pytest.raises(JobFailed, match="InvalidArguments: order.number: invalid stored arguments: value"):
            await (await chain(note("a"), number(chain.previous)).enqueue())
        assert await (await chain(note("7"), number(chain.previous)).enqueue()) == 8
        assert await (await chain(number(1), number(chain.previous)).enqueue()) == 3

    async def test_none_is_a_result_and_so_is_any_text(self, jobs: AsyncJobs) -> None:
        @job(kind="chains.any")
        async def anything(value: Any) -> Any:
            return value

        for value in (None, 'a "quoted" \\ text \n é 😀', {"a": [1, None]}, 0, False):
            assert await (await chain(anything(value), anything(chain.previous)).enqueue()) == value

    async def test_times_count_from_the_end_of_the_one_before(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        @job(kind="chains.expires", expires_in=60)
        async def expires() -> None: ...

        chained = await chain(note("a"), expires().set(wait=3600)).enqueue()
        await final(connection, chained.jobs[0])
        row = await connection.fetchrow(
            "select state, extract(epoch from run_at - now())::float8 as wait, expires_at - run_at as left from asyncjobs.job"
        )
        assert row["state"] == 0 and 3500 < row["wait"] <= 3600 and row["left"].total_seconds() == 60

    async def test_limits_and_queues_of_each_hold(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        later = note("b").set(queue="low", priority=3, concurrency=Limit(1))
        await (await chain(note("a"), later, note("c")).enqueue())
        found = await connection.fetchrow("select queue, priority from asyncjobs.finished where id = $1", later.id)
        assert tuple(found) == ("low", 3)

    @pytest.mark.parametrize("ends", ["commit", "rollback"])
    async def test_on_a_caller_s_connection(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, url: str, ends: str
    ) -> None:
        mine = await connect(url, is_lent=True)
        transaction = mine.transaction()
        await transaction.start()
        chained = await chain(note("a"), glue(chain.previous, "b")).enqueue(connection=mine)
        assert await rows(connection) == 0
        await getattr(transaction, ends)()
        if ends == "commit":
            assert await chained == "ab"
        else:
            assert await rows(connection) == 0
            assert await (await chained.enqueue()) == "ab"
        mine.terminate()

    @pytest.mark.parametrize("links", [200, pytest.param(1_000, marks=pytest.mark.slow)])
    async def test_a_thousand_links_and_their_awaiting(self, jobs: AsyncJobs, links: int) -> None:
        chained = chain(number(0), *(number(chain.previous) for _ in range(links - 1)))
        assert await (await chained.enqueue()).result(timeout=60) == links


class TestGoingWrong:
    async def test_while_one_has_failed_it_stands_and_goes_on_after_a_retry(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        BROKEN.add("b")
        bad = note("b")
        chained = await chain(note("a"), bad, glue(chain.previous, "c")).enqueue()
        with pytest.raises(JobFailed, match="b is broken") as raised:
            await chained
        assert raised.value.job_id == bad.id
        assert await state(connection, chained.ids[2]) == 0
        BROKEN.clear()
        await jobs.retry(bad)
        assert await chained == "bc"

    @pytest.mark.parametrize("how", ["itself", "cancel", "discard", "cancelled later", "discarded after failure"])
    async def test_where_one_is_discarded_or_cancelled_the_rest_ends_so(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, how: str
    ) -> None:
        gate = Gate(f"chain {how}")
        first: Any = wait_at(gate.name)
        if how == "itself":
            first = discards()
        if how == "discarded after failure":
            BROKEN.add("bad")
            first = note("bad")
        chained = await chain(first, note("b"), note("c"), note("d")).enqueue()
        culprit = chained.jobs[0]
        if how in ("cancel", "discard", "cancelled later"):
            await gate.arrived.wait()
            culprit = first if how == "cancel" else chained.jobs[1]
            assert await (jobs.discard(culprit, reason="why") if how == "discard" else jobs.cancel(culprit, "why"))
        if how == "discarded after failure":
            await final(connection, first)
            assert await jobs.discard(first, reason="why")
        is_cancel = how.startswith("cancel")
        error = JobCancelled if is_cancel else JobDiscarded
        with pytest.raises(error, match="not wanted" if how == "itself" else "why") as raised:
            await chained.result(timeout=10)
        assert raised.value.job_id == culprit.id
        gate.open.set()
        await final(connection, *chained.jobs)
        reasons = await connection.fetch(
            "select state, reason from asyncjobs.finished where id = any($1)", chained.ids[2:]
        )
        said = f"the job before it, {culprit.id}, was {'cancelled' if is_cancel else 'discarded'}: "
        assert {row["state"] for row in reasons} == {7 if is_cancel else 6}
        assert all(row["reason"].startswith(said) for row in reasons)
        assert RAN in ([], ["bad"])

    async def test_the_rest_that_was_discarded_waits_again_when_it_is_retried(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        BROKEN.add("a")
        first = note("a")
        chained = await chain(first, glue(chain.previous, "b"), glue(chain.previous, "c")).enqueue()
        await final(connection, first)
        await jobs.discard(first)
        await final(connection, *chained.jobs)
        second, third = chained.jobs[1:]
        await jobs.retry(second)
        assert await state(connection, second.id) == 0
        BROKEN.clear()
        await jobs.retry(first)
        assert await second == "ab"
        assert await state(connection, third.id) == 6
        await jobs.retry(third)  # what it waits for has succeeded
        assert await chained == "abc"

    @pytest.mark.slow
    async def test_a_long_one_ends_at_once(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        chained = await chain(*(note(str(n)) for n in range(5_000))).enqueue()
        await client.cancel(chained.jobs[0], "enough")
        states = await connection.fetch("select state, count(*) from asyncjobs.finished group by 1")
        assert [tuple(row) for row in states] == [(7, 5_000)]

    async def test_several_of_one_can_be_discarded_together(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await chain(*(note(str(n)) for n in range(20))).enqueue()
        assert await client.discard_all(kind="order.note") == 20
        assert await connection.fetchval("select count(*) from asyncjobs.finished where state = 6") == 20

    async def test_a_result_that_is_too_large_ends_the_rest_and_harms_no_other(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        others = [note(str(n)) for n in range(20)]
        chained = await chain(large(600_000), glue(chain.previous, chain.previous), note("c")).enqueue()
        await jobs.enqueue_all(others)
        with pytest.raises(
            JobDiscarded, match=r"its arguments would have 1200\d\d\d bytes, of 1048576 at most: store what"
        ):
            await chained
        await final(connection, *others, *chained.jobs)
        assert await (await chain(large(600_000), glue(chain.previous)).enqueue()) == "x" * 600_000

    async def test_a_failure_past_its_retention_discards_the_rest(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        BROKEN.add("bad")
        chained = await chain(note("bad"), note("b"), note("c")).enqueue()
        await final(connection, chained.jobs[0])
        await connection.execute("delete from asyncjobs.finished")
        last = None
        while (last := await connection.fetchval("select asyncjobs.tidy_links($1, 1, 7)", last)) is not None:
            continue
        with pytest.raises(
            JobDiscarded, match="had failed, and was dropped from the history when its retention was over"
        ):
            await chained
        await connection.execute("delete from asyncjobs.finished")
        await connection.fetchval("select asyncjobs.tidy_links(null, $1, 7)", BATCH)
        assert await connection.fetchval("select count(*) from asyncjobs.link") == 0

    async def test_one_that_is_cancelled_while_it_runs_is_followed_by_nothing(self, jobs: AsyncJobs) -> None:
        gate = Gate("running")
        first = wait_at(gate.name)
        chained = await chain(first, note("b")).enqueue()
        await gate.arrived.wait()
        await first.cancel("stop")
        with pytest.raises(JobCancelled, match="stop"):
            await chained
        assert RAN == []

    async def test_a_job_cannot_await_the_chain_of_which_it_is_one(self, jobs: AsyncJobs) -> None:
        made: list[Any] = []

        @job(kind="chains.own")
        async def own() -> str:
            with pytest.raises(AwaitCycle, match="the chain of which it is one"):
                await made[0]
            return "refused"

        made.append(chain(own(), note("b")))
        assert await (await made[0].enqueue()) == "b"

    async def test_a_unique_key_that_another_has_refuses_all_of_it(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        other = await note("u").set(unique=Unique()).enqueue()
        chained = chain(note("a"), note("b").set(unique=Unique()), note("c"))
        with pytest.raises(NotUnique) as raised:
            await chained.enqueue()
        assert raised.value.job_id == other.id
        assert await rows(connection) == 1
        await other.cancel()
        await chained.enqueue()
        assert await rows(connection) == 4

    async def test_a_forced_retry_does_not_begin_what_waits_for_another(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        chained = await chain(note("a"), glue(chain.previous)).enqueue()
        assert not await client.retry(chained.jobs[1], force=True)
        assert await state(connection, chained.ids[1]) == 0


class TestWrongUses:
    @pytest.mark.parametrize(
        ("make", "error", "said"),
        [
            (lambda: chain(), InvalidOption, "give at least one"),
            (lambda: chain(7), InvalidOption, r"chain\(\): number 1 got 7, which is no job"),
            (lambda: chain(note("a"), note), InvalidOption, "number 2 got"),
            (
                lambda: chain([note("a")]),
                InvalidOption,
                r"which is no job: give the jobs in it one by one, as in \(\*jobs\)",
            ),
            (lambda: chain(glue(chain.previous)), InvalidOption, "nothing before it: give a value for first"),
            (lambda: chain(one := note("a"), one), InvalidOption, "one job stands in it twice"),
            (lambda: glue(["a", chain.previous]), InvalidArguments, "first"),
            (lambda: glue(nothing=chain.previous), InvalidArguments, "no argument of this job"),
            (lambda: glue(), InvalidArguments, "first"),
            (lambda: glue(chain.previous, times="x"), InvalidArguments, "times"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::asyncjobs.JobNeverEnqueued")
    def test_are_refused_where_they_are_made(self, make: Callable[[], Any], error: type, said: str) -> None:
        with pytest.raises(error, match=said):
            make()

    @pytest.mark.parametrize("made", [lambda: glue(chain.previous), lambda: Named(name=chain.previous)])
    async def test_previous_outside_a_chain_is_refused(self, client: AsyncJobs, made: Callable[[], Any]) -> None:
        for enqueue in (lambda: made().enqueue(), lambda: client.enqueue_all([made()])):
            with pytest.raises(InvalidOption, match="is chain.previous, and nothing comes before this job"):
                await enqueue()

    @pytest.mark.filterwarnings("ignore::asyncjobs.JobNeverEnqueued")
    async def test_what_is_enqueued_already_is_refused(self, client: AsyncJobs, connection: asyncpg.Connection) -> None:
        there = await note("a").enqueue()
        with pytest.raises(AlreadyEnqueued, match="is enqueued already: make a new one"):
            chain(note("b"), there)
        late = note("c")
        chained = chain(note("b"), late)
        await late.enqueue()
        with pytest.raises(AlreadyEnqueued, match="was enqueued by itself"):
            await chained.enqueue()
        with pytest.raises(NotEnqueued, match="awaiting does not enqueue"):
            await chained
        assert await rows(connection) == 2

    async def test_keys_cannot_be_of_what_is_not_known(self, client: AsyncJobs) -> None:
        unique = glue(chain.previous).set(unique=Unique(by=("first",)))
        with pytest.raises(InvalidOption, match="by= names first, which is chain.previous"):
            await chain(note("a"), unique).enqueue()


def test_the_limit_of_arguments_is_the_one_that_is_checked() -> None:
    assert functions().text.count("1048576") >= 3


async def test_a_hook_that_leaves_one_out_has_nothing_enqueued(
    client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    @job(kind="chains.left_out")
    async def left_out() -> None: ...

    @left_out.around_enqueue
    async def around(_each: Any, _call: Any) -> None: ...

    with pytest.raises(InvalidOption, match="a hook has kept chains.left_out .* from being enqueued"):
        await chain(note("a"), left_out()).enqueue()
    assert await rows(connection) == 0


async def test_what_was_assigned_before_it_is_enqueued_counts(jobs: AsyncJobs) -> None:
    named = Named(name=chain.previous)
    named.size = 3
    assert await (await chain(note("a"), named).enqueue()) == "aaa"


async def test_a_waiting_job_says_what_it_waits_for(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    BROKEN.add("bad")
    chained = await chain(note("bad"), note("b"), note("c")).enqueue()
    await final(connection, chained.jobs[0])
    first, second, third = chained.jobs
    assert await jobs.why(second) == (
        f"waits for the job before it in its chain, order.note {first.id}, which has failed: retried and succeeding, "
        "it lets the chain go on; discarded, it ends that"
    )
    assert (await jobs.why(third)).startswith(
        f"waits for the job 2 before it in its chain, order.note {first.id}, which has failed"
    )


async def test_what_stands_for_a_result_is_not_performed_here(client: AsyncJobs) -> None:
    with pytest.raises(InvalidOption, match="is chain.previous, and nothing comes before this job"):
        await number(chain.previous).perform_now()
