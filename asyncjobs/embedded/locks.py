"""File locks: whose turn it is, who uses the server, and whether any process of it lives.

`flock` and not a list of pids: the kernel drops it on kill -9, so nothing in here can go stale.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from asyncjobs.exceptions import DatabaseUnavailable

if sys.platform != "win32":
    import fcntl

POLL = 0.01  # seconds between two looks at something that the kernel does not announce
TURN_TIMEOUT = 90.0  # seconds: one initdb on a slow disk, and one recovery


class FileLock:
    """One lock on one file, with its own open file description: two in one process exclude each other.

    The descriptor is not inherited by children, except where it is passed on purpose.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def try_shared(self) -> bool:
        """Take the lock beside others, or return False at once."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Take the lock alone, or return False at once; a shared lock held before is lost either way."""
        return self._try(fcntl.LOCK_EX)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self.fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_current(self) -> bool:
        """Whether the file locked is still the one at the path: the last user of a temporary server removes it."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(self.path))  # noqa: PTH116
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Give the lock up, unless a child inherited it."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_held(path: Path) -> bool:
    """Whether a live process holds the lock at `path`; asked under the turn only."""
    if not path.exists():
        return False
    with FileLock(path) as lock:
        return not lock.try_exclusive()


@contextlib.asynccontextmanager
async def turn(path: Path) -> AsyncIterator[None]:
    """Hold the one lock under which servers are started and stopped.

    Polled instead of waited for in a thread: a thread in flock() cannot be cancelled.

    Raises:
        DatabaseUnavailable: Another process holds it for longer than any start or stop takes.
    """
    deadline = time.monotonic() + TURN_TIMEOUT
    while time.monotonic() < deadline:
        with FileLock(path) as lock:
            if lock.try_exclusive() and lock.is_current():
                yield
                return
        await asyncio.sleep(POLL)
    raise DatabaseUnavailable(f"another process has held {path} for {TURN_TIMEOUT:.0f} s; is it stopped? end it")
