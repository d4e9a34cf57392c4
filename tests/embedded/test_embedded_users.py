"""Who counts as a user, across instances, processes and kills."""

import asyncio
import signal
import tempfile
from pathlib import Path

import pytest

from asyncjobs.embedded import EmbeddedPostgres
from asyncjobs.embedded.temporary import temporary_postgres
from tests.support.processes import PATIENCE
from tests.support.sweeps import slowly

from .owners import eventually, postmasters
from .test_embedded_server import ask


async def test_two_instances_in_one_process_count_as_two_users(made):
    first, second = EmbeddedPostgres(made), EmbeddedPostgres(made)
    await first.start()
    pids = postmasters(made)
    await second.start()
    await first.stop()
    assert postmasters(made) == pids
    assert await ask(second.url(), "select 1") == 1
    await second.stop()
    assert postmasters(made) == []


async def test_two_tasks_that_start_together_share_one_server(made):
    servers = [EmbeddedPostgres(made) for _ in range(3)]
    await asyncio.gather(*(server.start() for server in servers))
    assert len({server.url() for server in servers}) == len(postmasters(made)) == 1
    await asyncio.gather(*(server.stop() for server in servers))
    assert postmasters(made) == []


@pytest.mark.usefixtures("copying_initdb")
async def test_two_processes_that_start_together_on_nothing_share_one_server(place, owner):
    directory = place / "a b" / ("long" * 30)
    owners = [owner(directory), owner(directory)]
    one, other = [await each.up() for each in owners]
    assert one == other
    assert len(postmasters(place)) == 1
    for each in owners:
        assert await each.leave() == ("", "")
    assert postmasters(place) == []


async def test_the_starter_may_leave_first_and_keeps_no_zombie(made, owner):
    starter = owner(made)
    await starter.up()
    (pid,) = postmasters(made)
    async with EmbeddedPostgres(made):
        await starter.tell("stop")
        assert postmasters(made) == [pid]
    await eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert await starter.leave() == ("", "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_user_does_not_count(made, owner, number):
    killed = owner(made)
    said = await killed.up()
    pids = postmasters(made)
    await killed.kill(number)
    assert postmasters(made) == pids
    async with EmbeddedPostgres(made) as server:
        assert (server.url(), postmasters(made)) == (said["url"], pids)
    assert postmasters(made) == []


async def test_a_user_that_was_not_the_last_leaves_the_server_to_the_others(made, owner):
    starter = owner(made)
    await starter.up()
    async with EmbeddedPostgres(made) as server:
        await starter.kill()
        async with EmbeddedPostgres(made):
            pass
        assert await ask(server.url(), "select 1") == 1
    assert postmasters(made) == []


async def test_temporary_data_stays_while_anyone_uses_it(copied, owner):
    other = owner(copied, words=["temporary"])
    await other.up()
    async with EmbeddedPostgres(copied, temporary=True):
        pass
    assert (copied / "data").exists()
    await other.leave()
    assert not (copied).exists()


@pytest.mark.usefixtures("copying_initdb")
async def test_who_needs_one_for_a_while_leaves_the_living_of_others_and_nothing_of_its_own(place, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    async with temporary_postgres("for-now-") as one:
        async with temporary_postgres("for-now-") as other:
            assert one.directory != other.directory
            (other.directory / "a file").touch()
        assert await ask(one.url(), "select 1") == 1
        assert [path for path in place.iterdir() if path.name.startswith("for-now-")] == [one.directory]
    assert [path for path in place.iterdir() if path.name.startswith("for-now-")] == []


@pytest.mark.usefixtures("copying_initdb")
async def test_users_may_come_while_the_last_one_removes_everything(place):
    async def use():
        async with EmbeddedPostgres(place / "pg", temporary=True, fsync=False) as server:
            assert await ask(server.url(), "select 1") == 1

    async with asyncio.timeout(PATIENCE):
        leaving = EmbeddedPostgres(place / "pg", temporary=True)
        await leaving.start()
        await asyncio.gather(leaving.stop(), use(), use())
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("loop", ["asyncio", *slowly("uvloop")])
async def test_nothing_is_printed_and_the_server_outlives_the_loop_that_started_it(made, owner, loop):
    starter = owner(made, loop=loop)
    await starter.up()
    async with EmbeddedPostgres(made) as server:
        assert await starter.leave() == ("", "")
        assert await ask(server.url(), "select 1") == 1
    starter = owner(made, loop=loop)
    await starter.up()
    assert await starter.leave() == ("", "")
    assert postmasters(made) == []


async def test_a_user_that_ends_without_leaving_is_silent_too(made, owner):
    starter = owner(made)
    await starter.up()
    await starter.tell("leak")
    assert await starter.leave() == ("", "")
    async with EmbeddedPostgres(made):
        pass
    assert postmasters(made) == []
