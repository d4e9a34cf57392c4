"""What a worker asks the database when nothing goes on, and what it finds without a notice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import asyncpg
import pytest

from asyncjobs import AsyncJobs, job
from tests.support.asking import until
from tests.support.processes import PATIENCE, until_so
from tests.support.proxy import Proxy
from tests.support.sweeps import crossed

FILL = (
    "insert into asyncjobs.job (id, kind, queue) select gen_random_uuid(), 'nobody.knows', 'a' || i"
    " from generate_series(1, $1::int) as i"
)
UNTOLD = "insert into asyncjobs.job (id, kind, queue, crashes) values (gen_random_uuid(), 'polls.quick', $1, $2)"
IDLE = "select max(finished_at) < clock_timestamp() - interval '0.5 s' from asyncjobs.finished"
POOLS = [{"queues": ["named"], "concurrency": 2}, {"queues": ["pattern*"], "concurrency": 2}]
MOST_A_SECOND = 6
"""A worker asks four times a second, of which one is the poll's; a machine that is slow asks less."""


@job(kind="polls.quick")
async def quick() -> None: ...


@pytest.mark.parametrize(
    ("queue", "others", "crashes"),
    crossed(
        {"named": "named", "patterned": "patterned"},
        {"alone": 0, "among queues of others": 250},
        {"ready": 0, "suspect": 2},
    ),
)
async def test_a_job_of_which_no_notice_told_is_found_by_the_poll(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, queue: str, others: int, crashes: int
) -> None:
    await connection.execute(FILL, others)
    pools = [pool for pool in POOLS if (queue == "named") is (pool["queues"] == ["named"])]
    async with make_jobs(pools=pools, isolate_suspects=False, dispatcher={"polling_interval": 0.2}).running() as jobs:
        await until_so(lambda: jobs.healthy)
        for count in (1, 2):
            await connection.execute(UNTOLD, queue, crashes)
            await until(connection, "select count(*) = $1 from asyncjobs.finished", count)
            await until(connection, IDLE)  # what has just had jobs is claimed for in any case


async def test_an_idle_worker_asks_no_more_than_it_must(
    make_jobs: Callable[..., AsyncJobs], proxy: Proxy, proxied_url: str
) -> None:
    other = make_jobs(pools=POOLS, lease=30)
    async with other.running(), make_jobs(database_url=proxied_url, pools=POOLS, lease=30).running() as jobs:
        await until_so(lambda: jobs.healthy and jobs.listening and other.healthy)
        async with asyncio.timeout(PATIENCE):
            lasted = 0.0
            while lasted <= 3:  # at first it asks what it asks once, and prepares it
                began = time.monotonic()
                await _asked(proxy, 3 * MOST_A_SECOND)
                lasted = time.monotonic() - began


async def _asked(proxy: Proxy, more: int) -> None:
    """Wait until it has asked so many more times."""
    wanted = proxy.counts["to_client:Z"] + more
    await proxy.wait_until(lambda: proxy.counts["to_client:Z"] >= wanted)
