"""One server as its user sees it: what answers, where, and how it is set."""

import asyncio
import os
import re
import signal
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from asyncjobs.db.connecting import connect
from asyncjobs.embedded import EmbeddedPostgres, NoPostgres
from asyncjobs.embedded import processes as embedded_processes
from asyncjobs.exceptions import DatabaseUnavailable
from tests.support.processes import until_so

from .owners import eventually, postmasters, processes, sockets_of


async def ask(url, statement):
    connection = await connect(url, is_lent=True)
    try:
        return await connection.fetchval(statement)
    finally:
        connection.terminate()


async def test_the_database_asyncjobs_answers_to_every_client_of_its_url(made):
    async with EmbeddedPostgres(str(made)) as server:  # a path as text will do
        assert await ask(server.url(), "select current_database()") == "asyncjobs"
        assert await ask(server.url("postgres"), "select current_database()") == "postgres"
        with await asyncio.to_thread(psycopg.connect, server.url()) as connection:
            assert connection.info.dbname == "asyncjobs"
        psql = [server.bin_directory / "psql", server.url(), "-Atc", "select current_database()"]
        assert (await asyncio.to_thread(subprocess.run, psql, capture_output=True, text=True)).stdout == "asyncjobs\n"
        engine = create_async_engine(server.url().replace("postgresql:", "postgresql+asyncpg:"))
        async with engine.connect() as connection:
            assert (await connection.execute(sqlalchemy.text("select current_database()"))).scalar() == "asyncjobs"
        await engine.dispose()


async def test_the_url_does_not_listen_to_the_environment_of_libpq(made, monkeypatch):
    of_others = {
        "PGPORT": "1",
        "PGHOST": "/nowhere",
        "PGUSER": "x",
        "PGSSLMODE": "verify-full",
        "PGTARGETSESSIONATTRS": "standby",
        "PGSSLROOTCERT": "/nowhere",
        "PGSSLNEGOTIATION": "direct",
    }
    for name, value in of_others.items():
        monkeypatch.setenv(name, value)
    async with EmbeddedPostgres(made) as server:
        assert await ask(server.url(), "select current_user::text") == "postgres"


async def test_the_server_does_not_listen_to_the_environment(made, monkeypatch):
    for name, value in {"PGPORT": "1", "PGDATA": "/nowhere", "PGDATESTYLE": "German", "LC_ALL": "xx_XX.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    async with EmbeddedPostgres(made) as server:
        assert await ask(server.url(), "show port") == "5432"
        assert await ask(server.url(), "show datestyle") == "ISO, MDY"
        (pid,) = postmasters(made)
        assert b"LC_ALL=C" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


async def test_the_name_of_a_database_is_quoted(made):
    async with EmbeddedPostgres(made) as server:
        name = "é /?&="
        connection = await connect(server.url())
        await connection.execute(f'create database "{name}"')
        connection.terminate()
        assert await ask(server.url(name), "select current_database()") == name


async def test_nobody_else_can_reach_the_server(made):
    async with EmbeddedPostgres(made) as server:
        sockets = sockets_of(server.url())
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert stat.S_IMODE((sockets / ".s.PGSQL.5432").stat().st_mode) == 0o700
        assert await ask(server.url(), "show listen_addresses") == ""


@pytest.mark.parametrize(("fsync", "shown"), [(True, "on"), (False, "off")])
async def test_fsync_is_on_unless_it_is_turned_off_and_commits_wait_either_way(made, fsync, shown):
    async with EmbeddedPostgres(made, fsync=fsync, max_connections=17) as server:
        assert await ask(server.url(), "show fsync") == shown
        assert await ask(server.url(), "show full_page_writes") == shown
        assert await ask(server.url(), "show synchronous_commit") == "on"
        assert await ask(server.url(), "show max_connections") == "17"


async def test_what_was_written_is_there_at_the_next_start(made):
    async with EmbeddedPostgres(made) as server:
        first = server.url()
        await ask(server.url(), "create table if not exists written ()")
    assert postmasters(made) == []
    assert not sockets_of(first).exists()
    async with EmbeddedPostgres(made) as server:
        assert await ask(server.url(), "select to_regclass('written')::text") == "written"
        assert server.url() == first
        assert server.version == await ask(server.url(), "select split_part(version(), ' ', 2)")


async def test_a_temporary_server_leaves_nothing(copied, place):
    async with EmbeddedPostgres(copied, temporary=True) as server:
        sockets = sockets_of(server.url())
    assert list(place.iterdir()) == []
    assert not sockets.exists()


@pytest.mark.usefixtures("copying_initdb")
async def test_a_temporary_server_leaves_the_files_of_others(place):
    async with EmbeddedPostgres(place, temporary=True):
        (place / "thesis.txt").touch()
    assert [left.name for left in place.iterdir()] == ["thesis.txt"]


async def test_a_directory_removed_while_the_server_runs_does_not_keep_it_running(copied, place):
    async with EmbeddedPostgres(copied):
        await asyncio.to_thread(subprocess.run, ["rm", "-rf", copied])
    assert postmasters(place) == []
    assert list(place.iterdir()) == []


async def test_a_relative_directory_is_that_of_the_moment_it_was_given(made, monkeypatch):
    monkeypatch.chdir(made.parent)
    server = EmbeddedPostgres(Path("pg"))
    monkeypatch.chdir("/")
    async with server:
        assert postmasters(made)


async def test_only_the_lock_that_shows_life_is_inherited_by_the_server(made):
    async with EmbeddedPostgres(made):
        (pid,) = postmasters(made)
        files = {fd.readlink().name for fd in Path(f"/proc/{pid}/fd").iterdir()}
    assert {name for name in files if name.endswith(".lock")} == {"running.lock"}


@pytest.mark.usefixtures("copying_initdb")
async def test_the_loop_runs_on_while_the_server_starts(place, monkeypatch):
    """Its initdb waits for what a task does."""
    copying, binaries = Path(os.environ["ASYNCJOBS_PG_BIN"]), place / "bin"
    binaries.mkdir()
    binaries.chmod(0o1777)  # under root initdb is another user's
    (binaries / "postgres").symlink_to(copying / "postgres")
    wait = f"touch '{binaries}/begun'; until [ -e '{binaries}/gate' ]; do sleep 0.01; done"
    (binaries / "initdb").write_text(f"#!/bin/sh\n{wait}\nexec '{copying}/initdb' \"$@\"\n")
    (binaries / "initdb").chmod(0o755)
    monkeypatch.setenv("ASYNCJOBS_PG_BIN", str(binaries))

    async def let_go():
        await until_so((binaries / "begun").exists)
        (binaries / "gate").touch()

    letting_go = asyncio.ensure_future(let_go())
    async with EmbeddedPostgres(place / "pg"):
        assert letting_go.done()


@pytest.mark.parametrize("program", ["initdb", "postgres"])
async def test_a_start_that_is_cancelled_leaves_no_process(place, program, copy_from_now_on):
    if program == "postgres":
        copy_from_now_on()
    starting = asyncio.ensure_future(EmbeddedPostgres(place / "pg").start())

    def runs():
        return [pid for pid, words in processes() if words[0].endswith(f"/{program}") and str(place) in str(words)]

    await eventually(runs)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await eventually(lambda: not any(str(place) in str(words) for _, words in processes()))
    copy_from_now_on()
    async with EmbeddedPostgres(place / "pg") as server:
        assert await ask(server.url(), "select 1") == 1


async def test_a_server_that_is_cancelled_before_it_can_take_a_signal_ends_all_the_same(made, monkeypatch):
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as a shell does for what it runs in the background
    adopt = embedded_processes.adopt

    def adopt_and_cancel(process):
        adopt(process)
        starting.cancel()

    monkeypatch.setattr(embedded_processes, "adopt", adopt_and_cancel)
    try:
        for _ in range(3):
            starting = asyncio.ensure_future(EmbeddedPostgres(made).start())
            with pytest.raises(asyncio.CancelledError):
                await starting
            await eventually(lambda: not postmasters(made))
    finally:
        signal.signal(signal.SIGQUIT, before)


async def test_a_server_that_will_not_start_is_explained_by_the_end_of_its_log(copied):
    async with EmbeddedPostgres(copied):
        pass
    with (copied / "data" / "postgresql.conf").open("a") as file:
        file.write("nonsense = 1\n")
    with pytest.raises(DatabaseUnavailable, match=r'(?s)ended with status 1.*"nonsense"'):
        await EmbeddedPostgres(copied).start()


async def test_a_server_without_a_free_connection_is_not_started_again(made, monkeypatch):
    async with EmbeddedPostgres(made, max_connections=5) as server:
        monkeypatch.setattr("asyncjobs.embedded.postmaster.START_TIMEOUT", 0.2)
        connections = [await connect(server.url()) for _ in range(5)]
        with pytest.raises(DatabaseUnavailable, match="too many clients"):
            await EmbeddedPostgres(made).start()
        for connection in connections:
            connection.terminate()


async def test_what_needs_a_running_server_says_so_without_one(made):
    server = EmbeddedPostgres(made)
    with pytest.raises(RuntimeError, match="is not started"):
        server.url()
    await server.stop()
    async with server:
        with pytest.raises(RuntimeError, match="is started already"):
            await server.start()
    with pytest.raises(RuntimeError, match="is not started"):
        _ = server.version


async def test_windows_is_told_the_ways_out(place, monkeypatch):
    server = EmbeddedPostgres(place / "pg")
    with monkeypatch.context() as patch:
        patch.setattr("sys.platform", "win32")
        with pytest.raises(NoPostgres, match=re.escape("ASYNCJOBS_DATABASE_URL")):
            await server.start()


def test_of_our_environment_the_server_gets_no_more_than_it_needs(monkeypatch):
    monkeypatch.setenv("PAYMENT_API_KEY", "secret")
    monkeypatch.setenv("TZ", "UTC")
    found = embedded_processes.environment()
    assert found.keys() <= {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "TMPDIR"}
    assert (found["TZ"], found["LC_ALL"]) == ("UTC", "C")
