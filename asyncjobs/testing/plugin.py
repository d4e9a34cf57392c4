"""The fixtures. pytest imports this module itself, by the entry point `pytest11`; nothing is started before one is used.

They are plain fixtures, so that they work alike under pytest-asyncio, under anyio's plugin and without either: what is open
on the test's event loop is opened at the first use there, and closed with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from asyncjobs.testing.jobs import Jobs
    from asyncjobs.testing.jobs_sync import JobsSync
    from asyncjobs.testing.server import Server


@pytest.fixture(scope="session")
def _asyncjobs_server() -> Iterator[Server]:
    from asyncjobs.testing.server import Server

    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def asyncjobs_database_url(_asyncjobs_server: Server) -> str:
    """The URL of the database of this test process, with our schema: make tables of your own there once a session."""
    return _asyncjobs_server.url


@pytest.fixture
def _asyncjobs(_asyncjobs_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    from asyncjobs.defining import registry
    from asyncjobs.testing.jobs import Jobs

    _asyncjobs_server.empty()
    defined = registry.all_definitions()
    monkeypatch.setenv("ASYNCJOBS_DATABASE_URL", _asyncjobs_server.url)
    jobs = Jobs(database_url=_asyncjobs_server.url)
    try:
        yield jobs
    finally:
        jobs._end()
        registry.end_those_since(defined)  # the same test with other parameters makes them again


@pytest.fixture
def jobs(_asyncjobs: Jobs) -> Jobs:
    """An open `AsyncJobs` with assertions, on a real PostgreSQL that is emptied before each test."""
    return _asyncjobs


@pytest.fixture
def jobs_sync(_asyncjobs: Jobs, _asyncjobs_server: Server) -> JobsSync:
    """The same as `jobs` for plain sync tests: its methods return what those of `jobs` give when awaited."""
    from asyncjobs.testing.jobs_sync import JobsSync

    return JobsSync(_asyncjobs, _asyncjobs_server.run)
