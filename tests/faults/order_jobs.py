"""Jobs that keep an order among others, for the tests of faults. Each tells the oracle when it begins and how it ends."""

import asyncio
from pathlib import Path

from asyncjobs import Limit, Unique, current_job, job
from tests.faults.jobs import FOR_EVER, where
from tests.support import oracle
from tests.support.processes import until


@job(kind="order.limited", concurrency=Limit(2, by=("key",)), max_crashes=1_000)
async def limited(key: int, seconds: float = 0.0) -> str:
    with oracle.interval(current_job(), key=key):
        await asyncio.sleep(seconds)
        return where()


@job(kind="order.alone", concurrency=Limit(1))
async def alone(gate: str) -> str:
    with oracle.interval(current_job()):
        assert await until(Path(gate).exists, FOR_EVER)
        return where()


@job(kind="order.last", concurrency=Limit(1), unique=Unique(by=("key",)), max_crashes=1)
async def last_attempt(key: int, gate: str) -> str:
    with oracle.interval(current_job()):
        assert await until(Path(gate).exists, FOR_EVER)
        return where()
