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
def _made():
    async def make(directory):
        async with EmbeddedPostgres(directory):
            pass

    with _directory() as directory:
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
