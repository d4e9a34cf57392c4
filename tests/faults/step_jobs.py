"""Jobs with steps, for the fault tests' workers. Each tells the oracle when a step begins, and when it is committed."""

import asyncio
import os
import signal
from pathlib import Path

import asyncpg

from asyncjobs import Cursor, Job, attribute, step
from tests.faults.jobs import opened, where
from tests.support import oracle

NAMES = ["parse", "charge", "export", "skipped", "fan_out", "last"]
ROWS = 300


class Noted(Job, abstract=True):
    """Notes that a step begins; the one before it was committed by then."""

    def begins(self, name: str) -> None:
        self._began = name
        if (n := NAMES.index(name)) > 0:
            oracle.note(self, "step_committed", step=NAMES[n - 1])
        oracle.note(self, "step_start", step=name)


class Six(Noted, kind="steps.Six", max_crashes=1_000):
    rows: int = ROWS
    total: int = attribute(default=0)

    @step
    async def parse(self) -> str:
        self.begins("parse")
        await asyncio.sleep(0.01)
        return "parsed"

    @step(isolated=True)
    async def charge(self, connection: asyncpg.Connection) -> None:
        self.begins("charge")
        await connection.execute("insert into effect values ($1, 'charge')", self.id)
        await asyncio.sleep(0.01)

    @step
    async def export(self, cursor: Cursor[int]) -> None:
        self.begins("export")
        async for n in cursor.each(range(1, self.rows + 1)):
            oracle.note(self, "row", n=n, step="export")
            self.total += n
            if n % 6 == 0:
                await asyncio.sleep(0.002)

    @step(when=lambda self: False)
    async def skipped(self) -> None:
        self.begins("skipped")

    @step
    async def fan_out(self, cursor: Cursor[int]) -> None:
        oracle.note(self, "step_committed", step="export")
        self.begins("fan_out")

        async def one(n: int) -> None:
            await asyncio.sleep(0.001)
            oracle.note(self, "row", n=n, step="fan_out")

        await cursor.map(one, range(1, 101), concurrency=10)

    @step(isolated=True)
    async def last(self, connection: asyncpg.Connection) -> None:
        self.begins("last")
        await connection.execute("insert into effect values ($1, 'last')", self.id)
        await asyncio.sleep(0.01)

    async def perform(self) -> int:
        with oracle.interval(self):
            await self.run_steps()
            oracle.note(self, "step_committed", step="last")
            return self.total


class Slow(Job, kind="steps.Slow"):
    """Sends a row each moment, for as long as its gate is closed."""

    gate: str

    @step
    async def export(self, cursor: Cursor[int]) -> None:
        oracle.note(self, "export", at=cursor.value)
        n = cursor.value or 0
        while not Path(self.gate).exists():
            n += 1
            oracle.note(self, "row", n=n)
            await asyncio.sleep(0.005)
            await cursor.advance(n)

    async def perform(self) -> str:
        with oracle.interval(self):
            await self.run_steps()
            return where()


class Deadly(Job, kind="steps.Deadly", max_crashes=10):
    """Ends its process in its first two attempts, in the middle of a step."""

    gate: str

    @step
    async def first(self) -> int:
        oracle.note(self, "first")
        return os.getpid()

    @step
    async def export(self, cursor: Cursor[int]) -> None:
        oracle.note(self, "export", at=cursor.value)
        async for n in cursor.each(range(1, 101)):
            oracle.note(self, "row", n=n)
            if n == 20 * self.attempt and self.attempt < 4:
                await cursor.checkpoint()
                if self.attempt < 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                oracle.note(self, "apart")
                await opened(self.gate)

    @step(isolated=True)
    async def charge(self, connection: asyncpg.Connection) -> None:
        oracle.note(self, "charge")
        await connection.execute("insert into effect values ($1, 'charge')", self.id)

    async def perform(self) -> int:
        with oracle.interval(self):
            await self.run_steps()
            return os.getpid()


class Short(Job, kind="steps.Short", max_crashes=1_000):
    """Notes its steps as `Noted` does."""

    n: int

    def begins(self, name: str, after: str = "") -> None:
        if after:
            oracle.note(self, "step_committed", step=after)
        oracle.note(self, "step_start", step=name)

    @step
    async def first(self) -> int:
        self.begins("first")
        await asyncio.sleep(0.2)
        return self.n

    @step(isolated=True)
    async def charge(self, connection: asyncpg.Connection) -> None:
        self.begins("charge", after="first")
        await connection.execute("insert into effect values ($1, 'charge')", self.id)

    @step
    async def last(self) -> None:
        self.begins("last", after="charge")
        await asyncio.sleep(0.2)

    async def perform(self) -> str:
        with oracle.interval(self):
            await self.run_steps()
            oracle.note(self, "step_committed", step="last")
            return where()


class Plain(Job, kind="steps.Plain"):
    """Records some steps."""

    @step
    async def first(self) -> int:
        return 1

    @step
    async def second(self, cursor: Cursor[int]) -> None:
        async for _ in cursor.each(range(5)):
            await cursor.checkpoint()

    async def perform(self) -> int:
        with oracle.interval(self):
            await self.run_steps()
            return os.getpid()
