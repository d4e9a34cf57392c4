"""`asyncjobs db …`."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine

import asyncjobs
from asyncjobs.cli import db
from asyncjobs.cli.db import without_password
from asyncjobs.db import migrating, migration_files
from asyncjobs.db.connecting import connect
from tests.cli.conftest import execute
from tests.support.commands import run_here
from tests.support.directories import RUNNABLE
from tests.support.pages import PAGES
from tests.support.sweeps import slowly


def tables(url):
    [rows] = asyncio.run(
        execute(
            url,
            "select table_name, column_name, data_type, column_default from information_schema.columns "
            "where table_schema = 'asyncjobs' order by table_name, ordinal_position",
        )
    )
    return [tuple(row) for row in rows]


def test_migrate_says_what_it_applied_and_then_that_nothing_is_left(make_cli, empty_database_url):
    cli = make_cli(empty_database_url)
    missing = cli("db", "status", code=3)
    assert ["0001", "schema", "no"] in [line.split() for line in missing.stdout.splitlines()]
    known = [*migration_files.known(), migration_files.functions()]
    assert "asyncjobs db migrate" in missing.stdout
    assert cli("db", "migrate").stdout == "".join(f"applied {m}\n" for m in known)
    assert cli("db", "migrate").stdout == f"nothing to apply: the schema is at migration {len(known) - 1}\n"
    assert cli.json("db", "migrate") == []
    assert cli.json("db", "status") == {
        "current": True,
        "problem": None,
        "private_in": None,
        "migrations": [{"number": m.number, "name": m.name, "applied": True} for m in known],
    }


@pytest.mark.parametrize(
    "words", [["-c", "select 1"], ["-Atc", "select 1"], ["--", "-c", "select 1"], ["--csv", "-f", "x.sql", "-v", "a=1"]]
)
def test_options_that_are_not_of_the_command_go_to_psql(cli, monkeypatch, words):
    given = []
    monkeypatch.setattr(db, "open_psql", lambda _found, _programs, words: given.append(words) or 0)
    assert run_here(["db", "psql", *words], cli.environment).exit_code == 0
    assert given == [[word for word in words if word != "--"]]


@pytest.mark.parametrize("words", [[], *slowly(["--psql"])])
def test_the_printed_sql_makes_the_schema_that_migrate_makes_and_may_be_run_again(
    make_cli, empty_database_url, database_url, words
):
    cli = make_cli(empty_database_url)
    script = cli.directory / "schema.sql"
    script.write_text(cli("db", "sql", *words).stdout)
    for _ in range(2):
        cli("db", "psql", "--", "-q", "-f", script)
    assert tables(empty_database_url) == tables(database_url)
    assert cli("db", "migrate").stdout.startswith("nothing to apply: ")
    assert cli("run", "--burst").returncode == 0


def test_migrate_names_who_holds_a_lock_and_stops_when_the_wait_is_over(make_cli, empty_database_url):
    cli = make_cli(empty_database_url)
    asyncio.run(execute(empty_database_url, migrating._BOOTSTRAP))

    async def behind(statement):
        somebody = await connect(empty_database_url, name="nightly report")
        async with somebody.transaction():
            await somebody.execute(statement)
            done = await asyncio.to_thread(cli, "db", "migrate", "--wait", "1s", code=3)
            assert f"held by pid {somebody.get_server_pid()} (nightly report, " in done.stderr
        somebody.terminate()
        assert f": {statement}" in done.stderr and "--wait 5m" in done.stderr

    asyncio.run(behind("lock table asyncjobs.migration in share mode"))
    assert "--wait: '5 minutes' is not a time" in cli("db", "migrate", "--wait", "5 minutes", code=2).stderr
    assert cli("db", "migrate").returncode == 0


def by_sqlalchemy(url, driver, statement):
    """Run it as Alembic's `op.execute` does: as text, in a transaction, where a colon would begin a parameter."""

    async def run():
        engine = create_async_engine(url.replace("postgresql://", f"postgresql+{driver}://", 1))
        async with engine.begin() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(run())


@pytest.mark.parametrize("driver", [*slowly("asyncpg"), "psycopg"])
def test_the_printed_sql_is_one_statement_that_every_driver_takes(make_cli, empty_database_url, database_url, driver):
    cli = make_cli(empty_database_url)
    for _ in range(2):
        by_sqlalchemy(empty_database_url, driver, cli("db", "sql").stdout)
    assert tables(empty_database_url) == tables(database_url)
    assert cli("db", "migrate").stdout.startswith("nothing to apply: ")
    assert cli("run", "--burst").returncode == 0


def test_alembic_takes_the_printed_sql_and_leaves_the_schema_alone(make_cli, empty_database_url):
    """With the `include_name` of the documents; without it, it would drop the tables."""
    pytest.importorskip("alembic")
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    script = make_cli(empty_database_url)("db", "sql").stdout
    [code] = [block.code for page in PAGES for block in page.blocks if block.file == "env.py"]
    env = {}
    exec(code, env)  # noqa: S102 - our own text

    def compare(connection, **options):
        context = MigrationContext.configure(connection, opts={"include_schemas": True, **options})
        found = compare_metadata(context, MetaData())
        return [change for change in found if "asyncjobs" in str(change)]

    async def run():
        engine = create_async_engine(empty_database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
        async with engine.begin() as connection:
            await connection.run_sync(lambda sync: Operations(MigrationContext.configure(sync)).execute(script))
        async with engine.connect() as connection:
            assert await connection.run_sync(compare)
            assert not await connection.run_sync(lambda sync: compare(sync, include_name=env["include_name"]))
        await engine.dispose()

    asyncio.run(run())


def test_the_printed_sql_leaves_the_callers_transaction_as_it_was(make_cli, empty_database_url):
    async def run():
        connection = await connect(empty_database_url)
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '7s'")
            await connection.execute(make_cli(empty_database_url)("db", "sql").stdout)
            assert await connection.fetchval("show lock_timeout") == "7s"
        connection.terminate()

    asyncio.run(run())


@pytest.mark.parametrize("psql", [["--psql"], *slowly([])])
def test_what_comes_after_a_migration_is_printed_alone_with_the_functions(
    make_cli, empty_database_url, monkeypatch, psql
):
    cli = make_cli(empty_database_url)
    [first], functions = migration_files.known(), migration_files.functions()
    more = migration_files.Migration(2, "more", "create table asyncjobs.more (n integer);")
    monkeypatch.setattr(migration_files, "known", lambda: (first, more))
    after = cli("db", "sql", "--from", 1, *psql).stdout
    assert [step for step in (first, more, functions) if f"'{step.checksum}'" in after] == [more, functions]
    script = cli.directory / "after.sql"
    script.write_text(after)
    early = cli("db", "psql", "--", "-q", "-v", "ON_ERROR_STOP=1", "-f", script, code=3)
    assert "asyncjobs.migration" in early.stderr
    monkeypatch.setattr(migration_files, "known", lambda: (first,))
    asyncio.run(asyncjobs.migrate(empty_database_url))
    cli("db", "psql", "--", "-q", "-v", "ON_ERROR_STOP=1", "-f", script)
    assert ("more", "n", "integer", None) in tables(empty_database_url)
    cli("run", "--burst")
    last = cli("db", "sql", "--from", 1, *psql).stdout
    assert [step for step in (first, functions) if f"'{step.checksum}'" in last] == [functions]
    assert "the newest migration of this version is 1" in cli("db", "sql", "--from", 2, code=2).stderr
    assert "give it without" in cli("db", "sql", "--roles", *(psql or ["--from", 1]), code=2).stderr


async def test_a_program_migrates_by_its_url(empty_database_url):
    applied = await asyncjobs.migrate(empty_database_url)
    assert applied == [*(f"{step.number:04}_{step.name}" for step in migration_files.known()), "functions"]
    assert await asyncjobs.migrate(f"  {empty_database_url}\n") == []
    for url, said in (
        ("", "is empty"),
        ("postgresql+asyncpg://u@h/d", "names a driver"),
        ("mysql://h/d", "PostgreSQL"),
    ):
        with pytest.raises(asyncjobs.InvalidSettings, match=said):
            await asyncjobs.migrate(url)
    with pytest.raises(asyncjobs.DatabaseUnavailable, match="no answer from the database at 127.0.0.1:1"):
        await asyncjobs.migrate("postgresql://u@127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("given", "place", "password"),
    [
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db?host=/run/postgresql", None),
        ("postgresql://u:p%40w@h:5/db", "postgresql://u@h:5/db", "p@w"),
        ("postgresql://u@h/db?a=1&password=x+y&b=%2B", "postgresql://u@h/db?a=1&b=%2B", "x+y"),
        ("postgresql://u@h/db?p%61ssword=x", "postgresql://u@h/db", "x"),
        ("postgresql://u@/db?host=a,b&port=1,2", "postgresql://u@/db?host=a,b&port=1,2", None),
    ],
)
def test_psql_gets_the_url_as_it_is_without_its_password(given, place, password):
    assert without_password(given) == (place, password)


def test_psql_is_not_given_a_password_that_only_its_words_could_hold(make_cli):
    refused = make_cli("postgresql://u@h/db?sslkey=k&sslpassword=hunter2")("db", "psql", code=2)
    assert "sslpassword" in refused.stderr
    assert "hunter2" not in refused.stderr


def test_psql_gets_the_words_behind_the_dashes_and_its_exit_code_is_ours(cli):
    assert cli("db", "psql", "--", "-Atc", "select 40 + 2").stdout == "42\n"
    cli("db", "psql", "--", "-v", "ON_ERROR_STOP=1", "-c", "select nonsense", code=1)


def test_url_hides_the_password_unless_it_is_asked_for(make_cli):
    cli = make_cli("postgresql://u:canary7@h/d?sslpassword=canary7")
    assert cli("db", "url").stdout == "postgresql://u:***@h/d?sslpassword=***\n"
    assert cli("db", "url", "--show-password").stdout == "postgresql://u:canary7@h/d?sslpassword=canary7\n"


@pytest.mark.parametrize(
    ("url", "place", "password"),
    [
        ("postgresql://u:p%40ss@h:5/d", "postgresql://u@h:5/d", "p@ss"),
        ("postgresql://u@h/d?password=pw&sslmode=require", "postgresql://u@h/d?sslmode=require", "pw"),
        ("postgresql://u@/d?host=%2Ftmp%2Fx", "postgresql://u@/d?host=%2Ftmp%2Fx", None),
        ("postgresql://h,h2:6/d", "postgresql://h,h2:6/d", None),
    ],
)
def test_psql_is_told_the_password_by_its_environment_only(url, place, password):
    from asyncjobs.cli.db import without_password

    assert without_password(url) == (place, password)


@pytest.fixture
def private(make_cli):
    """Commands in a project without a database_url."""
    data = Path(tempfile.mkdtemp(prefix="aj-cli-", dir=RUNNABLE))
    data.chmod(0o711)
    cli = make_cli()
    cli.environment["XDG_DATA_HOME"] = str(data)
    yield cli
    shutil.rmtree(data)


def test_the_embedded_server_of_the_project_is_started_for_a_command(private):
    url = private("db", "url")
    assert url.stdout.startswith("postgresql://postgres@/asyncjobs?host=")
    assert "runs only while something uses it" in url.stderr
    private("enqueue", "cli_jobs.add", "a=1")
    done = private("run", "--processes", "2", "--burst", "--log-format", "text")
    assert "applied" not in done.stderr
    [job] = private.json("jobs", "list")
    assert job["state"] == "succeeded"


def test_where_a_private_database_is_kept_is_said_and_without_it_the_project_starts_empty(private):
    private("enqueue", "cli_jobs.add", "a=1")
    directory = Path(private.json("db", "status")["private_in"])
    assert f"kept in {directory} beside those of other projects" in private("db", "status").stdout
    assert any(str(directory) in finding["text"] for finding in private.json("doctor"))
    shutil.rmtree(directory)
    assert private.json("jobs", "list") == []


@pytest.mark.parametrize("words", [pytest.param([], marks=pytest.mark.slow), ["--processes", "2"]])
def test_a_run_whose_environment_was_perhaps_forgotten_says_so_once(private, words):
    config = private.directory / "config.toml"
    config.write_text(config.read_text() + '[production]\ndatabase_url = "postgresql://app@db.internal/app"\n')
    done = private("run", "--burst", *words)
    assert done.stderr.count("ASYNCJOBS_ENV is not set") == 1
    assert "ASYNCJOBS_ENV is not set" not in private("run", "--burst", "--env", "development", *words).stderr


@pytest.mark.parametrize(
    "words", [["db", "migrate"], ["db", "url"], ["db", "psql"], ["status"], ["run"], ["run", "--processes", "2"]]
)
def test_a_private_database_is_refused_in_production(private, words):
    done = private(*words, "--env", "production", code=2)
    assert "database_url is not set for environment 'production'" in done.stderr
    assert list(Path(private.environment["XDG_DATA_HOME"]).iterdir()) == []


def test_check_warns_of_a_production_without_a_database(private):
    done = private("check", "--env", "production")
    assert "database_url is not set for environment 'production'" in done.stderr
    assert len(private.json("check", "--env", "production")["warnings"]) == 1


def test_an_error_of_the_database_is_one_line_and_a_traceback_only_on_demand(make_cli):
    cli = make_cli("postgresql://u@127.0.0.1:1/x")
    for words in (["status"], ["jobs", "list"], ["db", "migrate"], ["db", "status"]):
        done = cli(*words, code=3)
        assert done.stderr.count("\n") == 1, done.stderr
    done = cli("--log-level", "debug", "status", code=3, traceback=True)
    assert "Connect call failed" in done.stderr
