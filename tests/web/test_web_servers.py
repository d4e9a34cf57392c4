"""The dashboard under real servers: a browser that looks on never keeps one from stopping."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path
from subprocess import PIPE

import httpx
import pytest

from tests.support import warm
from tests.support.processes import PATIENCE, SLACK

ROOT = Path(__file__).parents[2]
SERVERS = {
    "uvicorn": ["-m", "uvicorn", "application:app", "--port", "{port}"],
    "hypercorn": ["-m", "hypercorn", "application:app", "--bind", "127.0.0.1:{port}"],
    "granian": ["-m", "granian", "--interface", "asgi", "application:app", "--port", "{port}"],
}
APPLICATION = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.routing import Mount
from asyncjobs import AsyncJobs

jobs = AsyncJobs(database_url={url!r}, shutdown_timeout=1)
app = Starlette(routes=[Mount("/jobs", jobs.dashboard())], lifespan=jobs.lifespan)
"""


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def answered(browser: httpx.AsyncClient, path: str) -> httpx.Response:
    """The first answer of a server that starts."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await browser.get(path)
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def ended(process: asyncio.subprocess.Process) -> float:
    """Stop it, and return how many seconds that took."""
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        await process.wait()
    return time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
async def test_a_server_with_the_dashboard_mounted_stops_within_a_second_while_a_page_is_looked_at(
    name: str, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "application.py").write_text(APPLICATION.format(url=database_url))
    port = free_port()
    words = [word.format(port=port) for word in SERVERS[name]]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin"}
    process = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=tmp_path, env=environment)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/jobs") as browser:
            answer = await answered(browser, "/")
            assert answer.status_code == 200, answer.text
            assert (await browser.get("/queues", headers={"hx-request": "true"})).status_code == 200
            assert await ended(process) < 1 + SLACK  # the connection of the browser is open still
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.processes
async def test_the_command_serves_the_dashboard_and_ends_in_order_at_a_signal(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("[default]\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ASYNCJOBS_DATABASE_URL": database_url}
    words = ["web", "--port", "0", "--read-only"]
    process = warm.start(
        [sys.executable, "-m", "asyncjobs", *words], cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE, text=True
    )
    try:
        async with asyncio.timeout(PATIENCE):
            said = await asyncio.to_thread(process.stdout.readline)
        url = re.fullmatch(r"dashboard at (\S+) \(Ctrl-C ends it\)\n", said)[1]
        async with httpx.AsyncClient(base_url=url) as browser:
            answer = await browser.get("/")
            assert ">read-only<" in answer.text
            assert "server" not in answer.headers
            assert (await browser.get("/", headers={"x-forwarded-for": "1.2.3.4"})).status_code == 403
            begun = time.monotonic()
            process.terminate()
            assert await asyncio.to_thread(process.wait, PATIENCE) == 0
            assert time.monotonic() - begun < 1 + SLACK
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()
