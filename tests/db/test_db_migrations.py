"""Migrations: once, in order, by one at a time; and schemas that are not ours are refused with the way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from asyncjobs import AsyncJobs, DatabaseUnavailable, PermissionDenied, SchemaMismatch, __version__, job
from asyncjobs.cli.db_script import script
from asyncjobs.db import checking, migrating, migration_files
from asyncjobs.db.connecting import connect
from asyncjobs.db.migration_files import Migration
from asyncjobs.embedded import EmbeddedPostgres
from tests.support.asking import until
from tests.support.processes import PATIENCE

EVERY = [str(each) for each in (*migration_files.known(), migration_files.functions())]
OURS = ["make_partitions", "drop_expired", "lock_event", "emit", "begin_wait", "cancel", "retry", "discard"]
"""Functions that lock."""


async def on(url: str, statement: str, *args: Any) -> Any:
    connection = await connect(url)
    try:
        return await connection.fetchval(statement, *args)
    finally:
        connection.terminate()


async def migrate(url: str) -> list[str]:
    connection = await connect(url)
    try:
        return [str(migration) for migration in await migrating.migrate(connection)]
    finally:
        connection.terminate()


async def later(url: str, releases: str) -> None:
    """Have migrations been applied that this version does not know."""
    rows = f"select n, 'later', '', release from (values {releases}) as later(n, release)"
    await on(url, f"insert into asyncjobs.migration (number, name, checksum, release) {rows} returning 1")


@job
async def doubled(number: int) -> int:
    return 2 * number


def with_more(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """Have this version know more migrations than it does."""
    real = migration_files.known()
    more = [Migration(real[-1].number + n, f"more_{n}", text) for n, text in enumerate(texts, 1)]
    monkeypatch.setattr(migration_files, "known", lambda: (*real, *more))


class TestMigrating:
    async def test_an_empty_database_gets_everything_and_then_nothing(self, empty: Callable[..., Any]) -> None:
        url = await empty()
        assert await migrate(url) == EVERY
        assert await migrate(url) == []
        connection = await connect(url)
        await checking.check(connection)
        connection.terminate()

    async def test_migrations_are_numbered_from_one_without_a_gap(self) -> None:
        assert [migration.number for migration in migration_files.known()] == list(
            range(1, len(migration_files.known()) + 1)
        )

    async def test_the_newest_is_of_this_minor_version(self, database_url: str) -> None:
        release = "select release from asyncjobs.migration order by number desc limit 1"
        assert await on(database_url, release) == __version__.rpartition(".")[0]
        assert await on(database_url, "select release from asyncjobs.migration where number = 0") == __version__

    async def test_of_several_at_once_one_applies_them(self, empty: Callable[..., Any]) -> None:
        url = await empty()
        made = await asyncio.gather(*(migrate(url) for _ in range(4)))
        assert sorted(made) == [[], [], [], EVERY]

    @pytest.mark.parametrize(
        "holding", ["lock table asyncjobs.migration in row exclusive mode", "select from asyncjobs.job"]
    )
    async def test_a_lock_of_somebodys_is_waited_for_and_he_is_named(
        self, migrated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, holding: str
    ) -> None:
        url = await migrated()
        with_more(monkeypatch, "alter table asyncjobs.job add column more integer")
        connection, somebody = await connect(url), await connect(url, name="nightly report")
        transaction = somebody.transaction()
        await transaction.start()
        await somebody.execute(holding)
        told = asyncio.Queue[str]()
        migration = asyncio.ensure_future(migrating.migrate(connection, wait=60, on_wait=told.put_nowait))
        async with asyncio.timeout(20):
            said = await told.get()
            assert f"pid {somebody.get_server_pid()} (nightly report, " in said and said.endswith(holding)
            assert not migration.done()
            await transaction.rollback()
            assert [str(made) for made in await migration] == ["0002_more_1"]
        assert await connection.fetchval("show lock_timeout") == "0"
        with pytest.raises(DatabaseUnavailable, match=r"not to be had within 100ms, held by pid .*--wait 5m"):
            with_more(monkeypatch, "alter table asyncjobs.job add column again integer")
            async with somebody.transaction():
                await somebody.execute(holding)
                await migrating.migrate(connection, wait=0.1)
        for each in (connection, somebody):
            each.terminate()

    async def test_none_of_our_locks_can_be_taken_by_a_login_without_rights(self, migrated: Callable[..., Any]) -> None:
        url = await migrated()
        connection = await connect(url)
        login = f"nobody_{uuid4().hex}"
        await connection.execute(f"create role {login} login")
        assert (
            await connection.fetch("select proname from pg_proc where prosrc ~ 'advisory' and proname = any($1)", OURS)
            == []
        )
        await connection.execute(f"set session authorization {login}")
        for lock in ("lock table asyncjobs.migration in share mode", "select asyncjobs.lock_event('approved', '7')"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute(lock)
        await connection.execute("reset session authorization")
        await connection.execute(f"drop role {login}")
        connection.terminate()

    async def test_what_is_new_is_applied_and_what_was_there_is_left_alone(
        self, migrated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = await migrated()
        with_more(monkeypatch, "create table asyncjobs.second (n int)", "create table asyncjobs.third (n int)")
        assert await migrate(url) == ["0002_more_1", "0003_more_2"]

    async def test_one_that_fails_leaves_nothing_and_the_lock_is_free(
        self, empty: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = await empty()
        with_more(
            monkeypatch, "create table asyncjobs.second (n int)", "create table asyncjobs.third (n int); select 1 / 0"
        )
        connection = await connect(url)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrating.migrate(connection)
        assert await connection.fetchval("select to_regclass('asyncjobs.job') is null")
        assert await connection.fetchval("select to_regclass('asyncjobs.second') is null")
        other = await connect(url)
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with asyncio.timeout(PATIENCE):
                await migrating.migrate(other)
        for each in (connection, other):
            each.terminate()

    async def test_killed_midway_nothing_is_applied_and_the_next_one_applies_all(
        self, empty: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = await empty()
        with_more(monkeypatch, "create table asyncjobs.second (n int)", "select pg_sleep(60)")
        migrating_task = asyncio.ensure_future(migrate(url))
        watching = await connect(url)
        await until(
            watching, "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'"
        )
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await migrating_task
        watching.terminate()
        monkeypatch.undo()
        with_more(monkeypatch, "create table asyncjobs.second (n int)", "create table asyncjobs.third (n int)")
        assert await on(url, "select count(*) from asyncjobs.migration") == 0
        assert await migrate(url) == ["0001_schema", "0002_more_1", "0003_more_2", "functions"]


class TestOthersSchemas:
    async def check_refuses(self, url: str, make_jobs: Callable[..., AsyncJobs], *words: str) -> None:
        """Both the check and opening a client refuse, and the message has the words."""
        connection = await connect(url)
        with pytest.raises(SchemaMismatch) as checked:
            await checking.check(connection)
        connection.terminate()
        with pytest.raises(SchemaMismatch) as opened:
            await make_jobs(database_url=url).open()
        for word in words:
            assert word in str(checked.value)
            assert word in str(opened.value)

    async def test_none(self, empty: Callable[..., Any], make_jobs: Callable[..., AsyncJobs]) -> None:
        await self.check_refuses(await empty(), make_jobs, "no asyncjobs schema", "asyncjobs db migrate")

    async def test_an_older_one(
        self, migrated: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = await migrated()
        with_more(monkeypatch, "select 1")
        number = migration_files.known()[-1].number
        await self.check_refuses(url, make_jobs, f"lacks migration {number}", "asyncjobs db migrate")

    @pytest.mark.parametrize("releases", ["(99, '0.3')", "(98, '0.2'), (99, '0.3')", "(99, '1.0')", "(99, 'next')"])
    async def test_one_two_minor_versions_ahead_which_migrate_leaves_alone(
        self, migrated: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], releases: str
    ) -> None:
        url = await migrated()
        await later(url, releases)
        await self.check_refuses(url, make_jobs, "at migration 99", "upgrade asyncjobs-pg")
        with pytest.raises(SchemaMismatch, match="upgrade asyncjobs-pg"):
            await migrate(url)

    @pytest.mark.parametrize("releases", ["(99, '0.1')", "(99, '0.2')", "(98, '0.1'), (99, '0.2')"])
    async def test_one_minor_version_ahead_is_worked_with_so_that_a_release_can_be_rolled_back(
        self, migrated: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], releases: str
    ) -> None:
        url = await migrated()
        await later(url, releases)
        assert await migrate(url) == []
        async with make_jobs(database_url=url).running() as jobs:
            assert await (await jobs.enqueue(doubled(21))).result(timeout=PATIENCE) == 42
        await on(url, "delete from asyncjobs.migration where number = 1 returning 1")
        await self.check_refuses(url, make_jobs, "at migration 9", "upgrade asyncjobs-pg")

    async def test_one_that_was_changed_which_migrate_leaves_alone(
        self, migrated: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = await migrated()
        await on(url, "update asyncjobs.migration set checksum = 'other' where number = 1 returning 1")
        await self.check_refuses(url, make_jobs, "migration 1", "another build")
        with_more(monkeypatch, "create table asyncjobs.second (n int)")
        with pytest.raises(SchemaMismatch, match="another build"):
            await migrate(url)
        assert await on(url, "select to_regclass('asyncjobs.second') is null")

    async def test_one_that_was_half_removed(
        self, migrated: Callable[..., Any], make_jobs: Callable[..., AsyncJobs]
    ) -> None:
        url = await migrated()
        async with make_jobs(database_url=url) as jobs:
            await on(url, "drop table asyncjobs.finished cascade")
            with pytest.raises(SchemaMismatch, match="asyncjobs db migrate"):
                await jobs.status("018f0000-0000-7000-8000-000000000000")

    @pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
    async def test_a_database_in_another_encoding(
        self, empty: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], encoding: str
    ) -> None:
        url = await empty(f"template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'")
        await self.check_refuses(url, make_jobs, f"encoding is {encoding}", "UTF8")
        with pytest.raises(SchemaMismatch, match="UTF8"):
            await migrate(url)
        assert await on(url, "select to_regnamespace('asyncjobs') is null")

    async def test_a_server_that_is_too_old(self, empty: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        connection = await connect(await empty())
        real = connection.get_server_version()
        monkeypatch.setattr(asyncpg.Connection, "get_server_version", lambda _: real._replace(major=12))
        with pytest.raises(SchemaMismatch, match="PostgreSQL 12 is too old"):
            await migrating.migrate(connection)
        connection.terminate()


@pytest.fixture
async def app(server: EmbeddedPostgres) -> AsyncIterator[Callable[[str], str]]:
    """A role of its own, which owns nothing; gives the URL of a database for it."""
    admin = await connect(server.url("postgres"))
    await admin.execute("create role squat_app login; create role squat_other login")
    yield lambda url: url.replace("postgres@", "squat_app@")
    for (name,) in await admin.fetch("select datname from pg_database where datname like 'migrations\\_%'"):
        inside = await connect(server.url(name))
        await inside.execute("drop schema if exists asyncjobs cascade; drop owned by squat_app, squat_other")
        inside.terminate()
    await admin.execute("drop owned by squat_app, squat_other; drop role squat_app, squat_other")
    admin.terminate()


class TestSchemasMadeByOthers:
    @pytest.mark.parametrize("holds", ["", "; create table asyncjobs.migration (number int, name text, checksum text)"])
    async def test_one_of_somebody_who_may_less_is_refused_and_none_of_its_code_runs(
        self, empty: Callable[..., Any], app: Callable[[str], str], holds: str
    ) -> None:
        url = await empty()
        connection = await connect(url)
        await connection.execute(f"create schema asyncjobs authorization squat_other{holds}")
        for each in (url, app(url)):
            with pytest.raises((SchemaMismatch, PermissionDenied)) as raised:
                await migrate(each)
            assert "squat_other" in str(raised.value) or "grant usage, create" in str(raised.value)
        with pytest.raises(
            SchemaMismatch, match="whose code could then run as postgres: have it given to the role that"
        ):
            await migrate(url)
        with pytest.raises(asyncpg.RaiseError, match="squat_other"):
            await connection.execute(script())
        assert await connection.fetchval("select to_regclass('asyncjobs.job') is null")
        connection.terminate()

    async def test_one_that_holds_a_thing_of_somebody_who_may_less_is_refused(
        self, empty: Callable[..., Any], app: Any
    ) -> None:
        url = await empty()
        await on(url, "create schema asyncjobs")
        await on(url, "create function asyncjobs.mine() returns int language sql as 'select 1'")
        await on(url, "alter function asyncjobs.mine() owner to squat_other")
        with pytest.raises(SchemaMismatch, match="squat_other"):
            await migrate(url)

    async def test_one_that_the_administrator_made_is_used_where_the_role_may_create_in_it(
        self, empty: Callable[..., Any], app: Callable[[str], str]
    ) -> None:
        url = await empty()
        name = await on(url, "select current_database()")
        await on(url, f"revoke create on database {name} from public")
        with pytest.raises(PermissionDenied, match=f"`grant create on database {name} to squat_app`"):
            await migrate(app(url))
        await on(url, "create schema asyncjobs")
        with pytest.raises(PermissionDenied, match="`grant usage, create on schema asyncjobs to squat_app`"):
            await migrate(app(url))
        await on(url, "grant usage, create on schema asyncjobs to squat_app")
        assert await migrate(app(url)) == EVERY
        assert await migrate(app(url)) == []
        await on(app(url), script())  # the printed SQL, again
        assert await on(app(url), "select asyncjobs.enqueue('k') is not null")


async def test_nobody_runs_the_code_of_an_owner_who_may_less(empty, monkeypatch) -> None:
    url = await empty()
    await on(url, "do $$ begin create role aj_lesser login; exception when duplicate_object then null; end $$")
    name = url.partition("?")[0].rpartition("/")[2]
    await on(url, f"grant create on database {name} to aj_lesser")
    theirs = url.replace("postgres@", "aj_lesser@")
    assert await migrate(theirs) == EVERY
    trap = (
        "create function asyncjobs.trap() returns trigger language plpgsql as $$ begin "
        "raise exception 'run as %', current_user using errcode = '22000'; end $$;"
        "create trigger trap before insert on asyncjobs.migration for each row execute function asyncjobs.trap();"
    )
    connection = await connect(theirs)
    await connection.execute(trap)
    connection.terminate()
    with_more(monkeypatch, "create table asyncjobs.more (n integer)")
    with pytest.raises(SchemaMismatch, match="belongs to aj_lesser, .* or migrate as that role"):
        await migrate(url)
    assert await on(url, "select to_regclass('asyncjobs.more')") is None
    connection = await connect(theirs)
    await connection.execute("drop trigger trap on asyncjobs.migration")
    connection.terminate()
    assert "more_1" in str(await migrate(theirs))
