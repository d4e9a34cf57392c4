"""The server's processes: started, recognised and reaped."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from asyncjobs.embedded.errors import NoPostgres
from asyncjobs.embedded.waiting import POLL, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncjobs.embedded.accounts import Account

QUIT_TIMEOUT = 1.0
"""Seconds for a postmaster that has just been started to end."""

_children: set[tuple[int, int]] = set()
"""`(our pid, its pid)` of each postmaster that this process started and has not reaped."""

_KEPT = ("PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH", "TMPDIR")


def environment() -> dict[str, str]:
    """Return the variables that the server needs, with the one locale that every machine has.

    Other variables are left out: under root the server runs as another user, who could read them in /proc. On macOS a
    missing locale starts a thread in the postmaster, which it takes for a fatal error.
    """
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | {"LC_ALL": "C"}


def spawn(
    command: Sequence[str | Path], *, account: Account | None, output: int, keep: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start `command` in its own session, so that ^C in a terminal reaches us and not the server.

    `asyncio.create_subprocess_exec` is not used: its transport kills the child with the loop, and uvloop's cannot change
    users.

    Args:
        command: Program and arguments, without a shell.
        account: The account that it runs as; None: this process's own.
        output: The file descriptor for its output.
        keep: File descriptors that it inherits.

    Raises:
        NoPostgres: It cannot be executed, or root may not change users here.
    """
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",  # ours may be closed to the account
            env=environment(),
            start_new_session=True,
            pass_fds=keep,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    except OSError as error:
        runner = "" if account is None else f" as user {account.name}"
        raise NoPostgres(f"cannot run {command[0]}{runner}: {error}") from error


async def exited(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait for `process` to end and return its status; when cancelled or late, kill it and all processes it has started.

    Returns:
        The status; None if it took longer than `seconds`.
    """
    try:
        await until(lambda: process.poll() is not None, seconds)
    finally:
        status = process.poll()
        if status is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return status


def adopt(process: subprocess.Popen[bytes]) -> None:
    """Reap `process` whenever it ends: that may be after its user has left, by the hand of another process."""
    child = (os.getpid(), process.pid)

    def reap() -> None:
        process.wait()
        _children.discard(child)

    _children.add(child)
    threading.Thread(target=reap, name=f"asyncjobs-reaper-{process.pid}", daemon=True).start()


def end_at_once(process: subprocess.Popen[bytes]) -> None:
    """End a postmaster that has just been started, without a turn of the loop: the task that starts it is ending, too.

    The signal is repeated until it has ended: a process that a shell runs in the background ignores SIGQUIT, and so does its
    postmaster until it has handlers of its own, some milliseconds later.
    """
    deadline = time.monotonic() + QUIT_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGQUIT)
        time.sleep(POLL)
    process.kill()  # does nothing once it has ended


def is_reaped(pid: int) -> bool:
    """Whether no zombie of `pid` is left for this process to reap."""
    return (os.getpid(), pid) not in _children


def is_postmaster(pid: int, data: Path) -> bool:
    """Whether `pid` is a live postmaster of the data directory `data`; a zombie is not.

    It is recognised by its command line: `/proc/<pid>/cwd` of another user's process is closed even to root in a container.
    """
    if Path("/proc/self/cmdline").exists():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return Path(os.fsdecode(words[0])).name in {"postgres", "postmaster"} and os.fsencode(data) in words
    shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
    return b"postgres" in shown.stdout and os.fsencode(data) in shown.stdout
