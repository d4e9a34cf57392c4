"""Limits: how many jobs with the same key run at once, over all workers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from stopping import at_gate, gates

from asyncjobs import AsyncJobs, InvalidDefinition, InvalidOption, Limit, Rate, Unique, enqueue_all, job, retry_on
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so

pytestmark = pytest.mark.usefixtures("gate")

running: Counter[Any] = Counter()
most: Counter[Any] = Counter()
order: list[Any] = []
turn = asyncio.Event()


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    running.clear()
    most.clear()
    order.clear()


class Counted:
    """Counts those inside, by their key."""

    def __init__(self, *keys: Any) -> None:
        self.keys = keys

    async def __aenter__(self) -> None:
        for key in self.keys:
            running[key] += 1
            most[key] = max(most[key], running[key])
        for _ in range(5):
            await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        running.subtract(self.keys)


@job(kind="limits.sync", concurrency=Limit(2, by=("account_id",)))
async def sync(account_id: int, n: int) -> int:
    async with Counted(account_id):
        order.append((account_id, n))
    return n


@job(
    kind="limits." + "x" * 190,
    concurrency=Limit(1, by=("account_id",)),
    rate_limit=Rate(100, per=1, by=("account_id",)),
)
async def long_named(account_id: str) -> str:
    return account_id


@job(kind="limits.whole", concurrency=Limit(1))
async def whole(n: int) -> int:
    async with Counted("whole"):
        return n


@job(kind="limits.first", concurrency=Limit(1, key="shared"))
async def first_of_shared(n: int) -> None:
    async with Counted("shared"):
        order.append(n)


@job(kind="limits.second", concurrency=Limit(1, key="shared"))
async def second_of_shared(n: int) -> None:
    async with Counted("shared"):
        order.append(n)


@job(kind="limits.both", concurrency=[Limit(1, by=("account_id",)), Limit(3)])
async def both(account_id: int) -> None:
    async with Counted(account_id, "both"):
        order.append(account_id)


@job(kind="limits.held", concurrency=Limit(1))
async def held(name: str) -> str:
    order.append(name)
    await at_gate()
    return name


@job(kind="limits.nested", concurrency=Limit(1))
async def nested(depth: int) -> int:
    async with Counted("nested"):
        order.append(depth)
    if depth == 0:
        return 0
    below = await nested(depth - 1).enqueue()
    result = 1 + await below
    async with Counted("nested"):
        return result


@job(kind="limits.again", concurrency=Limit(1))
@retry_on(ValueError, wait=0, attempts=3)
async def again(n: int) -> int:
    async with Counted("again"):
        order.append(n)
        if order.count(n) < 3:
            raise ValueError
    return n


async def results(jobs: list[Any]) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        return [await each for each in jobs]


async def test_no_more_of_a_key_run_at_once_and_all_run(jobs: AsyncJobs) -> None:
    made = [sync(n % 3, n) for n in range(60)]
    await enqueue_all(made)
    assert await results(made) == list(range(60))
    assert most == {0: 2, 1: 2, 2: 2}


async def test_two_workers_keep_one_limit(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs().running(), make_jobs().running():
        made = [whole(n) for n in range(40)]
        await enqueue_all(made)
        assert await results(made) == list(range(40))
    assert most == {"whole": 1}


async def test_kinds_share_a_limit_by_its_key(jobs: AsyncJobs) -> None:
    made = [kind(n) for n in range(10) for kind in (first_of_shared, second_of_shared)]
    await enqueue_all(made)
    await results(made)
    assert most == {"shared": 1}
    assert len(order) == 20


async def test_of_several_limits_all_hold(jobs: AsyncJobs) -> None:
    made = [both(n % 10) for n in range(60)]
    await enqueue_all(made)
    await results(made)
    assert max(most[account] for account in range(10)) == 1
    assert most["both"] <= 3


async def test_a_retry_passes_the_limit_again(jobs: AsyncJobs) -> None:
    made = [again(n) for n in range(5)]
    await enqueue_all(made)
    await results(made)
    assert most == {"again": 1}
    assert len(order) == 15


async def test_the_places_of_a_job_that_awaits_another_are_free_for_that(jobs: AsyncJobs) -> None:
    outermost = await nested(4).enqueue()
    assert await outermost.result(timeout=PATIENCE) == 4
    assert order == [4, 3, 2, 1, 0]
    assert most == {"nested": 1}


async def test_it_goes_on_only_when_a_place_is_free_again(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    """The outer one awaits a job of another kind while one of its own takes the place, and holds it."""
    turns = asyncio.Event()

    @job(kind="limits.released")
    async def released() -> None:
        await turns.wait()

    @job(kind="limits.outer", concurrency=Limit(1, key="limits.held"))
    async def outer() -> str:
        await (await released().enqueue())
        order.append("outer goes on")
        return "done"

    waits = await outer().enqueue()
    await until(connection, "select count(*) from asyncjobs.job where admitted = -1")
    inner = await held("inner").enqueue()
    await gates["arrived"].wait()
    turns.set()
    assert "waits at the limit 'limits.held'" in await _why(jobs, waits)
    assert order == ["inner"]
    gates["open"].set()
    await inner
    assert await waits.result(timeout=PATIENCE) == "done"
    assert order == ["inner", "outer goes on"]


async def _why(jobs: AsyncJobs, one: Any) -> str:
    async with asyncio.timeout(PATIENCE):
        while "waits at the limit" not in (said := await jobs.why(one)):
            await asyncio.sleep(0)
    return said


class TestTurns:
    async def test_a_key_with_thousands_waiting_lets_another_pass_within_a_round(
        self, make_jobs: Callable[..., AsyncJobs]
    ) -> None:
        async with make_jobs():
            await enqueue_all(sync(1, n) for n in range(2_000))
            other = await sync(2, 0).enqueue()
        async with make_jobs(pools=[{"queues": ["*"], "concurrency": 1}]).running():
            await other.result(timeout=PATIENCE)
        assert order.index((2, 0)) <= 4

    async def test_within_a_key_the_urgent_come_first_and_then_the_oldest(
        self, make_jobs: Callable[..., AsyncJobs]
    ) -> None:
        async with make_jobs():
            late = [await first_of_shared(n).enqueue() for n in range(3)]
            urgent = await first_of_shared(9).set(priority=-5).enqueue()
        async with make_jobs().running():
            await results([*late, urgent])
        assert order == [9, 0, 1, 2]


class TestWhoHoldsAPlace:
    async def test_a_key_of_a_long_kind_and_a_long_value_is_let_pass(self, jobs: AsyncJobs) -> None:
        for value in ("x" * 200, "x" * 200, "y"):
            assert await (await long_named(value).enqueue()).result(timeout=PATIENCE) == value

    async def test_a_job_that_is_cancelled_while_it_waits_leaves_the_others_theirs(self, jobs: AsyncJobs) -> None:
        first = await held("first").enqueue()
        await gates["arrived"].wait()
        second, third = await held("second").enqueue(), await held("third").enqueue()
        await second.cancel()
        gates["open"].set()
        assert await results([first, third]) == ["first", "third"]

    async def test_why_names_the_key_and_who_holds_it(self, jobs: AsyncJobs) -> None:
        first = await held("first").enqueue()
        await gates["arrived"].wait()
        second = await held("second").enqueue()
        said = await _why(jobs, second)
        assert said.startswith("waits at the limit 'limits.held': 1 at once by code, held by ")
        assert str(first.id) in said
        assert (await second.status()).state == "ready"
        gates["open"].set()
        await results([first, second])

    async def test_a_job_that_sql_has_enqueued_passes_its_limits_too(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        for n in range(10):
            await connection.execute("select asyncjobs.enqueue('limits.whole', json_build_object('n', $1::integer))", n)
        async with make_jobs().running():
            await until(connection, "select count(*) = 10 from asyncjobs.finished")
        assert most == {"whole": 1}
        assert await connection.fetchval("select max(attempt) from asyncjobs.finished") == 1

    async def test_a_retry_by_hand_passes_it_again(self, jobs: AsyncJobs) -> None:
        first = await held("first").enqueue()
        await gates["arrived"].wait()
        second = await held("second").enqueue()
        await second.cancel()
        assert await jobs.retry(second)
        said = await _why(jobs, second)
        assert "waits at the limit" in said
        gates["open"].set()
        assert await results([first]) == ["first"]
        again = await jobs.get(second.id)
        assert await again.result(timeout=PATIENCE) == "second"


class TestAtRunTime:
    async def test_a_key_that_no_text_holds_is_refused(self, client: AsyncJobs) -> None:
        with pytest.raises(InvalidOption, match=r"key='a\\x00' is no text"):
            await client.set_limit("a\0", 1)

    async def test_a_limit_is_changed_for_those_that_wait(self, jobs: AsyncJobs) -> None:
        made = [await held(str(n)).enqueue() for n in range(3)]
        await gates["arrived"].wait()
        await _why(jobs, made[1])
        await jobs.set_limit("limits.held", 3)
        await until_so(lambda: len(order) == 3)
        gates["open"].set()
        await results(made)

    async def test_of_a_limit_of_nothing_nothing_starts_until_the_code_counts_again(self, jobs: AsyncJobs) -> None:
        await (await whole(0).enqueue())
        await jobs.set_limit("limits.whole", 0)
        waits = await whole(1).enqueue()
        assert "which is 0 by hand" in await _why(jobs, waits)
        await jobs.set_limit("limits.whole", None)
        assert await waits.result(timeout=PATIENCE) == 1

    async def test_one_key_may_have_a_number_of_its_own(self, jobs: AsyncJobs) -> None:
        await (await sync(1, 0).enqueue())
        await jobs.set_limit("limits.sync(account_id) 1", 1)
        made = [sync(n % 2, n) for n in range(20)]
        await enqueue_all(made)
        await results(made)
        assert most == {0: 2, 1: 1} | {key: most[key] for key in most if key not in (0, 1)}

    async def test_a_change_while_a_new_key_is_looked_at_holds_for_whoever_waits_there(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await whole(1).enqueue()
        await client.set_limit("limits.whole", 0)
        async with connection.transaction():
            assert await connection.fetchval("select passed from asyncjobs.admit()") == 0
            await client.set_limit("limits.whole", 1)
        assert await connection.fetchval("select passed from asyncjobs.admit()") == 1

    def test_a_burst_that_no_time_fills_is_refused(self) -> None:
        Rate(1, per=86_400, burst=3_650)
        with pytest.raises(InvalidOption, match=r"Rate: burst=3651 is full only after 10 years"):
            Rate(1, per=86_400, burst=3_651)

    async def test_an_unknown_key_and_a_wrong_number_are_refused(self, jobs: AsyncJobs) -> None:
        with pytest.raises(InvalidOption, match="is no limit's"):
            await jobs.set_limit("nobody's", 3)
        wrong: Any
        for wrong in (-1, 1_000_001, 1.5, True, "3"):
            with pytest.raises(InvalidOption, match="most="):
                await jobs.set_limit("limits.whole", wrong)


@pytest.mark.parametrize(
    ("kind", "first", "rest", "message"),
    [
        (Limit, 0, {}, "Limit=0"),
        (Limit, -1, {}, "Limit=-1"),
        (Limit, True, {}, "Limit=True"),
        (Limit, 1.5, {}, "Limit=1.5"),
        (Limit, 10**9, {}, "Limit=1000000000"),
        (Limit, 1, {"by": "account_id"}, "is a string"),
        (Limit, 1, {"key": ""}, "key=''"),
        (Limit, 1, {"key": " stripe"}, "key=' stripe'"),
        (Limit, 1, {"key": "x" * 201}, "200 printable"),
        (Rate, 0, {"per": 1}, "Rate=0"),
        (Rate, 1, {"per": 0}, "per=0"),
        (Rate, 1, {"per": -1}, "per=-1"),
        (Rate, 1, {"per": "minute"}, "per='minute'"),
        (Rate, 1, {"per": 60, "burst": 0}, "burst=0"),
        (Rate, 1, {"per": 60, "follow_retry_after": 1}, "follow_retry_after=1"),
    ],
)
def test_a_wrong_value_is_refused(kind: Any, first: Any, rest: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        kind(first, **rest)


@pytest.mark.parametrize("option", ["concurrency", "rate_limit"])
@pytest.mark.parametrize("value", [3, "stripe", [3], Limit])
def test_what_is_none_is_refused_at_the_definition(option: str, value: Any) -> None:
    with pytest.raises(InvalidDefinition, match=f"give {option}="):

        @job(kind="limits.none", **{option: value})
        async def none() -> None: ...


def test_what_names_no_argument_is_refused_at_the_definition() -> None:
    with pytest.raises(InvalidDefinition, match="concurrency: by has 'user_id', which is no argument"):

        @job(kind="limits.wrong", concurrency=Limit(1, by=("user_id",)))
        async def wrong(account_id: int) -> None: ...


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("concurrency", Limit(1, by=("user_id",))),
        ("rate_limit", [Rate(1, per=1), Rate(1, per=1, by=("user_id",))]),
        ("unique", Unique(by=("user_id",))),
    ],
)
def test_what_names_no_argument_is_refused_by_set_too(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option}=.*by has 'user_id', which is no argument: .* account_id, n"):
        sync(1, 2).set(**{option: value})


def test_two_with_one_key_are_refused() -> None:
    with pytest.raises(InvalidDefinition, match="two of them have the same key and by="):

        @job(kind="limits.twice", concurrency=[Limit(5, key="once"), Limit(3, key="once")])
        async def twice() -> None: ...


bank = Rate(1, per=3600, key="bank", burst=2)


@job(kind="limits.sync_bank", concurrency=Limit(1, key="bank"))
async def sync_bank(n: int) -> int:
    async with Counted("bank"):
        return n


@job(kind="limits.read_bank", rate_limit=bank)
async def read_bank(n: int) -> int:
    return n


@job(kind="limits.both_bank", concurrency=Limit(1, key="bank"), rate_limit=bank)
async def both_bank(n: int) -> int:
    async with Counted("bank"):
        return n


async def test_a_limit_and_a_rate_with_one_key_are_two_things(jobs: AsyncJobs) -> None:
    synced = [sync_bank(n) for n in range(6)]
    await enqueue_all(synced)
    assert await results([await read_bank(1).enqueue(), await both_bank(2).enqueue(), *synced]) == [1, 2, *range(6)]
    assert most == {"bank": 1}
    waits = await read_bank(3).enqueue()
    async with asyncio.timeout(PATIENCE):
        while "the next is due in" not in (said := await jobs.why(waits)):
            await asyncio.sleep(0)
    assert said.startswith("waits for its start by the rate 'bank'")
    await jobs.set_limit("bank", 0)
    assert "waits at the limit 'bank', which is 0" in await _why(jobs, await sync_bank(9).enqueue())


@job(kind="limits.loose", concurrency=Limit(5, key="numbers"))
async def loose() -> None: ...


@job(kind="limits.strict", concurrency=Limit(1, key="numbers"))
async def strict() -> None: ...


@job(kind="limits.looser", concurrency=Limit(9, key="numbers"))
async def looser() -> None: ...


async def test_of_different_numbers_of_one_key_the_smallest_holds(
    jobs: AsyncJobs, connection: asyncpg.Connection, database_url: str
) -> None:
    for each in (loose(), looser(), strict()):
        await (await each.enqueue())
    assert await connection.fetchval("select most from asyncjobs.limits where name = 'numbers'") == 1
