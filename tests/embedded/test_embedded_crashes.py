"""What a crash leaves behind, and that the next start copes with it."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from asyncjobs.embedded import EmbeddedPostgres
from asyncjobs.embedded.accounts import server_account
from asyncjobs.exceptions import DatabaseUnavailable

from .owners import eventually, postmasters, processes, sockets_of, state, states
from .test_embedded_server import ask


def sleeper(data: Path) -> subprocess.Popen:
    """A living process of the server's own user, which is what PostgreSQL takes for itself in a stale pid file."""
    account = server_account(data)
    identity = {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}
    return subprocess.Popen(["/bin/sleep", "600"], cwd="/", **identity)


@pytest.fixture
def stranger(made):
    process = sleeper(made / "data")
    yield process
    process.kill()
    process.wait()


async def test_a_killed_postmaster_is_replaced_and_nothing_committed_is_lost(made):
    killed = EmbeddedPostgres(made)
    await killed.start()
    await ask(killed.url(), "create table if not exists kept ()")
    (pid,) = postmasters(made)
    os.kill(pid, signal.SIGKILL)
    async with EmbeddedPostgres(made) as server:
        assert await ask(server.url(), "select to_regclass('kept')::text") == "kept"
        assert await ask(killed.url(), "select to_regclass('kept')::text") == "kept"
        assert postmasters(made) != [pid]
    await killed.stop()
    assert postmasters(made) == []


async def test_a_killed_postmaster_that_nobody_reaped_does_not_count_as_running(made, owner):
    starter = owner(made)
    await starter.up()
    (pid,) = postmasters(made)
    starter.process.send_signal(signal.SIGSTOP)  # so that it cannot reap
    await eventually(lambda: set(states(starter.process.pid)) == {"T"})
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: state(pid) == "Z")
    async with EmbeddedPostgres(made) as server:
        assert state(pid) == "Z"
        assert await ask(server.url(), "select 1") == 1
        await starter.kill()


async def test_owner_and_postmaster_killed_together_are_replaced(made, owner):
    starter = owner(made)
    await starter.up()
    (pid,) = postmasters(made)
    os.kill(pid, signal.SIGKILL)
    await starter.kill()
    async with EmbeddedPostgres(made) as server:
        assert await ask(server.url(), "select 1") == 1
    assert postmasters(made) == []


async def test_a_pid_file_that_names_a_strangers_process_is_stale(made, stranger):
    async with EmbeddedPostgres(made) as server:
        sockets = sockets_of(server.url())
        lines = (made / "data" / "postmaster.pid").read_text().splitlines()
    lines[0] = str(stranger.pid)
    (made / "data" / "postmaster.pid").write_text("\n".join(lines) + "\n")
    shutil.chown(made / "data" / "postmaster.pid", made.joinpath("data").owner())
    sockets.mkdir(0o700)
    shutil.chown(sockets, made.joinpath("data").owner())
    (sockets / ".s.PGSQL.5432.lock").write_text("\n".join(lines) + "\n")
    shutil.chown(sockets / ".s.PGSQL.5432.lock", made.joinpath("data").owner())
    async with EmbeddedPostgres(made) as server:
        assert sockets_of(server.url()) == sockets
        assert await ask(server.url(), "select 1") == 1
    assert stranger.poll() is None


async def test_a_stranger_that_got_the_pid_while_the_server_ran_is_not_signalled(made, stranger):
    async with EmbeddedPostgres(made):
        (pid,) = postmasters(made)
        file = made / "data" / "postmaster.pid"
        file.write_text(file.read_text().replace(str(pid), str(stranger.pid), 1))
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert stranger.poll() is None


async def test_a_server_whose_socket_was_removed_is_replaced_when_nobody_uses_it(made, owner):
    starter = owner(made)
    said = await starter.up()
    (pid,) = postmasters(made)
    await starter.kill()
    shutil.rmtree(sockets_of(said["url"]))
    async with EmbeddedPostgres(made) as server:
        assert await ask(server.url(), "select 1") == 1
        assert postmasters(made) != [pid]
    assert postmasters(made) == []


async def test_an_initdb_whose_starter_was_killed_is_waited_for_and_cleared_away(
    place, owner, monkeypatch, copy_from_now_on
):
    starter = owner(place / "pg")
    await eventually(lambda: list(place.glob("pg/initdb-*/global")))
    (orphan,) = [pid for pid, words in processes() if words[0].endswith("/initdb") and str(place) in str(words)]
    os.kill(orphan, signal.SIGSTOP)
    await starter.kill()
    with monkeypatch.context() as patch:
        patch.setattr("asyncjobs.embedded.postmaster.START_TIMEOUT", 0.1)
        with pytest.raises(DatabaseUnavailable):
            await EmbeddedPostgres(place / "pg").start()
    assert not (place / "pg" / "data").exists()
    os.killpg(orphan, signal.SIGKILL)
    copy_from_now_on()
    async with EmbeddedPostgres(place / "pg") as server:
        assert await ask(server.url(), "select 1") == 1
    assert not list(place.glob("pg/initdb-*"))


@pytest.mark.usefixtures("copying_initdb")
async def test_a_server_that_lost_its_data_without_its_turn_is_not_ended_in_anothers_place(copied, place):
    """Two generations in one path: the last user of the removed one must not stop the one there now."""
    old = EmbeddedPostgres(copied)
    await old.start()
    (first,) = postmasters(place)
    copied.rename(place / "moved")
    async with EmbeddedPostgres(copied) as new:
        (second,) = set(postmasters(place)) - {first}
        await old.stop()
        assert postmasters(place) == [second]
        assert await ask(new.url(), "select 1") == 1
    assert postmasters(place) == []
