"""`kind_prefix`: applications that share a database have kinds of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, InvalidSettings, job
from asyncjobs.definitions import registry
from tests.support.asking import until
from tests.support.processes import PATIENCE

SETTINGS = {"kind_prefix": "shop."}
"""What is shared here must have the prefix, too: a process has one at a time."""
BARE = f"{__name__}.doubled"


@job(aliases=("former.doubled",))
async def doubled(number: int) -> int:
    return 2 * number


@job(executor="process")
def doubled_apart(number: int) -> int:
    return 2 * number


async def ready(connection: asyncpg.Connection, kind: str) -> Any:
    return await connection.fetchval("select asyncjobs.enqueue($1, '{\"number\": 21}')", kind)


async def state_of(connection: asyncpg.Connection, job_id: Any) -> Any:
    return await connection.fetchval("select state from asyncjobs.job where id = $1", job_id)


async def test_a_job_is_stored_told_and_run_under_its_prefix(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs(kind_prefix="shop.") as client:
        made = await client.enqueue(doubled(21))
        assert made.kind == doubled.kind == f"shop.{BARE}"
        assert await connection.fetchval("select kind from asyncjobs.job") == f"shop.{BARE}"
    assert doubled.kind == BARE
    async with make_jobs(kind_prefix="shop.").running() as jobs:
        found = await jobs.get(made.id, doubled)
        assert await found.result(timeout=PATIENCE) == 42
        assert (await found.status()).kind == f"shop.{BARE}"


async def test_a_worker_leaves_the_jobs_of_other_applications(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    others = [await ready(connection, kind) for kind in (BARE, f"crm.{BARE}", "former.doubled")]
    ours = [await ready(connection, kind) for kind in (f"shop.{BARE}", "shop.former.doubled")]
    async with make_jobs(kind_prefix="shop.").running() as jobs:
        for each in ours:  # behind the others in the queue
            assert await jobs.result(each, timeout=PATIENCE) == 42
    assert {await state_of(connection, each) for each in others} == {1}


async def test_a_process_of_jobs_has_the_prefix_too(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs(kind_prefix="shop.").running() as jobs:
        assert await (await jobs.enqueue(doubled_apart(21))).result(timeout=PATIENCE) == 42


@pytest.mark.parametrize("name", [BARE, f"shop.{BARE}", "former.doubled"])
async def test_a_kind_is_named_with_its_prefix_or_without(make_jobs: Callable[..., AsyncJobs], name: str) -> None:
    async with make_jobs(kind_prefix="shop.") as client:
        made = await client.enqueue(doubled(21))
        assert (await client.get(made.id, name)).kind == f"shop.{BARE}"  # type: ignore[call-overload]
        alone = name == "former.doubled"
        assert await client.cancel_all(kind=name, dry_run=True) == (0 if alone else 1)
        assert await client.cancel_all(kind=doubled) == 1


async def test_names_that_nobody_defines_here_are_given_the_prefix_once(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs(kind_prefix="shop."):
        assert registry.stored_name("app.x") == registry.stored_name("shop.app.x") == "shop.app.x"
    assert registry.stored_name("app.x") == "app.x"


async def test_what_is_defined_later_or_was_replaced_has_the_prefix_too(make_jobs: Callable[..., AsyncJobs]) -> None:
    async def code() -> None: ...

    def define() -> Any:
        return job(kind="replaced")(code)

    replaced = define()
    async with make_jobs(kind_prefix="shop."):
        assert (replaced.kind, define().kind) == ("shop.replaced", "shop.replaced")


async def test_a_process_has_one_prefix_at_a_time(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs(kind_prefix="shop."), make_jobs(kind_prefix="shop."):
        with pytest.raises(InvalidSettings, match=r"kind_prefix is 'crm\.' here and 'shop\.' of another AsyncJobs"):
            await make_jobs(kind_prefix="crm.").open()
        assert doubled.kind == f"shop.{BARE}"
    async with make_jobs(kind_prefix="crm."):
        assert doubled.kind == f"crm.{BARE}"
    for wrong in ("my shop.", "shop"):
        with pytest.raises(InvalidSettings, match='is no prefix; give up to 40 of A-Z .*, such as "shop."'):
            await make_jobs(kind_prefix=wrong).open()


class TestRecurring:
    async def test_names_have_the_prefix_of_the_kinds_which_may_be_left_out(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        async with make_jobs(kind_prefix="shop.") as jobs:
            added = await jobs.recurring.add("daily", doubled(1), schedule="@daily")
            assert (added.name, added.kind) == ("shop.daily", f"shop.{BARE}")
            await jobs.recurring.pause("daily")
            assert await jobs.recurring.remove("shop.daily")

    async def test_what_other_applications_declare_is_theirs(
        self, make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
    ) -> None:
        report = {"job": BARE, "schedule": "@daily", "args": {"number": 1}}
        for prefix in ("shop.", "bill."):
            async with make_jobs(recurring={"report": report}, kind_prefix=prefix).running():
                await until(
                    connection, "select count(*) = 1 from asyncjobs.recurring where name = $1", f"{prefix}report"
                )
        assert (
            await connection.fetchval(
                "select count(*) from asyncjobs.recurring where removed_at is null and name like '%report'"
            )
            == 2
        )
