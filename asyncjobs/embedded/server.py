"""A private PostgreSQL, shared by all users of one directory and stopped by the last of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio.to_thread

from asyncjobs.embedded.cluster import Cluster
from asyncjobs.embedded.errors import NoPostgres
from asyncjobs.embedded.locks import FileLock, turn
from asyncjobs.embedded.postmaster import DATABASE, Answer, serve, stop, url
from asyncjobs.exceptions import DatabaseUnavailable

if TYPE_CHECKING:
    from os import PathLike


class EmbeddedPostgres:
    """A user of the PostgreSQL in `directory`: the first starts it, the last stops it, and kill -9 counts as leaving.

    It is for development, the demo and tests: authentication is trust, behind a directory that only its owner may enter.
    If every user is killed, the server runs on until the directory is used again and left.

    Under root the server runs as the existing user `postgres` or `nobody`. A directory that this user cannot reach is
    refused; only temporary data is put elsewhere instead, under /tmp.
    """

    def __init__(
        self, directory: str | PathLike[str], *, fsync: bool = True, max_connections: int = 60, temporary: bool = False
    ) -> None:
        """Note the directory and the settings; nothing is done before `start`.

        Args:
            directory: The directory for the locks, the log and PostgreSQL's own data directory; made if missing.
            fsync: False is faster, and loses everything when the machine (not the server) crashes.
            max_connections: Of this and `fsync`, the values of the user that starts the server hold for all its users.
            temporary: Remove the data with the last user, if that user is this one.
        """
        self._directory = Path(directory).resolve()  # so that all its users name it alike
        self._temporary = temporary
        self._settings = settings(fsync=fsync, max_connections=max_connections)
        self._users: FileLock | None = None
        self._cluster: Cluster | None = None
        self._answer: Answer | None = None

    async def start(self) -> None:
        """Start the server or attach to it; after this the database "asyncjobs" answers.

        Raises:
            NoPostgres: No PostgreSQL can be run here.
            DatabaseUnavailable: The directory cannot be used, or the server does not start.
        """
        if sys.platform == "win32":
            raise NoPostgres("the embedded PostgreSQL needs Unix sockets and file locks, which Windows lacks")
        if self._users is not None:
            raise RuntimeError(f"the embedded PostgreSQL in {self._directory} is started already")
        try:
            await self._enter()
        except OSError as error:
            raise DatabaseUnavailable(
                f"the embedded PostgreSQL cannot use {self._directory}: {error}; "
                "give a directory that this user may write"
            ) from error

    async def _enter(self) -> None:
        cluster = Cluster(self._directory, temporary=self._temporary)
        async with turn(cluster.lock("start"), cluster.make_directory):
            cluster.open_to_server()
            users = FileLock(cluster.lock("users"))
            try:
                is_alone = users.try_exclusive()
                users.try_shared()
                self._answer = await serve(cluster, self._settings, is_alone=is_alone)
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
        cluster, self._cluster = self._cluster, None
        if users is None or cluster is None:
            return
        with users:
            async with turn(cluster.lock("start"), cluster.make_directory):
                if users.try_exclusive():
                    await stop(cluster, left=None if users.is_current() else self._answer)
                    if self._temporary or not cluster.data.exists():
                        await anyio.to_thread.run_sync(cluster.remove)

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of `database` for asyncpg, psycopg and psql."""
        return url(self._running().sockets, database)

    @property
    def directory(self) -> Path:
        """The directory that was given, without links."""
        return self._directory

    @property
    def version(self) -> str:
        """The server's version, such as "18.4"."""
        return self._running().version

    @property
    def bin_directory(self) -> Path:
        """The directory of the running server's programs; a distribution's may lack psql."""
        return self._running().programs

    def _running(self) -> Answer:
        if self._users is None or self._answer is None:
            raise RuntimeError(f"the embedded PostgreSQL in {self._directory} is not started")
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
