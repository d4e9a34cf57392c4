"""A published database, and what is not to be called unavailable."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import pytest

from asyncjobs import AsyncJobs, DatabaseError, DatabaseUnavailable, job
from asyncjobs.db import jobs as statements
from asyncjobs.db.errors import translated

pytestmark = pytest.mark.usefixtures("database_url")  # that is published, and whose partitions are made


@job(kind="published.broken")
async def broken() -> None:
    raise ValueError("not today")


async def test_what_has_failed_is_retried_and_discarded_in_a_published_database(
    connection: asyncpg.Connection, make_jobs: Callable[..., AsyncJobs]
) -> None:
    await connection.execute("create publication everything for all tables")
    async with make_jobs().running() as jobs:
        failed = await jobs.enqueue(broken())
        for call in (jobs.retry, jobs.discard):
            with pytest.raises(Exception, match="not today"):
                await failed.result(timeout=20)
            assert await call(failed.id)
            failed = await jobs.get(failed.id)


async def test_every_day_of_the_history_has_a_replica_identity(connection: asyncpg.Connection) -> None:
    assert await statements.make_partitions(connection, 60)
    lacking = await connection.fetch(
        "select relname from pg_class where relnamespace = 'asyncjobs'::regnamespace and relkind in ('r', 'p') "
        "and relreplident <> 'f' and not (relreplident = 'd' and exists ("
        "select from pg_index where indrelid = pg_class.oid and indisprimary))"
    )
    assert lacking == []


@pytest.mark.parametrize(("state", "passes"), [("55000", False), ("55P02", False), ("55006", True), ("55P03", True)])
def test_of_class_55_only_locks_are_unavailable(state: str, passes: bool) -> None:
    error = asyncpg.PostgresError.new({"S": "ERROR", "C": state, "M": "no"})
    found = translated(error)
    assert isinstance(found, DatabaseError)
    assert isinstance(found, DatabaseUnavailable) is passes
