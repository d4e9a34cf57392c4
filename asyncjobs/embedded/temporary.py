"""Servers that leave nothing behind, also when their users are killed: the next such user removes the rest."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from asyncjobs.embedded.cluster import Cluster
from asyncjobs.embedded.locks import FileLock
from asyncjobs.embedded.postmaster import stop
from asyncjobs.embedded.server import EmbeddedPostgres
from asyncjobs.exceptions import AsyncJobsError
from asyncjobs.tasks.shielding import shielded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@contextlib.asynccontextmanager
async def temporary_postgres(prefix: str) -> AsyncIterator[EmbeddedPostgres]:
    """Run a server of one's own in a new directory for temporary files, which is removed with all that is in it.

    Args:
        prefix: What the directory's name begins with; those of killed users, known by it, are removed first.
    """
    await shielded(remove_abandoned(Path(tempfile.gettempdir()), prefix))
    server = EmbeddedPostgres(Path(tempfile.mkdtemp(prefix=prefix)), fsync=False, temporary=True)
    try:
        await shielded(server.start())  # broken off in the middle, it would leave to nobody what it has made so far
        yield server
    finally:
        await server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)


async def remove_abandoned(base: Path, prefix: str, *, but: Path | None = None) -> None:
    """Stop every temporary server of this user that nobody uses any more, and remove its directory with all that is in it.

    Args:
        base: Where the directories are.
        prefix: What their names begin with.
        but: A directory that is left alone.
    """
    for directory in _ours(base, prefix, but):
        with contextlib.suppress(OSError, AsyncJobsError):  # another may be at it, or it is broken: the others go on
            cluster = Cluster(directory, temporary=True)
            if not cluster.lock("users").exists():
                continue  # being made, perhaps
            # Only in turn: a lock of users that is taken in passing would mislead whoever starts the server.
            with FileLock(cluster.lock("start")) as turn, FileLock(cluster.lock("users")) as users:
                if turn.try_exclusive() and users.try_exclusive():
                    await stop(cluster)
                    cluster.remove()
                    shutil.rmtree(directory, ignore_errors=True)


def _ours(base: Path, prefix: str, but: Path | None) -> Iterator[Path]:
    for directory in base.resolve().glob(f"{prefix}*"):  # resolved: as a server names its data
        with contextlib.suppress(OSError):
            about = directory.lstat()
            is_ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
            if is_ours and (but is None or not but.exists() or not directory.samefile(but)):
                yield directory
