"""What tests share is as new for the next one, whatever the one before has done."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, NotOpen, job
from asyncjobs.definitions import registry
from asyncjobs.performing import open_clients
from tests.conftest import Databases
from tests.support import lasting
from tests.support.lasting import Lasting
from tests.support.processes import until_so
from tests.support.sweeps import slowly

gates: dict[str, asyncio.Event] = {}


@job(kind="lasting.endless")
async def endless() -> None:
    gates["started"].set()
    await asyncio.Event().wait()


@job(kind="lasting.deaf")
async def deaf() -> None:
    gates["started"].set()
    while not gates["open"].is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await gates["open"].wait()


@job(kind="lasting.one")
async def one() -> int:
    return 1


@pytest.fixture
async def shared(databases: Databases, plain_config: Path) -> AsyncIterator[Lasting]:
    gates.update(started=asyncio.Event(), open=asyncio.Event())
    found = Lasting(
        databases.another,
        lambda url: AsyncJobs(database_url=url, config=plain_config, shutdown_timeout=0.1),
        works=True,
    )
    yield await found.opened()
    await found.close()


async def is_as_new(shared: Lasting) -> None:
    await shared.opened()
    assert await shared.connection.fetchval("select count(*) from asyncjobs.job") == 0
    assert await shared.connection.fetchval("select count(*) from asyncjobs.finished") == 0
    assert await (await one().enqueue()).result(timeout=20) == 1


async def test_rows_pauses_and_tables_are_gone_and_its_worker_goes_on(shared: Lasting) -> None:
    worker = shared.jobs._worker
    await one().set(wait=3600).enqueue()
    await shared.jobs.pause(kind=one)
    await shared.connection.execute("create table own (n int); create temp table mine (n int)")
    await shared.emptied()
    assert await shared.connection.fetchval("select to_regclass('own') is null and to_regclass('mine') is null")
    await is_as_new(shared)
    assert shared.jobs._worker is worker


async def test_a_job_that_runs_is_ended(shared: Lasting) -> None:
    worker = shared.jobs._worker
    await endless().enqueue()
    await gates["started"].wait()
    await shared.emptied()
    assert worker is not None and worker.running == 0
    await is_as_new(shared)
    assert shared.jobs._worker is worker


async def test_one_that_does_not_end_takes_its_worker_with_it(shared: Lasting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "PATIENCE", 0.2)
    worker = shared.jobs._worker
    await deaf().enqueue()
    await gates["started"].wait()
    await shared.emptied()
    await is_as_new(shared)
    assert shared.jobs._worker is not worker
    gates["open"].set()


async def test_between_two_tests_no_client_of_it_is_open(shared: Lasting) -> None:
    await shared.emptied()
    with pytest.raises(NotOpen):
        open_clients.last()
    await is_as_new(shared)


@pytest.mark.parametrize(
    "statement",
    [
        *slowly(
            "drop view asyncjobs.job_status",
            "create or replace function asyncjobs.new_id() returns uuid language sql as 'select gen_random_uuid()'",
        ),
        "alter table asyncjobs.job add column more int",
        *slowly(
            "create function mine() returns int language sql as 'select 1'",
            "update asyncjobs.migration set checksum = ''",
            "grant usage on schema asyncjobs to public",
        ),
        "do $$ begin execute format('alter database %I set search_path = public', current_database()); end $$",
        "select asyncjobs.enqueue('k', json_build_object('n', repeat('x', 1500))) from generate_series(1, 700)",
    ],
)
async def test_a_database_that_is_another_than_it_was_is_replaced(shared: Lasting, statement: str) -> None:
    url = shared.url
    await shared.connection.execute(statement)
    await shared.emptied()
    await is_as_new(shared)
    assert shared.url != url


async def test_a_transaction_is_rolled_back_and_a_closed_connection_opened_anew(shared: Lasting) -> None:
    transaction = shared.connection.transaction()
    await transaction.start()
    await shared.connection.execute("lock table asyncjobs.job")
    await shared.emptied()
    await is_as_new(shared)
    await shared.connection.close()
    await shared.emptied()
    await is_as_new(shared)


@job(kind="lasting.kept", retention=3600 * 24 * 400)
async def kept() -> None: ...


@pytest.fixture
def known() -> Iterator[dict[str, Any]]:
    """Of the kinds that are known only this module's that nothing is said of; to be changed."""
    before = dict(registry._definitions)
    registry._definitions.clear()
    registry._definitions["lasting.one"] = before["lasting.one"]
    yield registry._definitions
    registry._definitions.clear()
    registry._definitions.update(before)


async def test_another_module_finds_its_worker_with_the_kinds_of_its_own(
    known: dict[str, Any], shared: Lasting
) -> None:
    worker = shared.jobs._worker
    stranger = await asyncpg.connect(shared.url)
    known["lasting.deaf"] = deaf._definition
    await shared.emptied()
    await shared.begin_module()
    assert shared.jobs._worker is worker
    [about] = [json.loads(row["about"]) for row in await shared.connection.fetch("select about from asyncjobs.worker")]
    assert about["kinds"] == ["lasting.deaf", "lasting.one"]
    await until_so(stranger.is_closed)
    await is_as_new(shared)


async def test_another_module_whose_kinds_a_worker_takes_in_when_it_starts_has_a_new_one(
    known: dict[str, Any], shared: Lasting
) -> None:
    url = shared.url
    known["lasting.kept"] = kept._definition
    await shared.emptied()
    await shared.begin_module()
    await is_as_new(shared)
    assert shared.url != url


@job(kind="lasting.apart", executor="process")
def apart() -> int:
    return 2


@pytest.mark.slow
async def test_another_module_whose_kinds_the_processes_of_jobs_do_not_know_has_a_new_worker(
    known: dict[str, Any], shared: Lasting
) -> None:
    url = shared.url
    known["lasting.apart"] = apart._definition
    assert await (await apart().enqueue()).result(timeout=20) == 2
    await shared.emptied()
    await shared.begin_module()
    await is_as_new(shared)
    assert shared.url != url


async def test_where_nobody_remembers_them_sequences_begin_anew_for_another_module(databases: Databases) -> None:
    alone = await Lasting(databases.another).opened()
    for _ in range(2):
        assert await alone.connection.fetchval("select nextval('asyncjobs.ready_seq')") == 1
        await alone.emptied()
        await alone.begin_module()
    await alone.close()
