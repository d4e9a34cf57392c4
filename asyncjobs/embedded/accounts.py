"""Accounts: the operating-system user of the server. PostgreSQL refuses root, so under root it is another existing one."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import NamedTuple

from asyncjobs.embedded.errors import NoPostgres

if sys.platform != "win32":
    import pwd

UNPRIVILEGED = ("postgres", "nobody")


class Account(NamedTuple):
    """An operating-system user, without its supplementary groups."""

    uid: int
    gid: int
    name: str


def user_name(uid: int) -> str | None:
    """Return the name of `uid`, or None when it has no passwd entry, as under `docker run --user 4242`."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def borrowed_account() -> Account | None:
    """Return the account for the server under root; None when there is none."""
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    return None


def server_account(data: Path) -> Account | None:
    """Return the account for the server of the data directory `data`; None: this process's own.

    Under root an existing data directory keeps its owner, so `sudo` once does not lock its owner out.

    Raises:
        NoPostgres: This process runs as root, and no unprivileged account exists.
    """
    if os.geteuid() != 0:
        return None
    try:
        owner = data.stat()
    except FileNotFoundError:
        pass
    else:
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid, user_name(owner.st_uid) or str(owner.st_uid))
    account = borrowed_account()
    if account is None:
        raise NoPostgres(
            "PostgreSQL refuses to run as root, and there is no user named "
            f"{' or '.join(UNPRIVILEGED)} to run it as; start asyncjobs as another user, or make one of these"
        )
    return account


def barrier(path: Path, account: Account) -> Path | None:
    """Return the first existing directory on the way to and including `path` that `account` may not enter."""
    resolved = Path(os.path.realpath(path))
    for directory in (*reversed(resolved.parents), resolved):
        try:
            status = directory.stat()
        except FileNotFoundError:
            return None
        if status.st_uid == account.uid:
            right = stat.S_IXUSR
        else:
            right = stat.S_IXGRP if status.st_gid == account.gid else stat.S_IXOTH
        if not status.st_mode & right:
            return directory
    return None
