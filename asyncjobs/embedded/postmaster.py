"""The running server of a cluster: started, queried and ended, always under the cluster's `turn`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import anyio.to_thread

from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import translating
from asyncjobs.embedded import binaries, processes
from asyncjobs.embedded.directories import is_private, socket_directory
from asyncjobs.embedded.locks import FileLock, is_held
from asyncjobs.embedded.waiting import POLL, until
from asyncjobs.exceptions import DatabaseError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from asyncjobs.embedded.cluster import Cluster

START_TIMEOUT = 60.0  # seconds, recovery after a crash included
ANSWER_TIMEOUT = 5.0
FAST, IMMEDIATE = 20.0, 10.0  # seconds that a shutdown of either kind may take
DATABASE = "asyncjobs"
SOCKET_FILES = ".s.PGSQL.*"


class Answer(NamedTuple):
    """Facts about the running server, by its own answer."""

    pid: int
    sockets: Path
    version: str
    programs: Path


async def ask(cluster: Cluster) -> Answer | None:
    """Query the cluster's server; return None when no server of this data directory answers.

    Raises:
        DatabaseError: The server is starting or stopping, or refuses.
    """
    lines = cluster.pid_file()
    if len(lines) < 5 or not lines[0].isdecimal() or not lines[4]:
        return None
    sockets = Path(lines[4])
    # After a reboot that emptied /tmp the name may be another user's, with a server that claims to be ours.
    if not is_private(sockets, os.geteuid() if cluster.account is None else cluster.account.uid):
        return None
    connection = await connect(url(sockets, "postgres"), timeout=ANSWER_TIMEOUT)
    try:
        with translating():
            row = await connection.fetchrow(
                "select current_setting('data_directory') as place, current_setting('server_version') as version, "
                "exists (select from pg_database where datname = $1) as is_complete",
                DATABASE,
            )
            if row is None or not _is_same(row["place"], cluster.data):
                return None
            if not row["is_complete"]:
                await connection.execute(f"create database {DATABASE}")
    finally:
        connection.terminate()
    # One line: program "argument" "argument" …
    program = (cluster.data / "postmaster.opts").read_text(errors="surrogateescape").partition(' "')[0]
    return Answer(int(lines[0]), sockets, row["version"].split()[0], Path(program).parent)


async def serve(cluster: Cluster, settings: Mapping[str, str], *, is_alone: bool) -> Answer:
    """Attach to the running server, or start one, and return its answer.

    The server is ready when it answers a connection and names our data directory; a pid proves nothing.

    Args:
        cluster: The cluster of the server.
        settings: Settings for a server that must be started.
        is_alone: There is no other user, so that a server that cannot be reached may be ended.

    Raises:
        NoPostgres: There are no binaries that run here.
        DatabaseUnavailable: The server does not start; the message has the end of its log.
    """
    process: subprocess.Popen[bytes] | None = None
    refusal = "no socket to connect to"
    deadline = time.monotonic() + START_TIMEOUT
    try:
        while time.monotonic() < deadline:
            try:
                if answer := await ask(cluster):
                    return answer
            except DatabaseError as error:
                refusal = str(error)
            if process is not None and process.poll() is not None:
                _remove_sockets(socket_directory(cluster.directory, cluster.account))
                raise cluster.failure(f"ended with status {process.returncode} while starting")
            if process is None and is_alone and _has_lost_its_socket(cluster):
                await stop(cluster)
            if process is None and not is_running(cluster):
                process = await _launch(cluster, settings)
                deadline = time.monotonic() + START_TIMEOUT
            await asyncio.sleep(POLL)
        raise cluster.failure(f"does not answer in {START_TIMEOUT:.0f} s ({refusal})")
    except BaseException:
        if process is not None:
            processes.end_at_once(process)
        raise


async def _launch(cluster: Cluster, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    found = await anyio.to_thread.run_sync(binaries.find, cluster.data, cluster.account)
    with FileLock(cluster.lock("running")) as living:
        # Inherited on purpose: the kernel holds the lock as long as any process of the server lives.
        living.try_exclusive()
        await anyio.to_thread.run_sync(cluster.clear_leftovers)
        if binaries.data_major(cluster.data) is None:
            await cluster.initialise(found, living)
        sockets = socket_directory(cluster.directory, cluster.account)
        _empty(sockets)
        newer = {"io_method": "sync"} if found.major >= 18 else {}  # three processes fewer
        command: list[str | Path] = [found.directory / "postgres", "-D", cluster.data]
        for name, value in {**settings, **newer, "unix_socket_directories": str(sockets)}.items():
            command += ["-c", f"{name}={value}"]
        with cluster.open_log() as log:
            process = processes.spawn(command, account=cluster.account, output=log, keep=[living.fd])
    processes.adopt(process)
    return process


async def stop(cluster: Cluster, *, left: Answer | None = None) -> None:
    """End the cluster's server, cleanly if possible, and remove its socket directory. Nothing happens if none runs.

    Args:
        cluster: The cluster of the server.
        left: The server to end if its directory was removed meanwhile: a directory there may have another server.

    Raises:
        DatabaseUnavailable: The server does not end.
    """
    lines = cluster.pid_file()
    pid = left.pid if left else _pid(lines)
    sockets = left.sockets if left else Path(lines[4]) if len(lines) > 4 and lines[4] else None

    def is_gone() -> bool:
        held = left is None and is_held(cluster.lock("running"))
        return not held and not processes.is_postmaster(pid, cluster.data) and processes.is_reaped(pid)

    for number, seconds in ((signal.SIGINT, FAST), (signal.SIGQUIT, IMMEDIATE)):
        if processes.is_postmaster(pid, cluster.data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if await until(is_gone, seconds):
            break
    else:
        raise cluster.failure(f"does not end; its pid is {pid}")
    if sockets is not None:
        _remove_sockets(sockets)


def is_running(cluster: Cluster) -> bool:
    """Whether any process has the data directory open, answering or not, a child of a killed postmaster included."""
    # By the command line, too: for file systems without inherited locks, and for a server that pg_ctl started.
    return is_held(cluster.lock("running")) or processes.is_postmaster(_pid(cluster.pid_file()), cluster.data)


def url(sockets: Path, database: str) -> str:
    """Return the URL of `database` over the socket in `sockets`, as libpq and asyncpg take it."""
    base = f"postgresql://postgres@/{quote(database, safe='')}?host={quote(str(sockets), safe='')}&port=5432"
    return f"{base}&target_session_attrs=any"  # PGTARGETSESSIONATTRS is meant for another server


def _pid(lines: list[str]) -> int:
    return int(lines[0]) if lines and lines[0].isdecimal() else 0


def _has_lost_its_socket(cluster: Cluster) -> bool:
    """Whether the server runs without its socket, so that nobody can connect, as after a cleaning of /tmp."""
    lines = cluster.pid_file()
    if len(lines) < 8 or not processes.is_postmaster(_pid(lines), cluster.data):
        return False
    return not Path(lines[4], ".s.PGSQL.5432").exists()


def _empty(sockets: Path) -> None:
    for leftover in sockets.glob(SOCKET_FILES):
        leftover.unlink()


def _remove_sockets(sockets: Path) -> None:
    with contextlib.suppress(OSError):  # it is gone already, or another user's
        _empty(sockets)
        sockets.rmdir()


def _is_same(one: str, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
