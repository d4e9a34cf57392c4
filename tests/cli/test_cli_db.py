"""`asyncjobs db …`."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest

from asyncjobs.db import migrating
from tests.cli.conftest import execute


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
    assert "0001    initial  no" in missing.stdout
    known = migrating.known()
    assert "asyncjobs db migrate" in missing.stdout
    assert cli("db", "migrate").stdout == "".join(f"applied {m.number:04} {m.name}\n" for m in known)
    assert cli("db", "migrate").stdout == f"nothing to apply: the schema is at migration {len(known)}\n"
    assert cli.json("db", "migrate") == []
    assert cli.json("db", "status") == {
        "current": True,
        "problem": None,
        "private_in": None,
        "migrations": [{"number": m.number, "name": m.name, "applied": True} for m in known],
    }


def test_the_printed_sql_makes_the_schema_that_migrate_makes_and_may_be_run_again(
    make_cli, empty_database_url, database_url
):
    cli = make_cli(empty_database_url)
    script = cli.directory / "schema.sql"
    script.write_text(cli("db", "sql").stdout)
    for _ in range(2):
        cli("db", "psql", "--", "-q", "-f", script)
    assert tables(empty_database_url) == tables(database_url)
    assert cli("db", "migrate").stdout.startswith("nothing to apply: ")
    assert cli("run", "--burst").returncode == 0


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
    data = Path(tempfile.mkdtemp(prefix="aj-cli-", dir="/tmp"))
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
