"""The files of one embedded PostgreSQL: its locks, its log and PostgreSQL's own data directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from asyncjobs.embedded import processes
from asyncjobs.embedded.accounts import barrier, server_account, user_name
from asyncjobs.embedded.directories import digest, is_private, make, private_directory, temporary_base
from asyncjobs.embedded.errors import NoPostgres
from asyncjobs.exceptions import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncjobs.embedded.binaries import Binaries
    from asyncjobs.embedded.locks import FileLock

INITDB_TIMEOUT = 120.0  # seconds
# Without a sync: a crash of the machine in the next seconds could only cost an empty database. All options are known to the
# oldest version that is supported: --no-instructions is from 14.
INITDB_OPTIONS = ("--no-sync", "--no-locale", "-E", "UTF8", "-A", "trust", "-U", "postgres")
LOG_LIMIT = 10_000_000  # bytes, looked at on start


class Cluster:
    """The files in one directory.

    Attributes:
        directory: The directory that the user has given.
        account: The account of the server; None: this process's own.
    """

    def __init__(self, directory: Path, *, temporary: bool) -> None:
        self.directory = directory
        self.account = server_account(self.data)
        self._temporary = temporary

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self._home() / "data"

    @property
    def _log(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def _elsewhere(self) -> Path:
        return self.directory / "elsewhere"

    def lock(self, name: str) -> Path:
        """Return the path of the lock file `name`."""
        return self.directory / f"{name}.lock"

    def make_directory(self) -> None:
        """Make our directory if it is missing."""
        make(self.directory, self.account)

    def open_to_server(self) -> None:
        """Make the data directory reachable for the server's account.

        Raises:
            DatabaseUnavailable: A directory above it is closed to that account, and the data is not temporary.
        """
        if self.account is None or (closed := barrier(self._home(), self.account)) is None:
            return
        if closed == self.directory and {entry.name for entry in closed.iterdir()} <= {"start.lock"}:
            closed.chmod(0o711)  # the given directory itself, which was empty, and not a parent of it
        elif self._temporary and not self.data.exists():
            name = f"asyncjobs-{os.geteuid()}-data-{digest(self.directory)}"
            home = private_directory(temporary_base(), name, self.account, owner=os.geteuid())
            shutil.rmtree(home / "data", ignore_errors=True)  # left by a killed one whose directory was removed
            self._elsewhere.unlink(missing_ok=True)
            self._elsewhere.symlink_to(home)
        else:
            raise DatabaseUnavailable(
                f"under root PostgreSQL runs as user {self.account.name}, who may not enter {closed}, so the data "
                f"cannot be in {self.directory}; give a directory outside of {closed}, such as /var/lib/asyncjobs/data"
            )

    def _home(self) -> Path:
        # Under root, a temporary server has its data elsewhere if its directory is out of reach, as pytest's tmp_path is.
        try:
            home = self._elsewhere.readlink()
        except OSError:
            return self.directory
        return home if is_private(home, os.geteuid()) else self.directory

    async def initialise(self, found: Binaries, living: FileLock) -> None:
        """Make the data directory: by initdb beside it and a rename, so that an unfinished one is never taken for it.

        Args:
            found: The programs to make it with.
            living: The lock that initdb inherits, so that it is waited for if its starter is killed.

        Raises:
            NoPostgres: The user has no name.
            DatabaseUnavailable: initdb failed; the message has the end of its output.
        """
        if self.account is None and user_name(os.geteuid()) is None:
            raise NoPostgres(
                f"user id {os.geteuid()} has no entry in /etc/passwd, and initdb refuses to run without one; "
                "run as a user that has one, such as docker run --user postgres"
            )
        fresh = self._fresh()
        with self.open_log() as log:
            process = processes.spawn(
                [found.directory / "initdb", *INITDB_OPTIONS, "-D", fresh],
                account=self.account,
                output=log,
                keep=[living.fd],
            )
            status = await processes.exited(process, INITDB_TIMEOUT)
        if status != 0:
            ended = "was too slow" if status is None else f"ended with status {status}"
            raise self.failure(f"could not be initialised: initdb {ended}")
        fresh.rename(self.data)

    def clear_leftovers(self) -> None:
        """Remove leftovers of killed processes: unfinished data directories, and the server's pid file.

        PostgreSQL would refuse to start if the pid in it is another process's by now, as after a container's restart.
        """
        for unfinished in self._home().glob("initdb-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _fresh(self) -> Path:
        fresh = Path(tempfile.mkdtemp(prefix="initdb-", dir=self._home()))
        if self.account is not None:
            os.chown(fresh, self.account.uid, self.account.gid)
        return fresh

    def pid_file(self) -> list[str]:
        """Return the lines of postmaster.pid, which come while the server starts: pid, data, time, port, sockets, ….

        The eighth is its status.
        """
        try:
            return (self.data / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return []

    def remove(self) -> None:
        """Remove our files, and the directory if nothing else is in it."""
        home = self._home()
        shutil.rmtree(home / "data", ignore_errors=True)
        for name in ("postgres.log", "elsewhere", "running.lock", "users.lock", "start.lock"):
            (self.directory / name).unlink(missing_ok=True)
        for place in {home, self.directory}:
            with contextlib.suppress(OSError):
                place.rmdir()

    @contextlib.contextmanager
    def open_log(self) -> Iterator[int]:
        """Open the log for appending."""
        fd = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(fd).st_size > LOG_LIMIT:
                os.ftruncate(fd, 0)
            yield fd
        finally:
            os.close(fd)

    def failure(self, what: str) -> DatabaseUnavailable:
        """Return an error about `what` happened, with the end of the log."""
        try:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
        except OSError:
            tail = "(none)"
        return DatabaseUnavailable(f"the embedded PostgreSQL in {self.directory} {what}; its log ends:\n{tail}")
