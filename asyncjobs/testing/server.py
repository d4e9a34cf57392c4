"""The database of one test process: on an embedded PostgreSQL of this run, or on the server that a variable names."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote, unquote, urlsplit

from asyncjobs.db import test_kit as db
from asyncjobs.db.connecting import connect
from asyncjobs.embedded import EmbeddedPostgres
from asyncjobs.embedded.directories import temporary_base
from asyncjobs.embedded.temporary import remove_abandoned
from asyncjobs.settings.urls import check_database_url

if TYPE_CHECKING:
    from asyncjobs.db.connecting import Connection

T = TypeVar("T")

VARIABLE = "ASYNCJOBS_TEST_DATABASE_URL"
PLACE = temporary_base()
"""Not in TMPDIR, since the path of a socket must be short."""
MOST_RUNS = 20
"""The most test runs at once on one server."""


class Server:
    """The server and the database of a test process, removed at the end.

    The processes of one pytest-xdist run share an embedded server, which the last of them stops.
    """

    def __init__(self) -> None:
        self.url = ""
        """The database's URL."""
        self._loop = asyncio.new_event_loop()
        self._embedded: EmbeddedPostgres | None = None
        self._keeper: Connection | None = None
        self._connection: Connection | None = None
        self._name = ""

    def __enter__(self) -> Self:
        try:
            self.run(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self._stop())
        finally:
            self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on a loop of its own, even if another loop runs in this thread."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._loop.run_until_complete(coroutine)
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(self._loop.run_until_complete(coroutine))
            except BaseException as error:
                done.set_exception(error)

        thread = threading.Thread(target=run, name="asyncjobs tests")
        thread.start()
        thread.join()
        return done.result()

    def empty(self) -> None:
        """Remove all jobs and other rows of asyncjobs from the database; other tables are left alone."""
        self.run(self._empty())

    async def _empty(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self.url, name="asyncjobs tests")
        await db.empty(self._connection)

    async def _start(self) -> None:
        given = check_database_url(os.environ.get(VARIABLE, ""))
        if given:
            self._keeper = await connect(given, name="asyncjobs tests")
        else:
            self._embedded = await _start_embedded()
            self._keeper = await connect(self._embedded.url("postgres"), name="asyncjobs tests")
        base = unquote(urlsplit(given).path.lstrip("/")) or "asyncjobs"
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        for number in range(1, MOST_RUNS + 1):
            end = f"_{worker}" if number == 1 else f"_{worker}_{number}"
            self._name = base.encode()[: 63 - len(end)].decode(errors="ignore") + end
            if await db.make_database(self._keeper, self._name):
                break
        else:
            raise RuntimeError(f"{MOST_RUNS} test runs use {base} at once: give this one another {VARIABLE}")
        if self._embedded is not None:
            self.url = self._embedded.url(self._name)
        else:
            self.url = urlsplit(given)._replace(path="/" + quote(self._name)).geturl()
        self._connection = await db.open_migrated(self.url)

    async def _stop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        if self._keeper is not None:
            try:
                if self.url:
                    await db.drop_database(self._keeper, self._name)
            finally:
                self._keeper.terminate()
        if self._embedded is not None:
            await self._embedded.stop()
        await asyncio.sleep(0)  # terminated connections are closed in the loop's next turn


async def _start_embedded() -> EmbeddedPostgres:
    """Start the server of this run, or attach to it; before that, remove servers of runs that were killed."""
    directory = _directory()
    await remove_abandoned(PLACE, _prefix(), but=directory)
    server = EmbeddedPostgres(directory, fsync=False, max_connections=200, temporary=True)
    await server.start()
    return server


def _prefix() -> str:
    return f"asyncjobs-pytest-{os.geteuid()}-"


def _directory() -> Path:
    """Return the directory of this run; the processes of one pytest-xdist run have the same."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    return Path(tempfile.mkdtemp(prefix=_prefix(), dir=PLACE)) if run is None else PLACE / f"{_prefix()}{run[:12]}"
