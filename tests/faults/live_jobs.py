"""Jobs that send items to their streams."""

import asyncio
from pathlib import Path

from asyncjobs import current_attempt, current_job, job
from tests.faults.jobs import opened, where
from tests.support import oracle


@job(kind="faults.tell")
async def tell(gate: str, count: int) -> str:
    """Send items, wait at the gate with the worker's name in it, and send as many more."""
    me = current_attempt()
    with oracle.interval(current_job()):
        for half in range(2):
            for n in range(count):
                me.progress(half * count + n + 1, of=2 * count)
                await me.send([where(), half, n])
            if not half:
                await opened(f"{gate}-{where()}")
        return where()


@job(kind="faults.tell_on")
async def tell_on(gate: str) -> str:
    """Send an item every hundredth of a second, until the gate is there."""
    with oracle.interval(current_job()):
        while not Path(gate).exists():
            await current_attempt().send(where())
            await asyncio.sleep(0.01)
        return where()
