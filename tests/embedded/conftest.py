import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from asyncjobs.embedded import EmbeddedPostgres

from .owners import Owner, postmasters


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("PG", "XDG_")) or name == "ASYNCJOBS_PG_BIN":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def template():
    directory = Path(tempfile.mkdtemp(prefix="aj-template-", dir="/tmp"))
    directory.chmod(0o755)

    async def make():
        async with EmbeddedPostgres(directory / "pg"):
            pass

    asyncio.run(make())
    yield directory / "pg"
    shutil.rmtree(directory)


@pytest.fixture
def made(place, template):
    """The directory of a server that was started and stopped before: much faster to start than a new one."""
    subprocess.run(["cp", "-a", template, place / "pg"], check=True)
    return place / "pg"


@pytest.fixture
def place():
    """A directory that every user may enter, as pytest's own are not; nothing of it may be left running."""
    directory = Path(tempfile.mkdtemp(prefix="aj-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    left = postmasters(directory)
    for pid in left:
        os.kill(pid, signal.SIGQUIT)
    while any(Path(f"/proc/{pid}").exists() for pid in left):
        time.sleep(0.01)
    shutil.rmtree(directory)
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
