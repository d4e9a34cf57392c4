import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from asyncjobs.embedded import EmbeddedPostgres
from tests.support import copying
from tests.support.directories import RUNNABLE

from .owners import Owner, postmasters


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("PG", "XDG_")) or name == "ASYNCJOBS_PG_BIN":
            monkeypatch.delenv(name)


@pytest.fixture
def place():
    """A directory that every user may enter, as pytest's own are not; nothing of it may be left running."""
    with _directory() as directory:
        yield directory
        _end_what_runs(directory)


@pytest.fixture(scope="session")
def _made(_binaries):
    async def make(directory):
        async with EmbeddedPostgres(directory):
            pass

    with _directory() as directory:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ASYNCJOBS_PG_BIN", str(_binaries))
            asyncio.run(make(directory / "pg"))
        yield directory / "pg"


@pytest.fixture
def made(_made):
    """The directory of a server that was started and stopped before, shared by the tests that leave it as it is."""
    yield _made
    _end_what_runs(_made)


@pytest.fixture
def copied(place, _made):
    """One more such directory, in `place` and for one test alone."""
    subprocess.run(["cp", "-a", _made, place / "pg"], check=True)
    return place / "pg"


INITDB = """\
#!/bin/sh
umask 077
while [ "$1" != -D ]; do shift; done
exec cp -R "{data}/." "$2"
"""


@pytest.fixture(scope="session")
def _binaries():
    with _directory() as directory:
        (directory / "postgres").symlink_to(copying.binaries() / "postgres")
        (directory / "initdb").write_text(INITDB.format(data=copying.data()))
        (directory / "initdb").chmod(0o755)
        yield directory


@pytest.fixture
def copy_from_now_on(_binaries, _plain_environment, monkeypatch):
    """Have an initdb that copies, as any user, what the true one has made: where it matters no more how data is made."""
    return lambda: monkeypatch.setenv("ASYNCJOBS_PG_BIN", str(_binaries))


@pytest.fixture
def copying_initdb(copy_from_now_on):
    """The same, for the whole test."""
    copy_from_now_on()


@contextmanager
def _directory():
    directory = Path(tempfile.mkdtemp(prefix="aj-", dir=RUNNABLE))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _end_what_runs(directory):
    left = postmasters(directory)
    for pid in left:
        os.kill(pid, signal.SIGKILL)  # a stopped one too
    while any(Path(f"/proc/{pid}").exists() for pid in left):
        time.sleep(0.01)
    assert not left, f"servers left running in {directory}"


@pytest.fixture
def owner():
    """Start a process that uses an embedded PostgreSQL; see `Owner`."""
    owners = []

    def start(directory, **options):
        owners.append(Owner(directory, **options))
        return owners[-1]

    yield start
    for started in owners:
        started.close()
