"""A web application with a worker inside, and a way to crash it."""

import os
import signal
import time
from pathlib import Path

from fastapi import FastAPI, Request, Response

import tests.faults.jobs
import tests.faults.live_jobs
from asyncjobs import AsyncJobs
from asyncjobs.integrations.fastapi import event_stream

assert tests.faults.jobs and tests.faults.live_jobs
jobs = AsyncJobs(config=os.environ["WEB_APP_CONFIG"])
app = FastAPI(lifespan=jobs.lifespan)


@app.get("/healthy")
async def healthy() -> bool:
    return jobs.healthy


@app.get("/events/{job_id}")
async def events(job_id: str, request: Request) -> Response:
    return event_stream(job_id, request)


@app.get("/block")
async def block(gate: str) -> None:
    """Hold the loop."""
    while not Path(gate).exists():
        time.sleep(0.01)


@app.get("/signals")
async def signals() -> list[str]:
    return [getattr(signal.getsignal(number), "__qualname__", "") for number in (signal.SIGTERM, signal.SIGINT)]


@app.get("/crash/{what}")
async def crash(what: str) -> None:
    """Make a part of the worker raise what it never should."""
    worker = jobs._worker
    assert worker is not None

    def broken(*_: object) -> None:
        raise RuntimeError(f"{what} is broken")

    if what == "dispatcher":
        worker.parts.wakeups.take_news = broken
        worker.parts.wakeups.wake()
    elif what == "ledger":
        worker.parts.ledger._sessions.run = broken
    elif what == "keeper":
        worker.keeper._beat = broken
