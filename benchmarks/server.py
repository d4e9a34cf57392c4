"""The server that everything is measured on: thrown away afterwards, durable while it lasts."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from tests.support.postgres import ThrowAwayPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",  # with the default a checkpoint falls into every third run, of whichever side
}
DATABASE = "bench"
# A plan cached on an empty table drains a backlog at a thirtieth of the speed; the floor must not fall into that trap.
PINNED_PLANS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}


class Bench:
    """The server, one database on it for both sides, and a directory for logs and sockets."""

    def __init__(self, server: ThrowAwayPostgres, directory: Path, control: asyncpg.Connection) -> None:
        self._server = server
        self.url = server.url(DATABASE)
        self.directory = directory
        self.control = control
        self.migrated = False

    @contextlib.asynccontextmanager
    async def connection(self, name: str = "floor") -> AsyncIterator[asyncpg.Connection]:
        """A bare connection with pinned plans."""
        connection = await asyncpg.connect(self.url, server_settings={"application_name": name, **PINNED_PLANS})
        try:
            yield connection
        finally:
            connection.terminate()

    @contextlib.asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
        """An empty database of its own on the same server, gone at the end: its URL, and a connection to it."""
        url = await self._server.create_database(name)
        try:
            control = await asyncpg.connect(url)
            try:
                yield url, control
            finally:
                control.terminate()
        finally:
            await self.control.execute(f'drop database "{name}" with (force)')

    @contextlib.contextmanager
    def on_a_core_of_its_own(self) -> Iterator[None]:
        """Have the backends of connections that are opened in this block on one core, and what is started in it on others.

        Which core the kernel gives a backend decides over half of what a round trip takes, and each side of a question has a
        backend of its own: the same code was measured at 1.0 and at 1.5 times the floor, run after run.
        """
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(self._server.pid, cores[-1:])
        os.sched_setaffinity(0, cores[:-1] or cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, cores)
            os.sched_setaffinity(self._server.pid, cores)

    async def settle(self) -> None:
        """Empty both sides' tables, and write out what the last run left, so that the next does not pay for it."""
        tables = ["floor.job", "floor.finished"]
        if self.migrated:
            tables += ["asyncjobs.job", "asyncjobs.finished", "asyncjobs.worker", "asyncjobs.step"]
            tables += ["asyncjobs.live_job", "asyncjobs.stream_item"]
        await self.control.execute(f"truncate {', '.join(tables)}")
        await self.control.execute("checkpoint")

    async def postgres_version(self) -> str:
        """As the server says it."""
        return await self.control.fetchval("show server_version")


@contextlib.asynccontextmanager
async def bench_server() -> AsyncIterator[Bench]:
    """Start the server, with the floor's tables; nothing of it is left at the end."""
    directory = Path(tempfile.mkdtemp(prefix="asyncjobs-bench-"))
    try:
        async with ThrowAwayPostgres(SETTINGS) as server:
            await server.create_database(DATABASE)
            control = await server.connect(DATABASE)
            try:
                await control.execute(Path(__file__).with_name("floor.sql").read_text())
                yield Bench(server, directory, control)
            finally:
                control.terminate()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
