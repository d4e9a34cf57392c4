"""Directories for data and for sockets: their places, owners and modes."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from asyncjobs.embedded.accounts import Account, barrier, borrowed_account
from asyncjobs.exceptions import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

SOCKET_PATH_BYTES = 103  # what sun_path holds on macOS; Linux holds four more
SOCKET_NAME = ".s.PGSQL.5432.lock"  # the longest name PostgreSQL makes beside the socket
ROOT_BASE = Path("/var/lib/asyncjobs")


def digest(*parts: object) -> str:
    """Return ten hexadecimal digits of a hash of `parts`."""
    return hashlib.sha256("\0".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()[:10]


def project_directory(project: Path) -> Path:
    """Return the directory for the embedded PostgreSQL of the project at `project`; it need not exist.

    It is under the user's data directory; for root under `/var/lib/asyncjobs` if its home is closed to the account of the
    server; for a user without a writable home in a private directory under the temporary directory.
    """
    place = os.path.realpath(project)
    slug = re.sub(r"[^a-z0-9]+", "-", os.path.basename(place).lower()).strip("-")[:30]  # noqa: PTH119
    return base_directory() / f"{slug or 'project'}-{digest(place)}"


def base_directory() -> Path:
    """Return the first directory that this process can write and the server can reach."""
    account = None if sys.platform == "win32" or os.geteuid() != 0 else borrowed_account()
    for base in _bases():
        if _is_usable(base, account):
            return base
    return private_directory(temporary_base(), f"asyncjobs-{os.geteuid()}", account, owner=os.geteuid())


def _bases() -> Iterator[Path]:
    if given := os.environ.get("XDG_DATA_HOME"):
        if os.path.isabs(given):  # noqa: PTH117
            yield Path(given, "asyncjobs")
    else:
        try:
            home = Path.home()
        except RuntimeError:  # no HOME and no passwd entry
            pass
        else:
            yield home / ("Library/Application Support" if sys.platform == "darwin" else ".local/share") / "asyncjobs"
    if sys.platform != "win32" and os.geteuid() == 0:
        yield ROOT_BASE


def _is_usable(base: Path, account: Account | None) -> bool:
    ancestor = base
    while not ancestor.exists():
        ancestor = ancestor.parent
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        return False
    return account is None or barrier(ancestor, account) is None


def temporary_base() -> Path:
    """Return the directory for temporary files with the shortest path."""
    # Not gettempdir() first: on macOS it is half a socket path long already.
    short = Path("/tmp")  # noqa: S108 - what is made in it is its owner's alone
    return short if os.access(short, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def make(directory: Path, account: Account | None) -> None:
    """Make `directory` and missing ones above it; existing directories keep their modes.

    Under root the new ones can be entered by `account`, but not read.
    """
    missing = [step for step in (directory, *directory.parents) if not step.exists()]
    for step in reversed(missing):
        step.mkdir(exist_ok=True)
        step.chmod(0o700 if account is None else 0o711)


def is_private(directory: Path, owner: int) -> bool:
    """Whether `directory` is a directory of `owner` that nobody else may read or write, and no symlink."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o066


def private_directory(base: Path, name: str, account: Account | None, *, owner: int) -> Path:
    """Make or find `base/name` as a directory of `owner`; if the name is taken by another user, one with a similar name."""
    for attempt in count():
        directory = base / (f"{name}-{attempt}" if attempt else name)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            if is_private(directory, owner):
                return directory
            if attempt < 20:
                continue
            # Another user has taken every name that we would find again: use one that cannot be guessed, nor found again.
            directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
        if account is not None:
            if owner == account.uid:
                os.chown(directory, account.uid, account.gid)
            else:
                directory.chmod(0o711)
        return directory
    raise AssertionError


def socket_directory(directory: Path, account: Account | None) -> Path:
    """Make or find the private directory with a short path for the socket of the server in `directory`.

    Raises:
        DatabaseUnavailable: Even the shortest path is too long for a socket.
    """
    owner = os.geteuid() if account is None else account.uid
    status = directory.stat()
    # With the inode: containers that share /tmp may each have another directory at the same path.
    name = f"asyncjobs-{owner}-{digest(directory, status.st_dev, status.st_ino)}"
    base = _runtime_directory(account) or temporary_base()
    found = private_directory(base, name, account, owner=owner)
    if len(os.fsencode(found / SOCKET_NAME)) > SOCKET_PATH_BYTES:
        found.rmdir()
        raise DatabaseUnavailable(f"{found} is too long a path for a socket; set TMPDIR to a shorter one")
    return found


def _runtime_directory(account: Account | None) -> Path | None:
    # PostgreSQL and URLs take lists of socket directories: names with a comma or a quote, which need escaping, are not used.
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if account is not None or not re.fullmatch(r"/[\w/.-]{1,40}", given, re.ASCII):
        return None
    path = Path(given)
    return path if is_private(path, os.geteuid()) and os.access(path, os.W_OK | os.X_OK) else None
