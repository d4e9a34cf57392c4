"""Jobs that run and await others, for the fault tests' workers."""

import asyncio
from uuid import UUID

from asyncjobs import AwaitCycle, Job, current_job, job
from asyncjobs.performing import open_clients
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


@job(kind="children.awaits_held")
async def awaits_held(gate: str) -> str:
    """Awaits one that is held, in queue "held", as soon as its own gate is open."""
    with oracle.interval(current_job()):
        await opened(f"{gate}-own")
        return await (await held(gate).set(queue="held").enqueue())


@job(kind="children.awaits_held_in_thread")
def awaits_held_in_thread(gate: str) -> str:
    with oracle.interval(current_job()):
        return held(gate).set(queue="held").enqueue_from_thread().result_from_thread()


@job(kind="children.awaits_held_apart", executor="process")
def awaits_held_apart(gate: str) -> str:
    with oracle.interval(current_job()):
        return held(gate).set(queue="held").enqueue_from_thread().result_from_thread()


@job(kind="children.runs_held")
async def runs_held(gate: str) -> list[str]:
    with oracle.interval(current_job()):
        return await current_job().run("held", *(held(gate).set(queue="held") for _ in range(2)))


@job(kind="children.gathers_held")
async def gathers_held(gate: str) -> list[str]:
    """Awaits several at once, each in a task of its own."""
    with oracle.interval(current_job()):
        made = [await held(gate).set(queue="held").enqueue() for _ in range(2)]
        return await asyncio.gather(*(each.result() for each in made))


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
