"""PgBouncer in front of a server of a test's own; tests that need it are skipped where it is not installed."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from typing import Self

import asyncpg
import pytest

from tests.support.directories import held_directory
from tests.support.postgres import ThrowAwayPostgres, unprivileged_user
from tests.support.processes import end_with_parent, until_so

CONFIG = """\
[databases]
* = host={host} port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 500
"""


def find() -> str:
    """The program; the test is skipped where there is none."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    return found


class PgBouncer:
    """A pooler, gone at the end of the `async with`.

    Args:
        postgres: What it leads to.
        mode: ``"transaction"`` or ``"session"``.
        size: Sessions that it opens for a database and login, at most.
    """

    def __init__(self, postgres: ThrowAwayPostgres, mode: str, size: int = 12) -> None:
        self._postgres = postgres
        self._mode = mode
        self._size = size
        self._held = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        program = find()
        directory = self._held.enter_context(held_directory("asyncjobs-bouncer-"))
        user = unprivileged_user()
        if user is not None:
            os.chown(directory, user.pw_uid, user.pw_gid)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        config = directory / "pgbouncer.ini"
        config.write_text(
            CONFIG.format(
                host=self._postgres.socket_directory,
                port=self._postgres.port,
                own_port=self.port,
                mode=self._mode,
                size=self._size,
            )
        )
        config.chmod(0o644)
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=end_with_parent(signal.SIGKILL, user),
            )
        self._held.callback(self._end)
        await until_so(self._answers)
        return self

    async def _answers(self) -> bool:
        try:
            connection = await self.connect("postgres")
        except (OSError, asyncpg.PostgresError):
            return False
        connection.terminate()
        return True

    async def __aexit__(self, *_exc: object) -> None:
        self._held.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable"

    async def connect(self, database: str) -> asyncpg.Connection:
        """Connect as another application does that minds such a pooler."""
        return await asyncpg.connect(self.url(database), statement_cache_size=0)
