"""Jobs that run and await others, for the fault tests' workers."""

import asyncio
from uuid import UUID

from asyncjobs import AwaitCycle, Job, current_job, job
from asyncjobs.defining import open_clients
from tests.faults.jobs import opened
from tests.support import oracle


@job(kind="children.part", max_crashes=1_000)
async def part(n: int) -> int:
    with oracle.interval(current_job(), n=n):
        await asyncio.sleep(0.005)
        return n


@job(kind="children.held", max_crashes=1_000)
async def held(gate: str) -> str:
    with oracle.interval(current_job()):
        await opened(gate)
        return "held"


class Whole(Job, kind="children.Whole", max_crashes=1_000):
    """Runs so many parts and one that is held, in another order on every attempt."""

    parts: int
    gate: str

    async def perform(self) -> list[object]:
        with oracle.interval(self):
            jobs = [*(part(n) for n in range(self.parts)), held(self.gate)]
            return await self.run("all", *(jobs if self.attempt % 2 else reversed(jobs)))


@job(kind="children.awaits")
async def awaits(other: UUID) -> str:
    with oracle.interval(current_job()):
        client = open_clients.current()
        try:
            await (await client.get(other))
        except AwaitCycle as error:
            return str(error)
        return "awaited"
