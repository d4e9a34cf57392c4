"""A dashboard, and a browser of sorts for it."""

from __future__ import annotations

import pytest
from web_jobs import Gate, Web

from asyncjobs import AsyncJobs


@pytest.fixture(autouse=True)
def gate() -> None:
    Gate.close()


@pytest.fixture
def web(client: AsyncJobs) -> Web:
    """The dashboard of a client that runs nothing."""
    return Web(client.dashboard())


@pytest.fixture
def working(jobs: AsyncJobs) -> Web:
    """The dashboard of a client with a worker."""
    return Web(jobs.dashboard())
