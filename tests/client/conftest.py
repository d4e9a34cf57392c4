from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from tests.support.proxy import Proxy


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("ASYNCJOBS_", "PG")):
            monkeypatch.delenv(name)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """In front of the test's database."""
    async with Proxy.in_front_of(database_url) as made:
        yield made


@pytest.fixture
def proxied_url(proxy: Proxy, database_url: str) -> str:
    """The test's database through the proxy."""
    return proxy.url(database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1])
