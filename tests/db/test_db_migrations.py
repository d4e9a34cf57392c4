"""Migrations: once, in order, by one at a time; and schemas that are not ours are refused with the way out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, SchemaMismatch, __version__, job
from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect
from asyncjobs.db.migrating import Migration
from asyncjobs.embedded import EmbeddedPostgres
from tests.support.asking import until
from tests.support.processes import PATIENCE

_numbers = itertools.count(1)


@pytest.fixture
async def empty(server: EmbeddedPostgres) -> AsyncIterator[Callable[..., Any]]:
    """Make databases without a schema; gives the URL of one."""
    names: list[str] = []
    admin = await connect(server.url("postgres"))

    async def make(options: str = "") -> str:
        name = f"migrations_{next(_numbers)}"
        await admin.execute(f"create database {name} {options}")
        names.append(name)
        return server.url(name)

    yield make
    for name in names:
        await admin.execute(f"drop database {name} with (force)")
    admin.terminate()


async def on(url: str, statement: str, *args: Any) -> Any:
    connection = await connect(url)
    try:
        return await connection.fetchval(statement, *args)
    finally:
        connection.terminate()


async def migrate(url: str) -> list[int]:
    connection = await connect(url)
    try:
        return [migration.number for migration in await migrating.migrate(connection)]
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
    real = migrating.known()
    more = [Migration(len(real) + n, f"more_{n}", text) for n, text in enumerate(texts, 1)]
    monkeypatch.setattr(migrating, "known", lambda: (*real, *more))


class TestMigrating:
    async def test_an_empty_database_gets_everything_and_then_nothing(self, empty: Callable[..., Any]) -> None:
        url = await empty()
        every = [migration.number for migration in migrating.known()]
        assert await migrate(url) == every
        assert await migrate(url) == []
        connection = await connect(url)
        await migrating.check(connection)
        connection.terminate()

    async def test_migrations_are_numbered_from_one_without_a_gap(self) -> None:
        assert [migration.number for migration in migrating.known()] == list(range(1, len(migrating.known()) + 1))

    async def test_the_newest_is_of_this_minor_version(self, database_url: str) -> None:
        release = "select release from asyncjobs.migration order by number desc limit 1"
        assert await on(database_url, release) == __version__.rpartition(".")[0]

    async def test_two_at_once_one_waits_and_finds_nothing_left(self, empty: Callable[..., Any]) -> None:
        url = await empty()
        made = await asyncio.gather(*(migrate(url) for _ in range(4)))
        assert sorted(map(len, made)) == [0, 0, 0, len(migrating.known())]

    async def test_what_is_new_is_applied_and_what_was_there_is_left_alone(
        self, empty: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = await empty()
        await migrate(url)
        with_more(monkeypatch, "create table asyncjobs.second (n int)", "create table asyncjobs.third (n int)")
        first = len(migrating.known()) - 2
        assert await migrate(url) == [first + 1, first + 2]

    async def test_one_that_fails_leaves_nothing_of_itself_and_the_lock_is_free(
        self, empty: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = await empty()
        with_more(
            monkeypatch, "create table asyncjobs.second (n int)", "create table asyncjobs.third (n int); select 1 / 0"
        )
        connection = await connect(url)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrating.migrate(connection)
        assert await connection.fetchval("select to_regclass('asyncjobs.second') is not null")
        assert await connection.fetchval("select to_regclass('asyncjobs.third') is null")
        other = await connect(url)
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with asyncio.timeout(PATIENCE):
                await migrating.migrate(other)
        for each in (connection, other):
            each.terminate()

    async def test_killed_midway_it_goes_on_where_it_was(
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
        assert await migrate(url) == [len(migrating.known())]


class TestOthersSchemas:
    async def check_refuses(self, url: str, make_jobs: Callable[..., AsyncJobs], *words: str) -> None:
        """Both the check and opening a client refuse, and the message has the words."""
        connection = await connect(url)
        with pytest.raises(SchemaMismatch) as checked:
            await migrating.check(connection)
        connection.terminate()
        with pytest.raises(SchemaMismatch) as opened:
            await make_jobs(database_url=url).open()
        for word in words:
            assert word in str(checked.value)
            assert word in str(opened.value)

    async def test_none(self, empty: Callable[..., Any], make_jobs: Callable[..., AsyncJobs]) -> None:
        await self.check_refuses(await empty(), make_jobs, "no asyncjobs schema", "asyncjobs db migrate")

    async def test_an_older_one(
        self, empty: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = await empty()
        await migrate(url)
        with_more(monkeypatch, "select 1")
        number = len(migrating.known())
        await self.check_refuses(url, make_jobs, f"lacks migration {number}", "asyncjobs db migrate")

    @pytest.mark.parametrize("releases", ["(99, '0.3')", "(98, '0.2'), (99, '0.3')", "(99, '1.0')", "(99, 'next')"])
    async def test_one_two_minor_versions_ahead_which_migrate_leaves_alone(
        self, empty: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], releases: str
    ) -> None:
        url = await empty()
        await migrate(url)
        await later(url, releases)
        await self.check_refuses(url, make_jobs, "at migration 99", "upgrade asyncjobs-pg")
        with pytest.raises(SchemaMismatch, match="upgrade asyncjobs-pg"):
            await migrate(url)

    @pytest.mark.parametrize("releases", ["(99, '0.1')", "(99, '0.2')", "(98, '0.1'), (99, '0.2')"])
    async def test_one_minor_version_ahead_is_worked_with_so_that_a_release_can_be_rolled_back(
        self, empty: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], releases: str
    ) -> None:
        url = await empty()
        await migrate(url)
        await later(url, releases)
        assert await migrate(url) == []
        async with make_jobs(database_url=url).running() as jobs:
            assert await (await jobs.enqueue(doubled(21))).result(timeout=PATIENCE) == 42
        await on(url, "delete from asyncjobs.migration where number = 3 returning 1")
        await self.check_refuses(url, make_jobs, "lacks migration 3", "asyncjobs db migrate")

    async def test_one_that_was_changed_which_migrate_leaves_alone(
        self, empty: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = await empty()
        await migrate(url)
        await on(url, "update asyncjobs.migration set checksum = 'other' where number = 1 returning 1")
        await self.check_refuses(url, make_jobs, "migration 1", "another build")
        with_more(monkeypatch, "create table asyncjobs.second (n int)")
        with pytest.raises(SchemaMismatch, match="another build"):
            await migrate(url)
        assert await on(url, "select to_regclass('asyncjobs.second') is null")

    async def test_one_that_was_half_removed(
        self, empty: Callable[..., Any], make_jobs: Callable[..., AsyncJobs]
    ) -> None:
        url = await empty()
        await migrate(url)
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
