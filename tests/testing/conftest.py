"""The test kit under test: its own `jobs` in place of the suite's, and pytest runs of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncjobs.db.connecting import connect
from asyncjobs.testing import Jobs
from asyncjobs.testing.crashing import Crashing
from asyncjobs.testing.server import Server
from tests.support import warm

JOBS = """
import asyncio
import pytest
from asyncjobs import AsyncJobs, job

@job(queue="mailers")
async def send_welcome(user_id: int) -> str:
    return f"hello {user_id}"
"""


@pytest.fixture
def jobs(_asyncjobs: Jobs) -> Jobs:
    """The test kit's."""
    return _asyncjobs


@pytest.fixture(params=[7, pytest.param(1, marks=pytest.mark.slow)], ids=lambda every: f"every {every}")
def every(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of the places where `crash_everywhere` cuts it takes each so manieth, to the last."""
    cut = Crashing._try
    monkeypatch.setattr(Crashing, "_try", lambda self, how, number: cut(self, how, request.param * number))
    return request.param


class Ran:
    """One pytest run that is over."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.output = done.stdout + done.stderr

    def passed(self, count: int) -> None:
        assert f"{count} passed" in self.output and self.code == 0, self.output

    def failed(self, count: int) -> None:
        assert f"{count} failed" in self.output and self.code == 1, self.output


@pytest.fixture
def run_pytest(tmp_path: Path, beside: str, copying_postgres: str) -> Callable[..., Ran]:
    """Run pytest on a text, with jobs in front, in a process and a directory of its own; warnings are errors.

    It uses databases on the suite's server unless `url` says otherwise; "" is an embedded one of its own.
    """

    def run(text: str, *words: str, url: str | None = None, jobs: bool = True, **environment: str) -> Ran:
        (tmp_path / "test_it.py").write_text((JOBS if jobs else "") + text)
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
        )
        given = beside if url is None else url
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "ASYNCJOBS_"))}
        kept |= {"ASYNCJOBS_TEST_DATABASE_URL": given} if given else {"ASYNCJOBS_PG_BIN": copying_postgres}
        words = ("-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *words)  # that takes 0.2 s to import
        done = warm.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=tmp_path,
            env={**kept, **environment},
            stdin=None,
            timeout=60,
        )
        return Ran(done)

    return run


@pytest.fixture(scope="session")
def beside(server: Any) -> str:
    """The URL of a database on the suite's server, beside which test runs make theirs."""

    async def make() -> None:
        connection = await connect(server.url("postgres"))
        await connection.execute("create database suite")
        connection.terminate()

    asyncio.run(make())
    return server.url("suite")


@pytest.fixture(scope="session")
def _asyncjobs_server(beside: str) -> Iterator[Server]:
    """The test kit's, on the suite's server: a second one would cost a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASYNCJOBS_TEST_DATABASE_URL", beside)
        server = Server()
        server.__enter__()
    yield server
    server.__exit__()
