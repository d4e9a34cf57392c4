"""The database of a command: that of the settings, or the project's embedded one, for as long as the command runs."""

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
"""Of everything that only looks: a listing must not be what the database is busy with, and changes nothing."""


def private_hint(directory: Path) -> str:
    """Return where a private database is kept, and how to be rid of it."""
    return (
        f"a private PostgreSQL, kept in {directory} beside those of other projects: to start empty, end what uses it "
        "and remove that directory"
    )


class CommandJobs(AsyncJobs):
    """The `AsyncJobs` of a command.

    Args:
        config: As `AsyncJobs` takes it.
        environment: Likewise.
        middleware: Whether the project's is used: it is around what is enqueued and performed, and where a command does
            neither it need not even be importable.
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
    """The database's URL, whatever schema it has; until the block ends its embedded server runs, and kinds have a prefix."""
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
    """The database's URL; an embedded server's schema is brought up to date, as `AsyncJobs` does it."""
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
    """A connection that cannot write and whose statements end after 2 s; the schema is known to be ours."""
    async with database_url(settings) as url:
        connection = await connect(url, name="asyncjobs cli", settings=READING_LIMITS)
        try:
            with translating():
                await checking.check(connection)
                yield connection
        finally:
            connection.terminate()


async def bounded(reading: Awaitable[T]) -> T:
    """Await one reading; one that was broken off raises DatabaseUnavailable, and the connection is good for the next."""
    with translating():
        return await reading


def finish(operation: Callable[[], Awaitable[T]]) -> T:
    """Run a command's coroutine function to its end; errors of ours become exit codes."""

    async def run() -> T:
        return await operation()

    with exit_codes():
        return asyncio.run(run())


def psql_program(programs: Path | None) -> str | None:
    """Return psql: of the embedded server's `programs`, of ASYNCJOBS_PG_BIN, of PATH; None when there is none."""
    places = [str(programs) if programs else None, os.environ.get("ASYNCJOBS_PG_BIN")]
    return next(
        (found for place in places if place and (found := shutil.which("psql", path=place))), shutil.which("psql")
    )
