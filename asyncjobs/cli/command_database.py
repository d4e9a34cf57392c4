"""The database of a command: the one of the settings, or the project's embedded one, for as long as the command runs."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from asyncjobs.app import AsyncJobs
from asyncjobs.client.client import Client
from asyncjobs.db import checking, migrating, poolers
from asyncjobs.db.connecting import Connection, connect
from asyncjobs.db.errors import translating
from asyncjobs.definitions import registry
from asyncjobs.embedded import EmbeddedPostgres
from asyncjobs.opening import private_directory
from asyncjobs.settings import Settings
from asyncjobs.terminal.exits import exit_codes

T = TypeVar("T")

READING_LIMITS = {"statement_timeout": "2s", "default_transaction_read_only": "on"}
"""For commands that only read: a listing must not keep the database busy, and changes nothing."""


def private_hint(directory: Path) -> str:
    """Return where a private database is kept, and how to empty it."""
    return (
        f"a private PostgreSQL, kept in {directory} beside those of other projects: to start empty, end what uses it "
        "and remove that directory"
    )


class CommandJobs(AsyncJobs):
    """The `AsyncJobs` of a command.

    `middleware`: whether the project's is used. A command that neither enqueues nor performs does without it, and so works
    even where it cannot be imported.
    """

    def __init__(self, *, config: Path | None, environment: str | None, middleware: bool = False) -> None:
        super().__init__(config=config, environment=environment)
        self._uses_middleware = middleware

    def _load(self) -> Settings:
        settings = super()._load()
        return settings if self._uses_middleware else settings.model_copy(update={"middleware": ()})

    @property
    def client(self) -> Client:
        """The open client."""
        return self._client()

    async def run(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `operation` on a connection of the client."""
        return await self._in_use().sessions.run(operation)


@asynccontextmanager
async def server_url(settings: Settings) -> AsyncIterator[str]:
    """Yield the database's URL, whatever its schema; an embedded server and the prefix of kinds last for the block."""
    directory = private_directory(settings)
    with registry.prefixed(settings.kind_prefix):
        if directory is None:
            poolers.assume(settings.database_url, settings.pooler)
            yield settings.database_url
            return
        async with EmbeddedPostgres(directory) as server:
            yield server.url()


@asynccontextmanager
async def database_url(settings: Settings) -> AsyncIterator[str]:
    """Yield the database's URL; the schema of an embedded server is brought up to date, as `AsyncJobs` does."""
    async with server_url(settings) as url:
        if not settings.database_url:
            connection = await connect(url)
            try:
                with translating():
                    await migrating.migrate(connection)
            finally:
                connection.terminate()
        yield url


@asynccontextmanager
async def reader(settings: Settings) -> AsyncIterator[Connection]:
    """Yield a connection that cannot write and whose statements end after 2 s; the schema is checked."""
    async with database_url(settings) as url:
        connection = await connect(url, name="asyncjobs cli", settings=READING_LIMITS)
        try:
            with translating():
                await checking.check(connection)
                yield connection
        finally:
            connection.terminate()


async def bounded(reading: Awaitable[T]) -> T:
    """Await one statement; after a timeout it raises DatabaseUnavailable, and the connection can be used again."""
    with translating():
        return await reading


def finish(operation: Callable[[], Awaitable[T]]) -> T:
    """Run a command's coroutine function to its end; errors of asyncjobs become exit codes."""

    async def run() -> T:
        return await operation()

    with exit_codes():
        return asyncio.run(run())


def psql_program(programs: Path | None) -> str | None:
    """Return the path of psql: the embedded server's, ASYNCJOBS_PG_BIN's or PATH's; None when there is none."""
    places = [str(programs) if programs else None, os.environ.get("ASYNCJOBS_PG_BIN")]
    return next(
        (found for place in places if place and (found := shutil.which("psql", path=place))), shutil.which("psql")
    )
