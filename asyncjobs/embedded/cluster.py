"""One data directory: made, served, asked, ended. Who may do so when is the caller's matter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import anyio.to_thread

from asyncjobs.db.connecting import connect
from asyncjobs.embedded import binaries, processes
from asyncjobs.embedded.accounts import Account, barrier, user_name
from asyncjobs.embedded.directories import is_private, make, socket_directory
from asyncjobs.embedded.errors import NoPostgres
from asyncjobs.embedded.locks import POLL, FileLock, is_held
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable

START_TIMEOUT = 60.0  # seconds, recovery after a crash included
ANSWER_TIMEOUT = 5.0
FAST, IMMEDIATE = 20.0, 10.0  # seconds that a shutdown of either kind may take
LOG_LIMIT = 10_000_000  # bytes, looked at on start
DATABASE = "asyncjobs"


class Answer(NamedTuple):
    """What the running server said of itself."""

    pid: int
    sockets: Path
    version: str
    programs: Path


class Cluster:
    """The files in one directory, and the server that has them open.

    Attributes:
        directory: Ours; it holds the locks, the log and `data`.
        data: PostgreSQL's data directory.
        account: Whom the server runs as; None: as ourselves.
    """

    def __init__(self, directory: Path, account: Account | None, settings: dict[str, str]) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "postgres.log"
        self.living = directory / "running.lock"
        self.account = account
        self.settings = settings

    def prepare(self) -> None:
        """Make the directory, and see that the server will get through to it.

        Raises:
            DatabaseUnavailable: Something above it is closed to the server's account.
        """
        make(self.directory, self.account)
        if self.account is None:
            return
        closed = barrier(self.directory, self.account)
        if closed == self.directory and {entry.name for entry in closed.iterdir()} <= {"start.lock"}:
            closed.chmod(0o711)  # nobody else's: it was empty when it was given to us
            closed = None
        if closed is not None:
            raise DatabaseUnavailable(
                f"under root PostgreSQL runs as user {self.account.name}, who may not enter {closed}, so the data "
                f"directory cannot be in {self.directory}; give one outside of it, such as /var/lib/asyncjobs/data"
            )

    async def answer(self) -> Answer | None:
        """Ask the server for itself; None when none of this data directory answers."""
        lines = self._pid_file()
        if len(lines) < 5 or not lines[0].isdecimal() or not lines[4]:
            return None
        sockets = Path(lines[4])
        # After a reboot that emptied /tmp the name may be somebody else's, with a server that claims to be ours.
        if not is_private(sockets, os.geteuid() if self.account is None else self.account.uid):
            return None
        connection = await connect(url(sockets, "postgres"), timeout=ANSWER_TIMEOUT)
        try:
            row = await connection.fetchrow(
                "select current_setting('data_directory') as place, current_setting('server_version') as version, "
                "exists (select from pg_database where datname = $1) as is_complete",
                DATABASE,
            )
            if row is None or os.path.realpath(row["place"]) != os.path.realpath(self.data):
                return None
            if not row["is_complete"]:
                await connection.execute(f"create database {DATABASE}")
        finally:
            connection.terminate()
        # One line: program "argument" "argument" …
        program = (self.data / "postmaster.opts").read_text(errors="surrogateescape").partition(' "')[0]
        return Answer(int(lines[0]), sockets, row["version"].split()[0], Path(program).parent)

    async def serve(self) -> Answer:
        """Attach to the server that runs, or start one, and return its answer.

        Raises:
            NoPostgres: There are no binaries that run here.
            DatabaseUnavailable: It does not come up; the message has the end of its log.
        """
        process: subprocess.Popen[bytes] | None = None
        deadline = time.monotonic() + START_TIMEOUT
        refusal: DatabaseError | None = None
        try:
            while time.monotonic() < deadline:
                try:
                    if answer := await self.answer():
                        return answer
                except DatabaseError as error:
                    refusal = error
                if process is not None and process.poll() is not None:
                    raise self._failure(f"ended with status {process.returncode} while starting")
                if process is None and not self._is_running():
                    process = await self._launch()
                await asyncio.sleep(POLL)
            raise self._failure(f"does not answer in {START_TIMEOUT:.0f} s ({refusal or 'no socket'})")
        except BaseException:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGQUIT)
            raise

    async def _launch(self) -> subprocess.Popen[bytes]:
        found = await anyio.to_thread.run_sync(binaries.find, self.data, self.account)
        if binaries.data_major(self.data) is None:
            await self._initialise(found)
        self._clear_stale_files()
        sockets = socket_directory(self.directory, self.account)
        for leftover in sockets.glob(".s.PGSQL.*"):
            leftover.unlink()
        settings = self.settings | {"unix_socket_directories": str(sockets)}
        if found.major >= 18:
            settings["io_method"] = "sync"  # three processes fewer
        command: list[str | Path] = [found.directory / "postgres", "-D", self.data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with FileLock(self.living) as lock, self._open_log() as log:
            # Inherited on purpose: as long as any process of the server lives, the kernel holds it.
            lock.try_exclusive()
            process = processes.spawn(command, account=self.account, output=log, keep=[lock.fd])
        processes.adopt(process)
        return process

    async def _initialise(self, found: binaries.Binaries) -> None:
        """Run initdb beside `data` and rename: one that was killed half way never looks like a data directory."""
        if self.account is None and user_name(os.geteuid()) is None:
            raise NoPostgres(
                f"user id {os.geteuid()} has no entry in /etc/passwd, and initdb refuses to run without one; "
                "run as a user that has one (docker run --user postgres)"
            )
        for unfinished in self.directory.glob("initdb-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.directory))
        if self.account is not None:
            os.chown(fresh, self.account.uid, self.account.gid)
        options = ["--no-sync", "--no-locale", "--no-instructions", "-E", "UTF8", "-A", "trust", "-U", "postgres"]
        with self._open_log() as log:
            process = processes.spawn(
                [found.directory / "initdb", *options, "-D", fresh], account=self.account, output=log
            )
            status = await processes.exited(process)
        if status != 0:
            raise self._failure(f"could not be initialised: initdb ended with status {status}")
        fresh.rename(self.data)

    def _is_running(self) -> bool:
        """Whether any process has the data directory open, answering or not."""
        lines = self._pid_file()
        pid = int(lines[0]) if lines and lines[0].isdecimal() else 0
        return is_held(self.living) or (pid > 0 and processes.is_postmaster(pid, self.data))

    def _clear_stale_files(self) -> None:
        """Remove the pid file of a server that is gone: after a container restart its pid is another process's.

        PostgreSQL would refuse to start while that process lives.
        """
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    async def stop(self, answer: Answer) -> None:
        """End the server that gave `answer`, cleanly if it can, and remove its socket directory.

        Raises:
            DatabaseUnavailable: It does not end.
        """
        for number, seconds in ((signal.SIGINT, FAST), (signal.SIGQUIT, IMMEDIATE)):
            if processes.is_postmaster(answer.pid, self.data):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(answer.pid, number)
            if await processes.within(seconds, answer.pid, self.data):
                break
        else:
            raise self._failure(f"does not end; its pid is {answer.pid}")
        with contextlib.suppress(OSError):
            for leftover in answer.sockets.glob(".s.PGSQL.*"):
                leftover.unlink()
            answer.sockets.rmdir()

    def remove(self) -> None:
        """Remove what we made, and the directory if nothing else is in it."""
        shutil.rmtree(self.data, ignore_errors=True)
        for name in ("postgres.log", "running.lock", "users.lock", "start.lock"):
            (self.directory / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _open_log(self) -> Iterator[int]:
        fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(fd).st_size > LOG_LIMIT:
                os.ftruncate(fd, 0)
            yield fd
        finally:
            os.close(fd)

    def _failure(self, what: str) -> DatabaseUnavailable:
        try:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        except OSError:
            tail = "(none)"
        return DatabaseUnavailable(f"the embedded PostgreSQL in {self.directory} {what}; its log ends:\n{tail}")


def url(sockets: Path, database: str) -> str:
    """Return the URL of `database` over the socket in `sockets`, as libpq and asyncpg take it."""
    return f"postgresql://postgres@/{quote(database, safe='')}?host={quote(str(sockets), safe='')}&port=5432"
