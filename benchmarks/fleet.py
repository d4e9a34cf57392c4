"""What do many workers on one database cost: connections and statements when idle, and claims when there is little to do?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from asyncjobs import AsyncJobs
from asyncjobs.db import migrating
from benchmarks import bare, floor
from benchmarks.clock import Ear
from benchmarks.jobs import first_line, noop
from benchmarks.question import Question, Sample, Target, spread
from benchmarks.server import SETTINGS
from tests.support.postgres import ThrowAwayPostgres
from tests.support.processes import children

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from benchmarks.server import Bench

SIZES = (1, 8, 32, 100)
A_PROCESS = 25
"""Workers that share a process, which costs a machine of two cores less than a process each."""
IDLE_FOR = 30.0
"""Seconds in which statements and CPU are counted."""
RATE, LOADED_FOR = 50, 15.0
"""Jobs a second, and for how many seconds."""
PICKUPS = 100
SHRINKS_WITHIN = 60.0
STATEMENTS = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
OPEN = """
select count(*) from pg_stat_activity where datname = current_database() and application_name like 'asyncjobs%'"""
INSERT = f"""
insert into asyncjobs.job (id, kind, args)
select gen_random_uuid(), '{bare.KIND}', '{bare.ARGS}' from generate_series(1, $1)"""
TOOK = """
select extract(epoch from max(finished_at) - min(started_at))::float8 from asyncjobs.finished where started_at > $1"""


class Fleet:
    """Some workers on a database of their own, and what the server says of them."""

    def __init__(self, server: ThrowAwayPostgres, control: asyncpg.Connection, processes: Sequence[_Process]) -> None:
        self._server = server
        self._processes = processes
        self.control = control

    async def connections(self) -> int:
        """Count them."""
        return int(await self.control.fetchval(OPEN))

    @contextlib.asynccontextmanager
    async def another(self) -> AsyncIterator[asyncpg.Connection]:
        """A second connection of ours."""
        connection = await self._server.connect("fleet")
        try:
            yield connection
        finally:
            connection.terminate()

    async def at_rest(self, most: int) -> int:
        """Wait until there are `most` connections or fewer; how many there are then, or after a minute."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHRINKS_WITHIN):
                while await self.connections() > most:
                    await asyncio.sleep(0.5)
        return await self.connections()

    async def claims(self) -> int:
        """Count the claims so far."""
        return sum(await asyncio.gather(*(process.claims() for process in self._processes)))

    def cpu(self) -> float:
        """Seconds of CPU that the server has used."""
        ticks = _ticks(self._server.pid, reaped=True) + sum(map(_ticks, children(self._server.pid)))
        return ticks / os.sysconf("SC_CLK_TCK")

    async def finished(self, count: int) -> None:
        """Wait until so many jobs are in the history."""
        async with asyncio.timeout(120):
            while await self.control.fetchval("select count(*) from asyncjobs.finished") < count:
                await asyncio.sleep(0.05)


class _Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._input, self._output = process, process.stdin, process.stdout

    async def answer(self) -> str:
        async with asyncio.timeout(120):
            return (await self._output.readline()).decode().strip()

    async def claims(self) -> int:
        self._input.write(b"\n")
        return int(await self.answer())

    async def stop(self) -> None:
        self._input.close()
        await self._process.wait()


@contextlib.asynccontextmanager
async def _fleet(server: ThrowAwayPostgres, workers: int, environment: dict[str, str]) -> AsyncIterator[Fleet]:
    control = await server.connect("fleet")
    processes: list[_Process] = []
    try:
        for first in range(0, workers, A_PROCESS):
            arguments = [server.url("fleet"), str(min(A_PROCESS, workers - first))]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.fleet_process"), *arguments,
                env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            processes.append(_Process(process))
        for each in processes:
            assert await each.answer() == "ready"
        yield Fleet(server, control, processes)
    finally:
        await asyncio.gather(*(each.stop() for each in processes))
        control.terminate()


async def measure(bench: Bench, workers: int) -> Sample:
    """Idle, then with a trickle, then pickup, then a drain, then idle again."""
    settings = {**SETTINGS, "shared_buffers": "256MB", "max_connections": "1000"}
    async with ThrowAwayPostgres(settings) as server:
        await server.create_database("fleet")
        connection = await server.connect("fleet")
        await migrating.migrate(connection)
        connection.terminate()
        with Ear(bench.directory) as ear:
            async with _fleet(server, workers, ear.environment) as fleet:
                idle = await _idle(fleet, workers)
                async with AsyncJobs(database_url=server.url("fleet"), database_connections=1) as client:
                    most = asyncio.create_task(_most(fleet))
                    claims = await _trickle(fleet)
                    pickups = await _pickups(ear, client)
                    drained = await _drain(fleet)
                    most.cancel()
                    loaded = await most
                after = await fleet.at_rest(3 * workers)
    each = {"conns_idle": idle.pop("connections"), "conns_loaded": loaded - 1, "conns_after": after}
    return {**{name: count / workers for name, count in each.items()}, **idle, **claims, **pickups, **drained}


async def _idle(fleet: Fleet, workers: int) -> Sample:
    connections = await fleet.at_rest(3 * workers)
    used, statements, began = fleet.cpu(), await fleet.control.fetchval(STATEMENTS), time.monotonic()
    await asyncio.sleep(IDLE_FOR)
    passed = time.monotonic() - began
    statements = await fleet.control.fetchval(STATEMENTS) - statements
    cpu = 100 * (fleet.cpu() - used) / passed
    return {"connections": connections, "idle_statements_per_s": statements / passed / workers, "idle_db_cpu_%": cpu}


async def _most(fleet: Fleet) -> int:
    """Watch how many connections there are, until cancelled; return the most, the client's among them."""
    most = 0
    with contextlib.suppress(asyncio.CancelledError):
        async with fleet.another() as connection:
            while True:
                most = max(most, await connection.fetchval(OPEN))
                await asyncio.sleep(0.05)
    return most


async def _trickle(fleet: Fleet) -> Sample:
    before, count, loop = await fleet.claims(), round(RATE * LOADED_FOR), asyncio.get_running_loop()
    began = loop.time()
    for n in range(count):
        await asyncio.sleep(began + n / RATE - loop.time())
        await noop(n).enqueue()
    await fleet.finished(count)
    return {"claims_per_job": (await fleet.claims() - before) / count}


async def _pickups(ear: Ear, client: AsyncJobs) -> Sample:
    took = []
    for number in range(PICKUPS):
        await asyncio.sleep(floor.PAUSE)
        started = time.monotonic_ns()
        await client.enqueue(first_line(number))
        took.append(await ear.hear(number) - started)
    return {f"pickup_{name}": value for name, value in spread(took).items()}


async def _drain(fleet: Fleet) -> Sample:
    before = await fleet.control.fetchval("select count(*) from asyncjobs.finished")
    began = await fleet.control.fetchval("select clock_timestamp()")
    async with fleet.control.transaction():
        await fleet.control.execute(INSERT, floor.JOBS)
        await fleet.control.execute("select pg_notify('asyncjobs_ready', '0 default')")
    await fleet.finished(before + floor.JOBS)
    seconds = await fleet.control.fetchval(TOOK, began)
    return {"drain_jobs_per_s": floor.JOBS / seconds}


def _ticks(pid: int, *, reaped: bool = False) -> int:
    """Ticks of CPU of a process; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return sum(map(int, fields[11 : 15 if reaped else 13]))


QUESTIONS = (
    Question(
        "fleet",
        "Workers of the default pool on one database, up to 25 in a process: connections of each, when idle, at the most "
        "while jobs run, and after that; statements of each when idle (transactions, those in which notices are taken in "
        "among them) and the server's CPU; claims a job at 50 jobs/s spread over all; pickup; 20,000 no-ops drained.",
        cases=tuple((f"{n} worker{'s' if n > 1 else ''}", partial(measure, workers=n)) for n in SIZES),
        targets=(
            Target("conns_idle", at_most=3, alone=True),
            Target("conns_loaded", at_most=7, alone=True),
            Target("conns_after", at_most=3, alone=True),
            Target("idle_statements_per_s", at_most=4, alone=True),
        ),
    ),
)
