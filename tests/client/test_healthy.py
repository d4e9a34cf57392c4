"""What `healthy` says of a client and of a worker that the database does not answer."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import pytest
from client_jobs import double

from asyncjobs import AsyncJobs
from tests.support.asking import until
from tests.support.processes import until_so
from tests.support.proxy import Proxy

LEASE = 2
Break = Callable[[Proxy], object]


def freeze(proxy: Proxy) -> None:
    """Swallow everything, also of new connections."""
    proxy.freeze()


def refuse(proxy: Proxy) -> None:
    """End every connection, and take none: a server that is down."""
    proxy.refuse()
    proxy.cut()


@pytest.mark.parametrize("how", [freeze, refuse], ids=["silent", "down"])
@pytest.mark.parametrize("works", [False, True], ids=["client", "worker"])
async def test_it_is_false_once_the_database_is_away_for_a_lease_and_true_again_after_that(
    make_jobs: Callable[..., AsyncJobs], proxy: Proxy, proxied_url: str, how: Break, works: bool
) -> None:
    jobs = make_jobs(database_url=proxied_url, lease=LEASE, database_connections=2)
    async with jobs.running() if works else jobs:
        await until_so(lambda: jobs.healthy)
        how(proxy)
        assert jobs.healthy  # a moment without the database is not worth a restart
        await until_so(lambda: not jobs.healthy)
        proxy.thaw()
        await proxy.accept()
        await until_so(lambda: jobs.healthy)


async def test_an_idle_client_whose_database_answers_stays_healthy(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    asks = "from pg_stat_activity where application_name = 'asyncjobs client' and query like '%read_only%'"
    async with make_jobs(lease=LEASE) as jobs:
        first = await until(connection, f"select query_start {asks}")
        # It asks again and again, on the one connection that it has, long after what it knew at first is too old.
        await until(connection, f"select query_start > $1::timestamptz + {2 * LEASE} * interval '1 s' {asks}", first)
        await until_so(lambda: jobs.healthy)
        assert await connection.fetchval(f"select count(*) {asks}") == 1


async def test_a_client_that_is_closed_is_not(make_jobs: Callable[..., AsyncJobs]) -> None:
    jobs = make_jobs()
    assert not jobs.healthy
    async with jobs:
        assert jobs.healthy
        await double(1).enqueue()
    assert not jobs.healthy


async def test_a_worker_that_only_waits_for_its_lease_to_end_is_not_healthy(
    make_jobs: Callable[..., AsyncJobs],
) -> None:
    async with make_jobs().running() as jobs:
        await until_so(lambda: jobs.healthy)
        assert jobs._worker is not None
        lease = jobs._worker.lease
        lease.renewed_at -= lease.seconds
        assert lease.over  # the next beat renews it
        await until_so(lambda: jobs.healthy)


async def test_a_client_whose_database_takes_no_writes_is_not_healthy_until_it_does(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    name = await connection.fetchval("select current_database()")
    async with make_jobs(lease=1) as jobs:
        await double(1).enqueue()
        await connection.execute(f"alter database {name} set default_transaction_read_only = on")
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
            name,
        )
        await until_so(lambda: not jobs.healthy)
        await connection.execute(f"alter database {name} reset default_transaction_read_only")
        await until_so(lambda: jobs.healthy)
        await double(2).enqueue()
