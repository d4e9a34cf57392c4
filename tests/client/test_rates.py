"""Rates: how many jobs with the same key start in a time, over all workers, by a token bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import product
from typing import Any

import asyncpg
import httpx
import pytest

from asyncjobs import AsyncJobs, InvalidOption, Rate, enqueue_all, job, retry_on
from asyncjobs.client.client import Client
from asyncjobs.definitions.order_keys import rate_name_of
from asyncjobs.failing.retry_after import retry_after
from asyncjobs.performing import rate_waits
from asyncjobs.worker.limits import admission
from tests.support.asking import until
from tests.support.processes import PATIENCE
from tests.support.sweeps import slowly


@job(kind="rates.ping", rate_limit=Rate(40, per=1, burst=3))
async def ping(n: int) -> int:
    return n


@job(kind="rates.slow", rate_limit=Rate(1, per=3600, by=("account_id",)))
async def slow(account_id: int) -> None: ...


@job(kind="rates.again", rate_limit=Rate(40, per=1, burst=1))
@retry_on(ValueError, wait=0, attempts=3)
async def again() -> None:
    raise ValueError


calls: list[int] = []


@job(kind="rates.spaced")
async def spaced() -> str:
    for n in (1, 2, 3):
        await Rate(1, per=0.2, key="rates.spaced").acquire()
        calls.append(n)
    return "done"


async def starts(connection: asyncpg.Connection) -> list[float]:
    """When each job was claimed, in seconds, in order: the database's clock."""
    rows = await connection.fetch("select started_at from asyncjobs.finished order by started_at")
    times: list[datetime] = [row["started_at"] for row in rows]
    return [(time - times[0]).total_seconds() for time in times]


def overshoots(times: list[float], *, spacing: float, burst: int) -> list[tuple[int, float]]:
    """Starts for which the bucket had no token, by the definition of one that refills continuously."""
    tokens, last, found = float(burst), 0.0, []
    for n, time in enumerate(times):
        tokens = min(burst, tokens + (time - last) / spacing) - 1
        last = time
        if tokens < -1e-3:
            found.append((n, time))
    return found


@pytest.mark.parametrize("workers", [2, *slowly(1)])
async def test_no_start_is_without_a_token(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, workers: int
) -> None:
    made = [ping(n) for n in range(40)]
    async with make_jobs():
        await enqueue_all(made)
    async with asyncio.timeout(PATIENCE):
        async with make_jobs().running():
            if workers == 2:
                async with make_jobs().running():
                    assert [await each for each in made] == list(range(40))
            else:
                assert [await each for each in made] == list(range(40))
    times = await starts(connection)
    assert len(times) == 40
    assert overshoots(times, spacing=1 / 40, burst=3) == []


async def test_a_retry_takes_a_token_too(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    with pytest.raises(Exception, match="ValueError"):
        await (await again().enqueue())
    # Three starts, 25 ms from each to the next: the bucket stands at 75 ms after the first, at least.
    await until(
        connection,
        "select next_start >= enqueued_at + interval '75 ms' from asyncjobs.limit_key, asyncjobs.finished",
    )


async def test_keys_have_buckets_of_their_own(jobs: AsyncJobs) -> None:
    first, other = await slow(1).enqueue(), await slow(2).enqueue()
    async with asyncio.timeout(PATIENCE):
        await first
        await other


async def test_why_says_when_the_next_start_is_due(jobs: AsyncJobs) -> None:
    await (await slow(1).enqueue())
    waits = await slow(1).enqueue()
    async with asyncio.timeout(PATIENCE):
        while "the next is due in" not in (said := await jobs.why(waits)):
            await asyncio.sleep(0)
    assert said.startswith("waits for its start by the rate 'rates.slow(account_id)")
    assert (await waits.status()).state == "ready"


async def test_a_job_starts_when_its_token_is_due_and_no_notice_comes(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await (await slow(1).enqueue())
    waits = await slow(1).enqueue()
    await until(connection, "select count(*) from asyncjobs.limit_key where look_at is not null")
    await connection.execute(
        "update asyncjobs.limit_key set next_start = clock_timestamp() + interval '300 ms', look_at = clock_timestamp()"
    )
    await connection.execute("select pg_notify('asyncjobs_limits', '')")
    await waits.result(timeout=PATIENCE)
    late = await connection.fetchval(
        """select max(started_at) - (select next_start - interval '1 hour' from asyncjobs.limit_key)
           from asyncjobs.finished"""
    )
    assert late.total_seconds() >= -0.001


class TooMany(Exception):
    """What a service answers that wants to be left alone."""

    retry_after = 3_600


class TestFollowingRetryAfter:
    async def test_nothing_starts_before_the_time_that_an_error_says(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        refused = await refusing(1).enqueue()
        with pytest.raises(Exception, match="TooMany"):
            await refused
        told = "select count(*) from asyncjobs.limit_key where next_start > clock_timestamp() + interval '30 minutes'"
        await until(connection, told)
        waits = await refusing(1).enqueue()
        async with asyncio.timeout(PATIENCE):
            while "the next is due in 59m" not in (said := await jobs.why(waits)) and "in 1h" not in said:
                await asyncio.sleep(0)
        assert (await waits.status()).state == "ready"

    @pytest.mark.parametrize(
        ("executor", "retries", "crashes"),
        [
            pytest.param(*each, marks=[] if each in (("loop", False, 0), ("process", True, 2)) else [pytest.mark.slow])
            for each in product(("loop", "process"), (False, True), (0, 2))
        ],
    )
    async def test_it_is_told_in_the_transaction_that_records_the_end_wherever_the_job_runs(
        self,
        make_jobs: Callable[..., AsyncJobs],
        connection: asyncpg.Connection,
        executor: str,
        retries: bool,
        crashes: int,
    ) -> None:
        await connection.execute(AT_COMMIT)
        async with make_jobs():
            made = await KINDS[executor, retries](1).enqueue()
            await connection.execute("update asyncjobs.job set crashes = $1", crashes)
        async with make_jobs().running():
            await until(connection, "select count(*) > 0 from at_commit")
            [row] = await connection.fetch("select ended, pauses from at_commit")
            assert (row["ended"], row["pauses"]) == (not retries, 1)
            kind = made.kind
            await until(
                connection,
                "select count(*) from asyncjobs.limit_key where key = $1 and next_start > clock_timestamp() + interval '30 minutes'",
                f"{rate_name_of(kind)}(account_id) 1",
            )

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [(30, 30.0), (2.5, 2.5), (timedelta(minutes=1), 60.0), ("120", 120.0), (10**9, 86_400.0)],
    )
    def test_an_error_may_say_it_in_these_ways(self, said: Any, seconds: float) -> None:
        error = TooMany()
        error.retry_after = said
        assert retry_after(error) == seconds

    @pytest.mark.parametrize("said", [None, True, 0, -1, "soon", float("nan"), float("inf"), [3], object()])
    def test_what_is_no_time_is_passed_over(self, said: Any) -> None:
        error = TooMany()
        error.retry_after = said
        assert retry_after(error) is None

    def test_the_response_of_an_http_error_has_a_header(self) -> None:
        request = httpx.Request("GET", "http://localhost")
        response = httpx.Response(429, headers={"retry-after": "17"}, request=request)
        assert retry_after(httpx.HTTPStatusError("", request=request, response=response)) == 17.0
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        response = httpx.Response(503, headers={"retry-after": at}, request=request)
        found = retry_after(httpx.HTTPStatusError("", request=request, response=response))
        assert found is not None
        assert 90 < found <= 100


class TestTakingTokens:
    async def test_a_job_takes_a_token_before_each_call(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        assert await (await calling(3).enqueue()).result(timeout=PATIENCE) == 3
        taken = await connection.fetchval(
            "select extract(epoch from next_start - started_at) from asyncjobs.limit_key, asyncjobs.finished"
        )
        assert float(taken) >= 0.03

    async def test_a_long_wait_is_a_durable_sleep_and_its_token_is_taken_once(
        self, jobs: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await hourly.acquire()
        waits = await patient().enqueue()
        await until(connection, "select count(*) from asyncjobs.step where state = 'sleeping' and wakes_at is not null")
        parked = "select count(*) from asyncjobs.job where state in (0, 3) and run_at > clock_timestamp()"
        await until(connection, parked)
        assert [step.name for step in (await waits.status()).steps] == ["rates.patient 1"]
        await connection.execute("update asyncjobs.step set wakes_at = clock_timestamp()")
        await connection.execute("update asyncjobs.job set run_at = clock_timestamp()")
        await connection.execute("select pg_notify('asyncjobs_due', '')")
        assert await waits.result(timeout=PATIENCE) == "called"
        assert await connection.fetchval(
            "select next_start > clock_timestamp() + interval '50 min' and next_start < clock_timestamp() + interval '121 min' "
            "from asyncjobs.limit_key where key = 'rate:rates.patient'"
        )

    async def test_each_call_takes_a_token_also_those_that_are_made_again_after_a_durable_sleep(
        self, jobs: AsyncJobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken = 0

        async def take(client: Client, *rate: Any) -> float:
            nonlocal taken
            taken += 1
            return await take_token(client, *rate)

        take_token = Client.take_token
        monkeypatch.setattr(Client, "take_token", take)
        monkeypatch.setattr(rate_waits, "SHORT", 0.05)
        made = await spaced().enqueue()
        assert await made.result(timeout=PATIENCE) == "done"
        assert calls == [1, 1, 2, 1, 2, 3]
        assert taken == len(calls)
        assert [step.name for step in (await made.status()).steps] == ["rates.spaced 2", "rates.spaced 3"]

    async def test_without_a_key_it_is_refused(self) -> None:
        with pytest.raises(InvalidOption, match="needs a key"):
            await Rate(1, per=1).acquire()


@job(kind="rates.refusing", rate_limit=Rate(100, per=1, by=("account_id",), follow_retry_after=True))
async def refusing(account_id: int) -> None:
    raise TooMany


FOLLOWING = Rate(100, per=1, by=("account_id",), follow_retry_after=True)


@job(kind="rates.refusing_retried", rate_limit=FOLLOWING)
@retry_on(TooMany, wait=3600)
async def refusing_retried(account_id: int) -> None:
    raise TooMany


@job(kind="rates.refusing_apart", rate_limit=FOLLOWING, executor="process")
def refusing_apart(account_id: int) -> None:
    raise TooMany


@job(kind="rates.refusing_apart_retried", rate_limit=FOLLOWING, executor="process")
@retry_on(TooMany, wait=3600)
def refusing_apart_retried(account_id: int) -> None:
    raise TooMany


KINDS: dict[tuple[str, bool], Callable[[int], Any]] = {
    ("loop", False): refusing,
    ("loop", True): refusing_retried,
    ("process", False): refusing_apart,
    ("process", True): refusing_apart_retried,
}

AT_COMMIT = """
create table at_commit (ended boolean, pauses bigint);
create function look_at_commit() returns trigger language plpgsql as $$
begin
  insert into public.at_commit values (tg_op = 'DELETE', (select count(*) from asyncjobs.limit_note where not_before is not null));
  return null;
end
$$;
create constraint trigger ended after delete on asyncjobs.job deferrable initially deferred
  for each row execute function look_at_commit();
create constraint trigger given_back after update on asyncjobs.job deferrable initially deferred
  for each row when (old.state = 2 and new.state <> 2) execute function look_at_commit();
"""


service = Rate(100, per=1, burst=1)


@job(kind="rates.calling")
async def calling(times: int) -> int:
    for _ in range(times):
        await service.acquire("rates.service")
    return times


hourly = Rate(1, per=3600, key="rates.patient")


@job(kind="rates.patient")
async def patient() -> str:
    await hourly.acquire()
    return "called"


async def test_who_waits_for_a_token_that_an_open_transaction_has_taken_keeps_no_connection(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs(database_connections=2):
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetchval("select asyncjobs.take_token('rate:rates.held', 0.001, 1)")
        waiting = [asyncio.create_task(service.acquire("rates.held")) for _ in range(5)]
        for _ in range(5):
            await ping(1).enqueue()
        assert not any(each.done() for each in waiting)
        await transaction.rollback()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*waiting)


async def test_of_a_new_rate_the_second_starts_when_its_token_is_due_and_not_at_the_next_look(
    jobs: AsyncJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "LOOK_AFTER", 10 * PATIENCE)
    made = [ping(n) for n in range(5)]  # three at once
    await enqueue_all(made)
    async with asyncio.timeout(PATIENCE):
        assert [await each for each in made] == list(range(5))
