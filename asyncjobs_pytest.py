"""The pytest plugin: its fixtures. Where none is used, nothing is started.

It stands beside the package, and imports nothing of it before a fixture is used: pytest imports this module, by the entry
point `pytest11`, in every run of every project of an environment, and the package would cost each 0.2 s.

They are plain fixtures, so that they work alike under pytest-asyncio, under anyio's plugin and without either: what is open
on the test's event loop is opened at the first use there, and closed with it.

In a run in which any test uses one of them, the tests' database is that of the whole run, from before the first
fixture on: an application that a session-scoped fixture opens would work on the developer's own otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from asyncjobs.testing.jobs import Jobs
    from asyncjobs.testing.jobs_sync import JobsSync
    from asyncjobs.testing.server import Server

VARIABLE = "ASYNCJOBS_DATABASE_URL"
NOWHERE = "postgresql://127.0.0.1:1/the_tests_have_no_server"
"""For whom the tests' server could not be started: nobody answers there."""
_used = pytest.StashKey[bool]()
_server = pytest.StashKey["Server | Exception"]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Note whether this project uses the fixtures; before tests are left out, so that a part of it is told as the whole."""
    session.stash[_used] = any(map(_is_served, items))


def _is_served(item: pytest.Item) -> bool:
    """Whether a test uses our server, and not one by which somebody has replaced it."""
    known: Any = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    found = known.get("_asyncjobs_server")
    return bool(found) and found[-1].func.__module__ == __name__


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the tests' database that of every AsyncJobs without a URL of its own, before the first fixture."""
    if not session.stash.get(_used, False) or not session.items or session.config.option.collectonly:
        return
    patch = pytest.MonkeyPatch()
    session.config.add_cleanup(patch.undo)
    try:
        patch.setenv(VARIABLE, _started(session.config).url)
    except Exception as error:  # each test that uses it fails for that, and the others are run
        session.config.stash[_server] = error
        patch.setenv(VARIABLE, NOWHERE)


def _started(config: pytest.Config) -> Server:
    """Return the server of this run; it is started once, and stopped when the run is over."""
    from asyncjobs.testing.server import Server

    known = config.stash.get(_server, None)
    if isinstance(known, Exception):
        raise known
    if known is None:
        known = config.stash[_server] = Server().__enter__()
        config.add_cleanup(known.__exit__)
    return known


@pytest.fixture(scope="session")
def _asyncjobs_server(pytestconfig: pytest.Config) -> Server:
    return _started(pytestconfig)


@pytest.fixture(scope="session")
def asyncjobs_database_url(_asyncjobs_server: Server) -> str:
    """The URL of the database of this test process, with our schema: make tables of your own there once a session."""
    return _asyncjobs_server.url


@pytest.fixture
def _asyncjobs(_asyncjobs_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    from asyncjobs.definitions import registry
    from asyncjobs.testing.jobs import Jobs

    _asyncjobs_server.empty()
    defined = registry.all_definitions()
    monkeypatch.setenv(VARIABLE, _asyncjobs_server.url)
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
