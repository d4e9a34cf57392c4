"""A private PostgreSQL, shared by all that use one directory and stopped by the last of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Self

import anyio.to_thread

from asyncjobs.embedded.accounts import server_account
from asyncjobs.embedded.cluster import DATABASE, Answer, Cluster, url
from asyncjobs.embedded.directories import make
from asyncjobs.embedded.errors import NoPostgres
from asyncjobs.embedded.locks import FileLock, turn
from asyncjobs.exceptions import DatabaseUnavailable


class EmbeddedPostgres:
    """A user of the PostgreSQL in `directory`: the first starts it, the last stops it, a kill -9 counts as leaving.

    For development, the demo and tests: authentication is trust behind a directory that only its owner may enter.
    Under root the server runs as `postgres` or `nobody`, and `directory` must be where that user can get to it.

    When every user is killed the server runs on until somebody uses the directory again and leaves.

    Attributes:
        directory: Where it lives: locks, log and PostgreSQL's own data directory `data`.
    """

    def __init__(
        self, directory: Path, *, fsync: bool = True, max_connections: int = 60, temporary: bool = False
    ) -> None:
        """Take the place and the settings; nothing is touched before `start`.

        Args:
            directory: Made if missing.
            fsync: False is faster, and loses everything when the machine (not the server) crashes.
            max_connections: Of this and `fsync`, the values of whoever starts the server hold for all its users.
            temporary: Remove the data with the last user, if that user is this one.
        """
        self.directory = Path(os.path.realpath(directory))
        self._temporary = temporary
        self._settings = settings(fsync=fsync, max_connections=max_connections)
        self._users: FileLock | None = None
        self._answer: Answer | None = None
        self._cluster: Cluster | None = None

    async def start(self) -> None:
        """Start the server or attach to it; after this the database "asyncjobs" answers.

        Raises:
            NoPostgres: No PostgreSQL can be run here.
            DatabaseUnavailable: The directory cannot be used, or the server does not come up.
        """
        if sys.platform == "win32":
            raise NoPostgres("the embedded PostgreSQL needs Unix sockets and file locks, which Windows lacks")
        if self._users is not None:
            raise RuntimeError(f"the embedded PostgreSQL in {self.directory} is started already")
        try:
            await self._start()
        except OSError as error:
            raise DatabaseUnavailable(
                f"the embedded PostgreSQL cannot use {self.directory}: {error}; "
                "remove what is in the way, or give another directory"
            ) from error

    async def _start(self) -> None:
        cluster = Cluster(self.directory, server_account(self.directory / "data"), self._settings)
        make(self.directory, cluster.account)
        async with turn(self.directory / "start.lock"):
            cluster.prepare()
            users = FileLock(self.directory / "users.lock")
            try:
                users.try_shared()
                self._answer = await cluster.serve()
            except BaseException:
                users.close()
                raise
        self._users, self._cluster = users, cluster

    async def stop(self) -> None:
        """Leave; the last user stops the server, and removes it if it is temporary. Nothing happens when not started.

        Raises:
            DatabaseUnavailable: The server does not end.
        """
        users, self._users = self._users, None
        if users is None or self._cluster is None or self._answer is None:
            return
        with users:
            if not self.directory.is_dir():  # removed under us
                await self._cluster.stop(self._answer)
                return
            async with turn(self.directory / "start.lock"):
                if users.try_exclusive():
                    await self._cluster.stop(await self._cluster.answer() or self._answer)
                    if self._temporary:
                        await anyio.to_thread.run_sync(self._cluster.remove)

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of `database` for asyncpg, psycopg and psql."""
        return url(self._running().sockets, database)

    @property
    def version(self) -> str:
        """The server's version, such as "18.4"."""
        return self._running().version

    @property
    def bin_directory(self) -> Path:
        """The directory of the running server's programs; `psql` may be missing from a distribution's."""
        return self._running().programs

    def _running(self) -> Answer:
        if self._users is None or self._answer is None:
            raise RuntimeError(f"the embedded PostgreSQL in {self.directory} is not started")
        return self._answer

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def settings(*, fsync: bool, max_connections: int) -> dict[str, str]:
    """Return the server's settings: small for a laptop, otherwise as in production."""
    switch = "on" if fsync else "off"
    return {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_permissions": "0700",
        "max_connections": str(max_connections),
        "shared_buffers": "64MB",
        "autovacuum_max_workers": "1",
        "max_logical_replication_workers": "0",
        "fsync": switch,
        "full_page_writes": switch,
        "jit": "off",
        "log_checkpoints": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
    }
