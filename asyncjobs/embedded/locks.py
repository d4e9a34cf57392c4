"""File locks: held for the turn to start or stop the server, by each user of it, and by its own processes.

They are taken by `flock`, and not by lists of pids: the kernel drops them at kill -9, so that they cannot go stale.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Self

from asyncjobs.embedded.waiting import until
from asyncjobs.exceptions import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

TURN_TIMEOUT = 180.0  # seconds: longer than one initdb, one recovery and one shutdown may take together


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
        """Take the lock alone, or return False at once; a shared lock held before may be lost either way."""
        return self._try(fcntl.LOCK_EX)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self.fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_current(self) -> bool:
        """Whether the locked file is still the one at the path: the last user of a temporary server removes it."""
        try:
            return os.path.samestat(os.fstat(self.fd), self.path.stat())
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
    """Whether a live process holds the lock at `path`; two processes that ask at once may each see the other's lock."""
    if not path.exists():
        return False
    with FileLock(path) as lock:
        return not lock.try_exclusive()


@contextlib.asynccontextmanager
async def turn(path: Path, prepare: Callable[[], None]) -> AsyncIterator[None]:
    """Hold the one lock under which servers are started and stopped.

    It is polled, and not waited for in a thread: a thread in flock() cannot be cancelled.

    Args:
        path: The file of the lock.
        prepare: Makes its directory; called before each look, since another process may just have removed it.

    Raises:
        DatabaseUnavailable: Another process holds it for longer than any start or stop takes.
        FileNotFoundError: `prepare` did not make the directory.
    """
    held: list[FileLock] = []

    def take() -> bool:
        prepare()
        lock = FileLock(path)
        if lock.try_exclusive() and lock.is_current():
            held.append(lock)
            return True
        lock.close()
        return False

    if not await until(take, TURN_TIMEOUT):
        raise DatabaseUnavailable(f"another process has held {path} for {TURN_TIMEOUT:.0f} s; is it stopped? end it")
    with held[0]:
        yield
