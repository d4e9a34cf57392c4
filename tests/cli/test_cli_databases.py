"""Databases that asyncjobs cannot work with: each command says why in one line, with the remedy, and ends with code 3."""

import asyncio

import pytest

from asyncjobs.db import migrating, migration_files
from asyncjobs.db.connecting import connect
from asyncjobs.exceptions import DatabaseUnavailable
from asyncjobs.processes.worker_process import refuse_standby
from tests.cli.conftest import execute
from tests.cli.test_cli_doctor import SERVER

COMMANDS = (["run"], ["status"], ["jobs", "list"], ["enqueue", "cli_jobs.add", "a=1"])


def refused(cli, reason, *, commands=COMMANDS):
    for words in commands:
        [line] = cli(*words, code=3).stderr.splitlines()
        assert reason in line, words


def failures(cli):
    return {finding["check"]: finding["text"] for finding in cli.json("doctor", code=3) if finding["verdict"] == "fail"}


def test_a_schema_that_is_not_there(make_cli, empty_database_url):
    cli = make_cli(empty_database_url)
    refused(cli, "this database has no asyncjobs schema: run `asyncjobs db migrate`")
    assert "asyncjobs db migrate" in failures(cli)["schema"]


def test_a_migration_that_broke_off_before_its_first_step_is_taken_up_again(make_cli, empty_database_url):
    asyncio.run(execute(empty_database_url, migrating._BOOTSTRAP))
    cli = make_cli(empty_database_url)
    refused(cli, "run `asyncjobs db migrate`")
    assert cli("db", "migrate").stdout.startswith("applied 0001_schema\n")
    cli("status")


def test_a_schema_of_a_newer_version(cli, sql):
    asyncio.run(
        sql("insert into asyncjobs.migration (number, name, checksum, release) values (9999, 'later', '', '9.9')")
    )
    newest = migration_files.known()[-1].number
    reason = f"the schema is at migration 9999 and this version of asyncjobs knows {newest}: upgrade asyncjobs-pg here"
    refused(cli, reason, commands=[*COMMANDS, ["db", "migrate"]])
    assert reason in cli("db", "status", code=3).stdout
    assert failures(cli) == {"schema": reason}


def test_a_schema_that_was_changed(cli, sql):
    asyncio.run(sql("update asyncjobs.migration set checksum = ''"))
    reason = "migration 1 of this database is not the one this version ships"
    refused(cli, reason, commands=[*COMMANDS, ["db", "migrate"]])
    assert reason in failures(cli)["schema"]


async def test_what_the_server_says_while_run_migrates_is_one_line(make_cli, database_url, sql):
    name = database_url.partition("?")[0].rpartition("/")[2]
    await sql(f"alter database {name} set statement_timeout = '100ms'")
    holder = await connect(database_url)
    try:
        async with holder.transaction():
            await holder.execute("lock table asyncjobs.migration in access exclusive mode")
            for more in ([], ["--processes", "2"]):
                words = ["run", "--migrate", "--log-format", "text", *more]
                done = await asyncio.to_thread(make_cli(database_url), *words, code=3)
                [line] = done.stderr.splitlines()
                assert "CRITICAL" in line
    finally:
        holder.terminate()


@pytest.mark.parametrize("migrate", [[], ["--migrate"]], ids=["run", "run and migrate"])
def test_what_every_child_would_fail_with_is_one_line_of_the_supervisor(make_cli, url, migrate):
    words = ["run", "--processes", "2", "--log-format", "text", *migrate]
    [line] = make_cli(url.replace("/test_", "/missing_"))(*words, code=3).stderr.splitlines()
    assert "does not exist (SQLSTATE 3D000): correct the name in database_url" in line


@pytest.mark.parametrize("words", [["run"], ["run", "--migrate"], ["status"], ["db", "migrate"], ["db", "status"]])
def test_a_mistake_of_the_url_is_one_of_configuration(make_cli, url, words):
    urls = {
        "sslrootcert": "postgresql://u@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/no/such.crt",
        "channel_binding": "postgresql://u@127.0.0.1:1/d?channel_binding=require",
        "statement_timeout": f"{url}&statement_timeout=soon",
    }
    for parameter, wrong in urls.items():
        [line] = make_cli(wrong)(*words, code=2).stderr.splitlines()
        assert parameter in line


def test_an_encoding_that_cannot_hold_every_text(make_cli, server, empty_database_url):
    name = empty_database_url.partition("?")[0].rpartition("/")[2]
    asyncio.run(
        execute(
            server.url("postgres"),
            f"drop database {name}",
            f"create database {name} encoding 'SQL_ASCII' locale 'C' template template0",
        )
    )
    cli = make_cli(empty_database_url)
    reason = "the database's encoding is SQL_ASCII"
    refused(cli, reason, commands=[*COMMANDS, ["db", "migrate"]])
    assert reason in cli("db", "status", code=3).stdout
    assert "create database … encoding 'UTF8'" in failures(cli)["encoding"]


def test_a_role_without_rights(make_cli, url, sql):
    if not asyncio.run(sql("select from pg_roles where rolname = 'aj_nobody'")):
        asyncio.run(sql("create role aj_nobody login"))
    cli = make_cli(url.replace("postgres@", "aj_nobody@"))
    refused(
        cli,
        "permission denied for schema asyncjobs; this login has no role here: `grant asyncjobs_enqueuer to aj_nobody`",
    )
    assert "asyncjobs db sql --roles" in failures(cli)["database"]


def test_a_server_that_takes_no_writes(cli, database_url, sql):
    name = database_url.partition("?")[0].rpartition("/")[2]
    asyncio.run(sql(f"alter database {name} set default_transaction_read_only = on"))
    refused(cli, "transactions are read-only", commands=[["run"]])
    refused(cli, "read-only transaction", commands=[["enqueue", "cli_jobs.add", "a=1"]])
    assert "default_transaction_read_only" in failures(cli)["writes"]
    with pytest.raises(DatabaseUnavailable, match="this server is a standby.* point database_url at the primary"):
        refuse_standby(SERVER._replace(standby=True))
