"""How long pages keep the database busy, with a million finished and a million ready jobs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from web_jobs import Web

from asyncjobs.db.connecting import Connection
from asyncjobs.web.dashboard import Dashboard
from tests.support.mixed_jobs import fill
from tests.support.processes import SLACK

PROMISED = 0.1
"""Seconds."""


@pytest.mark.slow
async def test_each_page_keeps_the_database_busy_for_a_tenth_of_a_second_at_most(
    make_jobs, own_connection: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database_url, finished=1_000_000, ready=1_000_000)
    took: dict[str, list[float]] = {}
    path = ""
    read = Dashboard.read

    async def timed(self: Dashboard, operation: Callable[[Connection], Awaitable[Any]]) -> Any:
        async def inner(connection: Connection) -> Any:
            begun = time.perf_counter()
            try:
                return await operation(connection)
            finally:
                took.setdefault(path, []).append(time.perf_counter() - begun)

        return await read(self, inner)

    monkeypatch.setattr(Dashboard, "read", timed)
    kind = "kind=shop.images.make_thumbnails"
    async with make_jobs() as jobs:
        web = Web(jobs.dashboard())
        batch = (await web.json("/batches"))["batches"][0]["id"]
        job = (await web.json("/jobs?state=failed"))["jobs"][0]["id"]
        paths = ["/", "/queues", "/jobs", *(f"/jobs?state={state}" for state in ("ready", "scheduled", "waiting", "running", "succeeded", "failed")),
                 f"/jobs?{kind}", f"/jobs?state=failed&{kind}", f"/jobs?state=ready&{kind}", "/jobs?state=cancelled&error=nothing", f"/jobs/{job}",
                 f"/jobs?id={job[:8]}", "/jobs?kind=thumbnails", "/failures", "/recurring", "/batches", f"/batches/{batch}", "/workers", "/system"]  # fmt: skip
        for _ in range(3):
            took.clear()
            for path in paths:
                await web.text(path)
    sums = {path: sum(times) for path, times in took.items()}
    print({path: round(seconds * 1000) for path, seconds in sums.items()})
    assert {path: seconds for path, seconds in sums.items() if seconds > PROMISED + SLACK} == {}
