"""What do log lines, metrics, traces and searchable arguments cost, and how long do the dashboard's pages take?"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import httpx

from asyncjobs import AsyncJobs, migrate
from asyncjobs.web.dashboard import Dashboard
from benchmarks import ours
from benchmarks.jobs import found, noop
from benchmarks.question import Question, Sample, Side, Target
from tests.support.mixed_jobs import fill

if TYPE_CHECKING:
    from asyncpg import Connection

    from benchmarks.server import Bench

JOBS = 60_000
SCRAPE = 1.0
"""Seconds between two readings of /metrics."""
HALF = 1_000_000
KIND = "kind=shop.images.make_thumbnails"
PAGES = (
    "/", "/queues", "/jobs", *(f"/jobs?state={state}" for state in ("ready", "scheduled", "running", "succeeded", "failed")),
    f"/jobs?{KIND}", f"/jobs?state=failed&{KIND}", "/failures", "/recurring", "/batches", "/workers", "/system",
)  # fmt: skip


def _drain(make: Callable[[int], Any] = noop, **worker: Any) -> Side:
    async def drain(bench: Bench) -> Sample:
        return await ours.drain(bench, (make(n) for n in range(JOBS)), JOBS, **worker)

    return drain


_without = _drain(settings=('log_jobs = "none"',))


async def _scraped(bench: Bench) -> Sample:
    """Drain with probes served, and the metrics read once a second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with _scraping(f"http://{address}/metrics"):
        return await _drain(settings=('log_jobs = "none"',), options=("--http", address))(bench)


@contextlib.asynccontextmanager
async def _scraping(url: str) -> AsyncIterator[None]:
    read = 0

    async def scrape() -> None:
        nonlocal read
        while True:
            with contextlib.suppress(OSError):  # it is not served yet
                read += len(await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read()))
            await asyncio.sleep(SCRAPE)

    scraping = asyncio.create_task(scrape())
    try:
        yield
    finally:
        scraping.cancel()
    assert read, "no metrics were read"


async def _pages(bench: Bench) -> Sample:
    """The longest time that one page's statements take, of the third reading of each."""
    async with bench.database("dashboard") as (url, _):
        await migrate(url)
        await fill(url, finished=HALF, ready=HALF)
        took: dict[str, float] = {}
        async with AsyncJobs(database_url=url) as jobs:
            transport = httpx.ASGITransport(app=jobs.dashboard(), client=("127.0.0.1", 4711))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as web:
                for _ in range(3):
                    for path in PAGES:
                        with _timed() as statements:
                            (await web.get(path)).raise_for_status()
                        took[path] = sum(statements) * 1_000
        return {"slowest_ms": max(took.values()), "overview_ms": took["/"], "jobs_ms": took["/jobs"]}


@contextlib.contextmanager
def _timed() -> Iterator[list[float]]:
    """Yield a list that gets the seconds of each reading of the database by a page."""
    took: list[float] = []
    read = Dashboard.read

    async def timed(self: Dashboard, operation: Callable[[Connection], Awaitable[Any]]) -> Any:
        async def inner(connection: Connection) -> Any:
            begun = time.perf_counter()
            try:
                return await operation(connection)
            finally:
                took.append(time.perf_counter() - begun)

        return await read(self, inner)

    with patch.object(Dashboard, "read", timed):
        yield took


def _cost(name: str, asks: str, side: Side, at_least: float) -> Question:
    return Question(
        f"seeing: {name}",
        f"{JOBS:,} no-op jobs {asks}, one process; against the same with neither log lines nor anything else.",
        side,
        _without,
        against_is="without",
        targets=(Target("jobs_per_s", at_least=at_least),),
    )


QUESTIONS = (
    _cost("log lines", "with a line at the end of each, sampled above 200 a second", _drain(), 0.8),
    _cost("metrics", f"with metrics read every {SCRAPE:g} s", _scraped, 0.95),
    _cost("traces", "with a span for each, exported to nowhere", _drain(imports=("benchmarks.traced",)), 0.4),
    _cost("searchable", "with one searchable argument", _drain(found), 0.5),
    Question(
        "seeing: pages",
        f"The dashboard's {len(PAGES)} pages of lists with {HALF:,} finished and {HALF:,} ready jobs: the time that the "
        "statements of one take, at the third reading.",
        _pages,
        targets=(Target("slowest_ms", at_most=100, alone=True),),
        most_runs=1,
    ),
)
