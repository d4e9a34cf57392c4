"""Jobs of batches and chains for the fault tests' workers."""

import asyncio

from asyncjobs import current_attempt, current_job, job
from tests.faults.jobs import opened, where
from tests.support import oracle

FAILS_AT = 7


@job(kind="faults.member", max_crashes=1_000)
async def member(n: int, fails: bool = False) -> int:
    with oracle.interval(current_job(), n=n):
        await asyncio.sleep(0.001 * (n % 5))
        if fails and current_job().attempt and n == FAILS_AT:
            raise ValueError(n)
    return n


@job(kind="faults.adds", max_crashes=1_000)
async def adds(n: int) -> None:
    """Adds two to its batch, of which the second may be an orphan of an attempt that died in between."""
    with oracle.interval(current_job(), n=n):
        batch = current_attempt().batch
        assert batch is not None
        await batch.enqueue(member(10_000 + n), member(20_000 + n))


@job(kind="faults.callback", max_crashes=1_000)
async def callback(name: str) -> None:
    with oracle.interval(current_job(), name=name):
        pass


@job(kind="faults.link", max_crashes=1_000)
async def link(value: int) -> int:
    with oracle.interval(current_job(), n=value):
        await asyncio.sleep(0)
    return value + 1


@job(kind="faults.leaves", max_crashes=1_000)
async def leaves(n: int) -> int:
    with oracle.interval(current_job(), n=n):
        current_job().then(member(30_000 + n))
        await asyncio.sleep(0.001 * (n % 5))
    return n


@job(kind="faults.adds_late", max_crashes=1_000)
async def adds_late(gate: str) -> None:
    """Adds to its batch once the gate of its worker is open, in a process that may have been frozen meanwhile."""
    with oracle.interval(current_job()):
        batch = current_attempt().batch
        assert batch is not None
        await opened(f"{gate}-{where()}")
        await batch.enqueue(member(1))
