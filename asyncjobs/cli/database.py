"""The database of a command: that of the settings, or the project's embedded one, for as long as the command runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from asyncjobs.cli.exits import exit_codes
from asyncjobs.db import migrating
from asyncjobs.db.connecting import Connection, connect
from asyncjobs.db.errors import translating
from asyncjobs.embedded import EmbeddedPostgres, project_directory
from asyncjobs.settings import Settings

T = TypeVar("T")

STATEMENT_TIMEOUT = "2s"
"""Of everything that only looks: a listing must not be what the database is busy with."""


def embedded(settings: Settings) -> EmbeddedPostgres:
    """Return the embedded server of the project, not started."""
    return EmbeddedPostgres(project_directory(settings.source.parent if settings.source else Path.cwd()))


@asynccontextmanager
async def database_url(settings: Settings) -> AsyncIterator[str]:
    """The database's URL; an embedded server runs, with its schema up to date, until the block ends."""
    if settings.database_url:
        yield settings.database_url
        return
    async with embedded(settings) as server:
        url = server.url()
        connection = await connect(url)
        try:
            await migrating.migrate(connection)
        finally:
            connection.terminate()
        yield url


@asynccontextmanager
async def reader(settings: Settings) -> AsyncIterator[Connection]:
    """A connection that cannot write and whose statements end after 2 s; the schema is known to be ours."""
    async with database_url(settings) as url:
        limits = {"statement_timeout": STATEMENT_TIMEOUT, "default_transaction_read_only": "on"}
        connection = await connect(url, name="asyncjobs cli", settings=limits)
        try:
            with translating():
                await migrating.check(connection)
                yield connection
        finally:
            connection.terminate()


def finish(operation: Callable[[], Awaitable[T]]) -> T:
    """Run a command's coroutine to its end; errors of ours become exit codes."""

    async def run() -> T:
        return await operation()

    with exit_codes():
        return asyncio.run(run())
