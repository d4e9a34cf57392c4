"""Jobs that a step runs: who is who on the next attempt, what is recorded of them, and what a retry of the parent does."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from client_jobs import Gate, wait_at

from asyncjobs import (
    AsyncJobs,
    AwaitCycle,
    Discard,
    InvalidStep,
    Job,
    JobCancelled,
    JobDiscarded,
    JobFailed,
    JobNotFound,
    Retry,
    current_job,
    job,
    retry_on,
)
from asyncjobs.client.job_actions import Asked
from asyncjobs.client.job_filters import Action
from asyncjobs.performing import child_job, child_jobs, fan_out
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so

ran: Counter[str] = Counter()
broken: dict[str, float] = {}
"""How many runs of each customer fail."""
given: list[list[Job[Any]]] = []
"""What the parent runs in each of its attempts; the last for all that follow."""


@pytest.fixture(autouse=True)
def forgotten() -> None:
    ran.clear()
    broken.clear()
    given.clear()


@job(kind="children.balance")
async def balance(customer: str) -> int:
    ran[customer] += 1
    if ran[customer] <= broken.get(customer, 0):
        raise ConnectionError("the bank does not answer")
    return len(customer)


@job(kind="children.greet")
async def greet(customer: str) -> str:
    return f"hello {customer}"


@job(kind="children.of_set")
async def of_set(numbers: set[int]) -> int:
    ran["of_set"] += 1
    return sum(numbers)


@job(kind="children.discards")
async def discards() -> None:
    raise Discard("nothing to do")


def made() -> list[Job[Any]]:
    return given[min(current_job().attempt, len(given)) - 1]


@job(kind="children.parent")
async def parent(fails: int = 0) -> list[Any]:
    me = current_job()
    found = await me.run("all", *made())
    if me.attempt <= fails:
        raise Retry(wait=0)
    return found


@job(kind="children.patient")
@retry_on(JobFailed, wait=0, attempts=3)
async def patient() -> list[Any]:
    return await current_job().run("all", *made())


@job(kind="children.goes_on")
@retry_on(ConnectionError, wait=0, attempts=3)
async def goes_on() -> str:
    me = current_job()
    try:
        await me.run("all", *made())
    except JobFailed:
        await me.step("instead", asyncio.sleep, 0)
        if me.attempt < 3:
            raise ConnectionError("after the other way was taken") from None
        return "the other way"
    return "the usual way"


@job(kind="children.in_two_forms")
async def in_two_forms(first: str, then: str) -> Any:
    me = current_job()
    form = first if me.attempt == 1 else then
    match form:
        case "jobs":
            await me.run("one", balance("ann"))
        case "code":
            await me.step("one", asyncio.sleep, 0)
        case "sleep":
            await me.sleep("one", 0)
    if me.attempt == 1:
        raise Retry(wait=0)


async def _steps(connection: asyncpg.Connection, one: Job[Any]) -> list[dict[str, Any]]:
    return json.loads(await connection.fetchval("select steps from asyncjobs.finished where id = $1", one.id))


async def outcome(one: Job[Any]) -> Any:
    return await one.result(timeout=20)


class TestWhoIsWho:
    async def test_jobs_that_come_in_another_order_have_their_own_results(self, jobs: AsyncJobs) -> None:
        given.extend([[balance("ann"), greet("x"), balance("robert")], [balance("robert"), balance("ann"), greet("x")]])
        broken["robert"] = 2
        one = await patient().enqueue()
        assert await outcome(one) == [6, 3, "hello x"]
        assert ran["ann"] == 1

    async def test_they_have_them_too_when_the_step_has_ended_before(self, jobs: AsyncJobs) -> None:
        given.extend([[balance("ann"), balance("robert")], [balance("robert"), balance("ann")]])
        assert await outcome(await parent(fails=1).enqueue()) == [6, 3]
        assert ran == {"ann": 1, "robert": 1}

    async def test_equal_ones_are_told_apart_by_their_order(self, jobs: AsyncJobs) -> None:
        given.extend([[balance("ann"), balance("ann"), greet("x")], [greet("x"), balance("ann"), balance("ann")]])
        assert await outcome(await parent(fails=1).enqueue()) == ["hello x", 3, 3]
        assert ran["ann"] == 2

    async def test_a_set_is_the_same_in_every_order_of_its_items(self, jobs: AsyncJobs) -> None:
        assert list({0, 8}) != list({8, 0}), "what this test is made of"
        given.extend([[of_set({0, 8})], [of_set({8, 0})]])
        assert await outcome(await parent(fails=1).enqueue()) == [8]
        assert ran["of_set"] == 1

    @pytest.mark.parametrize(
        ("then", "now", "said"),
        [
            (["ann", "bob"], ["ann"], "the step runs 1 job, and was recorded with 2; recorded, and not given now: children.balance"),
            (["ann"], ["ann", "bob"], "the step runs 2 jobs, and was recorded with 1; given now, and not recorded with"),
            (["ann"], ["eve"], "recorded, and not given now: children.balance .* given now, .*arguments: children.balance"),
            (["ann"], [], "the step runs 0 jobs, and was recorded with 1"),
        ],
        ids=["fewer", "more", "others", "none"],
    )  # fmt: skip
    async def test_other_jobs_are_refused_and_both_are_named(
        self, jobs: AsyncJobs, then: Sequence[str], now: Sequence[str], said: str
    ) -> None:
        given.extend([[balance(name) for name in then], [balance(name) for name in now]])
        with pytest.raises(JobFailed, match=said) as raised:
            await outcome(await parent(fails=1).enqueue())
        assert raised.value.error_type == "asyncjobs.exceptions.InvalidStep"

    async def test_another_kind_with_the_same_arguments_is_another_job(self, jobs: AsyncJobs) -> None:
        given.extend([[balance("ann")], [greet("ann")]])
        with pytest.raises(
            JobFailed, match="recorded, and not given now: children.balance .*arguments: children.greet"
        ):
            await outcome(await parent(fails=1).enqueue())

    async def test_what_other_code_has_stored_is_read_by_this_code_before_it_is_refused(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given.append([balance("ann"), balance("robert")])
        by_this_code = child_jobs.fingerprint
        monkeypatch.setattr(
            child_jobs, "fingerprint", lambda job: by_this_code(job)[::-1]
        )  # as other code has made them
        broken["robert"] = math.inf
        one = await parent().enqueue()
        with pytest.raises(JobFailed):
            await outcome(one)
        monkeypatch.undo()
        broken.clear()
        await jobs.retry(one.id)
        assert await outcome(one) == [3, 6]
        assert ran == {"ann": 1, "robert": 2}

    async def test_no_jobs_at_all_are_no_results(self, jobs: AsyncJobs) -> None:
        given.append([])
        assert await outcome(await parent(fails=1).enqueue()) == []

    @pytest.mark.parametrize(
        ("first", "then"), [("jobs", "code"), ("code", "jobs"), ("jobs", "sleep"), ("sleep", "jobs")]
    )
    async def test_a_run_that_is_something_else_in_the_next_version_is_refused(
        self, jobs: AsyncJobs, first: str, then: str
    ) -> None:
        with pytest.raises(JobFailed, match="step 'one' was recorded as .*, and is .* now") as raised:
            await outcome(await in_two_forms(first, then).enqueue())
        assert raised.value.error_type == "asyncjobs.exceptions.InvalidStep"


class TestWhatIsRecorded:
    async def test_one_that_has_ended_is_not_run_again_when_its_row_is_gone(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        gate = Gate("slow")
        given.extend([[balance("ann"), wait_at("slow")], [wait_at("slow"), balance("ann")]])
        async with make_jobs(shutdown_timeout=0):
            one = await parent().enqueue()
            async with make_jobs(shutdown_timeout=0).running():
                await until(
                    connection, """select children like '%"state":"succeeded","result":3%' from asyncjobs.step where job = $1""", one.id
                )  # fmt: skip
                await gate.arrived.wait()
            assert (
                await connection.execute("delete from asyncjobs.finished where kind = 'children.balance'") == "DELETE 1"
            )
            gate.open.set()
            async with make_jobs().running():
                assert await outcome(one) == [3, "slow"]
        assert ran["ann"] == 1
        assert (await connection.fetchval("select attempt from asyncjobs.finished where id = $1", one.id)) == 1

    async def test_one_that_has_failed_is_not_retried_by_a_run_that_goes_on_after_a_stop(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        gate = Gate("stopped")
        given.append([balance("robert"), wait_at("stopped")])
        broken["robert"] = math.inf
        async with make_jobs(shutdown_timeout=0):
            one = await parent().enqueue()
            async with make_jobs(shutdown_timeout=0).running():
                await until(connection, """select children like '%"state":"failed"%' from asyncjobs.step""")
                await gate.arrived.wait()
            broken.clear()
            gate.open.set()
            async with make_jobs().running():
                with pytest.raises(JobFailed, match="the bank does not answer"):
                    await outcome(one)
        assert ran["robert"] == 1

    async def test_one_whose_row_is_gone_and_whose_end_nobody_saw_is_not_found_and_not_run_again(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        gate = Gate("gone")
        given.append([wait_at("gone"), balance("ann")])
        async with make_jobs(shutdown_timeout=0):
            one = await parent().enqueue()
            async with make_jobs(shutdown_timeout=0).running():
                await gate.arrived.wait()
                await until(connection, """select children like '%"enqueued":true%' from asyncjobs.step""")
            assert await connection.execute("delete from asyncjobs.job where kind = 'client.wait_at'") == "DELETE 1"
            async with make_jobs().running():
                with pytest.raises(JobFailed, match="no job .* can be seen") as raised:
                    await outcome(one)
        assert raised.value.error_type == "asyncjobs.exceptions.JobNotFound"
        assert not await connection.fetchval("select count(*) from asyncjobs.finished where kind = 'client.wait_at'")

    async def test_many_are_enqueued_in_one_statement_and_recorded_a_few_times(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fan_out, "LEAST_PAUSE", 20)
        written: list[str] = []
        text = child_jobs.Children.text
        monkeypatch.setattr(child_jobs.Children, "text", lambda self: written.append("") or text(self))
        given.append([balance(f"{n} {'x' * 5_000}") for n in range(300)])  # 1.5 MB of arguments
        assert sum(await outcome(await parent().enqueue())) > 300 * 5_000
        assert len(written) <= 4, "ids, that they are enqueued, the first end, and all"
        assert await connection.fetchval("select count(distinct xmin::text) from asyncjobs.finished") < 300

    async def test_results_of_more_than_one_value_may_hold_are_recorded(self, jobs: AsyncJobs) -> None:
        given.append([greet("x" * 200_000 + str(n)) for n in range(8)])
        one = await parent(fails=1).enqueue()
        with pytest.raises(JobFailed, match="the JSON takes 1,600,"):
            await outcome(one)
        assert (await one.status()).attempt == 2
        assert {len(result) for result in (await one.status()).steps[0].result} == {200_007}

    async def test_perform_now_retries_those_that_failed(self, jobs: AsyncJobs) -> None:
        given.append([balance("ann"), balance("robert")])
        broken["robert"] = 1
        assert await patient().perform_now() == [3, 6]
        assert ran == {"ann": 1, "robert": 2}


async def _until_ran(times: int, name: str) -> None:
    await until_so(lambda: ran[name] >= times)


class TestAfterAFailure:
    async def test_a_policy_retries_those_that_failed_and_no_other(self, jobs: AsyncJobs) -> None:
        given.append([balance("ann"), balance("robert")])
        broken["robert"] = math.inf
        one = await patient().enqueue()
        with pytest.raises(JobFailed, match="the bank does not answer"):
            await outcome(one)
        assert ran == {"ann": 1, "robert": 3}
        assert (await one.status()).attempt == 3

    async def test_a_retry_by_hand_retries_them_and_says_how_many(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        given.append([balance("ann"), balance("robert"), balance("eve")])
        broken.update(robert=math.inf, eve=math.inf)
        one = await parent().enqueue()
        with pytest.raises(JobFailed) as raised:
            await outcome(one)
        assert "run: 2 of 3 jobs did not succeed" in raised.value.traceback
        broken.clear()
        [answer] = await jobs._client().do_named(Asked(Action.retry), [one.id], dry_run=True)
        assert (answer.done, answer.children) == (True, 2)
        [answer] = await jobs._client().do_named(Asked(Action.retry), [one.id])
        assert (answer.done, answer.children) == (True, 2)
        assert await outcome(one) == [3, 6, 3]
        assert ran == {"ann": 1, "robert": 2, "eve": 2}
        ids = [one["id"] for one in json.loads((await _steps(connection, one))[0]["children"])["jobs"]]
        assert await connection.fetchval("select count(*) from asyncjobs.finished where id = any($1)", ids) == 3

    async def test_one_that_was_mended_by_hand_before_is_awaited_and_not_run_again(self, jobs: AsyncJobs) -> None:
        given.append([balance("robert")])
        broken["robert"] = math.inf
        one = await parent().enqueue()
        with pytest.raises(JobFailed):
            await outcome(one)
        broken.clear()
        assert await jobs.retry_all(kind=balance) == 1
        await _until_ran(2, "robert")
        assert await jobs.retry(one.id)
        assert await outcome(one) == [6]
        assert ran["robert"] == 2

    async def test_a_failure_that_the_code_has_gone_on_from_stands(self, jobs: AsyncJobs) -> None:
        given.append([balance("robert")])
        broken["robert"] = 1
        one = await goes_on().enqueue()
        assert await outcome(one) == "the other way"
        assert ran["robert"] == 1

    async def test_one_that_is_failed_and_gone_raises_what_is_recorded(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        given.append([balance("robert")])
        broken["robert"] = math.inf
        one = await parent().enqueue()
        with pytest.raises(JobFailed):
            await outcome(one)
        broken.clear()
        await connection.execute("delete from asyncjobs.finished where kind = 'children.balance'")
        await jobs.retry(one.id)
        with pytest.raises(JobFailed, match="failed: builtins.ConnectionError: the bank does not answer"):
            await outcome(one)
        assert ran["robert"] == 1

    @pytest.mark.parametrize("how", ["discarded", "cancelled"])
    async def test_one_that_was_given_up_on_purpose_is_no_policys_and_the_message_says_why(
        self, jobs: AsyncJobs, connection: asyncpg.Connection, how: str
    ) -> None:
        gate = Gate("given up")
        given.append([discards() if how == "discarded" else wait_at("given up"), balance("ann")])
        one = await parent().enqueue()
        if how == "cancelled":
            await gate.arrived.wait()
            await jobs.cancel(given[0][0].id, "no more")
        with pytest.raises(
            JobFailed, match=f"was {how}: .* a retry of its parent does not run it again: .*retry {given[0][0].id}"
        ):
            await outcome(one)
        gate.open.set()
        assert await jobs.retry(given[0][0].id)
        with pytest.raises(JobDiscarded) if how == "discarded" else nullcontext():
            await given[0][0].result(timeout=PATIENCE)
        assert await jobs.retry(one.id)
        with pytest.raises(JobFailed, match="was discarded") if how == "discarded" else nullcontext():
            assert await outcome(one) == ["given up", 3]
        assert ran["ann"] == 1

    def test_of_several_errors_one_that_no_retry_can_help_is_raised_and_marked(self) -> None:
        first, second = (child_job.ChildJob(UUID(int=n), "k", "x") for n in (1, 2))
        both = child_jobs.Children([first, second], detached=False)
        first.failed(JobFailed(job_id=first.id, kind="k"))
        assert both.worst() is first.error
        assert not first.error._recorded
        second.failed(JobCancelled(job_id=second.id, kind="k", reason="enough"))
        assert both.worst() is second.error
        assert second.error._recorded
        assert JobNotFound(first.id)._recorded is False
        assert AwaitCycle([(first.id, "k")])._recorded
        assert not InvalidStep("x")._recorded
