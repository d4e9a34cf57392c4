"""The functions: written with the schema, anew where they are others, and never over those of a later release."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, SchemaMismatch, __version__
from asyncjobs.cli.db_script import script
from asyncjobs.db import checking, migrating, migration_files
from asyncjobs.db.connecting import connect
from asyncjobs.db.migration_files import Migration

FILES = sorted((Path(migration_files.__file__).parent / "functions").glob("*.sql"))
FIRST = migration_files.known()[0]
OTHER = "create or replace function asyncjobs.new_id() returns uuid language sql as 'select null::uuid';"
"""A text of a function that tells itself."""


@pytest.fixture
async def schema(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection to the test's database, as its owner."""
    opened = await connect(database_url)
    yield opened
    opened.terminate()


async def migrate(connection: asyncpg.Connection) -> list[str]:
    return [str(made) for made in await migrating.migrate(connection)]


async def recorded(connection: asyncpg.Connection, release: str, checksum: str = "other") -> None:
    """Have it recorded that another release wrote the functions, and one of them be another."""
    await connection.execute(
        f"update asyncjobs.migration set checksum = '{checksum}', release = '{release}' where number = 0; {OTHER}"
    )


async def is_other(connection: asyncpg.Connection) -> bool:
    return await connection.fetchval("select asyncjobs.new_id()") is None


def with_functions(monkeypatch: pytest.MonkeyPatch, text: str, *numbered: str) -> None:
    """Have this version come with more of functions, and with more numbered ones."""
    functions = Migration(migration_files.FUNCTIONS, "functions", f"{migration_files.functions().text}\n{text}")
    known = (FIRST, *(Migration(n, f"more_{n}", each) for n, each in enumerate(numbered, 2)))
    monkeypatch.setattr(migration_files, "functions", lambda: functions)
    monkeypatch.setattr(migration_files, "known", lambda: known)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_has_the_functions_of_its_name_alone_with_a_head_and_a_path_of_their_own(file: Path) -> None:
    text = file.read_text()
    made = re.findall(r"^create or replace function asyncjobs\.(\w+)\(.*?^as \$\$", text, re.MULTILINE | re.DOTALL)
    assert made and set(made) == {file.stem}
    assert len(re.findall("^create ", text, re.MULTILINE)) == len(made)
    assert text.startswith("-- ")
    if file.stem != "shown":  # it names nothing
        assert text.count("\nset search_path = pg_catalog, asyncjobs, pg_temp\n") == len(made)


async def test_each_is_valid_though_none_is_looked_into_while_they_are_written(schema: asyncpg.Connection) -> None:
    await schema.execute("set check_function_bodies = on")
    await schema.execute(migration_files.functions().text)


async def test_the_recorded_ones_are_those_that_are_there(schema: asyncpg.Connection) -> None:
    rows = await schema.fetch(
        "select distinct proname::text as name from pg_proc where pronamespace = 'asyncjobs'::regnamespace "
        "union all select relname from pg_class where relnamespace = 'asyncjobs'::regnamespace and relkind = 'v'"
    )
    assert {row["name"] for row in rows} == set(migration_files.function_names())


async def test_others_are_written_with_the_grants_that_there_were_and_none_to_everybody(
    schema: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    grants = "select proname, proacl::text from pg_proc where pronamespace = 'asyncjobs'::regnamespace order by oid"
    await schema.execute("grant execute on function asyncjobs.new_id(), asyncjobs.cancel to pg_monitor")
    before = await schema.fetch(grants)
    assert await migrate(schema) == []
    with_functions(monkeypatch, f"{OTHER} {OTHER.replace('new_id', 'newer_id')}")
    assert await migrate(schema) == ["functions"]
    assert await is_other(schema)
    *after, newer = await schema.fetch(grants)
    assert after == before
    assert newer["proname"] == "newer_id" and "=X" not in newer["proacl"].replace("postgres=X", "")
    assert await migrate(schema) == []


@pytest.mark.parametrize("release", ["0.1.1", "0.2.0", "0.2.11rc1"])
async def test_an_older_release_works_with_later_ones_and_leaves_them_alone(
    schema: asyncpg.Connection, database_url: str, make_jobs: Callable[..., AsyncJobs], release: str
) -> None:
    await recorded(schema, release)
    assert await migrate(schema) == []
    await schema.execute(script())
    assert await is_other(schema)
    async with make_jobs(database_url=database_url):
        pass


async def test_an_older_release_leaves_those_alone_that_came_with_a_later_migration(schema: asyncpg.Connection) -> None:
    await recorded(schema, __version__)
    await schema.execute("insert into asyncjobs.migration (number, name, checksum) values (2, 'later', '')")
    assert await migrate(schema) == []
    await schema.execute(script())
    assert await is_other(schema)
    await checking.check(schema)


@pytest.mark.parametrize("release", ["0.3.0", "1.0.0", "next"])
async def test_those_of_a_release_further_ahead_are_refused_and_left_alone(
    schema: asyncpg.Connection, release: str
) -> None:
    await recorded(schema, release)
    for refused in (checking.check, migrating.migrate):
        with pytest.raises(
            SchemaMismatch, match=f"the functions of asyncjobs {release} and this is {__version__}: upgrade"
        ):
            await refused(schema)
    await schema.execute(script())
    assert await is_other(schema)


@pytest.mark.parametrize(
    ("release", "whose"), [("0.0.9", "asyncjobs 0.0.9"), (__version__, f"another build of asyncjobs {__version__}")]
)
@pytest.mark.parametrize("by_script", [False, True])
async def test_those_of_an_older_release_or_another_build_are_refused_until_they_are_written_anew(
    schema: asyncpg.Connection, release: str, whose: str, by_script: bool
) -> None:
    await recorded(schema, release)
    with pytest.raises(SchemaMismatch, match=f"the functions of {whose}: run `asyncjobs db migrate`"):
        await checking.check(schema)
    if by_script:
        await schema.execute(script())
    else:
        assert await migrate(schema) == ["functions"]
    assert not await is_other(schema)
    await checking.check(schema)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            "delete from asyncjobs.migration where number = 0",
            "the schema lacks its functions: run `asyncjobs db migrate`",
        ),
        ("drop view asyncjobs.job_status", "the schema lacks asyncjobs.job_status: run `asyncjobs db migrate`"),
        ("drop function asyncjobs.live", "the schema lacks asyncjobs.live: run `asyncjobs db migrate`"),
    ],
)
async def test_missing_ones_are_said_and_written(schema: asyncpg.Connection, fault: str, says: str) -> None:
    for repair in (migrate, lambda connection: connection.execute(script())):
        await schema.execute(fault)
        with pytest.raises(SchemaMismatch, match=says):
            await checking.check(schema)
        await repair(schema)
        await checking.check(schema)


CHANGED = "create or replace function asyncjobs.new_id(at timestamptz default null) returns text language sql as 'select ''changed''';"


@pytest.mark.parametrize("by_script", [False, True])
async def test_one_whose_signature_changes_is_dropped_by_a_migration_and_is_never_missing(
    schema: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, by_script: bool
) -> None:
    drop = "drop function asyncjobs.new_id();"
    views = sorted((FILES[0].parents[1] / "views").glob("*.sql"))
    texts = [path.read_text() for path in (*FILES, *views) if path.stem != "new_id"]

    def with_changed(more: str) -> None:
        functions = Migration(migration_files.FUNCTIONS, "functions", "\n".join([*texts, CHANGED, more]))
        monkeypatch.setattr(migration_files, "functions", lambda: functions)
        monkeypatch.setattr(migration_files, "known", lambda: (FIRST, Migration(2, "more", drop)))

    with_changed("select 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await (schema.execute(script()) if by_script else migrate(schema))
    assert await schema.fetchval("select asyncjobs.new_id() is not null")  # the old one
    with_changed("")
    if by_script:
        await schema.execute(script())
    else:
        assert await migrate(schema) == ["0002_more", "functions"]
    assert await schema.fetchval("select asyncjobs.new_id()") == "changed"


@pytest.mark.parametrize("has_release", [False, True])
async def test_a_schema_that_was_never_released_is_refused_with_the_way_out(
    empty: Callable[..., Any], make_jobs: Callable[..., AsyncJobs], has_release: bool
) -> None:
    url = await empty()
    connection = await connect(url)
    column = ", release text not null default '0.1'" if has_release else ""
    await connection.execute(
        "create schema asyncjobs; create table asyncjobs.migration (number integer primary key, name text not null, "
        f"checksum text not null, applied_at timestamptz not null default clock_timestamp(){column}); "
        "insert into asyncjobs.migration (number, name, checksum) values (1, 'initial', 'x'), (2, 'failing', 'y')"
    )
    says = "never released, whose schema cannot be brought up to date: drop it with its jobs .*drop schema asyncjobs cascade"
    for refused in (checking.check(connection), migrating.migrate(connection), make_jobs(database_url=url).open()):
        with pytest.raises(SchemaMismatch, match=says):
            await refused
    for after in (0, 1):
        with pytest.raises(asyncpg.RaiseError, match=says):
            await connection.execute(script(after=after))
    await connection.execute("drop schema asyncjobs cascade")
    assert await migrate(connection) == ["0001_schema", "functions"]
    connection.terminate()
