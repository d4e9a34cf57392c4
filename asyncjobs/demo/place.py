"""The temporary directory that holds everything but the cards, and the end of those whose demo was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from asyncjobs.embedded import EmbeddedPostgres
from asyncjobs.embedded.locks import FileLock
from asyncjobs.exceptions import AsyncJobsError

PREFIX = "asyncjobs-demo-"
OWNER = "owner.lock"
"""Locked for as long as the demo lives: the kernel lets go of it, even at kill -9."""
POSTGRES = "postgres"


@contextmanager
def temporary_place() -> Iterator[Path]:
    """Make a directory of our own; it is removed in the end, whatever is in it."""
    while True:
        place = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        lock = FileLock(place / OWNER)
        if lock.try_exclusive():
            break
        lock.close()  # somebody took it for abandoned, in the moment before it was locked, and removes it
    with lock:
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


async def clear_abandoned() -> None:
    """End the PostgreSQL of every demo of this user that was killed, and remove what it left."""
    for place in _places():
        with suppress(OSError, AsyncJobsError):  # another demo may be at it, or it is broken: this one goes on
            status = place.lstat()
            if status.st_uid != os.geteuid() or not (place / OWNER).is_file():
                continue
            with FileLock(place / OWNER) as lock:
                if not lock.try_exclusive():
                    continue
                if (place / POSTGRES).exists():
                    # Its last user stops a server and removes its data, wherever that is.
                    async with EmbeddedPostgres(place / POSTGRES, fsync=False, temporary=True):
                        pass
                shutil.rmtree(place, ignore_errors=True)


def _places() -> list[Path]:
    return list(Path(tempfile.gettempdir()).resolve().glob(f"{PREFIX}*"))
