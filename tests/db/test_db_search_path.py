"""Whoever may create in a schema of a session's search_path has none of his code run by us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, Job, attribute, step
from asyncjobs.cli.db import ROLES
from asyncjobs.cli.db_script import script
from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect

# In front of pg_catalog, as only a careless administrator has it, all of these win; behind it, those that need no cast.
TRAPS = """
create table public.caught (how text);
create function public.catch(how text) returns void language sql as 'insert into public.caught values ($1)';
create function public.t1(interval, integer) returns interval language plpgsql as
  $$ begin perform public.catch('interval / integer'); return $1 operator(pg_catalog./) $2::float8; end $$;
create operator public./ (leftarg = interval, rightarg = integer, function = public.t1);
create function public.t2(oid, regnamespace) returns boolean language plpgsql as
  $$ begin perform public.catch('oid = regnamespace'); return $1 operator(pg_catalog.=) $2::oid; end $$;
create operator public.= (leftarg = oid, rightarg = regnamespace, function = public.t2);
create function public.t3(oid, regclass) returns boolean language plpgsql as
  $$ begin perform public.catch('oid = regclass'); return $1 operator(pg_catalog.=) $2::oid; end $$;
create operator public.= (leftarg = oid, rightarg = regclass, function = public.t3);
create function public.t4(bigint, text) returns text language plpgsql as
  $$ begin perform public.catch('bigint || text'); return $1::text operator(pg_catalog.||) $2; end $$;
create operator public.|| (leftarg = bigint, rightarg = text, function = public.t4);
create function public.t5(uuid, uuid) returns boolean language plpgsql as
  $$ begin perform public.catch('uuid = uuid'); return pg_catalog.uuid_eq($1, $2); end $$;
create operator public.= (leftarg = uuid, rightarg = uuid, function = public.t5);
create function public.t6(bigint, bigint) returns boolean language plpgsql as
  $$ begin perform public.catch('bigint = bigint'); return pg_catalog.int8eq($1, $2); end $$;
create operator public.= (leftarg = bigint, rightarg = bigint, function = public.t6);
create function public.t7(name, name) returns boolean language plpgsql as
  $$ begin perform public.catch('name = name'); return pg_catalog.nameeq($1, $2); end $$;
create operator public.= (leftarg = name, rightarg = name, function = public.t7);
create function public.clock_timestamp() returns timestamptz language plpgsql as
  $$ begin perform public.catch('clock_timestamp'); return pg_catalog.clock_timestamp(); end $$;
create function public.make_interval(secs double precision) returns interval language plpgsql as
  $$ begin perform public.catch('make_interval'); return pg_catalog.make_interval(secs => $1); end $$;
create function public.set_config(text, text, boolean) returns text language plpgsql as
  $$ begin perform public.catch('set_config'); return pg_catalog.set_config($1, $2, $3); end $$;
"""


class Isolated(Job, kind="search_path.isolated"):
    total: int = attribute(default=0)

    @step
    async def first(self) -> None: ...

    @step(isolated=True)
    async def path(self, connection: Any) -> str:
        self.total += 1
        return str(await connection.fetchval("show search_path"))

    @step(isolated=True)
    async def alone(self) -> None: ...


@pytest.fixture(params=['"$user", public', "public, pg_catalog"])
async def trapped(empty: Callable[..., Any], request: pytest.FixtureRequest) -> str:
    """The URL of a database without our schema, and with traps in the search_path of its sessions."""
    url = str(await empty())
    connection = await asyncpg.connect(url)
    await connection.execute(TRAPS)
    name = await connection.fetchval("select pg_catalog.current_database()")
    await connection.execute(f"alter database {name} set search_path = {request.param}")
    await connection.close()
    return url


async def caught(url: str) -> list[str]:
    connection = await connect(url)
    found = [row["how"] for row in await connection.fetch("select distinct how from public.caught")]
    connection.terminate()
    return found


async def test_migrating_roles_and_a_worker_with_isolated_steps_run_none_of_it(
    trapped: str, make_jobs: Callable[..., AsyncJobs]
) -> None:
    plain = await asyncpg.connect(trapped)  # a session that is not ours
    path = await plain.fetchval("show search_path")
    await migrating.migrate(plain)
    await plain.execute(ROLES.read_text())
    assert await plain.fetchval("show search_path") == path
    await plain.close()
    assert await caught(trapped) == []
    async with make_jobs(database_url=trapped).running() as jobs:
        made = await jobs.enqueue(Isolated())
        assert await jobs.enqueue_all(Isolated() for _ in range(3)) == 3
        await jobs.enqueue(Isolated().set(wait=0.1))
        await asyncio.wait_for(made.result(), 20)
        status = await made.status()
        assert await caught(trapped) == []
        [seen] = [each for each in status.steps if each.name == "path"]
        assert path in str(seen), "the step's own code has the role's search_path"


async def test_the_printed_sql_runs_none_of_it_and_leaves_the_search_path_as_it_was(trapped: str) -> None:
    plain = await asyncpg.connect(trapped)
    path = await plain.fetchval("show search_path")
    async with plain.transaction():
        await plain.execute(script())
        assert await plain.fetchval("show search_path") == path
    await plain.close()
    assert await caught(trapped) == []


def test_for_psql_the_search_path_is_pinned_from_the_first_statement_to_the_last() -> None:
    lines = [line for line in script(psql=True).splitlines() if line and not line.startswith(("--", "\\"))]
    assert (lines[0], lines[-1]) == ("set search_path = pg_catalog, pg_temp;", "reset search_path;")
