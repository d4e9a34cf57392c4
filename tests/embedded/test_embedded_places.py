"""Where an embedded PostgreSQL may live, whose it is, and what is left untouched around it."""

import os
import re
import stat
from pathlib import Path

import pytest

from asyncjobs.embedded import EmbeddedPostgres, NoPostgres, directories, project_directory
from asyncjobs.embedded.binaries import candidates
from asyncjobs.exceptions import DatabaseUnavailable

from .owners import NOBODY, as_root, postmasters, sockets_of
from .test_embedded_server import ask

NAMELESS = 4242
RIGHTS_IN_DOCKER = 0b1_1111_1011
"""Those to chown, dac_override, fowner, fsetid, kill, setgid, setuid and setpcap: not dac_read_search, nor what is above."""


def modes(directory: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of all directories above `directory`."""
    return {path: (s.st_mode, s.st_uid, s.st_gid) for path in directory.parents for s in [path.stat()]}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("Application Support", marks=pytest.mark.slow),  # a space is in the next one, too
        'it\'s "quoted", 100 % é',
        "x" * 120 + "/" + "y" * 120,
    ],
)
async def test_any_path_will_do(place, name, copy_from_now_on):
    if len(name) > 120:
        copy_from_now_on()  # that the true one takes odd paths is seen by the others
    async with EmbeddedPostgres(place / name) as server:
        assert await ask(server.url(), "show data_directory") == str(place / name / "data")
        assert len(str(sockets_of(server.url()))) < 60


async def test_the_same_directory_by_another_name_is_the_same_server(made, place):
    (place / "link").symlink_to(made)
    async with EmbeddedPostgres(made) as server, EmbeddedPostgres(place / "link") as other:
        assert server.url() == other.url()


@pytest.mark.usefixtures("copying_initdb")
async def test_directories_above_and_the_user_database_stay_as_they_are(place):
    above, users = modes(place / "pg"), Path("/etc/passwd").read_bytes()
    async with EmbeddedPostgres(place / "pg"):
        pass
    assert modes(place / "pg") == above
    assert Path("/etc/passwd").read_bytes() == users


async def test_a_file_in_the_way_is_named(place):
    (place / "pg").touch()
    with pytest.raises(DatabaseUnavailable, match=str(place / "pg")):
        await EmbeddedPostgres(place / "pg").start()


@as_root
async def test_under_root_the_server_runs_as_somebody_else_without_groups(made, owner):
    starter = owner(made, words=["groups"])
    await starter.up()
    (pid,) = postmasters(made)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [str(made.joinpath("data").stat().st_uid)] * 4
    assert status["Uid"].split()[0] != "0"
    assert status["Groups"].split() == []
    assert os.getsid(pid) == pid
    await starter.leave()


@pytest.mark.usefixtures("copying_initdb")
@as_root
async def test_under_root_a_data_directory_keeps_its_owner(place, owner):
    (place / "theirs").mkdir()
    os.chown(place / "theirs", NOBODY, NOBODY)
    theirs = owner(place / "theirs" / "pg", uid=NOBODY)
    await theirs.up()
    await theirs.leave()
    async with EmbeddedPostgres(place / "theirs" / "pg"):
        (pid,) = postmasters(place)
        assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
    again = owner(place / "theirs" / "pg", uid=NOBODY)
    assert "url" in await again.up()
    await again.leave()


@as_root
async def test_under_root_a_directory_that_the_server_cannot_get_to_is_refused_and_not_opened(place):
    (place / "closed").mkdir(0o700)
    above = modes(place / "closed" / "pg")
    with pytest.raises(DatabaseUnavailable, match=f"may not enter {place / 'closed'}"):
        await EmbeddedPostgres(place / "closed" / "pg").start()
    assert modes(place / "closed" / "pg") == above


@as_root
async def test_under_root_a_closed_directory_that_holds_other_things_is_refused_and_not_opened(place):
    (place / "mail" / "inbox").mkdir(0o700, parents=True)
    (place / "mail").chmod(0o700)
    with pytest.raises(DatabaseUnavailable, match=f"may not enter {place / 'mail'}"):
        await EmbeddedPostgres(place / "mail").start()
    assert stat.S_IMODE((place / "mail").stat().st_mode) == 0o700


@as_root
async def test_under_root_the_working_directory_may_be_closed_to_the_server(place, monkeypatch):
    (place / "closed").mkdir(0o700)
    monkeypatch.chdir(place / "closed")
    monkeypatch.setenv("ASYNCJOBS_PG_BIN", str(list(candidates())[-1]))  # old ones look at it
    async with EmbeddedPostgres(place / "pg") as server:
        assert await ask(server.url(), "select 1") == 1
        (pid,) = postmasters(place)
        assert Path(f"/proc/{pid}/cwd").readlink() == place / "pg" / "data"
    assert "closed" not in (place / "pg" / "postgres.log").read_text()


@pytest.mark.usefixtures("copying_initdb")
@as_root
async def test_under_root_temporary_data_that_the_server_cannot_get_to_goes_elsewhere(place):
    (place / "closed").mkdir(0o700)
    above = modes(place / "closed" / "pg")
    first = EmbeddedPostgres(place / "closed" / "pg", temporary=True)
    await first.start()
    async with EmbeddedPostgres(place / "closed" / "pg") as second:
        assert second.url() == first.url()
        data = Path(await ask(second.url(), "show data_directory"))
        assert modes(place / "closed" / "pg") == above
    await first.stop()
    assert not data.parent.exists()
    assert list((place / "closed").iterdir()) == []


@pytest.mark.usefixtures("copying_initdb")
@as_root
async def test_under_root_a_closed_directory_that_is_empty_is_let_through_to_the_server(place):
    (place / "pg").mkdir(0o700)
    async with EmbeddedPostgres(place / "pg"):
        assert stat.S_IMODE((place / "pg").stat().st_mode) == 0o711


@as_root
async def test_root_in_a_container_needs_no_more_rights_than_docker_gives(made, owner):
    contained = owner(made, words=["contained"])
    assert "url" in await contained.up()
    status = Path(f"/proc/{contained.process.pid}/status").read_text()
    rights = {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s+(\w+)$", status, re.MULTILINE)}
    assert rights == {"Inh": 0, "Amb": 0, **dict.fromkeys(("Prm", "Eff", "Bnd"), RIGHTS_IN_DOCKER)}
    assert await contained.leave() == ("", "")
    assert postmasters(made) == []


@pytest.mark.usefixtures("copying_initdb")
@as_root
async def test_two_users_of_one_machine_do_not_meet(place, owner):
    (place / "theirs").mkdir()
    os.chown(place / "theirs", NOBODY, NOBODY)
    theirs = owner(place / "theirs" / "pg", uid=NOBODY)
    said = await theirs.up()
    async with EmbeddedPostgres(place / "ours") as ours:
        assert sockets_of(ours.url()) != sockets_of(said["url"])
        stranger = owner(place / "ours", uid=NOBODY)
        refused = await stranger.up()
        assert refused["error"] == "DatabaseUnavailable"
        assert str(place / "ours") in refused["message"]
    assert await theirs.leave() == ("", "")


@as_root
async def test_a_user_id_without_a_name_is_told_why_and_may_use_a_data_directory_that_is_made(place, copied, owner):
    for name in ("new", "pg"):
        (place / name).mkdir(exist_ok=True)
        os.chown(place / name, NAMELESS, NAMELESS)
        for path in (place / name).rglob("*"):
            os.chown(path, NAMELESS, NAMELESS)
    refused = await owner(place / "new", uid=NAMELESS).up()
    assert refused["error"] == "NoPostgres"
    assert "4242 has no entry in /etc/passwd" in refused["message"]
    copied = owner(place / "pg", uid=NAMELESS)
    assert "url" in await copied.up()
    await copied.leave()


@as_root
async def test_root_on_a_machine_without_an_unprivileged_user_is_told_so(place, monkeypatch):
    monkeypatch.setattr("asyncjobs.embedded.accounts.UNPRIVILEGED", ("nosuchuser",))
    with pytest.raises(NoPostgres, match="no user named nosuchuser"):
        await EmbeddedPostgres(place / "pg").start()


@pytest.mark.parametrize("squat", ["symlink", "file", "open", pytest.param("foreign", marks=as_root)])
async def test_a_socket_directory_that_is_not_ours_alone_is_not_used(made, place, squat):
    async with EmbeddedPostgres(made) as server:
        name = sockets_of(server.url())
    if squat == "symlink":
        (place / "target").mkdir(0o700)
        name.symlink_to(place / "target")
    elif squat == "file":
        name.touch(0o600)
        os.chown(name, made.joinpath("data").stat().st_uid, -1)
    else:
        name.mkdir(0o700)
        os.chown(name, *((NOBODY, NOBODY) if squat == "foreign" else (name.stat().st_uid, -1)))
        if squat == "open":
            name.chmod(0o777)
    try:
        async with EmbeddedPostgres(made) as server:
            assert sockets_of(server.url()) != name
            used = sockets_of(server.url())
        assert not used.exists()
    finally:
        name.rmdir() if name.is_dir() and not name.is_symlink() else name.unlink()


async def test_a_server_behind_a_foreign_socket_directory_is_not_asked(made, place, monkeypatch):
    """After a reboot that emptied /tmp, whoever takes the name could answer in our server's place."""
    async with EmbeddedPostgres(made) as server:
        sockets_of(server.url()).chmod(0o755)
        monkeypatch.setattr("asyncjobs.embedded.postmaster.START_TIMEOUT", 0.2)
        with pytest.raises(DatabaseUnavailable, match="no socket"):
            await EmbeddedPostgres(made).start()
        sockets_of(server.url()).chmod(0o700)


def test_a_runtime_directory_of_ours_holds_the_socket_and_another_does_not(place, monkeypatch):
    own = place / "run"
    own.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
    assert directories.socket_directory(place, None).parent == own
    own.chmod(0o777)
    found = directories.socket_directory(place, None)
    assert found.parent == Path("/tmp")
    found.rmdir()


def test_two_projects_of_one_name_have_two_directories(place, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(place))
    one, other = project_directory(place / "a" / "My Shop"), project_directory(place / "b" / "My Shop")
    assert one != other
    assert one.parent == other.parent == place / "asyncjobs"
    assert one.name.startswith("my-shop-")
    assert one == project_directory(place / "b" / ".." / "a" / "My Shop")
    assert not one.exists()


@as_root
def test_a_closed_home_sends_the_data_of_root_to_var_lib(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    assert place in project_directory(place).parents
    place.chmod(0o700)
    assert project_directory(place).parent == Path("/var/lib/asyncjobs")


def test_without_a_home_the_data_is_in_a_private_temporary_directory(place, monkeypatch):
    (place / "tmp").mkdir()
    monkeypatch.setenv("HOME", "/etc/passwd/home")
    monkeypatch.setattr(directories, "ROOT_BASE", Path("/etc/passwd/lib"))
    monkeypatch.setattr(directories, "temporary_base", lambda: place / "tmp")
    found = project_directory(place)
    assert found.parent.parent == place / "tmp"
    assert stat.S_IMODE(found.parent.stat().st_mode) & 0o066 == 0
    assert found.parent.stat().st_uid == os.geteuid()
    assert project_directory(place) == found
    found.parent.chmod(0o777)
    assert project_directory(place).parent == found.parent.with_name(found.parent.name + "-1")
